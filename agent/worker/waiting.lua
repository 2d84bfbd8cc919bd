-- What would hold up the whole instance in the standard library: here only its caller waits.

local function how(result)
    if result.signal then
        return nil, "signal", result.code - 128
    end
    return result.status == 0 or nil, "exit", result.status
end

function os.execute(command)
    if command == nil then
        return true
    end
    local process, why, number = require "proc".popen(command,
        {stdin = "inherit", stdout = "inherit", stderr = "inherit"})
    if not process then
        return nil, why, number
    end
    return how(process:wait())
end

local pipe = {}
pipe.__index = pipe
pipe.__name = "FILE*"

-- Numbers have lines of their own.
function pipe:read(format, ...)
    if select("#", ...) > 0 then
        return self:read(format), self:read(...)
    end
    format = type(format) == "string" and format:gsub("^%*", "") or format
    if format == "n" then
        local line = self.stream:read("l")
        return line and tonumber(line)
    end
    return self.stream:read(format)
end

function pipe:lines(format)
    return function()
        return self:read(format)
    end
end

function pipe:write(...)
    local done, why, number = self.stream:write(...)
    return done and self, why, number
end

function pipe:flush()
    return self
end

function pipe:setvbuf()
    return true
end

function pipe:close()
    self.stream:close()
    return how(self.process:wait())
end

pipe.__close = pipe.close

function io.popen(command, mode)
    local reads = (mode or "r") == "r"
    if not reads and mode ~= "w" then
        error("bad argument #2 to 'popen' (invalid mode)", 2)
    end
    local process, why, number = require "proc".popen(command,
        {stdin = reads and "inherit" or "pipe", stdout = reads and "pipe" or "inherit",
            stderr = "inherit"})
    if not process then
        return nil, why, number
    end
    return setmetatable({process = process, stream = reads and process.stdout or process.stdin},
        pipe)
end
