-- Several services of one file, each under its name.
local told = {}

local function service(name)
    return {
        name = name,
        on_connect = function(self)
            told[#told + 1] = self.name
        end,
        exposed_name = function()
            return name
        end,
        exposed_told = function()
            return table.concat(told, " ")
        end,
    }
end

return {service "TrackYourPackage", service "SendYourPackage"}
