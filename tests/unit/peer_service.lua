-- A service, and clients that want more.
local test = {}

local function denied(f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok and tostring(e):find("does not expose"), tostring(e))
end

serve [[
    local log = ...
    local Base = {}
    Base.__index = Base
    function Base.exposed_inherited() return "inherited" end
    local service = setmetatable({secret = "s"}, Base)
    function service:on_connect(conn) connected = (connected or 0) + 1 client = conn end
    function service:on_disconnect() disconnected = true end
    function service.exposed_add(a, b) return a + b end
    function service.hidden() return 1 end
    service.exposed_number = 7
    function service.exposed_plain() return {1, {a = 2}, print = print} end
    function service.exposed_object() return {exposed_f = function() return "f" end, secret = 1} end
    function service.exposed_meta() return setmetatable({secret = 1}, {__index = os}) end
    function service.exposed_file()
        local f = io.tmpfile()
        f:write("contents")
        f:seek("set")
        return f
    end
    function service.exposed_fail(x) error(x or "failed in secret.lua") end
    function service.exposed_callback(f) return f(5) end
    function service.exposed_thread() return coroutine.create(print) end
    function service.exposed_echo(...) return ... end
    return service
]]

function test.exposed()
    local root = conn.root
    assert(root.add(1, 2) == 3 and root.exposed_add(3, 4) == 7 and root.number == 7)
    assert(root.inherited() == "inherited")
    assert(root.callback(function(x) return x * 2 end) == 10)
    local t = root.plain()
    assert(not grapnel.isproxy(t) and t[2].a == 2)
    assert(root.object().f() == "f")
    local mine = {}
    assert(rawequal(root.echo(mine), mine))
    assert(far("return connected") == "1")
end

function test.denied()
    local root = conn.root
    for _, name in ipairs {"secret", "hidden", "on_connect", "__index", "exposed_", "nothing"} do
        denied(function() return root[name] end)
    end
    denied(function() root.add = 1 end)
    denied(function() root.exposed_new = 1 end)
    denied(function() return root[1] end)
    denied(function() return #root end)
    denied(function() return root + 1 end)
    denied(function() return root() end)
    denied(function() for _ in pairs(root) do end end)
    denied(function() for _ in ipairs(root) do end end)
    denied(grapnel.obtain, root)
    denied(conn.call, "os.exit")
    denied(conn.execute, "os.exit()")
    denied(conn.eval, "1")
    denied(conn.modules and function() return conn.modules.os end)
    denied(conn.teleport, function() end)
    denied(function() conn.remote_exec("os.exit()"):receive() end)
    denied(function() return root.object().secret end)
    denied(function() return root.meta().execute end)
    denied(function() return root.meta().secret end)
    denied(function() return root.thread()() end)
    assert(tostring(root) == "table")
    denied(function() return root.plain().print.x end)
    local f = root.file()
    assert(f:read(3) == "con" and f:seek("cur") == 3)
    denied(function() return f.__index end)
    denied(function() return f.__gc end)
    local read = f.read
    assert(not pcall(read, root))
    assert(not pcall(read, {}))
    f:close()
end

function test.errors_are_redacted()
    local ok, e = pcall(conn.root.fail)
    assert(not ok and e:find("failed in") and not e:find("traceback"), e)
    ok, e = pcall(conn.root.fail, {1})
    assert(not ok and type(e) ~= "nil")
end

function test.disconnect()
    assert(conn.root.number == 7)
    lose()
    grapnel.sleep(0.01)
    assert(far("return disconnected") == "true")
end

return test
