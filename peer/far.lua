-- What the owner of this end may call by name alone.
local core, grapnel = ...

local namespace = setmetatable({}, {__index = _G})
local far = {}

function far.globals()
    return _G
end

function far.namespace()
    return namespace
end

function far.require(name)
    return require(name)
end

function far.execute(source, ...)
    return assert(load(source, "=execute", "t", namespace))(...)
end

function far.eval(source, ...)
    return assert(load("return " .. source, "=eval", "t", namespace))(...)
end

-- The code of a channel: it ends with the code.
function far.remote_exec(channel, source, ...)
    if type(source) == "function" then
        return source(channel, ...)
    end
    local env = setmetatable({channel = channel}, {__index = _G})
    return assert(load(source, "=remote_exec", "t", env))(...)
end

return far
