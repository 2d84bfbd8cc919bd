-- Objects by reference: identity, operations, errors, release.
local test = {}

function test.identity()
    conn.execute("t = {} f = function() return t end")
    local t = conn.eval("t")
    assert(grapnel.isproxy(t) and grapnel.type(t) == "table" and t == conn.eval("t"))
    assert(rawequal(t, conn.eval("f")()))
    local mine = {}
    t.mine = mine
    assert(rawequal(t.mine, mine))
    assert(rawequal(conn.execute("return t.mine"), mine))
    assert(conn.execute("return rawequal(..., t)", t))
    local f = function() end
    assert(rawequal(conn.execute("return ...", f), f))
    local co = coroutine.create(f)
    assert(rawequal(conn.execute("return ...", co), co))
end

function test.tracebacks()
    conn.execute [[function thrower(value) error(value) end]]
    local thrower = conn.namespace.thrower
    local values = {{code = 7}, {message = "m"}, setmetatable({}, {}), print}
    for _, value in ipairs(values) do
        local ok, e = pcall(thrower, value)
        assert(not ok and grapnel.traceback(e):find "execute:1", grapnel.traceback(e))
    end
    local ok, e = pcall(conn.eval, "thrower(setmetatable({}, {}))")
    assert(not ok and grapnel.isproxy(e) and grapnel.traceback(e):find "execute:1")
    ok, e = pcall(thrower, "a text")
    assert(not ok and grapnel.traceback(e):find "^stack traceback" and grapnel.traceback(e):find "execute:1")
    local channel = conn.remote_exec "thrower {code = 8}"
    ok, e = pcall(channel.wait_close, channel)
    assert(not ok and e.code == 8 and grapnel.traceback(e):find "execute:1")
    ok, e = pcall(grapnel.async(thrower)(print))
    assert(not ok and rawequal(e, print) and grapnel.traceback(e):find "execute:1")
    ok, e = pcall(thrower, 7)
    assert(not ok and e == 7 and grapnel.traceback(7):find "execute:1" and grapnel.traceback(8) == nil)
    ok, e = pcall(conn.execute, "\nerror(false)")
    assert(not ok and e == false and grapnel.traceback(e):find "execute:2" and grapnel.traceback(7) == nil)
    ok, e = pcall(conn.execute, "\n\nerror()")
    assert(not ok and e == nil and grapnel.traceback(e):find "execute:3")
    assert(grapnel.traceback({}) == nil and grapnel.traceback("text") == nil)
end

function test.nothing_to_close()
    for _, source in ipairs {"{}", "function() end", "coroutine.create(print)",
                             "setmetatable({}, {})"} do
        local o <close> = conn.eval(source)
        assert(o)
    end
    conn.execute "closed = 0  object = {close = function() closed = closed + 1 end}"
    do
        local o <close> = conn.eval "object"
    end
    assert(conn.eval "closed" == 1)
    local ok, e = pcall(function()
        local o <close> = conn.eval "{close = 1}"
    end)
    assert(not ok and e:find "call a number", e)
end

function test.operations()
    conn.execute [[
        local m = {}
        m.__add = function(a, b) return "add" end
        m.__concat = function(a, b) return "concat" .. (type(a) == "string" and a or "") end
        m.__eq = function() return true end
        m.__lt = function() return true end
        m.__le = function() return false end
        m.__call = function(self, x) return x * 2 end
        m.__len = function() return 42 end
        m.__unm = function() return "unm" end
        m.__tostring = function() return "me" end
        m.__index = function(_, k) return k .. "!" end
        m.__close = function() closed = (closed or 0) + 1 end
        x, y = setmetatable({}, m), setmetatable({}, m)
    ]]
    local x, y = conn.eval("x"), conn.eval("y")
    assert(x + 1 == "add" and 1 + x == "add" and x .. "a" == "concat" and "a" .. x == "concata")
    assert(x == y and x < y and not (x <= y) and x(21) == 42 and #x == 42 and -x == "unm")
    assert(tostring(x) == "me" and x.abc == "abc!")
    do
        local z <close> = x
    end
    assert(conn.eval("closed") == 1)
    assert(not pcall(function() return x * 2 end))
    assert(#conn.eval("{1, 2, 3}") == 3)
    local f = conn.eval("io.tmpfile()")
    assert(grapnel.type(f) == "file" and f:write("hello") == f)
    f:seek("set")
    assert(f:read("a") == "hello")
    f:close()
end

function test.calls()
    assert(conn.call("string.rep", "ab", 3) == "ababab")
    assert(conn.call("string.format", "%d", 7) == "7")
    assert(conn.modules.string.upper("abc") == "ABC")
    assert(conn.call("math.max", 1, 5, 3) == 5)
    local ok, e = pcall(conn.call, "string.nothing")
    assert(not ok and e:find("no such module or function: string.nothing"), e)
    ok, e = pcall(conn.call, "nothing")
    assert(not ok and e:find("no such"), e)
    conn.namespace.scores = {Foo = 1}
    conn.namespace.scores.Foo = conn.namespace.scores.Foo + 58
    assert(conn.eval("scores.Foo") == 59)
end

function test.errors()
    local ok, e = pcall(conn.execute, "local function inner() error('oh') end inner()")
    assert(not ok and e:find("oh") and e:find("remote traceback:") and e:find("inner"), e)
    ok, e = pcall(conn.execute, "error({code = 5, list = {1, 2}})")
    assert(not ok and type(e) == "table" and e.code == 5 and e.list[2] == 2)
    ok, e = pcall(conn.execute, "error(setmetatable({}, {__index = {a = 1}}))")
    assert(not ok and grapnel.isproxy(e) and e.a == 1)
    ok, e = pcall(conn.execute, "error(nil)")
    assert(not ok and e == nil)
    ok, e = pcall(conn.execute, "local t = {} t.t = t error(t)")
    assert(not ok and e ~= nil)
    ok, e = pcall(conn.execute, "error(setmetatable({}, {__tostring = function() error('x') end}))")
    assert(not ok and grapnel.isproxy(e))
    ok, e = pcall(conn.execute, "return (nil).x")
    assert(not ok and e:find("index"), e)
    ok, e = pcall(conn.execute, "local x <close> = setmetatable({}, {__close = function() error('late') end}) error('early')")
    assert(not ok and type(e) == "string", e)
    ok, e = pcall(conn.execute, "syntax error")
    assert(not ok and e:find("syntax error"), e)
    -- Any bytes, in both directions and over channels.
    local bytes = "a\0b\xff"
    local function whole(f, ...)
        local ok, e = pcall(f, ...)
        assert(not ok and e:sub(1, 5) == bytes .. "\n", e)
        assert(grapnel.traceback(e):find("stack traceback", 1, true))
    end
    whole(conn.execute, "error(..., 0)", bytes)
    whole(conn.eval("function(f) f() end"), function() error(bytes, 0) end)
    local ch = conn.remote_exec("error(..., 0)", bytes)
    whole(ch.receive, ch)
end

function test.both_ways()
    local n = 0
    local function up(k)
        n = n + 1
        return k + 1
    end
    assert(conn.execute("local f = ... return f(1) + f(10)", up) == 13 and n == 2)
    conn.execute("keep = ...", up)
    assert(conn.execute("return keep(5)") == 6)
    local ok, e = pcall(conn.execute, "local f = ... f()", function() error("mine") end)
    assert(not ok and e:find("mine"), e)
    -- nothing else of ours can be reached
    ok, e = pcall(conn.execute, "local f = ... return f()", function() return os end)
    assert(ok and rawequal(e, os))
    local t = {3, 1, 2}
    conn.execute("table.sort(...)", t)
    assert(t[1] == 1 and t[3] == 3)
end

function test.depth()
    local deepest = 0
    local recurse
    recurse = function(n, far)
        deepest = math.max(deepest, n)
        return far(n + 1, recurse)
    end
    conn.execute("function bounce(n, near) return near(n + 1, bounce) end")
    local ok, e = pcall(recurse, 1, conn.eval("bounce"))
    assert(not ok and e:find("nested too deeply"), e)
    assert(deepest > 40 and deepest < 80, deepest)
end

function test.pairs()
    conn.execute("t = {} for i = 1, 10000 do t[i] = i * i end")
    local t, n = conn.eval("t"), 0
    for k, v in pairs(t) do
        assert(v == k * k)
        n = n + 1
    end
    assert(n == 10000)
    n = 0
    for i, v in ipairs(t) do
        n = n + 1
        assert(i == n and v == i * i)
    end
    assert(n == 10000)
    for k, v in pairs(conn.eval("{}")) do
        error("empty")
    end
    conn.execute("o = {} for i = 1, 500 do o[{}] = {} end")
    n = 0
    for k, v in pairs(conn.eval("o")) do
        assert(grapnel.isproxy(k) and grapnel.isproxy(v))
        n = n + 1
    end
    assert(n == 500)
    conn.execute [[p = setmetatable({}, {__pairs = function()
        return function(_, k) k = (k or 0) + 1 if k <= 300 then return k, {} end end end})]]
    n = 0
    for k, v in pairs(conn.eval("p")) do
        n = n + 1
        assert(k == n and grapnel.isproxy(v))
    end
    assert(n == 300)
    conn.execute("big = {} for i = 1, 40 do big[i] = ('x'):rep(100000) end")
    n = 0
    for _, v in pairs(conn.eval("big")) do
        n = n + #v
    end
    assert(n == 4000000)
    for _ in pairs(conn.eval("o")) do
        break
    end
    n = 0
    for k, v in grapnel.buffiter(conn.eval("t"), 10) do
        n = n + 1
    end
    assert(n == 10000)
    n = 0
    for line in grapnel.buffiter(conn.eval("string.gmatch('a b c', '%a')"), 2) do
        n = n + 1
    end
    assert(n == 3)
end

function test.release()
    far("freed = 0")
    conn.execute [[
        function make()
            return setmetatable({}, {__gc = function() freed = freed + 1 end})
        end
    ]]
    local make = conn.eval("make")
    local kept = make()
    for _ = 1, 1000 do
        make()
    end
    settle()
    settle()
    local freed = tonumber(conn.execute("return rawget(_ENV, 'freed') or 0"))
    assert(freed >= 1000 or tonumber(far("return freed")) >= 1000, freed)
    assert(tostring(kept):find("table"))
    kept = nil
    -- ours, too
    local weak = setmetatable({}, {__mode = "v"})
    weak[1] = {}
    conn.execute("local x = ...", weak[1])
    settle()
    settle()
    assert(weak[1] == nil)
end

-- Finalizers run at any time, also while a message is being made: they may not make another.
function test.finalizers()
    conn.execute("function check(a, b, c) assert(a == 1 and type(b) == 'userdata' and c == 'c') return b end")
    local check, refused, done = conn.eval("check"), 0, 0
    local meta = {__gc = function()
        local ok, e = pcall(grapnel.call_no_reply, check, 2, {}, "d")
        refused = refused + (not ok and e:find("finalizer") and 1 or 0)
        done = done + 1
    end}
    for i = 1, 2000 do
        for _ = 1, 3 do
            setmetatable({}, meta)
        end
        local t = {}
        assert(rawequal(check(1, t, "c"), t))
    end
    assert(done > 1000 and refused == done, refused)
end

function test.stale()
    local t = conn.eval("{}")
    local f = conn.eval("print")
    lose()
    local ok, e = pcall(function() return t.x end)
    assert(not ok and tostring(e):find("^EOF: "), e)
    ok, e = pcall(f)
    assert(not ok and tostring(e):find("^EOF: .*cut by the test.*root@there:1"), e)
    ok, e = pcall(conn.execute, "return 1")
    assert(not ok and tostring(e):find("^EOF: "), e)
    assert(tostring(t):find("gone"))
    assert(conn.closed)
    ok, e = pcall(pairs, t)
    assert(not ok and tostring(e):find("^EOF: "), e)
end

function test.lost_while_waiting()
    local ok, e = pcall(conn.execute, "local f = ... f()", lose)
    assert(not ok and tostring(e):find("^EOF: .*cut by the test"), e)
end

function test.close()
    conn:close()
    local ok, e = pcall(conn.execute, "return 1")
    assert(not ok and tostring(e):find("^EOF: already closed"), e)
end

-- Iteration asks for pages, not for pairs.
function test.pairs_in_pages()
    local list = conn.eval "(function() local l = {} for i = 1, 5000 do l[i] = i end return l end)()"
    local before, n = answered(), 0
    for _ in pairs(list) do
        n = n + 1
    end
    assert(n == 5000 and answered() - before < 12, answered() - before)
    before, n = answered(), 0
    for _ in ipairs(list) do
        n = n + 1
    end
    assert(n == 5000 and answered() - before < 12, answered() - before)
end

-- What is dropped at once is released at once.
function test.releases_in_batches()
    local make = conn.eval "function() return {} end"
    local some = {}
    for i = 1, 200 do
        some[i] = make()
    end
    settle()
    some = nil
    local before = moved()
    settle()
    local bytes = moved() - before
    assert(bytes > 200 and bytes < 200 * 8, bytes)
end

return test
