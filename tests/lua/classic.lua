-- What the tutorials of classic RPyC and of Glusto show, said in Lua.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local conn = check.connect()

-- The platform of several connections side by side.
do
    local others = {check.connect {instance = 2}, check.connect {instance = 3}}
    local pids = {[conn.modules.proc.pid()] = true}
    for _, other in ipairs(others) do
        eq(other.modules.sys.uname().sysname, conn.modules.sys.uname().sysname)
        pids[other.modules.proc.pid()] = true
        other.close()
    end
    local n = 0
    for _ in pairs(pids) do
        n = n + 1
    end
    eq(n, 3, "instances are processes of their own")
end

-- A namespace that lives: scores counted up from here.
conn.execute 'scores = {Foo = 10}'
local ns = conn.namespace
ns.scores.Bar = 0
ns.scores.Bar = ns.scores.Bar + 58
ns.scores.Foo = ns.scores.Foo + 1
eq(conn.eval "scores.Bar", 58)
eq(conn.eval "scores.Foo", 11)
eq(grapnel.obtain(ns.scores), {Foo = 11, Bar = 58})
ns.x = 10
eq(conn.eval "x * 2", 20)
ns.x = nil
eq(conn.eval "x", nil)

-- hello() defined over there, its print seen here.
conn.execute [[
    function hello(name)
        print("Hello, " .. name)
        io.write("written\n")
    end
]]
do
    local heard = {}
    do
        local scope <close> = conn.redirect_stdio(function(text)
            heard[#heard + 1] = text
        end)
        ns.hello("world")
        conn.ping()
    end
    ns.hello("nobody")
    conn.ping()
    eq(table.concat(heard), "Hello, world\nwritten\n")
end

-- A dialogue, with lines from a function.
do
    local lines = {"y = 5", "y + 1", "function f()", "return 7", "end", "f()",
        "error(setmetatable({}, {__tostring = function() error 'within' end}))", "y"}
    local n, shown, real = 0, {}, print
    function print(text)
        shown[#shown + 1] = text
    end
    local fine, cut = conn:interact(function()
        n = n + 1
        return lines[n]
    end)
    print = real
    eq(shown, {"6", "7", "5"})
    eq(fine, false, "one of them failed")
    eq(cut, nil)
end

-- A sort shipped as source and run there.
conn.execute [[
    function bubble(list)
        for i = #list, 2, -1 do
            for j = 1, i - 1 do
                if list[j] > list[j + 1] then
                    list[j], list[j + 1] = list[j + 1], list[j]
                end
            end
        end
        return list
    end
]]
eq(grapnel.obtain(ns.bubble(conn.deliver {5, 3, 9, 1})), {1, 3, 5, 9})
-- The same on a table of ours: it is sorted in its place, from there.
do
    local mine = {3, 1, 2}
    eq(ns.bubble(mine) == mine, true, "an object that comes home is itself")
    eq(mine, {1, 2, 3})
end

-- Functions travel.
do
    local factor = 3
    local function square(x)
        return x * x * factor
    end
    eq(conn.teleport(square)(4), 48)
    local function fact(n)
        return n <= 1 and 1 or n * fact(n - 1)
    end
    eq(conn.teleport(fact)(10), 3628800)
    conn.execute "counted = 5"
    conn.teleport(function()
        counted = counted + 1
        local function nested()
            counted = counted + 1
        end
        nested()
    end)()
    eq(ns.counted, 7, "globals of a function that travels are the namespace")
    eq(conn.builtins.counted, nil)
    local globals = _G
    eq(conn.teleport(function()
        return rawequal(globals, require "_G")
    end)(), true)
    local where = conn.teleport(function()
        return require "proc".pid()
    end)
    eq(where(), conn.modules.proc.pid())
end

do
    local strict = check.connect {instance = 2, teleport = false}
    fails("teleport is switched off", strict.teleport, function() end)
    fails("teleport is switched off", strict.remote_exec, function() end)
    strict.close()
end

-- Settings of the environment.
do
    local other = check.connect {instance = 2, env = {GRAPNEL_A = "a value", GRAPNEL_N = 7}}
    eq(other.call("os.getenv", "GRAPNEL_A"), "a value")
    eq(other.call("os.getenv", "GRAPNEL_N"), "7")
    eq(other.call("os.getenv", "a value"), nil)
    other.close()
end

-- Modules of here, over there.
conn.upload_module("greetings", "return {hi = function(name) return 'hi ' .. name end}")
eq(conn.modules.greetings.hi "Ann", "hi Ann")
eq(conn.eval 'require "greetings".hi "Bob"', "hi Bob")
fails("nosuchmodule", function()
    return conn.modules.nosuchmodule
end)

-- Proxies behave as what they stand for.
do
    local t = conn.eval "{10, 20, 30, name = 'n'}"
    eq(#t, 3)
    eq(t[2], 20)
    eq(t.name, "n")
    local sum = 0
    for _, v in ipairs(t) do
        sum = sum + v
    end
    eq(sum, 60)
    local keys = 0
    for _ in pairs(t) do
        keys = keys + 1
    end
    eq(keys, 4)
    t.more = {1}
    eq(rawequal(ns.scores, ns.scores), true, "the same object is the same proxy")
    conn.execute [[
        local meta = {}
        meta.__index = meta
        meta.__add = function(a, b) return vector(a.x + b.x) end
        meta.__lt = function(a, b) return a.x < b.x end
        meta.__le = function(a, b) return a.x <= b.x end
        meta.__eq = function(a, b) return a.x == b.x end
        meta.__concat = function(a, b) return tostring(a) .. "|" .. tostring(b) end
        meta.__tostring = function(a) return "<" .. a.x .. ">" end
        meta.__call = function(a, y) return a.x * y end
        meta.__len = function() return 99 end
        meta.__close = function(a) closed = a.x end
        function vector(x) return setmetatable({x = x}, meta) end
    ]]
    local a, b = ns.vector(1), ns.vector(2)
    eq((a + b).x, 3)
    eq(a < b, true)
    eq(b <= a, false)
    eq(a == ns.vector(1), true)
    eq(a == b, false)
    eq(a .. b, "<1>|<2>")
    eq(tostring(a), "<1>")
    eq(b(21), 42)
    eq(#a, 99)
    do
        local scoped <close> = b
    end
    eq(conn.eval "closed", 2)
end

-- Errors tell where they come from.
do
    conn.execute "function fail() error('on purpose') end function failtable() error({code = 7}) end"
    local message = fails("on purpose", ns.fail)
    eq(message:find("traceback", 1, true) ~= nil, true, "the far traceback is carried")
    local ok, e = pcall(ns.failtable)
    eq(ok, false)
    eq(e.code, 7)
    fails("syntax", conn.execute, "this is not Lua")
end

-- Values arrive as they were.
do
    local echo = conn.eval "function(...) return ... end"
    for _, v in ipairs {true, false, 0, -1, math.maxinteger, math.mininteger, 1.5, 1 / 0, -1 / 0,
                        "", "text", "b\0\xff", ("x"):rep(70000)} do
        local back = echo(v)
        eq(back, v)
        eq(math.type(back), math.type(v))
    end
    local nan = echo(0 / 0)
    eq(nan ~= nan, true)
    eq(1 / echo(-0.0), -1 / 0)
    eq(select("#", echo(nil, nil)), 2)
    local cycle = {}
    cycle.me = cycle
    fails("itself", conn.deliver, cycle)
    local back = echo(cycle)
    eq(back, cycle)
end

-- Callbacks, also from within callbacks.
do
    local trail = {}
    local down = conn.teleport(function(f, n)
        if n == 0 then
            return "bottom"
        end
        return f(n)
    end)
    local function up(n)
        trail[#trail + 1] = n
        return down(up, n - 1)
    end
    eq(up(5), "bottom")
    eq(trail, {5, 4, 3, 2, 1})
end

-- A local program whose socket module is the far one.
do
    local listener = assert(conn.modules.net.listen("127.0.0.1", 0))
    local _, port = listener:getsockname()
    local function fetch(socket) -- a program written for LuaSocket
        local s = assert(socket.tcp())
        assert(s:connect("127.0.0.1", port))
        assert(s:send "ping\n")
        local answer = s:receive "*l"
        s:close()
        return answer
    end
    conn.execute [[
        function serve_one(listener)
            local s = listener:accept()
            s:write(s:read("l") .. " pong\n")
            s:close()
        end
    ]]
    local served = grapnel.async(ns.serve_one)(listener)
    eq(fetch(conn.modules.net), "ping pong")
    served:wait()
    listener:close()
end

-- Large values in calls, all the way.
do
    local fs, proc = conn.modules.fs, conn.modules.proc
    local dir = fs.tempdir()
    local path, text = dir .. "/large", ("0123456789abcdef"):rep(3 << 16)
    eq(fs.write_file(path, text) ~= nil, true)
    eq(fs.read_file(path) == text, true)
    local file = conn.builtins.io.open(path)
    eq(file:read "a" == text, true)
    file:close()
    fs.remove(dir, {recursive = true})
    eq(#proc.run("head -c 2097152 /dev/zero").out, 2 << 20)
    local printed = 0
    do
        local scope <close> = conn.redirect_stdio(function(piece)
            printed = printed + #piece
        end)
        conn.execute "print(('x'):rep(2 << 20))"
    end
    eq(printed, (2 << 20) + 1)
end

conn.close()
fails("EOF", function()
    return ns.scores
end)
fails("EOF", conn.eval, "1")
print "ok"
