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

return far
