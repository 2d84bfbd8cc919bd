-- Channels, as execnet's documentation and tests have them.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local conn = check.connect()

-- Source with a channel; arguments.
do
    local channel = conn.remote_exec([[
        local first, second = ...
        channel:send(first + second)
        channel:send {nested = {1, 2, {deep = true}}, list = {1, 2, 3}}
    ]], 20, 22)
    eq(channel:receive(), 42)
    eq(channel:receive(), {nested = {1, 2, {deep = true}}, list = {1, 2, 3}})
    fails("EOF", channel.receive, channel)
    fails("EOF", channel.receive, channel)
    channel:wait_close()
end

-- A function.
do
    local channel = conn.remote_exec(function(channel, name)
        for item in channel do
            channel:send(name .. item)
        end
    end, "got ")
    for i = 1, 3 do
        channel:send(i)
    end
    channel:close_write()
    local got = {}
    for item in channel do
        got[#got + 1] = item
    end
    eq(got, {"got 1", "got 2", "got 3"})
end

-- An error comes after all earlier data.
do
    local channel = conn.remote_exec "channel:send(1) channel:send(2) error('broken over there')"
    eq(channel:receive(), 1)
    eq(channel:receive(), 2)
    fails("broken over there", channel.receive, channel)
    fails("EOF", channel.receive, channel)
    channel:wait_close()
    channel = conn.remote_exec "channel:send(1) error('broken again')"
    fails("broken again", channel.wait_close, channel)
end

-- Time limits; callbacks, with what came before, and the end marker once.
do
    local channel = conn.remote_exec "channel:receive() for i = 1, 3 do channel:send(i) end"
    fails("in time", channel.receive, channel, 0.05)
    local got = {}
    channel:send "go"
    channel:set_callback(function(item)
        got[#got + 1] = item
    end, "end")
    channel:wait_close()
    eq(got, {1, 2, 3, "end"})
end

-- A channel sent over a channel.
do
    local outer = conn.remote_exec [[
        local inner = channel:receive()
        inner:send("through the inner one")
        inner:close()
    ]]
    local inner = conn.channel()
    outer:send(inner)
    eq(inner:receive(), "through the inner one")
    outer:wait_close()
end

-- A reader that does not read stops the sender.
do
    conn.execute "progress = {sent = 0}"
    local channel = conn.remote_exec [[
        local piece = ("x"):rep(65536)
        while progress.sent < 4096 do
            channel:send(piece)
            progress.sent = progress.sent + 1
        end
    ]]
    local last, now = -1, 0
    while now ~= last do
        last = now
        grapnel.sleep(0.1)
        now = conn.eval "progress.sent"
    end
    eq(now < 1024, true, "the sender waits")
    local n = 0
    for piece in channel do
        n = n + #piece
    end
    eq(n, 4096 * 65536)
end

-- Files hot-synced, as execnet's example does: what changed goes over, the rest stays.
do
    local root = conn.modules.fs.tempdir()
    local function digest(text)
        local sum = #text
        for i = 1, #text do
            sum = (sum * 31 + text:byte(i)) & 0xffffffff
        end
        return sum
    end
    local channel = conn.remote_exec(function(channel, root)
        local fs = require "fs"
        for item in channel do
            local path = root .. "/" .. item.name
            local old = fs.read_file(path)
            local same = old ~= nil and digest(old) == item.digest
            channel:send(not same)
            if not same then
                fs.write_file(path, channel:receive())
            end
        end
    end, root)
    local files = {a = "alpha", b = "beta"}
    local function sync()
        local sent = 0
        for name, text in pairs(files) do
            channel:send {name = name, digest = digest(text)}
            if channel:receive() then
                channel:send(text)
                sent = sent + 1
            end
        end
        return sent
    end
    eq(sync(), 2)
    eq(sync(), 0)
    files.b = "changed"
    eq(sync(), 1)
    eq(conn.modules.fs.read_file(root .. "/b"), "changed")
    channel:close_write()
    channel:wait_close()
    conn.modules.fs.remove(root, {recursive = true})
end

-- data_in, data_out: a file processed over there, line by line.
do
    local lines = {}
    for i = 1, 1000 do
        lines[i] = ("line %d"):format(i)
    end
    local channel = conn.remote_exec [[
        for line in channel do
            channel:send(line:upper())
        end
    ]]
    local out = {}
    channel:set_callback(function(line)
        out[#out + 1] = line
    end)
    for _, line in ipairs(lines) do
        channel:send(line)
    end
    channel:close_write()
    channel:wait_close()
    eq(#out, 1000)
    eq(out[1000], "LINE 1000")
end

-- What the far side prints does not get into the protocol.
do
    local channel = conn.remote_exec [[
        print("to nowhere") io.stderr:write("nor this\n") io.stdout:write("nor that\n")
        os.execute("echo nor this; echo that >&2")
        channel:send("clean")
    ]]
    eq(channel:receive(), "clean")
end

conn.close()
print "ok"
