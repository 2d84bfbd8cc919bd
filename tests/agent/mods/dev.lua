-- The module dev: real devices and files.
local dev = require "dev"
local fs = require "fs"
local T = {}

local function file(name, text)
    local path = TMP .. "/" .. name
    local f = assert(io.open(path, "w"))
    f:write(text)
    f:close()
    return path
end

local function fails(pattern, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok, "no error")
    assert(string.find(message, pattern, 1, true), message)
end

function T.devices_are_read_and_written()
    local zero <close> = assert(dev.open("/dev/zero"))
    assert(zero:read(5) == "\0\0\0\0\0")
    local null <close> = assert(dev.open("/dev/null", "rw"))
    assert(null:write("hello") == 5)
    local data, message = null:read(5)
    assert(data == nil and message == nil)
    assert(tostring(null):find("^device %(descriptor %d+%)$"))
    assert(null:close() and tostring(null) == "device (closed)")
    fails("closed", null.read, null, 1)
    local d, text, number = dev.open("/dev/nothing-like-it")
    assert(d == nil and text:find("No such file") and number == 2)
    fails("unknown flag", dev.open, "/dev/null", "rw,wrong")
end

function T.files_have_positions()
    local d <close> = assert(dev.open(TMP .. "/f", "rw,create,excl", 384))
    assert(d:write("0123456789") == 10)
    assert(d:pread(3, 4) == "456")
    assert(d:pwrite("AB", 8) == 2)
    assert(d:seek("set", 6) == 6 and d:read(10) == "67AB" and d:read(1) == nil)
    assert(d:seek("end") == 10)
    assert(fs.stat(TMP .. "/f").size == 10)
    local again, message = dev.open(TMP .. "/f", "rw,create,excl")
    assert(again == nil and message:find("exists"))
end

-- A pair of terminals, as hardware that answers.
local function terminals()
    local master = assert(dev.open("/dev/ptmx", "rw"))
    assert(master:ioctl(0x40045431, string.pack("i4", 0))) -- TIOCSPTLCK
    local _, number = assert(master:ioctl(dev._IOR("T", 0x30, 4), ""))
    local path = "/dev/pts/" .. string.unpack("i4", number)
    return master, assert(dev.open(path, "rw"))
end

function T.ioctl_takes_and_gives_bytes()
    local master, slave = terminals()
    local size = string.pack("HHHH", 33, 77, 0, 0)
    assert(slave:ioctl(0x5414, size) == 0) -- TIOCSWINSZ
    local result, got = slave:ioctl(0x5413, string.rep("\0", 8)) -- TIOCGWINSZ
    assert(result == 0 and got == size)
    -- A buffer that is too short for what the driver writes does no harm.
    result, got = slave:ioctl(0x5413, "")
    assert(result == 0 and got == "")
    local none, message, number = slave:ioctl(0x1234)
    assert(none == nil and message and number > 0)
    master:close()
    slave:close()
end

function T.a_wait_holds_nobody_up()
    local master, slave = terminals()
    local order = {}
    spawn(function()
        order[#order + 1] = "begun"
        assert(master:read(100) == "line\r\n")
        order[#order + 1] = "read"
        master:close()
        slave:close()
    end)
    spawn(function()
        order[#order + 1] = "other"
        assert(slave:poll("r", 0.02) == nil)
        assert(slave:poll("rw") == "w")
        assert(slave:write("line\n") == 5)
    end)
    while #order < 3 do
        require("time").sleep(0.01)
    end
    assert(table.concat(order, " ") == "begun other read", table.concat(order, " "))
end

function T.a_wait_ends_in_time_or_with_a_close()
    local master, slave = terminals()
    local begun = os.clock()
    local data, message, number = master:read(1, 0.05)
    assert(data == nil and message == "timeout" and number > 0)
    assert(os.clock() - begun < 0.04, "it was busy")
    spawn(function()
        master:close()
    end)
    data, message = master:read(1)
    assert(data == nil and message == "closed")
    slave:close()
end

function T.a_region_is_checked()
    local path = file("m", string.rep("\0", 4096) .. "tail")
    local d <close> = assert(dev.open(path, "rw"))
    local r <close> = assert(d:mmap(0, 4100, "rw"))
    assert(#r == 4100 and tostring(r) == "region (4100 bytes)")
    r:set(0, "u32be", 0x01020304)
    assert(r:read(0, 4) == "\1\2\3\4" and r:get(0, "u32le") == 0x04030201)
    assert(r:get(1, "u16be") == 0x0203)
    r:set(8, "i8", -1)
    assert(r:get(8, "u8") == 255 and r:get(8, "i16le") == 255)
    r:set(16, "f64be", 1.5)
    assert(r:read(16, 8) == string.pack(">d", 1.5) and r:get(16, "f64be") == 1.5)
    r:set(24, "f32", 0.25)
    assert(r:get(24, "f32") == 0.25)
    r:set(32, "u64", -1)
    assert(r:get(32, "i64") == -1 and r:get(32, "u64be") == -1)
    r:set(40, "i32be", -2)
    assert(r:get(40, "i32be") == -2 and r:get(43, "u8") == 0xfe)
    assert(r:read(4096) == "tail")
    r:write(4097, "ape")
    assert(r:sync() and d:pread(4, 4096) == "tape")
    for _, at in ipairs { -1, 4097, 4100, math.maxinteger, math.mininteger } do
        fails("out of bounds", r.get, r, at, "u32")
        fails("out of bounds", r.set, r, at, "u32", 0)
        fails("out of bounds", r.write, r, at, "12345")
        fails("out of bounds", r.read, r, at, 5)
    end
    fails("does not fit", r.set, r, 0, "u8", 256)
    fails("does not fit", r.set, r, 0, "i16", -32769)
    fails("does not fit", r.set, r, 0, "u32", -1)
    fails("no such type", r.get, r, 0, "u24")
    r:close()
    r:close()
    fails("closed", r.get, r, 0, "u8")
    assert(tostring(r) == "region (closed)")
end

function T.a_region_may_begin_anywhere()
    local d <close> = assert(dev.open(file("o", string.rep("x", 5000) .. "here"), "r"))
    local r <close> = assert(d:mmap(5000, 4))
    assert(r:read(0) == "here")
    fails("reading only", r.set, r, 0, "u8", 1)
    fails("reading only", r.write, r, 0, "a")
    local none, message = d:mmap(5000, 5)
    assert(none == nil and message:find("shorter"))
    none, message = d:mmap(0, 100, "rw")
    assert(none == nil and message)
    fails("out of range", d.mmap, d, 0, 0)
    fails("out of range", d.mmap, d, -4096, 10)
end

function T.a_file_that_is_cut_kills_nobody()
    local path = file("c", string.rep("y", 20000))
    local d <close> = assert(dev.open(path, "rw"))
    local r <close> = assert(d:mmap(0, 20000, "rw"))
    assert(r:get(19999, "u8") == 121)
    io.open(path, "w"):close()
    fails("not there", r.get, r, 19999, "u8")
    fails("not there", r.read, r, 0)
    fails("not there", r.write, r, 10000, string.rep("z", 100))
    fails("not there", r.set, r, 8192, "u64", 1)
end

function T.structs_are_as_in_C()
    assert(dev.pack("u8 u32", 1, 2) == string.pack("!I1I4", 1, 2))
    assert(dev.sizeof("u32 u8") == 8 and dev.sizeof("packed u32 u8") == 5)
    assert(dev.sizeof("u8 u64 u8") == 24 and dev.sizeof("char[3] u16") == 6)
    assert(dev.sizeof("u16[3] u8") == 8)
    assert(dev.pack("packed > u16 char[4] i8", 0x102, "ab", -1) == "\1\2ab\0\0\xff")
    local a, b, c, d, at = dev.unpack("u16[3] i8", dev.pack("u16[3] i8", 1, 2, 3, -4))
    assert(a == 1 and b == 2 and c == 3 and d == -4 and at == 9)
    assert(dev.pack("<I4 i2 z", 1, 2, "three") == string.pack("<I4i2z", 1, 2, "three"))
    assert(dev.sizeof("i1 i4") == 5, "formats of string.pack are as they are there")
    fails("invalid format", dev.pack, "u24", 1)
    fails("data string too short", dev.unpack, "u64", "123")
    assert(dev._IO("T", 1) == 0x5401 and dev._IOR("T", 0x30, 4) == 0x80045430)
    assert(dev._IOW("T", 0x31, "int") == 0x40045431 and dev._IOWR(0x12, 3, "u8 u32") == 0xc0081203)
    fails("out of range", dev._IOR, "T", 256, 4)
    fails("out of range", dev._IOR, "T", 1, 1 << 20)
end

return T
