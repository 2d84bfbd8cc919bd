local hash = require "hash"
local fs = require "fs"
local t = {}

local function fails(pattern, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok, "no error")
    assert(tostring(message):find(pattern, 1, true), message)
end

function t.known()
    -- RFC 7693, FIPS 180-4, RFC 4231
    assert(hash.blake2b("abc", {length = 64}) ==
        "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1" ..
        "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923")
    assert(hash.blake2b("") == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8")
    assert(hash.sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    assert(hash.sha256("Hi There", {key = ("\x0b"):rep(20)}) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    assert(hash.blake2b("x", {key = "a"}) ~= hash.blake2b("x", {key = "b"}))
    assert(#hash.blake2b("x", {length = 16}) == 32)
    assert(hash.hex(hash.sha256("a", {raw = true})) == hash.sha256("a"))
end

function t.pieces()
    for _, name in ipairs {"blake2b", "sha256"} do
        for _, options in ipairs {{}, {key = "secret"}} do
            local h = hash.new(name, options)
            assert(h:update("a", "b"):update("c") == h)
            assert(h:final() == hash[name]("abc", options))
            fails("finished", h.update, h, "x")
            fails("finished", h.final, h)
        end
    end
end

function t.files()
    local path = TMP .. "/odd \n\xff name"
    local data = ("0123456789abcdef"):rep(1 << 16) -- several pieces
    assert(fs.write_file(path, data) == #data)
    assert(hash.file("sha256", path) == hash.sha256(data))
    assert(hash.file("blake2b", path, {length = 20}) == hash.blake2b(data, {length = 20}))
    local nothing, message, errno = hash.file("sha256", TMP .. "/none")
    assert(nothing == nil and message:find("none") and errno == 2)
    local _, _, directory = hash.file("sha256", TMP)
    assert(directory == 21)
end

function t.texts()
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    all = table.concat(all)
    assert(hash.unhex(hash.hex(all)) == all and hash.unhex("0aFF") == "\x0a\xff")
    assert(hash.hex("") == "" and hash.unhex("") == "")
    for n = 0, 256 do
        local part = all:sub(1, n)
        assert(hash.unbase64(hash.base64(part)) == part)
        assert(hash.unbase64(hash.base64(part, true), true) == part)
    end
    assert(hash.base64("\xfb\xff") == "+/8=" and hash.base64("\xfb\xff", true) == "-_8")
    assert(hash.unbase64("+/\n8=\n") == "\xfb\xff")
    for _, bad in ipairs {"0", "0g", "0 ", "zz"} do
        local bytes, message = hash.unhex(bad)
        assert(bytes == nil and message, bad)
    end
    for _, bad in ipairs {"a", "====", "YQ", "Y!==", "YQ==x"} do
        local bytes, message = hash.unbase64(bad)
        assert(bytes == nil and message, bad)
    end
end

function t.equal_and_random()
    assert(hash.equal("abc", "abc") and not hash.equal("abc", "abd") and not hash.equal("a", "ab"))
    assert(hash.equal("", ""))
    assert(#hash.random(0) == 0 and #hash.random(33) == 33 and hash.random(16) ~= hash.random(16))
end

function t.wrong_arguments()
    fails("string expected", hash.sha256, {})
    fails("string expected", hash.sha256)
    fails("16 to 64", hash.blake2b, "x", {length = 15})
    fails("16 to 64", hash.blake2b, "x", {length = 65})
    fails("16 to 64", hash.sha256, "x", {length = 31})
    fails("integer expected", hash.blake2b, "x", {length = "long"})
    fails("at most 64", hash.blake2b, "x", {key = ("k"):rep(65)})
    fails("string expected", hash.blake2b, "x", {key = {}})
    fails("table expected", hash.blake2b, "x", 3)
    fails("md5", hash.new, "md5")
    fails("zero byte", hash.file, "sha256", "a\0b")
    fails("1048576", hash.random, -1)
end

return t
