-- The connection object, as either end has it.  dress(conn, core, grapnel, tools), which may be nil,
-- adds what only a launcher can do (classic.lua).
local core, grapnel, _, dress = ...

local conn = {}

-- Methods may be called with a dot or with a colon.
local function method(name, f)
    conn[name] = function(first, ...)
        if rawequal(first, conn) then
            return f(...)
        end
        return f(first, ...)
    end
end

-- Where a method of ours, at level 2, was called with something else than it takes.
local function want(value, kind, n, name)
    if type(value) ~= kind then
        error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, kind,
            value == nil and "no value" or type(value)), 3)
    end
end

-- ---- calls ----

method("call", function(path, ...)
    if not grapnel.isproxy(path) then
        want(path, "string", 1, "call")
    end
    return core:call_copy(path, ...)
end)
method("ping", function()
    local start = grapnel.now()
    core:call("ping")
    return grapnel.now() - start
end)
method("obtain", grapnel.obtain)
method("deliver", function(value)
    return core:deliver("deliver", value)
end)
method("channel", function()
    return core:open("channel")
end)

-- ---- the connection itself ----

method("close", function()
    core:close()
end)
method("serve", function(service)
    want(service, "table", 1, "serve")
    core:serve(service)
end)
-- The far end's service of that name; conn.root is the first.
method("service", function(name)
    want(name, "string", 1, "service")
    return core:service(name)
end)
conn.name = core:name()

local lazy = {
    root = function()
        return core:root()
    end,
}

if dress then
    dress(conn, core, grapnel, {method = method, want = want, lazy = lazy})
end

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
    __close = function()
        core:close()
    end,
    __name = "grapnel.conn",
    __tostring = function()
        return ("grapnel.conn: %s%s"):format(core:name(), core:closed() and " (closed)" or "")
    end,
})
