-- The connection cache: what is got, by whom, how often it is made, and what becomes of it.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local host = os.getenv "TEST_TARGET" or "t"
local me = os.getenv "SSHD_USER" or "root"

--- The options that lead to the test's host, with these.
local function with(options)
    options = options or {}
    options.user = options.user or me
    options.config = os.getenv "SSHD_CONFIG"
    options.transport = os.getenv "TEST_TRANSPORT"
    return options
end

local function get(n, options)
    options = with(options)
    options.instance = n
    return grapnel.get_connection(host, options)
end

local function name(n)
    return ("%s@%s:%d"):format(me, host, n)
end

local function size(path)
    local file <close> = assert(io.open(path))
    return file:seek "end"
end

--- Waits until f() is true, while everything goes on.
local function within(seconds, f)
    local limit = grapnel.now() + seconds
    while not f() do
        if grapnel.now() > limit then
            error("it has not come to pass", 2)
        end
        grapnel.sleep(0.01)
    end
end

-- The same number is the same connection; another one has a world of its own on the same server.
do
    local one = get(1)
    eq(one.name, name(1))
    eq(tostring(one), "grapnel.conn: " .. name(1))
    one.execute "x = 5"
    eq(rawequal(get(1), one), true)
    eq(rawequal(get(), one), true, "1 is what is meant without a number")
    eq(one:eval "x", 5)
    local two = get(2)
    eq(rawequal(one, two), false)
    eq(two.eval "x", nil)
    eq(one.modules.proc.ppid() ~= nil and two.facts().pid, one.facts().pid)
    eq(grapnel.list_connections(), {name(2), name(1)})
    eq(grapnel.list_deployed_servers(), {me .. "@" .. host})
    eq(grapnel.list_ssh_connections(), {me .. "@" .. host})
    eq({one.generation, one.closed}, {1, false})
    -- What a connection does.
    local ok, message = pcall(function()
        one.eval()
    end)
    eq({ok, message:match "^[^:]*cache.lua:%d+: " ~= nil}, {false, true}, message)
    eq(one.teleport(function(n)
        return n + x
    end)(1), 6)
    eq(one.namespace.x, 5)
    one.namespace.x = 6
    eq(one.call("string.rep", "x", 3), "xxx")
    local channel = one:remote_exec "channel:send(...)"
    channel:close()
    eq(grapnel.check_connection(host, with()) < 30, true)
    eq(grapnel.ping_connection(host, with(), 2, 30) < 30, true)
    eq(grapnel.check_connections(30), {})
    eq({grapnel.check_connection(host, with(), 3)},
        {nil, ("there is no such connection: %s:3"):format(host)})
end

-- The time limit counts also while there is no line yet.
do
    local slow = {transport = "sh -c 'exec sleep 3' x", user = me, connect_timeout = 20}
    local making = grapnel.async(grapnel.get_connection)("slow", slow)
    grapnel.sleep(0.1)
    local before = grapnel.now()
    eq({grapnel.check_connection("slow", slow, 1, 0.2)}, {nil, "the answer did not come in time"})
    eq(grapnel.check_connections(0.2), {me .. "@slow:1"})
    eq(grapnel.now() - before < 2, true)
    grapnel.close_ssh_connection("slow", slow)
    making:wait()
end

-- Closing takes it out, and the server stays.
do
    local two = get(2)
    eq(grapnel.close_connection(host, with(), 2), 1)
    eq(two.closed, true)
    fails("EOF: ", two.eval, "1")
    eq(grapnel.close_connection(host, with(), 2), 0, "twice")
    eq(grapnel.check_connections(30), {})
    two.close()
    two:close()
    eq(grapnel.list_connections(), {name(1)})
    local again = get(2)
    eq(rawequal(again, two), false)
    eq(again.eval "x", nil)
    again.close()
    eq(again.closed, true)
    again.close()
    do
        local three <close> = get(3)
        eq(three.eval "3", 3)
    end
    eq(grapnel.list_connections(), {name(1)})
    eq(#grapnel.list_deployed_servers(), 1)
end

-- What runs on it fails at once, with the cause.
do
    local two = get(2)
    local asleep = grapnel.async(two.modules.time.sleep)(1000)
    local before = grapnel.now()
    eq(grapnel.close_connection(host, with(), 2), 1)
    fails("the connection was closed", asleep)
    eq(grapnel.now() - before < 20, true)
end

-- One that neither listens nor leaves is stopped, however much was said to it.
do
    local two = get(2)
    local count = two.eval "function(text) return #text end"
    get(1).call("proc.signal", two.modules.proc.pid(), "STOP")
    local text, counting = ("x"):rep(4 << 20), {}
    for i = 1, 10 do
        counting[i] = grapnel.async(count)(text)
    end
    grapnel.sleep(0.05)
    local before = grapnel.now()
    two.close()
    for i = 1, 10 do
        fails("the connection was closed", counting[i])
    end
    eq(grapnel.now() - before < 20, true)
end

-- Wrong numbers, and other nonsense.
do
    fails("0 is no instance: 1 to 65535", get, 0)
    for _, n in ipairs {-1, 65536, 1 << 40, 1.5, "1", math.huge, 0 / 0} do
        fails('option "instance" must be', get, n)
    end
    eq(rawequal(get(1.0), get(1)), true)
    fails("0 is no instance", grapnel.check_connection, host, with(), 0)
    fails("no instance", grapnel.close_connection, host, with(), 0)
    fails("no instance", grapnel.close_connection, host, with(), -1)
    fails("no instance", grapnel.close_connection, host, with(), 1 << 40)
    fails("string expected", grapnel.get_connection)
    fails("there is no option", get, 1, {usr = "x"})
    for _, n in ipairs {0, -1, 1.5, 65536} do
        fails("1 to 65535", grapnel.create_connections, {host}, with(), n)
    end
    fails("there is no limit", grapnel.cache_limits, {ilde = 1})
    fails('limit "idle" must be', grapnel.cache_limits, {idle = -1})
    fails('limit "renewed" must be', grapnel.cache_limits, {renewed = 1})
    eq(grapnel.list_connections(), {name(1)})
end

-- Several tasks that ask for the same get the same, made once, while others go on.
do
    eq(grapnel.close_ssh_connections(), 1)
    eq(grapnel.list_ssh_connections(), {})
    local getting, ticks = {}, 0
    local ticking = grapnel.async(function()
        while true do
            ticks = ticks + 1
            grapnel.sleep(0.001)
        end
    end)()
    for i = 1, 20 do
        getting[i] = grapnel.async(get)(i % 2 + 1)
    end
    local cancelled = grapnel.async(get)(1)
    grapnel.sleep(0)
    cancelled:cancel()
    for i = 1, 20 do
        eq(rawequal(getting[i].value, getting[i % 2 == 0 and 2 or 1].value), true)
    end
    ticking:cancel()
    eq(ticks > 1, true, ticks)
    fails("cancelled", cancelled)
    eq(#grapnel.list_connections(), 2)
    eq(get(1).generation, 1)
    eq(getting[1].value.eval "pcall(require, 'proc')", true)
    eq(getting[1].value.facts().pid, getting[2].value.facts().pid, "one agent")
end

-- One that is closed while it is made fails for who waits for it.
do
    local file = os.tmpname()
    local slow = {user = me, transport = ("sh -c 'echo x >>%s; exec sleep 1000' x"):format(file)}
    for i, close in ipairs {grapnel.close_connection, grapnel.close_ssh_connection} do
        local getting = grapnel.async(grapnel.get_connection)("slow", slow)
        if i == 1 then
            within(20, function()
                return size(file) > 0
            end)
        else
            eq(getting:wait(0.01), false)
        end
        eq(close("slow", slow), 1)
        fails("closed", getting)
        eq(#grapnel.list_connections(), 2)
    end
    os.remove(file)
    eq(#grapnel.list_ssh_connections(), 1)
end

-- What fails is told to all who wait, and not kept.
do
    local file = os.tmpname()
    local bad = {user = me, transport = ("sh -c 'echo x >>%s; exit 7' x"):format(file)}
    local function attempts()
        return size(file) // 2
    end
    local getting = {}
    for i = 1, 10 do
        getting[i] = grapnel.async(grapnel.get_connection)("nowhere", bad)
    end
    for i = 1, 10 do
        getting[i]:wait()
        eq(getting[i].error ~= false, true)
        eq(tostring(getting[i].error), tostring(getting[1].error))
    end
    local first = attempts()
    fails("grapnel: nowhere: ", grapnel.get_connection, "nowhere", bad)
    eq(attempts(), 2 * first, "made anew")
    eq(#grapnel.list_ssh_connections(), 1)
    fails("could not be entered", get, 9, {cwd = "/nonexistent"})
    fails("No such file", get, 9, {service = "/nonexistent"})
    eq(#grapnel.list_connections(), 2)
    eq(get(9).eval "9", 9)
    get(9).close()
    os.remove(file)
end

-- What an instance is to have counts when it is made; who gets it later gets it as it is.
do
    local made = get(9, {cwd = "/usr", env = {MARK = "here"}, memory = 32 << 20, cpu = 100, depth = 3})
    local function is_as_asked(conn)
        eq(conn.execute "local f <close> = io.popen 'pwd' return f:read()", "/usr")
        eq(conn.execute "return os.getenv 'MARK'", "here")
        fails("memory limit was reached", conn.execute, "return #('x'):rep(64 << 20)")
    end
    is_as_asked(made)
    is_as_asked(get(9, {cwd = "/", env = {MARK = "there"}}))
    pcall(made.execute, "os.exit(3)")
    is_as_asked(get(9))
    made.close()
    eq(get(9).execute "return os.getenv 'MARK'", nil)
    get(9).close()
end

-- One whose agent was killed is remade, once, by whoever asks; it is the same object.
do
    local one, two = get(1), get(2)
    one.execute "x = 5"
    local eval = one.eval
    pcall(two.call, "proc.signal", one.facts().pid, "KILL")
    within(20, function()
        return one.closed
    end)
    fails("EOF: ", one.eval, "1")
    eq(grapnel.list_connections(), {})
    local getting = {}
    for i = 1, 10 do
        getting[i] = grapnel.async(get)(1)
    end
    for i = 1, 10 do
        eq(rawequal(getting[i].value, one), true)
    end
    eq({one.generation, one.closed, one.eval "x", eval "6"}, {2, false, nil, 6})
    eq(two.closed, true)
    eq(get(2).generation, 2)
    two.reconnect()
    eq(two.generation, 3)
    eq(two.eval "2", 2)
end

-- By policy, and that is told.
do
    local one = get(1)
    local told = {}
    grapnel.cache_limits {
        reconnect = true,
        back_off = 0.01,
        renewed = function(conn, generation, why)
            told[#told + 1] = {conn = conn, generation = generation, why = why}
        end,
    }
    local generation = one.generation
    pcall(one.call, "proc.signal", one.facts().pid, "KILL")
    within(20, function()
        return #told >= 2
    end)
    table.sort(told, function(a, b)
        return a.conn.name < b.conn.name
    end)
    eq({rawequal(told[1].conn, one), told[1].generation, told[1].why}, {true, generation + 1, nil})
    eq({one.generation, one.eval "7"}, {generation + 1, 7})
    grapnel.cache_limits()
end

-- Attempts that fail are told, and gone on with; who asks meanwhile learns why it fails.
do
    local file = os.tmpname()
    local options = {user = me, transport = ("sh -c 'test -e %s && exec sh' x"):format(file)}
    local conn = grapnel.get_connection("elsewhere", options)
    local failed, generation
    grapnel.cache_limits {
        reconnect = true,
        back_off = 0.01,
        renewed = function(_, n, why)
            failed, generation = failed or why, not why and n
        end,
    }
    os.remove(file)
    pcall(conn.call, "proc.signal", conn.facts().pid, "KILL")
    within(20, function()
        return failed
    end)
    eq(failed:find "^grapnel: " ~= nil, true, failed)
    eq({conn.closed, conn.generation, generation}, {true, 1, false})
    fails("grapnel: elsewhere: ", grapnel.get_connection, "elsewhere", options)
    fails("grapnel: ", conn.reconnect)
    assert(io.open(file, "w")):close()
    within(20, function()
        return generation
    end)
    eq({conn.closed, conn.generation, generation, conn.eval "1"}, {false, 2, 2, 1})
    grapnel.cache_limits()
    os.remove(file)
    eq(grapnel.close_ssh_connection("elsewhere", options), 1)
end

-- Limits close what is not in use; what Lua holds is in use.
do
    grapnel.close_connections()
    local kept = get(1)
    for n = 2, 3 do
        get(n)
        collectgarbage()
        collectgarbage()
    end
    grapnel.cache_limits {connections = 2}
    local four = get(4)
    eq(grapnel.list_connections(), {name(4), name(3), name(1)})
    get(5)
    eq(grapnel.list_connections(), {name(5), name(4), name(1)})
    fails("all of them are in use", function()
        grapnel.cache_limits {connections = 1}
        collectgarbage()
        collectgarbage()
        local six, seven = get(6), get(7)
        return six, seven
    end)
    eq({kept.eval "1", four.eval "4"}, {1, 4})
    grapnel.cache_limits {idle = 0.05}
    collectgarbage()
    collectgarbage()
    within(20, function()
        return #grapnel.list_connections() == 2
    end)
    grapnel.cache_limits()
end

-- So is what has a call under way, and what the program has something from; until that is garbage.
do
    grapnel.close_connections()
    grapnel.cache_limits {idle = 0.1}
    local function listed()
        collectgarbage()
        collectgarbage()
        return #grapnel.list_connections() == 1
    end
    --- f() gives something of a connection, and use(it) works long after that.
    local function lasts(what, f, use)
        local it = f()
        within(20, listed)
        for _ = 1, 30 do
            eq(listed(), true, what)
            grapnel.sleep(0.01)
        end
        use(it)
        it = nil
        within(20, function()
            return not listed()
        end)
    end
    lasts("a call", function()
        return grapnel.async(function()
            return get(1).call("time.sleep", 0.4)
        end)()
    end, function(call)
        call()
    end)
    lasts("a proxy", function()
        local namespace = get(1).namespace
        namespace.x = 7
        return namespace
    end, function(namespace)
        eq(namespace.x, 7)
    end)
    lasts("modules", function()
        return get(1).modules
    end, function(modules)
        eq(modules.math.max(1, 2), 2)
    end)
    lasts("a channel", function()
        return get(1).remote_exec "channel:send(channel:receive())"
    end, function(channel)
        channel:send(5)
        eq(channel:receive(), 5)
    end)
    lasts("a future", function()
        return grapnel.async(get(1).modules.time.sleep)(0.4)
    end, function(future)
        future()
    end)
    local namespace = get(1).namespace
    listed()
    grapnel.cache_limits {connections = 1}
    fails("all of them are in use", get, 2)
    namespace = namespace and nil
    collectgarbage()
    collectgarbage()
    eq(get(2).name, name(2))
    eq(grapnel.list_connections(), {name(2)})
    namespace = get(2).namespace
    listed()
    grapnel.cache_limits {servers = 1}
    fails("all of them are in use", grapnel.get_connection, "other", {transport = "false"})
    eq(grapnel.close_connections(), 1, namespace)
    grapnel.cache_limits()
end

-- Many at once; and those of `connect` are no part of it, but share the servers.
do
    grapnel.close_connections()
    local made = grapnel.create_connections({host}, with(), 4)
    eq(#made, 4)
    for i, conn in ipairs(made) do
        eq(conn.name, name(i))
    end
    eq(#grapnel.list_connections(), 4)
    local alone = check.connect {user = me, instance = 2}
    eq(alone.name, host .. ":2")
    eq(alone.facts().pid, made[1].facts().pid)
    eq(grapnel.close_connection(host, with()), 4)
    eq(alone.eval "1", 1)
    eq(grapnel.close_deployed_servers(), 1)
    within(20, function()
        return alone.closed
    end)
    fails("grapnel: nowhere: ", grapnel.create_connections, {"nowhere", host}, {transport = "false"})
    grapnel.close_ssh_connections()
    alone = check.connect {user = me}
    eq(grapnel.list_deployed_servers(), {me .. "@" .. host})
    alone.close()
    eq(grapnel.list_ssh_connections(), {}, "what only connect has used leaves with it")
end

-- Over and over: nothing is left.
do
    local function descriptors()
        local n = 0
        local list <close> = io.popen "ls /proc/$PPID/fd"
        for _ in list:lines() do
            n = n + 1
        end
        return n
    end
    local function memory() -- what is collected lets go of more, when there is time for that
        local before, now
        repeat
            before = now or math.huge
            grapnel.sleep(0.01)
            collectgarbage()
            collectgarbage()
            now = collectgarbage "count"
        until now >= before
        return now
    end
    local before, bytes
    for i = 1, 200 do
        local conn = get(1)
        eq(conn.eval "...", nil)
        eq(grapnel.close_connection(host, with()), 1)
        conn = nil
        if i == 40 then
            before, bytes = descriptors(), memory()
        end
    end
    -- What is closed at the other end may be read here a little later.
    local left, patience = descriptors(), grapnel.now() + 10
    while left > before and grapnel.now() < patience do
        grapnel.sleep(0.02)
        left = descriptors()
    end
    eq(left <= before, true, ("%d descriptors, then %d"):format(before, left))
    eq(memory() < bytes + 60, true, ("%.0f KiB, then %.0f KiB"):format(bytes, memory()))
    eq(grapnel.list_connections(), {})
end
print "ok"
