local sys = require "sys"
local fs = require "fs"
local time = require "time"
local t = {}

local function output(command)
    local p = assert(io.popen(command))
    local text = p:read("a"):gsub("\n$", "")
    p:close()
    return text
end

function t.names()
    local u = sys.uname()
    assert(u.sysname == output("uname -s") and u.release == output("uname -r"))
    assert(u.machine == output("uname -m") and u.nodename == output("uname -n"))
    assert(u.version == output("uname -v") and getmetatable(u).__copy == true)
    assert(sys.platform() == (u.sysname .. "-" .. u.machine):lower())
    assert(sys.hostname() == u.nodename)
    assert(sys.release().ID == output(". /etc/os-release; echo $ID"))
    assert(sys.release().PRETTY_NAME == output(". /etc/os-release; echo \"$PRETTY_NAME\""))
    local v = sys.versions()
    assert(v.lua:find("^Lua 5%.4") and #v.libc > 0 and #v.worker > 0)
end

function t.machine()
    assert(sys.byte_order() == (string.pack("=I2", 1) == "\1\0" and "little" or "big"))
    assert(sys.word_bits() == tonumber(output("getconf LONG_BIT")))
    assert(sys.page_size() == tonumber(output("getconf PAGESIZE")))
    local cpu = sys.cpu()
    assert(cpu.online == tonumber(output("getconf _NPROCESSORS_ONLN")))
    assert(cpu.configured >= cpu.online and type(cpu.features) == "table")
    if sys.uname().machine == "x86_64" then
        local names = {}
        for _, name in ipairs(cpu.features) do names[name] = true end
        assert(names.sse2 and names.fpu and #cpu.model > 0 and #cpu.vendor > 0)
        assert(not cpu.model:find("\n"))
    end
    local one, five, fifteen = sys.load()
    assert(one >= 0 and five >= 0 and fifteen >= 0)
    local m = sys.memory()
    assert(m.total == 1024 * output("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo"))
    assert(m.free > 0 and m.free <= m.total and m.available <= m.total)
    assert(m.swap_free <= m.swap_total and m.cached >= 0 and m.buffers >= 0)
end

function t.accounts()
    local root = sys.user("root")
    assert(root.uid == 0 and root.name == "root" and root.home == output("echo ~root"))
    assert(sys.user(0).name == "root" and sys.group(0).name == output("id -gn root"))
    local me = sys.whoami()
    assert(me.user == output("id -un") and me.uid == tonumber(output("id -u")))
    assert(me.gid == tonumber(output("id -g")) and type(me.groups) == "table")
    assert(sys.user().name == me.user and sys.group().gid == me.gid)
    local users, found = sys.users(), 0
    for _, user in ipairs(users) do
        found = found + (user.name == "root" and user.uid == 0 and 1 or 0)
        assert(user.shell and user.home and user.gid)
    end
    assert(found == 1 and #users == tonumber((output("getent passwd | wc -l"))))
    assert(#sys.groups() > 0 and sys.groups()[1].members)
    for _, missing in ipairs {"no such user", 4000000000} do
        local nothing, message, errno = sys.user(missing)
        assert(nothing == nil and message:find("no such user") and errno == 2, message)
        assert(sys.group(missing) == nil)
    end
    local ok, message = pcall(sys.user, {})
    assert(not ok and message:find("number expected"))
end

function t.disks()
    local root, mounts = nil, sys.mounts()
    for _, m in ipairs(mounts) do
        root = m.target == "/" and m or root
        assert(m.source and m.type and m.options)
    end
    assert(root and getmetatable(mounts).__copy)
    local found
    for _, d in ipairs(sys.disks()) do
        assert(d.total > 0 and d.free <= d.total and d.available <= d.total)
        assert(d.used == d.total - d.free and type(d.read_only) == "boolean")
        found = found or d.target == "/"
    end
    assert(found and fs.df("/").total > 0)
end

function t.times()
    local up = tonumber(output("cat /proc/uptime"):match("^[%d.]+"))
    assert(math.abs(sys.uptime() - up) < 1)
    assert(math.abs(sys.boot_time() + sys.uptime() - time.now()) < 1)
end

return t
