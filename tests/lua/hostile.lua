-- Bad input from either end: each is a clear error, and nobody dies but the instance.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local conn = check.connect()
local alone = check.connect {instance = 2, memory = 32 << 20, cpu = 20}

local function alive(c)
    eq((c or conn).eval "6 * 7", 42, "it goes on")
end

-- More calls than may wait, of which none is answered: memory is bounded, and then it is told. It
-- is looked at in the end, since it takes its time.
local crowd = check.connect {instance = 3}
local crowded = grapnel.async(function()
    local sleep, n = grapnel.async(crowd.modules.time.sleep), 0
    local ok, why = pcall(function()
        for _ = 1, 1000000 do
            sleep(1000)
            n = n + 1
        end
    end)
    return ok, tostring(why), n
end)()

-- Functions that are not there, and arguments of the wrong types.
do
    for _, name in ipairs {"no.such", "nosuch", "sys.nosuch", "", ".", "sys.", ".x", "a\0b"} do
        fails("no such module or function", conn.call, name)
    end
    fails("attempt to call", conn.call, "\xff\xfe")
    for _, name in ipairs {7, true} do
        fails("string expected", conn.call, name)
    end
    fails("string expected, got table", conn.call, "fs.stat", {})
    fails("number expected, got string", conn.call, "string.rep", "x", "y")
    fails("string expected, got table", conn.eval, {})
    fails("bad argument", conn.execute)
    fails("attempt to index a function value", function()
        return conn.eval "print".x
    end)
    fails("attempt to call a table value", conn.eval "{}")
    fails("attempt to perform arithmetic", function()
        return conn.eval "{}" + 1
    end)
    fails("attempt to compare", function()
        return conn.eval "{}" < conn.eval "{}"
    end)
    alive()
end

-- Values that are too deep, too large, or contain themselves; strings of any bytes.
do
    local deep, cycle = {}, {}
    for _ = 1, 100 do
        deep = {deep}
    end
    cycle[1] = cycle
    fails("nested deeper than 64", conn.deliver, deep)
    fails("nested deeper than 64", conn.call, "type", grapnel.copy {deep})
    fails("nested deeper than 64", conn.call, "eval",
        "(function() local d = {} for _ = 1, 100 do d = {d} end return d end)()")
    fails("contains itself", conn.deliver, cycle)
    fails("contains itself", conn.call, "eval", "(function() local t = {} t.t = t return t end)()")
    fails("as a key", conn.deliver, {[{}] = 1})
    fails("through a channel", conn.call, "type", ("x"):rep(64 << 20))
    fails("through a channel", conn.call, "string.rep", "x", 64 << 20)
    local c = conn.remote_exec "channel:receive()"
    fails("nested deeper than 64", c.send, c, deep)
    fails("more than 67108864 bytes", c.send, c, ("x"):rep(64 << 20))
    c:close()
    fails("more than 67108864 bytes", function()
        conn.remote_exec "channel:send(('x'):rep(64 << 20))":receive()
    end)
    for _, s in ipairs {"\xff", "\0", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xc3"} do
        eq(conn.eval "function(s) return s, #s end"(s), s)
    end
    alive()
end

-- Errors of any type, and errors while an error is handled.
do
    local function thrown(source, ...)
        local ok, e = pcall(conn.execute, source, ...)
        eq(ok, false, source)
        return e
    end
    eq(thrown "error {code = 5, why = {1, 2}}", {code = 5, why = {1, 2}})
    eq(thrown "error()", nil)
    local own = {}
    eq(rawequal(thrown("error(...)", own), own), true, "an object of ours comes home")
    eq(tostring(thrown "error(setmetatable({}, {__tostring = function() return 'mine' end}))"), "mine")
    local e = thrown "error(setmetatable({}, {__tostring = function() error 'no text' end}))"
    fails("no text", tostring, e)
    e = thrown "local t = {} t.t = t error(t)"
    eq(grapnel.isproxy(e.t), true, "a table within itself goes as an object")
    fails("could not be sent", error, thrown "local t = {} for _ = 1, 100 do t = {t} end error(t)")
    fails("could not be sent", error, thrown "error(('x'):rep(1 << 20))")
    local ok, _, why = pcall(conn.execute, "return xpcall(error, function() error 'again' end, 1)")
    eq(ok, true)
    fails("error in error handling", error, why)
    fails("closing", conn.execute,
        "local x <close> = setmetatable({}, {__close = function() error 'closing' end}) error 'first'")
    alive()
end

-- Bombs, under a limit of memory.
do
    local bombs = {
        "return #('x'):rep(1e9)",
        "local t = {} for i = 1, 1e9 do t[i] = {i} end",
        "local s = 'x' while true do s = s .. s end",
        "local t for _ = 1, 1e9 do local u = t t = function() return u end end",
        "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(print) end",
        "local s = ('x'):rep(1e6) return #s:gsub('.', s)",
        "local x <close> = setmetatable({}, {__close = function() return ('x'):rep(1e9) end})",
        "return tostring(setmetatable({}, {__tostring = function() return ('x'):rep(1e9) end}))",
        "table.sort({3, 2, 1}, function() return ('x'):rep(1e9) end)",
    }
    for _, bomb in ipairs(bombs) do
        fails("memory limit", alone.execute, bomb)
        alive(alone)
    end
    eq(select(2, alone.execute "return xpcall(function() return ('x'):rep(1e9) end, string.rep, 1e9)"),
        "not enough memory")
    fails("memory limit", tostring,
        alone.eval "setmetatable({}, {__tostring = function() return ('x'):rep(1e9) end})")
    fails("memory limit", alone.eval "function(f) return f('x') end", function(s)
        return alone.call("string.rep", s, 1e9)
    end)
    fails("memory limit", function()
        alone.remote_exec "local t = {} for i = 1, 1e9 do t[i] = {i} end":receive()
    end)
    fails("string too large", alone.execute, "return (('x'):rep(1e5)):rep(1e17)")
    fails("too many results", alone.execute, "return table.unpack({}, 1, 1e8)")
    -- What is kept fills it for good; then it can be had again.
    fails("memory limit", alone.execute, "keep = {} for i = 1, 1e9 do keep[i] = {i} end")
    fails("memory limit", alone.eval, "('x'):rep(1e6)")
    alone.close()
    alone = check.connect {instance = 2, memory = 32 << 20, cpu = 20}
    alive(alone)
    alive()
end

-- Recursion, through Lua and through C.
do
    for _, source in ipairs {
        "local function f() return 1 + f() end f()",
        "local function f() return (('x'):gsub('x', f)) end f()",
        "local t t = setmetatable({}, {__tostring = function() return ('%s'):format(t) end}) tostring(t)",
        "local function f() table.sort({1, 2}, f) end f()",
        "local function f() return coroutine.wrap(f)() end f()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x",
        "error(select(2, load(('('):rep(1000) .. '1' .. (')'):rep(1000))))",
    } do
        fails("overflow", conn.execute, source)
    end
    eq(conn.execute "local function f() return pcall(f) end local t = {f()} return t[#t]" ~= true, true)
    fails("possible loop", conn.execute, "local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x")
    fails("too complex", conn.execute, "return ('x'):rep(3e5):find(('x?'):rep(3e5) .. 'b')")
    fails("too many captures", conn.execute, "return ('x'):rep(40):find(('(x'):rep(40))")
    alive()
end

-- Code that does not end, wherever it is called from: the call is ended, and the rest goes on.
do
    local a, b = conn.execute [[
        local function forever() while true do pcall(function() while true do end end) end end
        local meta = {}
        for _, name in ipairs {"index", "newindex", "len", "call", "tostring", "close", "lt", "le",
            "eq", "concat", "add", "unm", "pairs"} do
            meta["__" .. name] = forever
        end
        return setmetatable({}, meta), setmetatable({}, meta)
    ]]
    local function far(source)
        return function()
            return conn.execute("local a, b = ... " .. source, a, b)
        end
    end
    local endless = {
        function() return a.x end,
        function() a.x = 1 end,
        function() return #a end,
        function() return a() end,
        function() return tostring(a) end,
        function() local _ <close> = a end,
        function() return a < b end,
        function() return a <= b end,
        function() return a == b end,
        function() return a .. "x" end,
        function() return a + 1 end,
        function() return -a end,
        function() for _ in pairs(a) do end end,
        function() table.sort({1, 2}, function() return a < b end) end,
        far "table.sort({a, b, a}, function(x, y) return x < y end)",
        far "return ('x'):gsub('x', function() return a.x end)",
        far "return ('%s'):format(a)",
        far "return coroutine.wrap(function() return a.x end)()",
        far "local x <close> = a error 'x'",
        far "return table.concat(setmetatable({}, {__len = function() return 5 end, __index = a}))",
    }
    local futures = {}
    for i, f in ipairs(endless) do
        futures[i] = grapnel.async(f)():set_expiry(0.3)
    end
    for i, f in ipairs(futures) do
        fails("in time", f.wait, f)
    end
    alive()
    fails("in time", grapnel.timed(tostring, 0.05), a)
    alive()
end

-- What cannot be stopped from within, a finalizer or a match, holds up its instance only, and the
-- limit of processor time ends that.
do
    local function stuck(source)
        local c = check.connect {instance = 4, cpu = 1}
        local f = grapnel.async(c.eval(source))()
        eq(f:wait(0.1), false)
        alive()
        fails("CPU limit", function()
            f()
        end)
        fails("EOF: ", c.eval, "1")
        c.close()
    end
    stuck "function() setmetatable({}, {__gc = function() while true do end end}) collectgarbage() end"
    stuck "function() return ('a'):rep(30):find(('a*'):rep(30) .. 'b') end"
    alive()
end

-- A worker that is killed while its answers are on their way.
do
    local c = check.connect {instance = 4}
    local answers = {}
    for i = 1, 20 do
        answers[i] = grapnel.async(c.eval "string.rep")("x", 1000000)
    end
    local killed = grapnel.async(c.eval [[function()
        local f = io.open "/proc/self/stat"
        os.execute("kill -9 " .. f:read "n")
    end]])()
    fails("killed by signal KILL", function()
        killed()
    end)
    local ok, lost = 0, 0
    for _, f in ipairs(answers) do
        local fine, x = pcall(f)
        ok = ok + (fine and #x == 1000000 and 1 or 0)
        lost = lost + (not fine and tostring(x):find "killed by signal KILL" and 1 or 0)
    end
    eq(ok + lost, 20)
    fails("EOF: ", c.eval, "1")
    c.close()
    c = check.connect {instance = 4}
    alive(c)
    c.close()
end

-- Far code and what was passed to it: functions are called, and that is all.
do
    local far = conn.eval "function(f, ...) return f(...) end"
    local secret = "not to be seen"
    local function mine()
        return #secret
    end
    eq(far(mine), #secret)
    for _, source in ipairs {
        "function(f) return f._ENV end",
        "function(f) return f[1] end",
        "function(f) f.x = 1 end",
        "function(f) return #f end",
        "function(f) return f .. '' end",
        "function(f) return debug.getupvalue(f, 1) end",
        "function(f) return debug.setupvalue(f, 1, 1) end",
        "function(f) return debug.upvalueid(f, 1) end",
        "function(f) return debug.getinfo(f, 'f').func end",
        "function(f) return debug.sethook(f, print, 'c') end",
        "function(f) return string.dump(f) end",
        "function(f) for _ in pairs(f) do end end",
        "function(f) return require 'grapnel'.obtain(f).x end",
    } do
        eq(pcall(conn.eval(source), mine), false, source)
    end
    -- A table is its contents, and what its metamethods do; its metatable is not.
    local guarded = setmetatable({open = 1}, {hidden = 2, __index = function() return nil end,
        __pairs = function() return next, {shown = 3}, nil end})
    eq(conn.eval "getmetatable"(guarded), "proxy")
    eq(conn.eval "function(t) return t.hidden, t.__index, t.__metatable end"(guarded), nil)
    eq(conn.eval "function(t) local k = {} for name in pairs(t) do k[#k + 1] = name end return #k, k[1] end"
        (guarded), 1)
    fails("expected, got proxy", conn.eval "function(t) return rawget(t, 'open') end", guarded)
    fails("expected, got proxy", conn.eval "function(t) return next(t) end", guarded)
    eq(conn.eval "function(f) return f.no_such, pcall(function() return f.__gc() end) end"(io.stdout), nil)
    alive()
end

-- Bytecode of the far end's is not loaded here, and with teleport switched off none of ours there.
do
    local code = conn.eval "string.dump(function() return 'ran' end)"
    local far = conn.eval "function(f, ...) return f(...) end"
    local function binary(...)
        local loaded, why = far(...)
        eq(loaded, nil)
        fails("attempt to load a binary chunk", error, why)
    end
    binary(load, code)
    binary(load, code, "x", "b")
    binary(function(s) return load(s) end, code)
    binary(function(s) return load(s, "x", "bt", {}) end, code)
    binary(coroutine.wrap(function(s) return load(s) end), code)
    binary(function(s)
        return load(function()
            local piece = s
            s = nil
            return piece
        end)
    end, code)
    eq(far(function(s) return load(s, "=x", "t", {y = 7})() end, "return y"), 7)
    eq(load(string.dump(function() return 8 end))(), 8, "our own")
    local off = check.connect {instance = 5, teleport = false}
    fails("switched off", off.teleport, function() end)
    fails("switched off", off.remote_exec, function() end)
    fails("bytecode is not accepted", off.call, "teleport", grapnel.copy {})
    fails("binary chunk", off.execute, code)
    fails("unexpected symbol", off.eval, code)
    fails("binary chunk", off.upload_module, "m", code .. "\n")
    off.execute([[
        file = os.tmpname()
        require "fs".write_file(file, ...)
        package.path = file
    ]], code)
    fails("binary chunk", off.eval, "dofile(file)")
    fails("binary chunk", off.eval, "assert(loadfile(file, 'b'))")
    fails("binary chunk", off.eval, "require 'no_such'")
    off.execute "os.remove(file)"
    eq(off.call("load", code), nil)
    fails("binary chunk", function()
        off.remote_exec(code):receive()
    end)
    alive(off)
    off.close()
end

-- Callbacks that raise, and those within those.
do
    local far = conn.eval "function(f, ...) return f(...) end"
    fails("of mine", far, function() error "of mine" end)
    local ok, e = pcall(far, function() error {code = 7} end)
    eq(ok, false)
    eq(e.code, 7)
    eq(conn.eval "function(f) local ok, e = pcall(f) return ok, e.code end"(function() error {code = 7} end), false)
    local function reached(c)
        local depth = 0
        local function down(g)
            depth = depth + 1
            return g(down)
        end
        fails("nested too deeply", c.eval "function(f) local function g(h) return h(g) end return f(g) end", down)
        return depth
    end
    eq(reached(conn), 32)
    local shallow = check.connect {instance = 5, depth = 7}
    eq(reached(shallow), 4)
    alive(shallow)
    shallow.close()
    alive()
end

-- A worker that calls as fast as it can, also what does not end.
do
    local c = check.connect {instance = 5}
    local function size()
        for line in io.lines "/proc/self/status" do
            local kb = line:match "^VmRSS:%s*(%d+)"
            if kb then
                return tonumber(kb)
            end
        end
    end
    local n, before = 0, size()
    local flood = c.eval [[function(f, most)
        local call = require "grapnel".call_no_reply
        for i = 1, most do
            call(f, i, ("x"):rep(1000))
        end
    end]]
    flood(function() n = n + 1 end, 100000)
    eq(n > 30000, true, "calls that came")
    eq(size() - before < 150000, true, "memory of many calls")
    local slow = grapnel.async(flood)(function() grapnel.sleep(1000) end, 1000000)
    eq(slow:wait(1.5), false)
    eq(size() - before < 400000, true, "memory of many calls that do not end")
    alive()
    c.close()
end

-- After the end everything of it is an error that says so.
do
    local c = check.connect {instance = 5}
    local object, f, channel = c.eval "{}", c.eval "print", c.channel()
    local pending = grapnel.async(c.modules.time.sleep)(1000)
    local modules, namespace = c.modules, c.namespace
    c.close()
    for _, use in ipairs {
        function() return object.x end,
        function() object.x = 1 end,
        function() return #object end,
        function() return object + 1 end,
        function() return object .. "" end,
        function() return object < object end,
        function() for _ in pairs(object) do end end,
        function() for _ in ipairs(object) do end end,
        function() return f() end,
        function() return grapnel.async(f)() end,
        function() return grapnel.call_no_reply(f) end,
        function() return grapnel.obtain(object) end,
        function() return conn.eval "function(x) return x.y end"(object) end,
        function() return pending.value end,
        function() return channel:receive() end,
        function() return channel:send(1) end,
        function() return c.eval "1" end,
        function() return c.call "sys.uname" end,
        function() return c.execute "" end,
        function() return c.root end,
        function() return c.channel() end,
        function() return c.remote_exec "" end,
        function() return c.facts() end,
        function() return c.ping() end,
        function() return modules.sys end,
        function() return namespace.x end,
    } do
        fails("EOF: ", use)
    end
    eq(object == c, false)
    fails("gone", error, tostring(object))
    c.close()
    do
        local _ <close> = object
    end
    object, f = nil, nil
    collectgarbage()
    alive()
end

do
    local ok, why, n = crowded()
    eq(ok, false)
    fails("a limit was reached", error, why)
    eq(n > 60000 and n <= 65536, true, "calls that were let wait")
    alive(crowd)
end

alone.close()
conn.close()
crowd.close()
print "ok"
