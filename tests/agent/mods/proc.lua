-- The module proc: real commands.
local proc = require "proc"
local time = require "time"
local T = {}

local function fails(pattern, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok, "no error")
    assert(string.find(message, pattern, 1, true), message)
end

local function seconds(f, ...)
    local begun = time.monotonic()
    f(...)
    return time.monotonic() - begun
end

-- Waits for a thing that another task or process is to do.
local function until_true(f)
    local limit = time.monotonic() + 10
    while not f() do
        assert(time.monotonic() < limit, "it does not come")
        time.sleep(0.005)
    end
end

-- Goes on until the test makes the file, or is over.
local function until_file(path)
    return "while kill -0 $PPID && [ ! -e " .. path .. " ]; do sleep 0.01; done"
end

local function make(path)
    assert(io.open(path, "w")):close()
end

-- Nobody of a process group is left.
local function group_is_gone(group)
    for _, p in ipairs(proc.list()) do
        if p.group == group and p.state ~= "Z" then
            return false
        end
    end
    return true
end

function T.run_tells_all()
    local r = assert(proc.run("echo out; echo err >&2; exit 3"))
    assert(r.status == 3 and r.code == 3 and r.signal == nil)
    assert(r.out == "out\n" and r.err == "err\n" and not r.truncated and not r.timeout)
    assert(getmetatable(r).__copy)
    r = proc.run({ "printf", "%s|", "a b", "$HOME", 7 })
    assert(r.out == "a b|$HOME|7|" and r.status == 0)
    r = proc.run("echo out; echo err >&2", { merge = true })
    assert(r.out == "out\nerr\n" and r.err == "")
    r = proc.run("kill -KILL $$")
    assert(r.signal == "KILL" and r.status == nil and r.code == 137)
    assert(proc.run("pwd", { cwd = TMP }).out == TMP .. "\n")
    assert(proc.run("cat").out == "", "without input it reads nothing")
end

function T.run_says_why_it_did_not_start()
    local r, message, number = proc.run({ "no-such-command" })
    assert(r == nil and message:find("no-such-command", 1, true) and number == 2)
    r, message, number = proc.run({ "/etc/passwd" })
    assert(r == nil and message and number == 13)
    r, message, number = proc.run("true", { cwd = TMP .. "/none" })
    assert(r == nil and message:find("none") and number == 2)
    fails("no words", proc.run, {})
    fails("zero bytes", proc.run, { "echo", "a\0b" })
    fails("'stdin'", proc.run, "true", { stdin = "what" })
    fails("number expected", proc.run, "true", { timeout = "soon" })
    fails("table expected", proc.run, "true", 7)
end

function T.run_gives_input_and_takes_much()
    local text = string.rep("0123456789abcdef", 1 << 16)
    local r = assert(proc.run({ "cat" }, { input = text }))
    assert(r.out == text)
    r = assert(proc.run("head -c 5", { input = text }))
    assert(r.out == "01234" and r.status == 0)
    r = assert(proc.run("cat", { input = "" }))
    assert(r.out == "")
    r = assert(proc.run("head -c 300000 /dev/zero; echo end >&2", { max = 100000 }))
    assert(#r.out == 100000 and r.err == "end\n" and r.truncated and r.status == 0)
    r = assert(proc.run("echo x", { max = 0 }))
    assert(r.out == "" and r.truncated)
end

function T.environment()
    proc.setenv("GRAPNEL_A", "1")
    assert(proc.getenv("GRAPNEL_A") == "1" and os.getenv("GRAPNEL_A") == "1")
    assert(proc.env().GRAPNEL_A == "1")
    local show = "echo $GRAPNEL_A,$GRAPNEL_B"
    assert(proc.run(show).out == "1,\n")
    assert(proc.run(show, { env = { GRAPNEL_B = 2 } }).out == "1,2\n")
    assert(proc.run(show, { env = { GRAPNEL_A = "x=y" } }).out == "x=y,\n")
    assert(proc.run(show, { env = { GRAPNEL_A = false } }).out == ",\n")
    assert(proc.run({ "/usr/bin/env" }, { env = { A = "b" }, clear = true }).out == "A=b\n")
    assert(proc.unsetenv("GRAPNEL_A") and proc.getenv("GRAPNEL_A") == nil)
    fails("not a name", proc.setenv, "A=B", "c")
    fails("names expected", proc.run, "true", { env = { "A=1" } })
end

function T.a_long_command_holds_nobody_up()
    local order = {}
    spawn(function()
        assert(proc.run(until_file(TMP .. "/go")).status == 0)
        order[#order + 1] = "long"
    end)
    spawn(function()
        assert(proc.run({ "true" }).status == 0)
        order[#order + 1] = "short"
        make(TMP .. "/go")
    end)
    until_true(function() return #order == 2 end)
    assert(order[1] == "short" and order[2] == "long")
end

-- Runs a line until its time is over, which is long enough for it to say "begun". Returns also how
-- many seconds it took to end.
local function run_out_of_time(line)
    local timeout, r, took = 0.1, nil, nil
    repeat
        timeout = timeout * 2
        took = seconds(function() r = proc.run("echo $$; " .. line, { timeout = timeout }) end)
        assert(r.timeout and took >= timeout and timeout < 10, took)
    until r.out:find("begun\n", 1, true)
    local group = tonumber(r.out:match("^%d+"))
    until_true(function() return group_is_gone(group) end)
    return r, took - timeout
end

function T.a_timeout_ends_the_group()
    local r, more = run_out_of_time(
        "(trap 'echo heard; exit' TERM; echo begun; while kill -0 $PPID; do sleep 0.01; done) & wait")
    assert(r.signal == "TERM" and r.out:find("begun\nheard\n$"), r.out)
    -- What does not listen to TERM is killed.
    r, more = run_out_of_time("trap '' TERM; echo begun; sleep 99; sleep 99")
    assert(r.signal == "KILL" and more >= 2, more)
end

function T.popen_talks()
    local p <close> = assert(proc.popen({ "cat" }))
    assert(tostring(p) == "process (" .. p.pid .. ")" and proc.exists(p.pid))
    assert(p.stdin:write("one\n", "two\n", 3, "\nrest") == p.stdin)
    assert(p.stdout:read() == "one" and p.stdout:read("L") == "two\n" and p.stdout:read(1) == "3")
    local some = p.stdout:read("s")
    assert(#some > 0 and p.stdout:read(0) == "" and p:poll() == nil)
    p.stdin:close()
    assert(some .. p.stdout:read("a") == "\nrest")
    assert(p.stdout:read("a") == "" and p.stdout:read() == nil and p.stdout:read("s") == nil)
    local r = p:wait()
    assert(r.status == 0 and p:poll().status == 0 and p:wait(0).status == 0)
    assert(not proc.exists(p.pid))
    local ok, message, number = p:kill()
    assert(ok == nil and number == 3, message)
    ok, message = p.stdin:write("more")
    assert(ok == nil and message == "closed")
end

-- Numbers are read as from Lua's own files, however the bytes come.
function T.numbers()
    local p <close> = assert(proc.popen({ "cat" }))
    for _, text in ipairs { "1 2 3 x", "  -7\n+8.5e2,", "0x1F 0x.8p1 0x 5", "1e 5", "1e+5e", ".5.5 . 5",
        "--5", ".e5 1.e2 0x.p1", "inf nan", "9223372036854775808 0xffffffffffffffffff", ("7"):rep(250) .. " 1", "\n\n4" } do
        local file = assert(io.tmpfile())
        file:write(text, "\n;\n")
        file:seek("set")
        p.stdin:write(text, "\n;\n")
        for _ = 1, 4 do
            local wanted, got = file:read("n"), p.stdout:read("n")
            assert(wanted == got and math.type(wanted) == math.type(got),
                string.format("%q: %s, not %s", text, tostring(got), tostring(wanted)))
        end
        local rest = file:read("a")
        assert(rest == "" and text == "inf nan" or p.stdout:read(#rest) == rest, text)
        file:close()
    end
    local late <close> = assert(proc.popen("printf ' 1'; sleep 0.05; printf '2 -'; sleep 0.05; printf '3 '; printf 4"))
    assert(late.stdout:read("n") == 12 and late.stdout:read("*n") == -3 and late.stdout:read("n") == 4)
    assert(late.stdout:read("n") == nil and late.stdout:read("n") == nil)
end

function T.lines()
    local p <close> = assert(proc.popen("printf 'a\\n\\nb\\nlast'; echo e >&2"))
    local all = {}
    for line in p.stdout:lines() do
        all[#all + 1] = line
    end
    assert(table.concat(all, "|") == "a||b|last", table.concat(all, "|"))
    for line in p.stderr:lines("L") do
        assert(line == "e\n")
    end
    fails("invalid format", p.stdout.read, p.stdout, "x")
    fails("not negative", p.stdout.read, p.stdout, -1)
    p.stdout:close()
    fails("closed", p.stdout:lines())
end

function T.a_lot_is_read_within_bounds()
    local p <close> = assert(proc.popen("head -c 67108864 /dev/zero"))
    local all, most = 0, 0
    collectgarbage()
    collectgarbage("generational")
    while true do
        local piece = p.stdout:read(65536)
        if piece == nil then
            break
        end
        all = all + #piece
        most = math.max(most, collectgarbage("count"))
    end
    collectgarbage("incremental")
    assert(all == 64 << 20 and most < 16 << 10, most)
    assert(p:wait().status == 0)
end

function T.waits_have_timeouts()
    local p <close> = assert(proc.popen("echo part; exec sleep 50"))
    assert(p.stdout:read(5) == "part\n")
    p.stdout:settimeout(0.05)
    local data, message, number = p.stdout:read()
    assert(data == nil and message == "timeout" and number > 0)
    local r
    r, message, number = p:wait(0.05)
    assert(r == nil and message == "timeout" and number > 0)
    assert(p:kill("HUP"))
    r = p:wait(5)
    assert(r.signal == "HUP" and r.code == 129)
end

function T.what_was_read_survives_a_timeout()
    local p <close> = assert(proc.popen("cat"))
    p.stdin:write("ab")
    p.stdout:settimeout(0.05)
    local data, message = p.stdout:read(5)
    assert(data == nil and message == "timeout")
    p.stdin:write("cde")
    p.stdout:settimeout()
    assert(p.stdout:read(5) == "abcde")
end

function T.many_read_at_once()
    local done = 0
    for i = 1, 20 do
        spawn(function()
            local p <close> = assert(proc.popen({ "cat" }))
            p.stdin:write("to ", i, "\n")
            assert(p.stdout:read() == "to " .. i)
            done = done + 1
        end)
    end
    until_true(function() return done == 20 end)
end

function T.a_close_ends_what_waits()
    local p <close> = assert(proc.popen("cat"))
    local message
    spawn(function()
        local _
        _, message = p.stdout:read()
    end)
    time.sleep(0.02)
    p.stdout:close()
    until_true(function() return message end)
    assert(message == "closed")
end

-- Each of these waits for ever; a cancel ends it, and what it began.
function T.waits_can_be_cancelled()
    local p <close> = assert(proc.popen("exec sleep 92"))
    local big = string.rep("x", 1 << 20)
    -- Seconds that nobody else sleeps.
    local long = "90." .. proc.pid()
    local waits = {
        function() p:wait() end,
        function() p.stdout:read() end,
        function() p.stdin:write(big) end,
        function() for _ in p.stdout:lines() do end end,
        function() proc.run("sleep " .. long .. " & sleep " .. long) end,
        function() pcall(proc.run, { "sleep", long }, { input = big }) end,
    }
    for i, wait in ipairs(waits) do
        local ended
        local task = spawn(function()
            local mark <close> = setmetatable({}, { __close = function() ended = true end })
            wait()
            error("wait " .. i .. " came back")
        end)
        time.sleep(0.05)
        assert(not ended, i)
        task()
        until_true(function() return ended end)
    end
    assert(p:poll() == nil)
    until_true(function() return not proc.run("ps ax -o args").out:find("sleep " .. long, 1, true) end)
end

function T.close_ends_a_process()
    local p = assert(proc.popen("sleep 96 & sleep 95"))
    local r = p:close()
    assert(r.signal == "TERM" and p:close().signal == "TERM")
    local q <close> = assert(proc.popen("trap '' TERM; echo ready; while :; do sleep 1; done"))
    q.stdout:read()
    local took = seconds(function() r = q:close() end)
    assert(r.signal == "KILL" and took > 1.9 and took < 10, took)
end

function T.one_that_is_forgotten_is_no_zombie()
    local pid
    do
        local p = assert(proc.popen(until_file(TMP .. "/go"), { stdin = "null", stdout = "null", stderr = "null" }))
        assert(p.stdin == nil and p.stdout == nil and p.stderr == nil)
        pid = p.pid
    end
    collectgarbage()
    collectgarbage()
    assert(proc.exists(pid), "it goes on")
    make(TMP .. "/go")
    until_true(function() return not proc.exists(pid) end)
end

function T.others_children_are_theirs()
    local f = io.popen("echo $$; exit 7")
    local pid = f:read("n")
    local p <close> = assert(proc.popen("exit 1"))
    assert(p:wait().status == 1)
    until_true(function() return assert(proc.info(pid)).state == "Z" end)
    local ok, what, code = f:close()
    assert(ok == nil and what == "exit" and code == 7)
    ok, what, code = os.execute("exit 9")
    assert(ok == nil and what == "exit" and code == 9)
end

function T.files_and_streams_as_stdio()
    local out = assert(io.open(TMP .. "/out", "w"))
    out:write("first\n")
    assert(proc.run("echo second", { stdout = out }).out == "")
    out:close()
    local cat <close> = assert(proc.popen("cat"))
    local file = assert(io.open(TMP .. "/out"))
    assert(proc.run("cat; echo third", { stdin = file, stdout = cat.stdin }).status == 0)
    file:close()
    cat.stdin:close()
    assert(cat.stdout:read("a") == "first\nsecond\nthird\n")
end

function T.list_tells_of_all()
    local p <close> = assert(proc.popen({ "sleep", "94" }))
    local found, me
    until_true(function() return proc.info(p.pid).cmdline == "sleep 94" end)
    for i, one in ipairs(proc.list()) do
        if one.pid == p.pid then
            found = one
        elseif one.pid == proc.pid() then
            me = one
        end
        assert(one.pid > 0 and one.name and one.state and one.user and one.cmdline, i)
    end
    assert(found.ppid == proc.pid() and found.name == "sleep" and found.group == p.pid)
    -- The kernel counts a small process's memory late.
    assert(found.session == p.pid and #found.state == 1 and me.rss > 0 and found.threads == 1)
    assert(math.abs(found.started - os.time()) < 60, found.started)
    assert(found.uid == me.uid and found.user == me.user and me.user_time >= 0 and me.ppid == proc.ppid())
    local info = proc.info()
    assert(info.pid == proc.pid() and info.exe:find("test_mods", 1, true) and info.cwd:sub(1, 1) == "/")
    local none, _, number = proc.info(p.pid + (1 << 23))
    assert(none == nil and number == 3)
end

function T.signals()
    local p <close> = assert(proc.popen("trap 'echo got; exit 4' USR1; echo ready; while :; do sleep 0.05; done"))
    p.stdout:read()
    assert(proc.signal(p.pid, "SIGUSR1"))
    assert(p.stdout:read() == "got" and p:wait().status == 4)
    local ok, _, number = proc.signal(p.pid, 0)
    assert(ok == nil and number == 3)
    fails("no such signal", proc.signal, p.pid, "NONE")
    fails("no such signal", proc.signal, p.pid, -1)
    assert(not proc.exists(p.pid) and not proc.exists(0) and proc.exists(1))
end

function T.limits()
    local soft, hard = proc.rlimit("core")
    assert(soft and hard and proc.rlimits().core.soft == soft)
    assert(proc.rlimit("core", 0) == 0)
    assert(proc.run("ulimit -c").out == "0\n")
    proc.rlimit("core", soft)
    local p <close> = assert(proc.popen({ "sleep", "93" }))
    assert(proc.nice(7, p.pid) == 7 and proc.nice(nil, p.pid) == 7 and proc.nice() == proc.info().nice)
    fails("invalid option", proc.rlimit, "none")
end

return T
