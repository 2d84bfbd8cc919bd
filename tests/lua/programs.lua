-- What a program meets that is not from a tutorial: wrong arguments, values that are printed,
-- connections side by side, waiting for what the hosts do.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local conn = check.connect()

-- Wrong arguments are told where they are given.
do
    fails("there are: user, port, config", grapnel.connect, "t", {usr = "x"})
    fails('option "port" must be', grapnel.connect, "t", {port = "22"})
    for _, name in ipairs {"call", "eval", "execute", "remote_exec"} do
        fails("bad argument #1 to '" .. name .. "' (string expected, got no value)", conn[name])
        fails("(string expected, got table)", conn[name], {})
    end
    fails("(function expected, got number)", conn.teleport, 3)
    fails("cannot be sent", conn.teleport, grapnel.sleep)
    fails("#2 to 'upload_module'", conn.upload_module, "name")
    fails("No such file", conn.upload_module, "name", "/nonexistent/name.lua")
    fails("(table expected", conn.serve)
    fails("(function expected", conn.require_from, "there")
    local ok, message = pcall(function()
        conn.eval()
    end)
    eq(ok, false)
    eq(message:match "^[^:]*programs.lua:%d+: " ~= nil, true, message)
end

-- Methods with a dot and with a colon.
eq(conn.eval "1", conn:eval "1")

-- What is printed.
do
    eq(tostring(conn), "grapnel.conn: " .. conn.name)
    local future = grapnel.async(conn.modules.time.sleep)(30)
    eq(tostring(future):match "%((%w+)%)$", "pending")
    future:set_expiry(0)
    eq(tostring(future):match "%((%w+)%)$", "expired")
    future:cancel()
    future = grapnel.async(conn.eval "function() end")()
    future:wait()
    eq(tostring(future):match "%((%w+)%)$", "ready")
    local channel = conn.remote_exec ""
    eq(tostring(channel):find("of " .. conn.name, 1, true) ~= nil, true)
    channel:wait_close()
    eq(tostring(channel):match "%((%w+)%)$", "closed")
end

-- Connecting waits as a call does: others go on meanwhile, and it can be cancelled.
do
    local slow = grapnel.async(grapnel.connect)("t", {transport = "sleep 30"})
    eq(slow:wait(0.1), false)
    eq(conn.eval "1", 1)
    local others = {}
    for i = 1, 4 do
        others[i] = grapnel.async(check.connect) {instance = 10 + i, require = true}
    end
    for i = 1, 4 do
        local other <close> = others[i].value
        eq(other.eval "2", 2)
    end
    eq(slow.ready, false)
    slow:cancel()
    fails("cancelled", slow)
    fails("No such file", check.connect, {service = "/nonexistent"})
end

-- What is wrong with the instance is told by connect.
fails("from 0 to 65535", check.connect, {port = 70000})
fails("from 0 to 1000", check.connect, {depth = 5000})
fails('names without "="', check.connect, {env = {["A=B"] = 1}})
fails("could not be entered", check.connect, {instance = 20, cwd = "/nonexistent"})

-- A program that only answers.
do
    conn.execute [[
        function tick(n, f)
            for i = 1, n do
                require "time".sleep(0.01)
                f(i)
            end
        end
    ]]
    local last = 0
    grapnel.call_no_reply(conn.namespace.tick, 3, function(i)
        last = i
    end)
    eq(grapnel.drive(0), false)
    while last < 3 do
        eq(grapnel.drive(0.02), false)
    end
    grapnel.call_no_reply(conn.namespace.tick, 3, function(i)
        if i == 3 then
            conn.close()
        end
    end)
    eq(grapnel.drive(), true, "until the last connection has ended")
    eq(grapnel.drive(), true)
    eq(tostring(conn):match "%((%w+)%)$", "closed")
end

conn = check.connect()
grapnel.call_no_reply(conn.eval "os.exit", 3)
eq(grapnel.drive(), true, "or the instance")
fails("EOF: ", conn.eval, "1")

-- Errors tell by a field what happened, wherever it did.
do
    local function field(name, f, ...)
        local ok, e = pcall(f, ...)
        eq(ok, false)
        eq(type(e), "table", name)
        eq(e[name], true, name)
        eq(tostring(e), e.message)
    end
    local gone = conn
    conn = check.connect()
    local sleep = conn.modules.time.sleep
    field("eof", gone.eval, "1")
    field("timeout", grapnel.timed(sleep, 0.01), 30)
    local future = grapnel.async(sleep)(30)
    future:cancel()
    field("cancelled", future)
    local channel = conn.remote_exec "channel:send(1) require 'time'.sleep(30)"
    eq(channel:receive(), 1)
    field("timeout", channel.receive, channel, 0.01)
    channel:close()
    field("eof", channel.receive, channel)
    -- So do errors of ours that come back through the host, and tables with a message.
    local through = conn.eval "function(f) f() end"
    field("eof", through, function()
        gone.eval "1"
    end)
    local ok, e = pcall(conn.execute, "error {message = 'no such item', item = 7}")
    eq(ok, false)
    eq(tostring(e), "no such item")
    eq(e.item, 7)
    conn.close()
end
print "ok"
