#!/usr/bin/env lua5.4
-- What grapnel's calls take from Lua; the counterpart of peers.py.
--
--   calls.lua first              connects, calls once, leaves: to be timed as a whole process
--   calls.lua sync COUNT         median of a call with a small argument, in microseconds
--   calls.lua pipeline COUNT     calls a second, COUNT of them under way at once
--   calls.lua iterate COUNT      seconds to go through a table of COUNT integers over there
--   calls.lua channel MIB        MB/s through a channel, from there to here
--   calls.lua instance COUNT     median milliseconds to start a further instance, until its first call
--   calls.lua resident COUNT     bytes resident for each of so many further instances
--
-- SSHD_CONFIG tells where to.
local grapnel = require "grapnel"

local what, count = arg[1], math.tointeger(tonumber(arg[2] or "0"))

local function connect(instance)
    return grapnel.connect("t", {config = os.getenv "SSHD_CONFIG", instance = instance})
end

local function median(times)
    table.sort(times)
    return times[#times // 2 + 1]
end

local function twice(conn)
    conn.execute "function twice(x) return x + x end"
    return conn.namespace.twice
end

local measure = {}

function measure.first()
    local conn = connect()
    assert(conn.call("math.abs", -42) == 42)
    conn.close()
end

function measure.sync()
    local conn = connect()
    local f, times = twice(conn), {}
    for i = 1, count + count // 10 do
        local before = grapnel.now()
        f(i)
        times[i] = grapnel.now() - before
    end
    table.move(times, count // 10 + 1, #times, 1)
    print(("%.1f"):format(median(times) * 1e6))
    conn.close()
end

local function pipelined(f, n)
    local start, results = grapnel.async(f), {}
    for i = 1, n do
        results[i] = start(i)
    end
    for i = 1, n do
        assert(results[i].value == i + i)
    end
end

function measure.pipeline()
    local conn = connect()
    local f = twice(conn)
    pipelined(f, count // 10)
    local before = grapnel.now()
    pipelined(f, count)
    print(("%.0f"):format(count / (grapnel.now() - before)))
    conn.close()
end

function measure.iterate()
    local conn = connect()
    conn.execute(("many = {} for i = 1, %d do many[i] = i end"):format(count))
    local many, n = conn.namespace.many, 0
    local before = grapnel.now()
    for _ in ipairs(many) do
        n = n + 1
    end
    local took = grapnel.now() - before
    assert(n == count)
    print(("%.4f"):format(took))
    conn.close()
end

function measure.channel()
    local conn = connect()
    local channel = conn.remote_exec([[
        local pieces = ...
        local piece = ("grapnel "):rep(8192)
        for _ = 1, pieces do
            channel:send(piece)
        end
    ]], count * 16)
    local n, before = 0, grapnel.now()
    for piece in channel do
        n = n + #piece
    end
    local took = grapnel.now() - before
    assert(n == count * 1048576)
    print(("%.1f"):format(n / took / 1e6))
    conn.close()
end

function measure.instance()
    local first, times = connect(1), {}
    first.call("math.abs", -1)
    for i = 1, count do
        local before = grapnel.now()
        local conn = connect(i + 1)
        conn.call("math.abs", -1)
        times[i] = grapnel.now() - before
        conn.close()
    end
    print(("%.3f"):format(median(times) * 1e3))
    first.close()
end

function measure.resident()
    local conns, sum = {}, 0
    for i = 1, count + 1 do
        conns[i] = connect(i)
        local status = conns[i].call("fs.read_file", "/proc/self/status")
        if i > 1 then
            sum = sum + status:match "VmRSS:%s*(%d+) kB" * 1024
        end
    end
    print(sum // count)
    for _, conn in ipairs(conns) do
        conn.close()
    end
end

measure[what]()
