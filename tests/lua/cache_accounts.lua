-- A session as Glusto's documentation shows it, with the accounts root, george and alexander.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local config = os.getenv "SSHD_CONFIG"

local function get(user, instance)
    return grapnel.get_connection("t", {user = user, instance = instance, config = config})
end

local function of(user)
    return {user = user, config = config}
end

-- Users have servers of their own, which run as them; who names none is root.
local root = get()
eq(grapnel.list_connections(), {"root@t:1"})
local george, alexander = get "george", get "alexander"
eq(grapnel.list_connections(), {"alexander@t:1", "george@t:1", "root@t:1"})
eq(grapnel.list_deployed_servers(), {"alexander@t", "george@t", "root@t"})
for user, conn in pairs {root = root, george = george, alexander = alexander} do
    eq(conn.modules.sys.user().name, user)
    eq(conn.name, user .. "@t:1")
end

-- A second instance of each; the same number is the same connection.
local root2, george2 = get(nil, 2), get("george", 2)
eq(grapnel.list_connections(),
    {"george@t:2", "root@t:2", "alexander@t:1", "george@t:1", "root@t:1"})
root.namespace.x = 5
eq(rawequal(get(), root), true)
eq(get().eval "x", 5)
eq(root2.eval "x", nil)
eq(root.facts().pid, root2.facts().pid)
local session = root.call("os.getenv", "SSH_CONNECTION")
eq(type(session), "string")
eq(root2.call("os.getenv", "SSH_CONNECTION"), session)
eq(grapnel.ping_connection("t", of()) ~= nil, true)
eq(grapnel.ping_connection("t", of "george", 2) ~= nil, true)
eq(grapnel.ping_connections(), {})

-- One by host, by user, by instance.
eq(grapnel.close_connection("t", of(), 1), 1)
eq(grapnel.list_connections(), {"george@t:2", "root@t:2", "alexander@t:1", "george@t:1"})
eq(grapnel.close_connection("t", of "george", 1), 1)
eq(grapnel.list_connections(), {"george@t:2", "root@t:2", "alexander@t:1"})
eq(grapnel.close_connection("t", of "george", 2), 1)
eq(grapnel.list_connections(), {"root@t:2", "alexander@t:1"})
eq(george2.closed, true)
eq(grapnel.check_connection("t", of "george", 2), nil)
eq(grapnel.list_deployed_servers(), {"alexander@t", "george@t", "root@t"})

-- A server takes its connections along, and leaves the SSH connection.
george = get "george"
session = george.call("os.getenv", "SSH_CONNECTION")
local asleep = grapnel.async(george.modules.time.sleep)(1000)
eq(grapnel.close_deployed_server("t", of "george"), 1)
fails("the server was undeployed", asleep)
fails("EOF: ", george.eval, "1")
eq(grapnel.list_connections(), {"root@t:2", "alexander@t:1"})
eq(grapnel.list_deployed_servers(), {"alexander@t", "root@t"})
eq(grapnel.list_ssh_connections(), {"alexander@t", "george@t", "root@t"})
george = get("george", 3)
eq(george.call("os.getenv", "SSH_CONNECTION"), session)
eq(grapnel.list_connections(), {"george@t:3", "root@t:2", "alexander@t:1"})

-- Several at once, then all of them.
eq(#grapnel.create_connections({"t"}, of "alexander", 3), 3)
eq(grapnel.list_connections(),
    {"alexander@t:3", "alexander@t:2", "george@t:3", "root@t:2", "alexander@t:1"})
eq(grapnel.close_connection(nil, "alexander"), 3)
eq(grapnel.close_connections(), 2)
eq(grapnel.list_connections(), {})
eq(grapnel.list_deployed_servers(), {"alexander@t", "george@t", "root@t"})
eq(grapnel.close_deployed_servers(), 3)
eq(grapnel.list_deployed_servers(), {})
eq(grapnel.list_ssh_connections(), {"alexander@t", "george@t", "root@t"})
eq(grapnel.close_ssh_connection("t", of "alexander"), 1)
eq(grapnel.list_ssh_connections(), {"george@t", "root@t"})
eq(grapnel.close_ssh_connections(), 2)
eq(grapnel.list_ssh_connections(), {})
fails("grapnel: t: ", get, "nobody-of-that-name")
eq(grapnel.list_ssh_connections(), {})
print "ok"
