-- Channels and the code behind them.
local test = {}

local function eof(f, ...)
    local ok, e = pcall(f, ...)
    assert(not ok and e.eof and tostring(e):find("^EOF"), tostring(e))
end

function test.exec()
    local ch = conn.remote_exec([[
        local a, b = ...
        channel:send(a + b)
        channel:send({list = {1, 2, 3}})
        for item in channel:iter() do
            channel:send(item * 2)
        end
        channel:send("done")
    ]], 3, 4)
    assert(ch:receive() == 7)
    assert(ch:receive().list[3] == 3)
    for i = 1, 10 do
        ch:send(i)
        assert(ch:receive() == 2 * i)
    end
    ch:close_write()
    assert(not pcall(ch.send, ch, 1))
    assert(ch:receive() == "done")
    eof(ch.receive, ch)
    eof(ch.receive, ch)
    ch:wait_close()
    assert(ch.closed)
end

function test.errors()
    local ch = conn.remote_exec("channel:send(1) channel:send(2) error('oh no')")
    grapnel.sleep(0.02)
    assert(ch:receive() == 1 and ch:receive() == 2)
    local ok, e = pcall(ch.receive, ch)
    assert(not ok and e:find("oh no") and e:find("remote traceback"), tostring(e))
    eof(ch.receive, ch)
    ch:wait_close()
    ch = conn.remote_exec("error({code = 3})")
    ok, e = pcall(ch.wait_close, ch)
    assert(not ok and e.code == 3, tostring(e))
    ch = conn.remote_exec("syntax error")
    ok, e = pcall(ch.receive, ch)
    assert(not ok and e:find("syntax"), tostring(e))
end

function test.timeouts()
    local ch = conn.remote_exec("channel:receive() channel:send('late')")
    local ok, e = pcall(ch.receive, ch, 0.02)
    assert(not ok and e.timeout)
    ok, e = pcall(ch.wait_close, ch, 0.02)
    assert(not ok and e.timeout)
    ch:send(1)
    assert(ch:receive(1) == "late")
end

function test.iteration()
    local ch = conn.remote_exec("for i = 1, 1000 do channel:send(i) end")
    local n = 0
    for i in ch do
        n = n + 1
        assert(i == n)
    end
    assert(n == 1000)
end

function test.callbacks()
    local ch = conn.remote_exec("for i = 1, 5 do channel:send(i) end channel:receive() channel:send(6)")
    grapnel.sleep(0.01)
    local got = {}
    ch:set_callback(function(x) got[#got + 1] = x end, "end")
    grapnel.sleep(0.01)
    assert(#got == 5)
    ch:send(1)
    grapnel.sleep(0.02)
    assert(#got == 7 and got[6] == 6 and got[7] == "end", #got)
end

local function timeout(f, ...)
    local start = grapnel.now()
    local ok, e = pcall(f, ...)
    assert(not ok and e.timeout, tostring(e))
    return grapnel.now() - start
end

local function collector()
    local got = {n = 0}
    return got, function(x)
        got.n = got.n + 1
        got[got.n] = x
    end
end

function test.callbacks_and_the_far_error()
    local ch = conn.remote_exec("channel:send(1) error('boom')")
    local got, take = collector()
    ch:set_callback(take, "end")
    local ok, e = pcall(ch.wait_close, ch)
    assert(not ok and tostring(e):find("boom") and e:find("remote traceback"), tostring(e))
    assert(got.n == 2 and got[1] == 1 and got[2] == "end")
    ch:wait_close()
    ch = conn.remote_exec("error({code = 7})")
    ch:set_callback(take)
    ok, e = pcall(ch.wait_close, ch, 5)
    assert(not ok and e.code == 7, tostring(e))
end

function test.callbacks_that_fail()
    conn.execute "said = nil"
    local ch = conn.remote_exec("channel:send(1) channel:send(2) local _, e = pcall(channel.receive, channel) said = e")
    local got, take = collector()
    ch:set_callback(function(x)
        take(x)
        if x == 1 then
            error({mine = true})
        end
    end, "end")
    local ok, e = pcall(ch.wait_close, ch)
    assert(not ok and e.mine, tostring(e))
    assert(got.n == 2 and got[2] == "end" and ch.closed)
    ch:wait_close()
    ch = conn.remote_exec("local _, e = pcall(channel.receive, channel) said = e")
    ch:set_callback(function(x) if x == "end" then error("at the end", 0) end end, "end")
    ch:close()
    ok, e = pcall(ch.wait_close, ch)
    assert(not ok and e == "at the end", tostring(e))
end

-- The limit is one for the callback and the end together.
function test.callbacks_and_limits()
    local done = 0
    local ch = conn.remote_exec("channel:send(1)")
    ch:set_callback(function() grapnel.sleep(0.1) done = done + 1 end)
    timeout(ch.wait_close, ch, 0.02)
    assert(done == 0)
    ch:wait_close(5)
    assert(done == 1)
    ch = conn.remote_exec("channel:send(1) channel:receive()")
    ch:set_callback(function() grapnel.sleep(0.1) end)
    local took = timeout(ch.wait_close, ch, 0.2)
    assert(took < 0.35, took)
    timeout(ch.wait_close, ch, 0)
    ch:send(1)
    ch:wait_close(5)
end

function test.callbacks_that_wait_for_themselves()
    for _, limit in ipairs {5, false} do
        local ch = conn.remote_exec("channel:send(1)")
        ch:set_callback(function() ch:wait_close(limit or nil) end)
        local ok, e = pcall(ch.wait_close, ch, 5)
        assert(not ok and tostring(e):find("own end"), tostring(e))
    end
    local f
    f = grapnel.async(function() return f.ready, f.value end)()
    local ok, e = pcall(f)
    assert(not ok and tostring(e):find("own end"), tostring(e))
end

function test.callbacks_that_close()
    local ch = conn.remote_exec("for i = 1, 10 do channel:send(i) end")
    local got, take = collector()
    grapnel.sleep(0.02)
    ch:set_callback(function(x)
        take(x)
        if x == 3 then
            ch:close()
        end
    end, "end")
    ch:wait_close(5)
    assert(got.n == 4 and got[3] == 3 and got[4] == "end", got.n)
end

function test.callbacks_are_functions()
    local ch = conn.remote_exec("channel:send(1)")
    local ok, e = pcall(ch.set_callback, ch, 5)
    assert(not ok and e:find("function expected"), tostring(e))
    local got, take = collector()
    ch:set_callback(setmetatable({}, {__call = function(_, x) take(x) end}))
    ch:wait_close(5)
    assert(got.n == 1)
    local f = grapnel.async(conn.builtins.tostring)(1)
    ok, e = pcall(f.add_callback, f, 5)
    assert(not ok and e:find("function expected"), tostring(e))
    assert(f.value == "1")
end

-- Who says that nothing more comes has ended, too.
function test.wait_close_and_half_closes()
    local ch = conn.remote_exec [[
        channel:wait_close()
        channel:send(select("#", channel:wait_close(5)))
        channel:receive()
    ]]
    ch:send "unread"
    timeout(ch.wait_close, ch, 0.02)
    ch:close_write()
    assert(ch:receive(5) == 0)
    ch:wait_close(5)
    ch = conn.remote_exec("channel:send(1) channel:close_write() channel:receive()")
    ch:wait_close(5)
    assert(ch:receive() == 1 and not ch.closed)
    local got, take = collector()
    ch = conn.remote_exec("channel:send(1) channel:close_write() channel:receive()")
    ch:set_callback(take, "end")
    ch:wait_close(5)
    assert(got.n == 2 and got[2] == "end")
end

-- What a channel is closed with arrives as what is thrown.
function test.closed_with_errors()
    local why = conn.execute [[
        return function(channel)
            said = "nothing"
            said = select(2, pcall(channel.receive, channel))
        end]]
    local function said(error)
        local ch = conn.remote_exec(why)
        ch:close(error)
        ch:wait_close(5)
        grapnel.sleep(0.01)
        return conn.call("eval", "said")
    end
    assert(said "a text" == "a text" and said(7) == 7)
    assert(said({code = 7, inner = {1}}).inner[1] == 1)
    assert(said(setmetatable({}, {__tostring = function() error "within" end})) ~= "nothing")
    assert(said(("x"):rep(1 << 20)):find("could not be sent"))
end

-- What runs beside a channel learns of its end from the channel.
function test.closed_while_it_runs()
    for _, uses in ipairs {"send(channel, 1)", "receive(channel)"} do
        local ch = conn.remote_exec(conn.eval(([[function(channel)
            why = nil
            while not why do
                local ok, e = pcall(function() return channel.%s end)
                why = not ok and tostring(e)
                require "grapnel".sleep(0)
            end
        end]]):format(uses)))
        grapnel.sleep(0.01)
        ch:close()
        grapnel.sleep(0.05)
        assert(conn.eval "why" == "EOF: the channel has ended", uses)
    end
end

-- Globals of source are its own, those of functions the namespace's.
function test.globals()
    conn.execute "n = 1"
    local ch = conn.remote_exec "n = n + 1 channel:send(n)"
    assert(ch:receive() == 2 and conn.eval "n" == 1)
    ch = conn.remote_exec(function(channel) n = n + 1 channel:send(n) end)
    assert(ch:receive() == 2 and conn.eval "n" == 2)
end

function test.one_value()
    local ch = conn.remote_exec "channel:send(channel:receive())"
    local ok, e = pcall(ch.send, ch, 1, 2)
    assert(not ok and e:find("one value"), tostring(e))
    ch:send(3)
    assert(ch:receive() == 3)
end

function test.nils()
    local source = "channel:send(1) channel:send(nil) channel:send(3)"
    local got, take = collector()
    local ch = conn.remote_exec(source)
    ch:set_callback(take, "end")
    ch:wait_close()
    assert(got.n == 4 and got[1] == 1 and got[2] == nil and got[3] == 3 and got[4] == "end", got.n)
    ch = conn.remote_exec(source)
    assert(ch:receive() == 1 and ch:receive() == nil and ch:receive() == 3)
    ch = conn.remote_exec(source)
    got, take = collector()
    local ok, e = pcall(function() for x in ch do take(x) end end)
    assert(not ok and e:find("a nil came"), tostring(e))
    assert(got.n == 1 and ch:receive() == 3)
end

function test.one_reader()
    local ch = conn.remote_exec("channel:send(1) channel:receive()")
    local got, take = collector()
    ch:set_callback(take)
    local ok, e = pcall(ch.set_callback, ch, take)
    assert(not ok and e:find("callback already"), tostring(e))
    for _, f in ipairs {ch.receive, ch.iter, ch} do
        ok, e = pcall(f, ch)
        assert(not ok and e:find("its callback"), tostring(e))
    end
    ch:send(1)
    ch:wait_close()
    assert(got.n == 1)
    assert(ch.take == nil and ch.claim == nil)
end

-- Who waits for the end holds nobody up; what came can still be read.
function test.wait_close_unread()
    local ch = conn.remote_exec("for i = 1, 2000 do channel:send(('x'):rep(10000) .. i) end")
    ch:wait_close(20)
    local n = 0
    for s in ch do
        n = n + 1
        assert(s:find("^x+" .. n .. "$"))
    end
    assert(n == 2000)
    conn.execute "sent = 0"
    ch = conn.remote_exec("while not stop do channel:send(('x'):rep(10000)) sent = sent + 1 end")
    local ok, e = pcall(ch.wait_close, ch, 0.05)
    assert(not ok and e.timeout, tostring(e))
    grapnel.sleep(0.02)
    local sent = conn.eval "sent"
    grapnel.sleep(0.02)
    assert(conn.eval "sent" == sent, "it waits again")
    conn.execute "stop = true"
    ch:wait_close(20)
end

function test.many_arguments()
    local list = {}
    for i = 1, 20000 do
        list[i] = i
    end
    local ch = conn.remote_exec("channel:send(select('#', ...)) channel:send((select(20000, ...)))", table.unpack(list))
    assert(ch:receive() == 20000 and ch:receive() == 20000)
    ch = conn.remote_exec("channel:send(select('#', ...))", nil, 2, nil)
    assert(ch:receive() == 3)
end

function test.channels_over_channels()
    local ch = conn.remote_exec("local other = channel:receive().it other:send('through') other:close()")
    local mine = conn.channel()
    ch:send({it = mine})
    assert(mine:receive() == "through")
    eof(mine.receive, mine)
    conn.execute("function take(c) keep = c c:send(1) return c end")
    local other = conn.channel()
    assert(rawequal(conn.eval("take")(other), other))
    assert(other:receive() == 1)
    other:close("stop")
    local ok, e = pcall(conn.execute, "keep:receive()")
    assert(not ok and tostring(e):find("stop"), tostring(e))
end

function test.functions()
    local ch = conn.remote_exec("local f = channel:receive() channel:send(f(20)) channel:send(string.upper)")
    ch:send(function(x) return x + 1 end)
    assert(ch:receive() == 21)
    assert(ch:receive()("abc") == "ABC")
end

function test.bounded()
    conn.execute [[
        sent = 0
        function flood(channel)
            for i = 1, 4000 do channel:send(("x"):rep(10000)) sent = i end
        end]]
    local ch = conn.remote_exec("flood(channel)", 1)
    local flood = conn.eval("flood")
    ch = conn.remote_exec(flood)
    grapnel.sleep(0.1)
    local sent = conn.eval("sent")
    assert(sent > 10 and sent < 1500, sent)
    local n = 0
    for s in ch do
        n = n + 1
        assert(#s == 10000)
    end
    assert(n == 4000)
end

function test.large()
    local ch = conn.remote_exec("for s in channel:iter() do channel:send(#s) channel:send(s) end")
    local big = ("0123456789abcdef"):rep(1 << 20)
    ch:send(big)
    assert(ch:receive() == #big)
    assert(ch:receive() == big)
    local ok, e = pcall(ch.send, ch, ("x"):rep((64 << 20) + 1))
    assert(not ok and tostring(e):find("larger than its limit"), tostring(e))
    ch:send("a")
    assert(ch:receive() == 1)
end

function test.dropped()
    for i = 1, 100 do
        local ch = conn.remote_exec("channel:send({}) channel:send(print) pcall(channel.receive, channel)")
    end
    settle()
    settle()
    assert(conn.eval("1") == 1)
    for i = 1, 50 do
        local ch = conn.channel()
        ch:send(print)
    end
    settle()
end

function test.lost()
    local ch = conn.remote_exec("channel:send(1) channel:receive()")
    assert(ch:receive() == 1)
    local ok, e
    local f = grapnel.async(function() ok, e = pcall(ch.receive, ch) end)()
    grapnel.sleep(0.01)
    lose()
    f:wait()
    assert(not ok and e.eof and tostring(e):find("cut by the test"), tostring(e))
    eof(ch.send, ch, 1)
    eof(ch.wait_close, ch)
    assert(ch.closed)
    ok, e = pcall(conn.channel)
    assert(not ok and e.eof and tostring(e):find("^EOF"))
end

function test.refused()
    local ok, e = pcall(conn.execute, "local f = ... return f()", function() return 1 end)
    assert(ok)
end

return test
