-- The connection object: conn.call, conn.modules, conn.execute and the rest of the classic API.
local core, grapnel = ...

local conn = {}

-- Methods may be called with a dot or with a colon.
local function method(name, f)
    conn[name] = function(first, ...)
        if first == conn then
            return f(...)
        end
        return f(first, ...)
    end
end

method("call", function(path, ...)
    return core:call_copy(path, ...)
end)
method("execute", function(source, ...)
    return core:call("execute", source, ...)
end)
method("eval", function(source, ...)
    return core:call("eval", source, ...)
end)
method("close", function()
    core:close()
end)
method("serve", function(service)
    core:serve(service)
end)
method("remote_exec", function(source, ...)
    return core:open("remote_exec", {source, ...})
end)
method("channel", function()
    return core:open("channel")
end)
method("obtain", grapnel.obtain)

conn.name = core:name()

local lazy = {
    namespace = function()
        return core:call("namespace")
    end,
    builtins = function()
        return core:call("globals")
    end,
    modules = function()
        return setmetatable({}, {
            __index = function(modules, name)
                local module = core:call("require", name)
                rawset(modules, name, module)
                return module
            end,
        })
    end,
    root = function()
        return core:root()
    end,
}

return setmetatable(conn, {
    __index = function(_, name)
        if name == "closed" then
            return core:closed()
        end
        local make = lazy[name]
        if make then
            local made = make()
            rawset(conn, name, made)
            return made
        end
    end,
    __name = "grapnel.conn",
})
