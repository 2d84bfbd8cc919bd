-- The service of RPyC's documentation: a courier that tells where packages are.
local packages = {[1] = "on its way", [2] = "delivered"}
local connected = 0

local service = {name = "TrackYourPackage"}

function service.on_connect()
    connected = connected + 1
end

function service.exposed_status(id)
    return packages[id] or error("no such package: " .. tostring(id))
end

function service.exposed_connected()
    return connected
end

-- A capability: whoever gets it can read this one file, and nothing else.
function service.exposed_label(id)
    local file = assert(io.tmpfile())
    file:write("package " .. id .. "\n")
    file:seek("set")
    return file
end

-- Tells the client itself, through a function that it passes.
function service.exposed_notify(id, callback)
    callback(id, packages[id])
    return true
end

function service.secret()
    return "not for clients"
end

service.hidden = "not for clients"

return service
