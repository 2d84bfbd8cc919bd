-- A client of track_your_package.lua, who also tries what is not for clients.
-- TEST_SERVED: the far end serves it by itself (a forced command); otherwise it is sent along.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local here = debug.getinfo(1, "S").source:match "^@(.*)/"
local conn = check.connect {
    service = not os.getenv "TEST_SERVED" and here .. "/track_your_package.lua" or nil,
}
local root = conn.root

eq(root.status(1), "on its way")
eq(root.exposed_status(2), "delivered")
eq(root.connected(), 1)
fails("no such package", root.status, 3)
do
    local told = {}
    eq(root.notify(2, function(id, what)
        told[id] = what
    end), true)
    eq(told, {[2] = "delivered"})
end

-- A file that is handed over can be read, written and seeked; nothing else is reached through it.
do
    local file = root.label(7)
    eq(file:read "l", "package 7")
    eq(file:seek("set", 0), 0)
    eq(file:read "a", "package 7\n")
    fails("denied", function()
        return file.__gc
    end)
    fails("denied", function()
        return file.whatever
    end)
    file:close()
end

-- Everything else is denied.
for _, name in ipairs {"secret", "hidden", "name", "on_connect", "__index", "nothing"} do
    fails("denied", function()
        return root[name]
    end)
end
fails("denied", function()
    root.status = print
end)
fails("denied", function()
    for _ in pairs(root) do
        error "there is nothing to be seen"
    end
end)
fails("denied", conn.eval, "1")
fails("denied", conn.execute, "x = 1")
fails("denied", conn.call, "os.exit")
fails("denied", function()
    return conn.modules.os
end)
fails("denied", function()
    return conn.namespace.x
end)
fails("denied", conn.teleport, function() end)
fails("denied", function()
    conn.remote_exec("channel:send(1)"):receive()
end)
do
    local ok, e = pcall(conn.eval, "1")
    eq(ok, false)
    eq(e.denied, true)
end
eq(conn.ping() < 10, true)
eq(root.status(1), "on its way", "and the service goes on")

eq(conn.service "TrackYourPackage" == root, true)
fails("no such service: AnotherPackage", conn.service, "AnotherPackage")
conn.close()

-- Several services of one file.
if not os.getenv "TEST_SERVED" then
    local several = check.connect {service = here .. "/services.lua"}
    eq(several.root.name(), "TrackYourPackage")
    eq(several.service "SendYourPackage".name(), "SendYourPackage")
    eq(several.root.told(), "TrackYourPackage SendYourPackage")
    fails("no such service", several.service, "secret")
    fails("denied", function()
        return several.root[2]
    end)
    several.close()

    -- A table: its functions share there what they share here.
    local n, client = 0, nil
    local sent = check.connect {service = {
        name = "Sent",
        on_connect = function(_, conn)
            client = conn
        end,
        exposed_add = function()
            n = n + 1
            return n
        end,
        exposed_count = function()
            return n
        end,
        exposed_price = function(what)
            return client.root.price(what)
        end,
        exposed_list = {1, 2},
        secret = 7,
    }}
    sent.serve {exposed_price = function(what) return what .. ": 3" end, secret = 1}
    eq({sent.root.add(), sent.root.add(), sent.root.count(), sent.root.list[2], n}, {1, 2, 2, 2, 0})
    eq(sent.root.price "apples", "apples: 3")
    eq(sent.service "Sent" == sent.root, true)
    fails("denied", function()
        return sent.root.secret
    end)
    sent.close()
    fails("switched off", check.connect, {service = {exposed_f = function() end}, teleport = false})
    fails("come from a file", check.connect, {service = {{name = "a"}}})
    fails("must be a file's name or a table", check.connect, {service = 5})

    -- One that never gets ready: connecting takes no longer than it may.
    local endless = os.tmpname()
    local file = io.open(endless, "w")
    file:write "while true do end"
    file:close()
    local begun = grapnel.now()
    fails("in time", check.connect, {service = endless, connect_timeout = 2})
    eq(grapnel.now() - begun < 10, true)
    os.remove(endless)

    -- Nothing is served before on_connect has ended, and nothing at all when it fails.
    local function door(how)
        return check.connect {service = here .. "/doorkeeper.lua", env = {DOOR = how}}
    end
    local slow <close> = door "slow"
    eq(slow.root.ready(), true, "served when it was ready")
    for how, told in pairs {shut = "nobody is let in", object = "EOF: the remote code failed",
        nonsense = "attempt to call"} do
        local shut <close> = door(how)
        local message = fails(told, function()
            return shut.root.ready()
        end)
        eq(message:find "traceback", nil, "what it shows of itself")
        eq(shut.closed, true, how)
    end
end
print "ok"
