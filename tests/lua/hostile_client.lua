-- A client of vault.lua who wants more than is exposed, and to be in everybody's way.
-- TEST_SERVED: the far end serves it by itself (a forced command); otherwise it is sent along.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local here = debug.getinfo(1, "S").source:match "^@(.*)/"
local served = os.getenv "TEST_SERVED"
local function connect(n)
    return check.connect {instance = n, service = not served and here .. "/vault.lua" or nil}
end
local conn = connect(1)
local root = conn.root

local function denied(f, ...)
    fails("does not expose", f, ...)
end

local function alive()
    eq(root.count, 7, "the service goes on")
end

-- Names, whatever they look like, on whatever is exposed.
for _, object in ipairs {root, root.inner, root.handler(), root.thread(), root.file(), root.call} do
    for _, name in ipairs {"secret", "on_connect", "__index", "__newindex", "__metatable", "__gc",
        "__name", "metatable", "getmetatable", "exposed_", "exposed_secret", "exposed___index", "_G",
        "_ENV", "1", "", "secret\0", "\0exposed_secret", "exposed_\xff"} do
        denied(function() return object[name] end)
    end
    for _, key in ipairs {1, 0.5, true, object, {}} do
        denied(function() return object[key] end)
    end
    denied(function() object.x = 1 end)
    denied(function() object.exposed_x = 1 end)
    denied(function() object.__index = object end)
    denied(function() return #object end)
    denied(function() return object + 1 end)
    denied(function() return 1 + object end)
    denied(function() return object .. "" end)
    denied(function() return -object end)
    denied(function() return object <= object end)
    denied(function() return object < 1 end)
    denied(function() for _ in pairs(object) do end end)
    denied(function() for _ in ipairs(object) do end end)
    denied(function() for _ in grapnel.buffiter(object, 10, "pairs") do end end)
    denied(function() for _ in grapnel.buffiter(object, 10, "iterator") do end end)
    denied(grapnel.obtain, object)
    eq(tostring(object):find "secret", nil)
end
for _, object in ipairs {root, root.inner, root.handler(), root.thread(), root.file()} do
    denied(function() return object() end)
    denied(function() return object(1, 2) end)
end
for _, object in ipairs {root, root.inner, root.handler(), root.thread(), root.call} do
    denied(function() local _ <close> = object end)
end
eq(root.inner.name, "inner")
eq(root.inner.inherited, "inherited")
alive()

-- Functions by name, code, modules, bytecode.
for _, name in ipairs {"execute", "eval", "namespace", "globals", "require", "teleport", "interact",
    "become_service", "refuse_bytecode", "upload_module", "redirect_stdio", "require_from", "load",
    "os.execute", "io.open", "proc.run", "debug.getregistry", "string.rep", ""} do
    denied(conn.call, name, "x", "y")
end
denied(conn.eval, "1")
denied(conn.teleport, function() end)
denied(conn.deliver, 1)
denied(function() return conn.modules.os end)
denied(function() return conn.namespace end)
denied(function() return conn.builtins end)
denied(function() conn.remote_exec("channel:send(1)"):receive() end)
denied(function() conn.remote_exec(root.call, 1):receive() end)
denied(conn.upload_module, "m", "return 1\n")
denied(conn.redirect_stdio)
alive()

-- Errors tell what they say, and no more.
eq(select(2, pcall(root.fail)):find "traceback", nil)
eq(type(select(2, pcall(root.throw))), "string")
alive()

-- What it passes is called, and can be used like anything; that does not end, or fails.
do
    eq(root.call(function(a, b) return a + b end, 1, 2), 3)
    fails("of mine", root.call, function() error "of mine" end)
    fails("attempt to call", root.call, 7)
    eq(root.index({x = 5}, "x"), 5)
    local own = {}
    eq(rawequal(root.call(function() return own end), own), true)
    eq(root.sort(function(a, b) return a > b end), {3, 2, 1})
    local never, waiting = function() grapnel.sleep(1000) end, {}
    for i = 1, 200 do
        waiting[i] = grapnel.async(i % 10 == 0 and root.sort or root.call)(never)
    end
    waiting[#waiting + 1] = grapnel.async(root.index)(setmetatable({}, {__index = never}), "x")
    alive()
    eq(root.call(function() return root.count end), 7)
    for _, f in ipairs(waiting) do
        f:cancel()
    end
    alive()
    local depth = 0
    local function deeper()
        depth = depth + 1
        return root.call(deeper)
    end
    fails("nested too deeply", deeper)
    eq(depth <= 64, true)
    alive()
end

-- Channels: to nowhere, and too many.
do
    local c = conn.channel()
    c:send {1, 2, 3}
    c:send(root)
    fails("in time", c.receive, c, 0.05)
    c:close()
    local open = {}
    local ok, why = pcall(function()
        for i = 1, 10000 do
            open[i] = conn.channel()
            open[i]:send(("x"):rep(1000))
        end
    end)
    eq(ok, false)
    fails("limit", error, why)
    eq(#open <= 1024, true)
    alive()
    local function end_all()
        for _, c in ipairs(open) do
            c:close()
        end
        for i = #open, 1, -1 do
            open[i]:wait_close()
            open[i] = nil
        end
    end
    end_all()
    for i = 1, 3000 do
        open[#open + 1] = conn.channel()
        open[#open]:send(("x"):rep(10000))
        if i % 500 == 0 then
            end_all()
        end
    end
    root.keep(conn.channel())
    alive()
end

-- A file that is handed over: its contents, and nothing of others.
do
    local a, b = root.file "abcdef", root.file "ghi"
    eq(a:read(2), "ab")
    eq(a:seek("cur"), 2)
    a:write("XY")
    a:seek("set", 0)
    eq(a:read "a", "abXYef")
    local read, close = a.read, a.close
    eq(read(b, "a"), "ghi")
    for _, other in ipairs {root, root.inner, root.thread(), {}, "x", 1, io.stdout} do
        fails("bad argument", read, other)
        fails("bad argument", close, other)
    end
    a:close()
    fails("closed file", read, a, 1)
    fails("closed file", a.seek, a)
    eq(b:seek("set", 0), 0)
    eq(b:read "a", "ghi")
    do
        local _ <close> = b
    end
    fails("closed file", b.read, b, 1)
    alive()
end

-- Others have a service of their own.
do
    local never = function() grapnel.sleep(1000) end
    local waiting = {}
    for i = 1, 30 do
        waiting[i] = grapnel.async(root.sort)(never)
    end
    local second = connect(2)
    eq(second.root.count, 7)
    eq(second.root.kept(), nil, "nothing of the other client's")
    eq({second.root.visitors()}, {1, 0})
    second.close()
    alive()
end

conn.close()
fails("EOF: ", function() return root.count end)
print "ok"
