-- The classic API.
local test = {}

function test.namespace()
    conn.execute("def = 1")
    assert(conn.namespace.def == 1 and conn.namespace.print == conn.builtins.print)
    conn.namespace.f = function(x) return x .. "!" end
    assert(conn.eval("f('hi')") == "hi!")
    assert(conn:eval("1 + 1") == 2 and conn.eval("1 + 1") == 2)
    assert(conn.builtins.def == nil)
    local ok, e = pcall(conn.execute, string.dump(function() end))
    assert(not ok and tostring(e):find("binary chunk"), e)
    assert(conn.ping() >= 0)
end

function test.sources()
    assert(conn.execute "#!/usr/bin/lua5.4\nreturn debug.getinfo(1, 'l').currentline" == 2)
    assert(conn.execute "#!/usr/bin/lua5.4" == nil)
    assert(conn.remote_exec("#!/usr/bin/lua5.4\nchannel:send(1)"):receive() == 1)
    assert(not pcall(conn.execute, "#t"))
    -- What redefines functions of Lua's does itself no favour, but code can still be sent.
    conn.execute [[
        kept = {}
        for _, name in ipairs {"load", "error", "setmetatable", "tostring", "type", "ipairs", "table"} do
            kept[name], _G[name] = _G[name], false
        end
        _G.load = function() return nil, "not here" end
    ]]
    assert(conn.eval "6 * 7" == 42)
    assert(conn.teleport(function() return 43 end)() == 43)
    assert(conn.remote_exec("channel:send(44)"):receive() == 44)
    conn.execute "for name, value in next, kept do _G[name] = value end"
    assert(conn.execute "return load" == conn.builtins.load and conn.eval "tostring(1)" == "1")
end

function test.names()
    conn.execute "function twice(x) return x + x end  lib = {f = function() return 'f' end}  seven = 7"
    assert(conn.call("twice", 4) == 8 and conn.call("lib.f") == "f")
    assert(conn.call("tostring", 5) == "5" and conn.call("math.abs", -5) == 5)
    conn.execute "function tostring() return 'mine' end"
    assert(conn.call("tostring", 5) == "mine")
    conn.execute "tostring = nil"
    assert(conn.call("tostring", 5) == "5")
    conn.execute "function eval() return 'mine' end"
    assert(conn.call("eval", "1 + 1") == 2)
    conn.execute "eval = nil  callable = setmetatable({}, {__call = function(_, x) return x end})"
    assert(conn.call("callable", 3) == 3)
    for _, name in ipairs {"nothing_there", "twice.x", "1"} do
        local ok, e = pcall(conn.call, name)
        assert(not ok and tostring(e):find("no such"), e)
    end
    local ok, e = pcall(conn.call, "seven")
    assert(not ok and tostring(e):find("call a number"), e)
end

function test.modules()
    assert(conn.modules.string == conn.modules.string)
    assert(conn.modules.math.floor(1.5) == 1)
    local ok, e = pcall(function() return conn.modules.nothing_there end)
    assert(not ok and e:find("nothing_there"), e)
    local net = conn.modules.string
    local function local_program(string) return string.format("%d", 5) end
    assert(local_program(net) == "5")
end

function test.deliver()
    local t = {1, {x = 2}}
    local far_t = conn.deliver(t)
    assert(grapnel.isproxy(far_t) and #far_t == 2 and far_t[2].x == 2)
    far_t[1] = 5
    assert(t[1] == 1)
    local back = conn.obtain(far_t)
    assert(back[1] == 5 and back[2].x == 2)
end

local counter = 10
local function helper(x)
    return x * 2
end

function test.teleport()
    local here = {}
    local function f(x)
        counter = counter + 1
        local s = string.format("%d", helper(x))
        return s, counter, where, here
    end
    local upper = string.upper
    conn.execute("rawset(_G, 'where', 'far')")
    local g = conn.teleport(f)
    assert(grapnel.type(g) == "function")
    local s, n, where, h = g(21)
    assert(s == "42" and n == 11 and where == "far" and rawequal(h, here), where)
    s, n = g(1)
    assert(n == 12 and counter == 10)
    assert(conn.teleport(function(x) return upper(x) end)("a") == "A")
    local function fact(k)
        return k == 0 and 1 or k * fact(k - 1)
    end
    assert(conn.teleport(fact)(10) == 3628800)
    local n2 = 0
    local function inc() n2 = n2 + 1 end
    local both = conn.teleport(function() inc() inc() return n2 end)
    assert(both() == 2, "shared variables")
    assert(conn.teleport(print) == conn.builtins.print)
    local ok, e = pcall(conn.teleport, coroutine.wrap(print))
    assert(not ok and tostring(e):find("not written in Lua"), e)
    ok, e = pcall(conn.call, "teleport", grapnel.copy {{code = "\27Lua junk", up = {}}})
    assert(not ok and tostring(e):find("cannot be used"), e)
    local ch = conn.remote_exec(function(channel, a) channel:send(a + helper(1)) end, 5)
    assert(ch:receive() == 7)
end

function test.upload()
    local m = conn.upload_module("made_here", "local m = {}\nfunction m.f() return 'f' end\nreturn m")
    assert(m.f() == "f" and conn.call("made_here.f") == "f")
    local ok, e = pcall(conn.upload_module, "bad", "syntax error\n")
    assert(not ok and tostring(e):find("syntax error"))
    assert(conn.upload_module("twice", "return {v = 1}\n").v == 1)
    assert(conn.upload_module("twice", "return {v = 2}\n").v == 2)
    assert(conn.modules.twice.v == 2 and conn.eval "require 'twice'.v" == 2)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write "local m = {}\nfunction m.fail() error 'there' end\nreturn m\n"
    file:close()
    ok, e = pcall(conn.upload_module("filed", path).fail)
    os.remove(path)
    assert(not ok and e:find(path .. ":2: there", 1, true), e)
end

function test.require()
    local asked
    conn.require_from(function(name)
        asked = name
        if name == "from_here" then
            return "return {name = ..., fail = function()\nerror 'there' end}", "/from/here.lua"
        elseif name == "nameless" then
            return "return debug.getinfo(1, 'S').short_src"
        end
    end)
    assert(conn.call("execute", "return require('from_here').name") == "from_here" and asked == "from_here")
    assert(conn.modules.from_here.name == "from_here")
    assert(conn.eval "select(2, require 'from_here')" == nil)
    conn.execute "package.loaded.from_here = nil"
    assert(conn.eval "select(2, require 'from_here')" == "/from/here.lua")
    assert(conn.eval "require 'nameless'" == "nameless")
    local ok, e = pcall(conn.execute, "require 'from_here'.fail()")
    assert(not ok and e:find("^/from/here.lua:2: there\n.*/from/here.lua:2: in "), e)
    ok, e = pcall(conn.execute, "require('not_here')")
    assert(not ok and tostring(e):find("with the launcher"), e)
    conn.require_from(false)
    ok, e = pcall(conn.execute, "require('from_here2')")
    assert(not ok)
end

function test.stdio()
    local out, err = {}, {}
    do
        local scope <close> = conn.redirect_stdio(
            function(s) out[#out + 1] = s end, function(s) err[#err + 1] = s end)
        conn.execute [[
            print("hello", 1, nil)
            io.write("a", 2)
            io.stdout:write("b"):write("c")
            io.stderr:write("e")
        ]]
        assert(table.concat(out) == "hello\t1\tnil\na2bc", table.concat(out))
        assert(table.concat(err) == "e")
        local ok, e = pcall(conn.execute, "io.write({})")
        assert(not ok and tostring(e):find("bad argument"))
    end
    far("io.stdout:write('') assert(print ~= nil)")
    assert(#out == 4)
    assert(far("return tostring(print):find('builtin') or tostring(print)") ~= "")
end

-- Programs keep functions in variables of their own, and do so before anybody redirects.
function test.stdio_kept()
    conn.upload_module("kept", [[
        local print, write, method = print, io.write, io.stdout.write
        return function(x)
            print("print", x)
            write("write", x, "\n")
            method(io.stdout, "method", x, "\n")
        end
    ]])
    local kept, out, inner = conn.modules.kept, {}, {}
    do
        local scope <close> = conn.redirect_stdio(function(s) out[#out + 1] = s end)
        kept(1)
        do
            local within <close> = conn.redirect_stdio(function(s) inner[#inner + 1] = s end)
            kept(2)
        end
        kept(3)
    end
    assert(table.concat(out) == "print\t1\nwrite1\nmethod1\nprint\t3\nwrite3\nmethod3\n", table.concat(out))
    assert(table.concat(inner) == "print\t2\nwrite2\nmethod2\n", table.concat(inner))
    conn.execute [[
        local path = os.tmpname()
        local file = io.open(path, "w")
        assert(file:write("a", 1):write("b") == file)
        file:close()
        for line in io.lines(path) do assert(line == "a1b") end
        os.remove(path)
        assert(not pcall(file.write, 5) and not pcall(file.write, file, "closed"))
    ]]
end

-- A dialogue: complete or not, and what is shown.
function test.interact()
    local function said(text)
        return table.concat({tostring((conn.call("interact", text))), select(2, conn.call("interact", text))}, " ")
    end
    assert(said "x = 5" == "true" and said "x + 1, nil" == "true 6\tnil")
    assert(said "function f()":find "^false" and said "function f()\nreturn 7\nend" == "true")
    assert(said "f()" == "true 7" and said "1 +\n2" == "true 3" and said "x y":find "^true .*syntax error")
end

-- What the documentation of others shows.
function test.others()
    conn.execute("scores = {Foo = 23, Bar = 42}")
    local ns = conn.namespace
    ns.scores.Bar = ns.scores.Bar + 58
    assert(conn.eval("scores.Bar") == 100)
    local out = {}
    do
        local scope <close> = conn.redirect_stdio(function(s) out[#out + 1] = s end)
        conn.execute("function hello() print('hello') end")
        conn.namespace.hello()
    end
    assert(out[1] == "hello\n")
    local sorted = conn.remote_exec([[
        local list = channel:receive()
        table.sort(list)
        channel:send(list)
    ]])
    sorted:send {3, 1, 2}
    assert(table.concat(sorted:receive(), ",") == "1,2,3")
    local sleep = conn.modules.grapnel.sleep
    local asleep = grapnel.async(sleep)(0.05)
    assert(not asleep.ready)
    while not asleep.ready do end
end

return test
