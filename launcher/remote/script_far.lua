-- What `grapnel script` runs on the host: the script, whose output goes into its channel, too.
local real = channel
local VALUE, OUT, ERR, READY = 0, 1, 2, 3
real:send({READY})
local start = real:receive()
local kinds = {[io.stdout] = OUT, [io.stderr] = ERR}
local methods = getmetatable(io.stdout).__index
local write, io_write, shown = methods.write, io.write, print

function methods.write(file, ...)
    local kind = kinds[file]
    if not kind or real.closed then
        return write(file, ...)
    end
    local parts = table.pack(...)
    for i = 1, parts.n do
        if type(parts[i]) ~= "string" and type(parts[i]) ~= "number" then
            error(("bad argument #%d to 'write' (string expected, got %s)"):format(i,
                type(parts[i])), 2)
        end
    end
    local text = table.concat(parts)
    if text ~= "" then
        real:send({kind, text})
    end
    return file
end

function io.write(...)
    return io.output():write(...)
end

function print(...)
    local parts = table.pack(...)
    for i = 1, parts.n do
        parts[i] = tostring(parts[i])
    end
    io.stdout:write(table.concat(parts, "\t"), "\n")
end
_G.print = print

-- An instance may outlive its scripts.  Those that others have put in place meanwhile stay.
local write_here, io_write_here, print_here = methods.write, io.write, print
local back <close> = setmetatable({}, {__close = function()
    if methods.write == write_here and io.write == io_write_here and _G.print == print_here then
        methods.write, io.write, _G.print = write, io_write, shown
    end
end})

-- The script's own channel: the same, but what is sent is marked as a value.
channel = setmetatable({
    send = function(_, value)
        return real:send({VALUE, value})
    end,
}, {
    __index = function(self, name)
        local method = real[name]
        if type(method) ~= "function" then
            return method
        end
        local function same(first, ...)
            return method(first == self and real or first, ...)
        end
        rawset(self, name, same)
        return same
    end,
    __call = function(_, ...)
        return real(...)
    end,
    __close = function()
        real:close()
    end,
})

arg = {[0] = start.name, table.unpack(start.args)}
local script, why = load(start.source, "@" .. start.name, "t", _ENV)
if not script then
    error(why, 0)
end
-- Tracebacks have it as what it is, a main chunk, if it is called at the end of a function.
local function run(...)
    return script(...)
end
return run(table.unpack(start.args))
