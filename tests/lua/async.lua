-- Asynchronous calls, as RPyC's tutorial has them, and what it has not.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local conn = check.connect()
local sleep = conn.modules.time.sleep

-- asleep = async(sleep), polled by ready.
do
    local asleep = grapnel.async(sleep)
    local result = asleep(0.2)
    eq(result.ready, false)
    local polls = 0
    while not result.ready do
        polls = polls + 1
        grapnel.sleep(0.02)
    end
    eq(polls > 2, true)
    eq(result.error, false)
    eq(result.value, nil)
end

-- Two sleeps take as long as the longer one, and a plain call does not wait for either.
do
    local asleep = grapnel.async(sleep)
    local before = grapnel.now()
    local long, short = asleep(2), asleep(1)
    eq(conn.eval "1 + 1", 2)
    local at_once = grapnel.now() - before
    eq(long.ready or short.ready, false, "the plain call was first")
    short:wait()
    eq(long.ready, false)
    long:wait()
    local took = grapnel.now() - before
    eq(took >= 2 and took < 2.9, true, ("took %.2f s (plain call %.3f s)"):format(took, at_once))
end

-- Nor for a command, nor for what one writes.
do
    conn.execute [[
        function execute(line) return os.execute(line) end
        function first_line(line) local p <close> = io.popen(line) return p:read("l") end
    ]]
    local slow = grapnel.async(conn.namespace.execute)("sleep 60")
    local line = grapnel.async(conn.namespace.first_line)("echo line; sleep 60")
    eq(conn.eval "1 + 1", 2)
    eq(slow.ready, false, "the plain call was first")
    slow:cancel()
    line:cancel()
    eq({conn.eval "os.execute('exit 3')"}, {nil, "exit", 3})
    eq(conn.eval "first_line('echo line; echo more')", "line")
    eq({conn.eval "os.execute('kill -9 $$')"}, {nil, "signal", 9})
    eq({conn.eval "io.popen('exit 4'):close()"}, {nil, "exit", 4})
    eq({conn.eval [[io.popen("echo '1 2 3x'; echo 4"):read("n", "n", "n", "l", "*n")]]}, {1, 2, 3, "x", 4})
    eq(table.pack(conn.eval [[io.popen("echo 1 x 3"):read("n", "n", "n")]]), {1, nil, n = 2})
end

-- Nor for the other end of a FIFO, or a terminal.
do
    conn.execute [[
        fifo = os.tmpname()
        os.remove(fifo)
        require "fs".mkfifo(fifo)
        function get(path, mode) local f <close> = assert(io.open(path, mode)) return f:read "a" end
        function put(text) local f <close> = assert(io.open(fifo, "w")) f:write(text) end
    ]]
    local ns = conn.namespace
    local function first(start, ...) -- it waits, and others are served
        local waiting = grapnel.async(start)(...)
        for _ = 1, 3 do
            eq(conn.eval "1 + 1", 2)
        end
        eq(waiting.ready, false)
        return waiting
    end
    local got = first(ns.get, conn.eval "fifo")
    ns.put "text"
    eq(got.value, "text")
    local put = first(ns.put, "more")
    eq(ns.get(conn.eval "fifo"), "more")
    eq(put:wait(5), true)
    local chunk = first(conn.builtins.dofile, conn.eval "fifo")
    ns.put "return 6 * 7"
    eq(chunk.value, 42)
    first(ns.get, "/dev/ptmx", "r+"):cancel()
    eq({conn.eval "io.type(io.open(fifo, 'r+')), io.open(fifo, 'r+'):seek()"}, {"file", nil, "Illegal seek", 29})
    eq({conn.eval "io.type(io.open '/dev/null'), io.open('/dev/null'):seek()"}, {"file", 0})
    eq(conn.eval "(function(f) f:close() return io.type(f) end)(io.popen ':')", "closed file")
    conn.execute "os.remove(fifo)"
end

-- What is cancelled there ends there, with the commands that it waited for.
do
    conn.execute [[
        function spawn(line) return os.execute("echo $$ >" .. pids .. "; exec " .. line) end
        function collected(line) return io.popen("echo $$ >" .. pids .. "; exec " .. line):read "a" end
        function closed(line) pipe = io.popen("echo $$ >" .. pids .. "; exec " .. line) pipe:read "a" end
        function close() collectgarbage() return pipe and pipe:close() end
        function left()
            collectgarbage()
            return require "proc".run("kill -0 $(cat " .. pids .. ")").status == 0
        end
    ]]
    conn.execute "pids = os.tmpname()"
    local ways = {spawn = "left", collected = "left", closed = "close"}
    for start, finish in pairs(ways) do
        local running = grapnel.async(conn.namespace[start])("sleep 60")
        while not conn.eval "(io.open(pids):read 'n')" do
            sleep(0.01)
        end
        running:cancel()
        conn.namespace[finish]()
        local limit = grapnel.now() + 5
        while conn.namespace.left() do
            eq(grapnel.now() < limit, true, start .. ": its command ends")
            sleep(0.01)
        end
        conn.execute "io.open(pids, 'w'):close()"
    end
    conn.execute "os.remove(pids)"
end

-- Callbacks, errors, expiry.
do
    local got
    local result = grapnel.async(conn.eval "function(x) return x * 2 end")(21)
    result:add_callback(function(r)
        got = r.value
    end)
    result:wait()
    eq(got, 42)
    result:add_callback(function()
        got = "late"
    end)
    eq(got, "late", "a callback added afterwards runs at once")

    result = grapnel.async(conn.eval "function() error('far') end")()
    result:wait()
    eq(result.error ~= false, true)
    fails("far", function()
        return result.value
    end)

    result = grapnel.async(sleep)(30)
    result:set_expiry(0.1)
    fails("in time", result.wait, result)
    eq(result.expired, true)
    result = grapnel.async(sleep)(30)
    eq(result:wait(0.05), false)
    eq(result.ready, false)
    eq(result.expired, false, "only the wait was over")
    result:cancel()
    fails("cancel", function()
        return result.value
    end)

    local slow = grapnel.timed(sleep, 0.1)
    fails("in time", slow, 30)
    slow(0)
end

-- Cancelling stops the work, also work that never pauses.
do
    conn.execute [[
        rounds = 0
        function spin() while true do rounds = rounds + 1 end end
        function stubborn() while true do pcall(spin) end end
    ]]
    for _, name in ipairs {"spin", "stubborn"} do
        local spinning = grapnel.async(conn.namespace[name])()
        while conn.eval "rounds" == 0 do
            grapnel.sleep(0.01)
        end
        spinning:cancel()
        fails("cancel", function()
            return spinning.value
        end)
        local before = conn.eval "rounds"
        eq(conn.eval "rounds", before, name .. " has stopped")
        conn.execute "rounds = 0"
    end
end

-- Without an answer; and many at once.
do
    conn.execute "heard = {} function hear(x) heard[#heard + 1] = x end"
    local hear = conn.namespace.hear
    for i = 1, 100 do
        grapnel.call_no_reply(hear, i)
    end
    while conn.eval "#heard" < 100 do
        grapnel.sleep(0.01)
    end
    local twice, results = grapnel.async(conn.eval "function(x) return x + x end"), {}
    for i = 1, 20000 do
        results[i] = twice(i)
    end
    for i = 1, 20000 do
        if results[i].value ~= 2 * i then
            error("answer " .. i)
        end
    end
end

-- What ends the instance fails what waits, at once, with the cause; and it can be had again.
do
    local other = check.connect {instance = 2}
    local pending = grapnel.async(other.modules.time.sleep)(30)
    local before = grapnel.now()
    local message = fails("status 3", other.execute, "os.exit(3)")
    fails("status 3", function()
        return pending.value
    end)
    eq(grapnel.now() - before < 5, true, message)
    eq(conn.eval "1", 1, "the other instance lives")
    other.close()
    other = check.connect {instance = 2}
    eq(other.eval "2", 2)
    fails("KILL", other.execute, "require 'proc'.signal(require 'proc'.pid(), 'KILL')")
    other.close()
    other = check.connect {instance = 2, memory = 16 << 20}
    fails("memory", other.eval, "('x'):rep(1 << 30)")
    eq(other.eval "3", 3, "and has survived")
    other.close()
end

conn.close()
print "ok"
