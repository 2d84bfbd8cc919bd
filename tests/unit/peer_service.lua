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
    function service.exposed_run(code) return assert(load(code))() end
    service.name = "main"
    function service.exposed_put(t) t.x = t.x + 1 end
    function service.exposed_thread() return coroutine.create(print) end
    function service.exposed_echo(...) return ... end
    return service
]]

function test.exposed()
    local root = conn.root
    assert(root.add(1, 2) == 3 and root.exposed_add(3, 4) == 7 and root.number == 7)
    assert(root.inherited() == "inherited")
    assert(conn.service "main" == root and conn:service("main").number == 7)
    assert(root.callback(function(x) return x * 2 end) == 10)
    local t = root.plain()
    assert(not grapnel.isproxy(t) and t[2].a == 2)
    assert(root.object().f() == "f")
    local mine = {}
    assert(rawequal(root.echo(mine), mine))
    assert(far("return connected") == "1")
end

function test.ping()
    assert(conn.ping() < 10)
    denied(conn.call, "pings")
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
    ok, e = pcall(conn.root.run, "error(setmetatable({1}, {}))")
    assert(not ok and e == "the remote code failed", e)
    ok, e = pcall(conn.root.run, "error(print)")
    assert(not ok and e == "the remote code failed", e)
end

function test.plain_errors_are_told()
    local ok, e = pcall(conn.root.run, "error {code = 7, why = {'x'}, message = 'no such item'}")
    assert(not ok and e.code == 7 and e.why[1] == "x" and tostring(e) == "no such item")
    ok, e = pcall(conn.root.run, "error(7)")
    assert(not ok and e == 7)
    ok, e = pcall(conn.root.run, "error(nil)")
    assert(not ok and e == nil)
    -- What the client's own function threw comes back.
    ok, e = pcall(conn.root.callback, function() error {mine = 1} end)
    assert(not ok and e.mine == 1)
    local mine = setmetatable({}, {})
    ok, e = pcall(conn.root.callback, function() error(mine) end)
    assert(not ok and rawequal(e, mine))
end

-- What the client serves is guarded, too; what it only passes is not.
function test.the_clients_service()
    local mine = {secret = 1, exposed_number = 7}
    local object = {exposed_f = function() return "f" end, secret = 2}
    function mine.exposed_plain() return {1, {secret = 3}} end
    function mine.exposed_object() return object end
    function mine.exposed_closed() return setmetatable({secret = 4}, {}) end
    function mine.exposed_function() return function() return object end end
    function mine.exposed_give(f) return f({x = 1}) end
    function mine.exposed_fail() error("of mine") end
    conn.serve(mine)
    local run = conn.root.run
    assert(run "return client.root.number == 7 and client.root.object().f() == 'f'")
    assert(run "local t = client.root.plain() return type(t) == 'table' and t[2].secret == 3")
    assert(run "local n = 0 client.root.give(function(t) n = t.x end) return n == 1")
    assert(run "return not select(2, pcall(client.root.fail)):find 'traceback'")
    for _, code in ipairs {
        "return client.root.secret", "client.root.planted = 1", "client.root.number = 1",
        "for _ in pairs(client.root) do end", "return #client.root", "return client.root .. ''",
        "return client.root()", "return require 'grapnel'.obtain(client.root)",
        "return client.root.object().secret", "client.root.object().f = 1",
        "return client.root['function']()().secret", "return client.root.closed().secret",
        "for _ in pairs(client.root.closed()) do end", "return client.root.object.x",
    } do
        denied(run, code)
    end
    assert(mine.planted == nil and mine.exposed_number == 7)
    local passed = {x = 1, exposed_y = 2}
    conn.root.put(passed)
    assert(passed.x == 2)
    conn.serve({secret = 5})
    run "rawset(client, 'root', nil)"
    assert(run "return require 'grapnel'.isproxy(client.root)",
        "a service that exposes nothing does not go as a copy")
end

function test.names()
    conn.root.run "rawset(client, 'root', nil)"
    local run = conn.root.run
    conn.serve {
        {name = "one", exposed_which = function() return 1 end},
        setmetatable({secret = 1}, {__index = {name = "two", exposed_which = function() return 2 end}}),
        {name = "three", secret = 3},
    }
    assert(run "return client.root.which() == 1 and client.service('one') == client.root")
    assert(run "return client.service('two').which() == 2 and client:service('two').exposed_which() == 2")
    denied(run, "return client.service('two').secret")
    denied(run, "return client.service('three').secret")
    for _, name in ipairs {"four", "", "exposed_which", "secret"} do
        local ok, e = pcall(run, ("return client.service(%q)"):format(name))
        assert(not ok and tostring(e):find "no such service", e)
    end
    local ok, e = pcall(conn.service, "four")
    assert(not ok and tostring(e):find "no such service: four", e)
    assert(not pcall(conn.service, 1))
    conn.serve {name = "alone", exposed_x = 1}
    assert(run "return client.service('alone').x == 1")
end

function test.disconnect()
    assert(conn.root.number == 7)
    lose()
    grapnel.sleep(0.01)
    assert(far("return disconnected") == "true")
end

return test
