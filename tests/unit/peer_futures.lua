-- Calls that are not waited for.
local async = grapnel.async
local test = {}

conn.execute [[
    function id(...) return ... end
    function sleep(s) local t = require("grapnel") t.sleep(s) return s end
    function fail(x) error(x or "failed") end
]]
local id, sleep, fail = conn.eval("id"), conn.eval("sleep"), conn.eval("fail")

function test.value()
    local f = async(id)(7, 8)
    assert(not f.expired and f.value == 7 and f.ready and f.error == false)
    local a, b = f()
    assert(a == 7 and b == 8 and f:wait() == true)
    f = async(fail)()
    f:wait()
    assert(f.ready and f.error:find("failed"))
    local ok, e = pcall(function() return f.value end)
    assert(not ok and e:find("failed") and e:find("traceback"), e)
    ok, e = pcall(f)
    assert(not ok and e:find("failed"))
    f = async(id)({})
    assert(grapnel.type(f.value) == "table")
end

function test.results_of_any_number_and_size()
    local half = async(id)()
    assert(half.value == nil and half.error == false and select("#", half()) == 0)
    half = async(id)(nil)
    assert(half.value == nil and select("#", half()) == 1)
    half = async(id)(nil, 2, nil)
    assert(half.value == nil and select("#", half()) == 3 and select(2, half()) == 2)
    for n = 0, 60 do
        local text = ("x"):rep(n)
        local f, g = async(id)(text), async(id)(text, {n}, n)
        f:wait()
        f:set_expiry(0)
        assert(f.value == text and f() == text and not f.expired and f.error == false)
        local a, b, c = g()
        assert(a == text and b[1] == n and c == n and g.value == text)
    end
    async(id)(1):wait() -- never looked at
    collectgarbage()
    assert(id(2) == 2)
end

function test.polled()
    local f = async(sleep)(0.05)
    assert(not f.ready)
    local n = 0
    while not f.ready do
        n = n + 1
    end
    assert(n > 1 and f.value == 0.05)
end

function test.side_by_side()
    local start = grapnel.now()
    local a, b = async(sleep)(0.6), async(sleep)(0.5)
    assert(id(5) == 5)
    assert(not a.ready and not b.ready)
    a:wait()
    b:wait()
    local took = grapnel.now() - start
    assert(took > 0.59 and took < 1.05, took)
end

function test.timeouts()
    local f = async(sleep)(5)
    assert(f:wait(0.02) == false and not f.expired)
    f:set_expiry(0.02)
    local ok, e = pcall(function() return f.value end)
    assert(not ok and e.timeout and tostring(e):find("in time"), e)
    assert(f.expired)
    ok, e = pcall(grapnel.timed(sleep, 0.02), 5)
    assert(not ok and e.timeout)
    assert(grapnel.timed(sleep, 2)(0.01) == 0.01)
end

function test.cancel()
    conn.execute "done = 0 function long() pcall(sleep, 5) done = done + 1 sleep(5) done = done + 100 end"
    local f = async(conn.eval("long"))()
    assert(not f:wait(0.02))
    f:cancel()
    f:wait()
    assert(f.error.cancelled and tostring(f.error):find("cancelled"), f.error)
    assert(conn.eval("done") == 1 or conn.eval("done") == 0)
    f:cancel()
    -- what is answered after a cancel is of no matter
    f = async(id)(1)
    f:cancel()
    f:wait()
end

function test.callbacks()
    local got = {}
    local f = async(id)("a")
    f:add_callback(function(x) got[#got + 1] = x.value end)
    f:add_callback(function(x) got[#got + 1] = x.value .. "2" end)
    f:add_callback(function() error("of no matter") end)
    f:wait()
    grapnel.sleep(0.01)
    assert(got[1] == "a" and got[2] == "a2", #got)
    f:add_callback(function(x) got[3] = x.value end)
    assert(got[3] == "a")
    -- of a future that nobody holds
    async(id)("z"):add_callback(function(x) got[4] = x.value end)
    collectgarbage()
    collectgarbage()
    id()
    grapnel.sleep(0.01)
    assert(got[4] == "z")
end

function test.locals()
    local f = async(function(x) grapnel.sleep(0.01) return x + id(1) end)(1)
    assert(f.value == 2)
    f = async(function() error("here") end)()
    assert(not pcall(f) and f.error:find("here"))
    f = async(conn.execute)("return 6 * 7")
    assert(f.value == 42)
    f = async(grapnel.sleep)(5)
    f:cancel()
    assert(not pcall(f))
end

function test.no_reply()
    conn.execute "count = 0 function tick(n) count = count + n return {} end"
    for i = 1, 100 do
        assert(select("#", grapnel.call_no_reply(conn.eval("tick"), 1)) == 0)
    end
    grapnel.call_no_reply(fail)
    assert(conn.eval("count") == 100)
    local tick = conn.eval("tick")
    for i = 1, 70000 do
        grapnel.call_no_reply(tick, 1)
    end
    assert(conn.eval("count") == 70100)
end

function test.many()
    local start = async(id)
    local futures = {}
    for i = 1, 100000 do
        futures[i] = start(i)
    end
    local sum = 0
    for i = 1, 100000 do
        sum = sum + futures[i].value
    end
    assert(sum == 100000 * 100001 // 2)
end

function test.dropped()
    for i = 1, 1000 do
        async(id)({}, conn.eval("id"))
    end
    settle()
    assert(id(3) == 3)
end

-- A wait that may not be, for it is too deep in functions that cannot be left, leaves nothing.
function test.too_deep()
    local f, ch = async(sleep)(0.3), conn.remote_exec("channel:receive() channel:send(1)")
    local refused = 0
    local function dive(n)
        table.sort({1, 2}, function()
            local ok, e
            if n < 40 then
                async(dive)(n + 1)
                ok, e = pcall(f.wait, f, 0.05)
            end
            ok, e = pcall(f.wait, f, 0.01)
            refused = refused + ((not ok and tostring(e):find("too deep")) and 1 or 0)
            pcall(ch.receive, ch, 0.01)
        end)
    end
    dive(1)
    collectgarbage()
    collectgarbage()
    assert(refused > 0, refused)
    ch:send(1)
    assert(ch:receive() == 1 and f.value == 0.3)
end

-- Code that runs while the state is being closed finds nothing, but nothing bad either.
function test.closing()
    local f = async(sleep)(100)
    leftover = setmetatable({}, {__gc = function()
        pcall(async, id)
        pcall(async(id), 1)
        pcall(async(print), 1)
        pcall(grapnel.call_no_reply, id, 1)
        pcall(grapnel.call_no_reply, print)
        pcall(conn.execute, "return 1")
        pcall(conn.channel)
        pcall(f.wait, f, 1)
        pcall(function() return f.ready, f.value end)
        pcall(f.set_expiry, f, 1)
        pcall(grapnel.sleep, 1)
        pcall(conn.close)
        pcall(tostring, id)
        pcall(pairs, id)
        pcall(grapnel.now)
    end})
end

function test.lost()
    local f, g = async(sleep)(10), async(sleep)(10)
    assert(not f:wait(0.01))
    local told
    g:add_callback(function(x) told = x.error end)
    lose()
    local ok, e = pcall(f)
    assert(not ok and e.eof and tostring(e):find("^EOF: .*cut by the test"), e)
    grapnel.sleep(0.01)
    assert(told.eof, told)
end

-- A time that is over already.
function test.expired_at_once()
    local f = async(sleep)(30):set_expiry(0)
    assert(tostring(f):find("expired") and f.expired)
    local ok, e = pcall(f.wait, f)
    assert(not ok and e.timeout, tostring(e))
end

-- Nobody needs to wait for a future that expires: the far side stops, and callbacks run.
function test.expired_alone()
    conn.execute "rounds = 0 function tick() while true do rounds = rounds + 1 require 'grapnel'.sleep(0.002) end end"
    local seen
    local f = async(conn.namespace.tick)()
    f:set_expiry(0.03)
    f:add_callback(function(f) seen = {f.expired, f.error} end)
    grapnel.sleep(0.1)
    assert(seen and seen[1] == true and seen[2].timeout, "the callback came")
    local rounds = conn.eval "rounds"
    grapnel.sleep(0.02)
    assert(rounds > 0 and conn.eval "rounds" == rounds, "it was stopped")
    local ok, e = pcall(f.wait, f)
    assert(not ok and e.timeout, tostring(e))
end

function test.callbacks_that_fail()
    local f = async(id)(1)
    f:add_callback(function() error("oops", 0) end)
    f:add_callback(function() error({}) end)
    assert(f:wait())
    grapnel.sleep(0.01)
    local said = warned()
    assert(said:find("callback of a future %(oops%)\n") and said:find("%(table%)\n"), said)
end

return test
