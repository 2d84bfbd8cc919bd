-- The module net: real sockets on this host, and what a program written for LuaSocket does.
local net = require "net"
local time = require "time"
local fs = require "fs"
local T = {}

local function fails(pattern, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok, "no error")
    assert(string.find(message, pattern, 1, true), message)
end

local function until_true(f)
    local limit = time.monotonic() + 10
    while not f() do
        assert(time.monotonic() < limit, "it does not come")
        time.sleep(0.005)
    end
end

-- The thread that looks up a name for nobody any more ends when it has it.
local function when_threads_have_ended(f)
    local function open()
        collectgarbage()
        collectgarbage()
        return #assert(fs.list("/proc/self/fd"))
    end
    local before = open()
    f()
    until_true(function() return open() == before end)
end

-- A connected pair.
local function pair()
    local server <close> = assert(net.listen("127.0.0.1", 0))
    local _, port = server:getsockname()
    local client = assert(net.connect("127.0.0.1", port))
    return client, assert(server:accept(5))
end

function T.tcp()
    local server <close> = assert(net.listen("127.0.0.1", 0, { backlog = 5 }))
    local address, port, family = server:sockname()
    assert(address == "127.0.0.1" and port > 0 and family == "inet")
    local client <close> = assert(net.connect("localhost", port, { timeout = 5 }))
    local there <close> = assert(server:accept())
    assert(tostring(client):find("^socket %(descriptor %d+%)$"))
    assert(select(2, there:peername()) == select(2, client:sockname()))
    assert(select(2, client:peername()) == port)
    assert(client:write("one\n", "two\r\n", "rest") == client)
    assert(there:read() == "one" and there:read("L") == "two\r\n" and there:read(2) == "re")
    assert(client:shutdown() == 1)
    assert(there:read("a") == "st" and there:read() == nil)
    assert(there:write("still") and there:close())
    assert(client:read("a") == "still")
    assert(client:setoption("tcp-nodelay", true) == 1 and client:getoption("nodelay") == true)
    assert(client:setoption("keepalive", true) and client:getoption("keepalive"))
    assert(client:setoption("linger", { on = true, timeout = 0 }))
    fails("unknown option", client.setoption, client, "what", 1)
end

function T.ipv6()
    local server = net.listen("::1", 0)
    if not server then
        return -- this host has none
    end
    local address, port, family = server:getsockname()
    assert(address == "::1" and family == "inet6")
    local client <close> = assert(net.connect("::1", port))
    server:close()
end

function T.failures()
    local server = assert(net.listen("127.0.0.1", 0))
    local _, port = server:getsockname()
    local none, message, number = net.listen("127.0.0.1", port)
    assert(none == nil and message == "address already in use" and number == 98)
    server:close()
    none, message, number = net.connect("127.0.0.1", port)
    assert(none == nil and message == "connection refused" and number == 111)
    none, message, number = net.connect("no-such-host.invalid", 1)
    assert(none == nil and type(message) == "string" and math.type(number) == "integer")
    none, message = net.resolve("no-such-host.invalid")
    assert(none == nil and type(message) == "string")
    fails("no port", net.connect, "127.0.0.1", 65536)
    fails("number expected", net.connect, "127.0.0.1")
    fails("too long", net.connect, string.rep("a", 300), 1)
    fails("too long", net.connect, "unix:" .. string.rep("a", 200))
    fails("'type'", net.connect, "127.0.0.1", 1, { type = "what" })
    local closed = net.tcp()
    closed:close()
    none, message = closed:read()
    assert(none == nil and message == "closed")
    none, message = closed:accept()
    assert(none == nil and message == "closed")
    assert(tostring(closed) == "socket (closed)")
end

function T.resolve()
    local list = assert(net.resolve("127.0.0.1"))
    assert(#list == 1 and list[1].address == "127.0.0.1" and list[1].family == "inet")
    assert(getmetatable(list).__copy and getmetatable(list[1]).__copy)
    assert(net.resolve("::1", { family = "inet6" })[1].family == "inet6")
    for _, one in ipairs(assert(net.resolve("localhost", { family = "inet", timeout = 10 }))) do
        assert(one.family == "inet" and one.address:find("^127%."))
    end
    assert(net.dns.toip("localhost"):find("^127%.") and net.dns.gethostname() ~= "")
    fails("'family'", net.resolve, "localhost", { family = "ipx" })
    when_threads_have_ended(function()
        local _, message = net.resolve("localhost", { timeout = 0 })
        assert(message == nil or message == "timeout")
    end)
end

function T.udp()
    local a <close> = net.udp()
    local b <close> = net.udp()
    assert(a:setsockname("127.0.0.1", 0) == 1)
    local _, port = a:getsockname()
    assert(b:sendto("hello", "127.0.0.1", port) == 5)
    local data, from, number, family = a:receivefrom()
    assert(data == "hello" and from == "127.0.0.1" and family == "inet")
    assert(b:setpeername("localhost", port) == 1 and b:send("again") == 5)
    assert(a:receive(3) == "aga", "a datagram is cut")
    assert(a:sendto("", "127.0.0.1", number) == 0 and b:receive() == "")
    a:settimeout(0.03)
    local none, message = a:receivefrom()
    assert(none == nil and message == "timeout")
    local server <close> = assert(net.listen("*", 0, { type = "dgram" }))
    _, port = server:getsockname()
    local client <close> = assert(net.connect("127.0.0.1", port, { type = "dgram" }))
    assert(client:send("x") == 1 and server:receive() == "x")
end

function T.unix()
    for _, name in ipairs { TMP .. "/s", "@grapnel-test-" .. tostring(T):match("0x(%x+)") } do
        local server <close> = assert(net.listen("unix:" .. name))
        local client <close> = assert(net.connect("unix:" .. name))
        local there <close> = assert(server:accept())
        local path, port, family = server:getsockname()
        assert(path == name and port == nil and family == "unix", path)
        assert(client:getpeername() == name and there:getpeername() == "")
        client:write("line\n")
        assert(there:read() == "line")
        local d <close> = net.unix("dgram")
        local e <close> = net.unix("dgram")
        assert(d:bind(name .. "d") == 1 and e:sendto("to d", name .. "d") == 4)
        local data, from = d:receivefrom()
        assert(data == "to d" and from == "")
        assert(e:bind(name .. "e") == 1 and e:connect(name .. "d") == 1 and e:send("more") == 4)
        data, from = d:receivefrom()
        assert(data == "more" and from == name .. "e")
    end
    assert(fs.stat(TMP .. "/s").type == "socket")
    local none, message, number = net.connect("unix:" .. TMP .. "/none")
    assert(none == nil and number == 2, message)
end

-- Nothing but what LuaSocket's documentation says of tcp objects.
function T.a_program_for_LuaSocket()
    local socket = net
    local server = assert(socket.bind("*", 0))
    local ip, port = server:getsockname()
    assert(ip == "0.0.0.0" and tonumber(port))
    local master = socket.tcp()
    assert(master:setoption("reuseaddr", true) == 1 and master:setoption("tcp-nodelay", true) == 1)
    master:settimeout(3)
    assert(master:connect("127.0.0.1", port) == 1)
    assert(master:getoption("reuseaddr") == true and master:getoption("nodelay") == true)
    local client = server:accept()
    client:settimeout(0.05)
    assert(master:send("GET / HTTP/1.0\r\n\r\nbody") == 22)
    assert(client:receive() == "GET / HTTP/1.0" and client:receive("*l") == "")
    assert(client:receive(2) == "bo")
    local data, err, partial = client:receive(10)
    assert(data == nil and err == "timeout" and partial == "dy")
    assert(master:send("0123456789", 3, 5) == 5 and client:receive(5, "ab") == "ab234")
    assert(master:send("0123456789", -2) == 10 and client:receive(2) == "89")
    assert(master:send("tail"))
    master:close()
    data, err, partial = client:receive("*l")
    assert(data == nil and err == "closed" and partial == "tail")
    data, err, partial = client:receive("*a")
    assert(data == nil and err == "closed" and partial == "")
    client:close()
    data, err = client:receive()
    assert(data == nil and err == "closed")
    data, err, partial = client:send("x")
    assert(data == nil and err == "closed" and partial == 0)
    local s = socket.tcp()
    assert(s:bind("127.0.0.1", 0) == 1 and s:listen(3) == 1)
    s:settimeout(0)
    data, err = s:accept()
    assert(data == nil and err == "timeout")
    local c = socket.connect("127.0.0.1", select(2, s:getsockname()))
    assert(c:send("all of it") == 9 and c:shutdown("both") == 1)
    s:settimeout()
    local there = s:accept()
    assert(there:receive("*a") == "all of it")
    for _, one in ipairs { server, s, c, there } do
        assert(one:close())
    end
    assert(socket.gettime() > 1.6e9)
    socket.sleep(0.01)
end

function T.much_in_both_directions()
    local a, b = pair()
    local text = string.rep("0123456789abcdef", 1 << 18)
    local done = 0
    for _, ends in ipairs { { a, b }, { b, a } } do
        spawn(function()
            assert(ends[1]:write(text) and ends[1]:shutdown("send"))
            done = done + 1
        end)
        spawn(function()
            assert(ends[2]:read("a") == text)
            done = done + 1
        end)
    end
    until_true(function() return done == 4 end)
    a:close()
    b:close()
end

function T.many_clients_at_once()
    local server <close> = assert(net.listen("127.0.0.1", 0))
    local _, port = server:getsockname()
    local done = 0
    spawn(function()
        for _ = 1, 50 do
            local one = assert(server:accept())
            spawn(function()
                for line in one:lines("L") do
                    assert(one:write(line))
                end
                one:close()
            end)
        end
    end)
    for i = 1, 50 do
        spawn(function()
            local c <close> = assert(net.connect("127.0.0.1", port))
            for k = 1, 20 do
                assert(c:send(i .. " " .. k .. "\n") and c:receive() == i .. " " .. k)
            end
            done = done + 1
        end)
    end
    until_true(function() return done == 50 end)
end

function T.a_peer_that_is_gone()
    local a, b = pair()
    b:setoption("linger", 0)
    b:close()
    local data, message = a:read()
    assert(data == nil and message == "closed", message)
    local ok
    ok, message = a:write("x")
    assert(ok == nil and message == "closed", message)
    a:close()
end

-- Nobody answers there: a full queue of connections.
local function silent()
    local server = assert(net.listen("127.0.0.1", 0, { backlog = 0 }))
    local _, port = server:getsockname()
    local held = {}
    repeat
        local s, message = net.connect("127.0.0.1", port, { timeout = 0.05 })
        held[#held + 1] = s
        assert(#held < 20)
    until s == nil and assert(message == "timeout")
    return port, function()
        for _, s in ipairs(held) do
            s:close()
        end
        server:close()
    end
end

function T.a_connect_ends_in_time()
    local port, close = silent()
    local begun = time.monotonic()
    local s, message = net.connect("127.0.0.1", port, { timeout = 0.1 })
    assert(s == nil and message == "timeout" and time.monotonic() - begun < 10)
    close()
end

function T.waits_can_be_cancelled()
    local a, b = pair()
    local server <close> = assert(net.listen("127.0.0.1", 0))
    local udp <close> = net.udp()
    local port, close = silent()
    local big = string.rep("x", 64 << 20)
    udp:bind("127.0.0.1", 0)
    local waits = {
        function() a:read() end,
        function() a:receive("*a") end,
        function() a:write(big) end,
        function() b:send(big) end,
        function() server:accept() end,
        function() udp:receivefrom() end,
        function() udp:receive() end,
        function() net.connect("127.0.0.1", port) end,
        function() net.sleep(100) end,
    }
    for i, wait in ipairs(waits) do
        local ended
        local cancel = spawn(function()
            local mark <close> = setmetatable({}, { __close = function() ended = true end })
            wait()
            error("wait " .. i .. " came back")
        end)
        time.sleep(0.03)
        assert(not ended, i)
        cancel()
        until_true(function() return ended end)
    end
    -- One for a name, whether it is found at once or not.
    when_threads_have_ended(function()
        local cancel = spawn(function()
            net.resolve("no-such-host.invalid")
            time.sleep(10)
        end)
        time.sleep(0)
        cancel()
    end)
    a:close()
    b:close()
    close()
end

function T.a_close_ends_what_waits()
    local a, b = pair()
    local server, messages = assert(net.listen("127.0.0.1", 0)), {}
    local function note(f, ...)
        local args = table.pack(...)
        spawn(function()
            local _, message = f(table.unpack(args))
            table.insert(messages, message)
        end)
    end
    note(a.read, a)
    note(a.read, a, "a")
    note(server.accept, server)
    time.sleep(0.02)
    a:close()
    server:close()
    until_true(function() return #messages == 3 end)
    assert(table.concat(messages, " ") == "closed closed closed", table.concat(messages, " "))
    b:close()
end

return T
