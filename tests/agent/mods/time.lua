local time = require "time"
local t = {}

local function fails(pattern, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok, "no error")
    assert(tostring(message):find(pattern, 1, true), message)
end

function t.clocks()
    assert(math.abs(time.now() - os.time()) < 2)
    assert(math.type(time.now_ns()) == "integer" and math.abs(time.now_ns() / 1e9 - time.now()) < 1)
    local a, b = time.monotonic_ns(), time.monotonic_ns()
    assert(b >= a and math.abs(time.monotonic() - b / 1e9) < 1)
    assert(time.cpu() > 0)
end

function t.sleep_beside()
    local begun, order = time.monotonic(), {}
    for _, seconds in ipairs {0.2, 0.05, 0.1} do
        spawn(function()
            time.sleep(seconds)
            order[#order + 1] = seconds
        end)
    end
    time.sleep(0.25)
    assert(table.concat(order, " ") == "0.05 0.1 0.2", table.concat(order, " "))
    assert(time.monotonic() - begun >= 0.25)
    fails("not negative", time.sleep, -1)
    fails("not negative", time.sleep, 0 / 0)
    fails("number expected", time.sleep, {})
    local cancel = spawn(function() time.sleep(math.huge) end)
    time.sleep(0)
    cancel()
end

-- However slow the host is: never more ticks than there were, and never fewer than when the wait began.
function t.ticker()
    local before = time.monotonic()
    local ticker, after = time.ticker(0.05), time.monotonic()
    local ticks = 0
    local function wait()
        local asked = time.monotonic()
        local more = ticker:wait()
        ticks = ticks + more
        assert(more >= 1 and ticks * 0.05 < time.monotonic() - before + 0.001, ticks)
        assert((ticks + 1) * 0.05 > asked - after - 0.001, ticks)
    end
    wait()
    time.sleep(0.12)
    wait()
    wait()
    fails("expected", time.ticker, 0)
end

function t.format()
    assert(time.format(0) == "1970-01-01T00:00:00Z")
    assert(time.format(1709208000.75, {digits = 3}) == "2024-02-29T12:00:00.750Z")
    assert(time.format(1709208000, {digits = 9, ns = 123456789}) == "2024-02-29T12:00:00.123456789Z")
    assert(time.format(0.7, {digits = 1}) == "1970-01-01T00:00:00.7Z")
    assert(time.format(-0.5, {digits = 1}) == "1969-12-31T23:59:59.5Z")
    assert(time.format(0, {format = "%H:%M %d"}) == "00:00 01")
    assert(time.format(0, {format = ""}) == "")
    assert(time.parse(time.format(1e9 // 1 | 0, {localtime = true})) == 1000000000)
    assert(time.format():match("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
    fails("0 to 9", time.format, 0, {digits = 10})
    fails("out of range", time.format, 1e300)
    fails("out of range", time.format, 0 / 0)
    fails("too long", time.format, 0, {format = ("%c"):rep(1000)})
    local nothing, message = time.format(math.maxinteger)
    assert(nothing == nil and message)
end

function t.parse()
    local cases = {
        ["1970-01-01T00:00:00Z"] = 0,
        ["2024-02-29T12:00:00Z"] = 1709208000,
        ["2024-02-29t12:00:00z"] = 1709208000,
        ["2024-02-29 12:00:00+00:00"] = 1709208000,
        ["2024-02-29T12:00+01:00"] = 1709208000 - 3600,
        ["2024-02-29T12:00:00-0530"] = 1709208000 + 19800,
        ["2024-02-29T12:00:00+01"] = 1709208000 - 3600,
        ["1969-12-31T23:59:59Z"] = -1,
        ["2016-12-31T23:59:60Z"] = 1483228800,
    }
    for text, want in pairs(cases) do
        local got, ns = time.parse(text)
        assert(got == want and math.type(got) == "integer" and ns == 0, text .. " " .. tostring(got))
    end
    local got, ns = time.parse("2024-02-29T12:00:00.123456789Z")
    assert(math.abs(got - 1709208000.1234567) < 1e-5 and ns == 123456789)
    got, ns = time.parse("1970-01-01T00:00:00,5000000009Z")
    assert(got == 0.5 and ns == 500000000)
    local day = time.parse("2024-02-29")
    assert(os.date("%Y-%m-%d %H:%M:%S", day) == "2024-02-29 00:00:00")
    for _, bad in ipairs {"", "now", "2024", "2024-02-30", "2023-02-29T00:00:00Z", "2024-13-01",
        "2024-00-01", "2024-01-00", "2024-02-29T24:00:00Z", "2024-02-29T12:60:00Z", "2024-02-29T12",
        "2024-02-29T12:00:00.Z", "2024-02-29T12:00:00Zx", "2024-02-29T12:00:00+1", "2024-2-29",
        "2024-02-29T12:00:00+24:00", "2024-02-29Z", "2024-02-29T12:00:00Z\n"} do
        local nothing, message = time.parse(bad)
        assert(nothing == nil and message, bad)
    end
end

function t.zone()
    local zone = time.zone()
    assert(type(zone.name) == "string" and math.type(zone.offset) == "integer")
    assert(type(zone.summer) == "boolean" and getmetatable(zone).__copy)
end

return t
