-- Maps, over instances of this machine.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local here = {connect = {transport = "local", env = {WHO = "instance"}}}

-- All results by their index; the order in which they came.
local function by_index(map)
    local all, order = {}, {}
    for r in map do
        assert(not all[r.index], "told twice")
        all[r.index] = r
        order[#order + 1] = r.index
    end
    return all, order
end

local function values(map)
    local all, list = by_index(map), {}
    for i, r in ipairs(all) do
        assert(r.ok, r.error and r.error.message)
        list[i] = r.value
    end
    return list
end

-- What is called: a path, source, functions of here and of the library.
do
    local fleet = grapnel.fleet({"one", "two"}, here)
    eq(values(fleet:map("math.sqrt", {1, 4, 9})), {1.0, 2.0, 3.0})
    eq(values(fleet:map("eval", {"1 + 1", "os.getenv 'WHO'"})), {2, "instance"})
    eq(values(fleet:map("execute", {"x = 7 return x"})), {7})
    eq(values(fleet:map("function(n) return n + 1 end", {1, 2})), {2, 3})
    eq(values(fleet:map("local t = require 'time' return function(n) return n, t.now() end", {5})), {5})
    eq(values(fleet:map(string.upper, {"a", "b"})), {"A", "B"})
    eq(values(fleet:map(os.getenv, {"WHO"})), {"instance"})

    local factor, list, names = 3, {10, 20, deep = {"x"}}, {}
    list.again = list
    local function fact(n)
        return n < 2 and 1 or n * fact(n - 1)
    end
    local function set(v)
        factor = v
    end
    eq(values(fleet:map(function(n)
        set(factor + 1)
        return {factor, fact(n), list.again[2], list.deep[1], string.rep("y", n), #names}
    end, {2}, {instances = 1})), {{4, 2, 20, "x", "yy", 0}})
    eq(factor, 3)
end

-- Tasks: lists, iterators with several values; in order if that is wanted.
do
    local fleet = grapnel.fleet({"one"}, here)
    local n = 0
    local function next_pair()
        n = n + 1
        if n <= 3000 then
            return n, n % 2 == 0, {n}
        end
    end
    local map = fleet:map(function(a, b, c) return a + c[1], b, nil end, next_pair,
        {ordered = true, instances = 3})
    local i = 0
    for r in map do
        i = i + 1
        eq({r.index, r.value, r.results[2], r.results.n, r.begun}, {i, 2 * i, i % 2 == 0, 3, 1})
    end
    eq(i, 3000)
    local hosts = map:hosts()
    eq({#hosts, hosts[1].host, hosts[1].ok, hosts[1].value, hosts[1].confirmed}, {1, "one", true, 3000, true})
    eq(map:counts(), nil)
    eq(map:wait_any(), nil)
    eq(values(fleet:map("tostring", {})), {})
    eq(values(fleet:map("tostring", ("a b c"):gmatch "%a")), {"a", "b", "c"})

    local taken = 0
    local function endless()
        taken = taken + 1
        return taken
    end
    map = fleet:map("function(n) return n end", endless, {ahead = 10, instances = 2})
    for k = 1, 100 do
        assert(map:wait_any().ok)
        assert(taken <= k + 20, taken)
    end
    map:cancel()
    for r in map do
        assert(r.ok or r.error.name == "CANCELLED")
    end
end

-- What fails is a result; and what has no host left.
do
    local fleet = grapnel.fleet({"one"}, here)
    local all = by_index(fleet:map(function(n)
        if n == 1 then
            error "on purpose"
        elseif n == 2 then
            error {code = 7}
        elseif n == 3 then
            return nil, "no such thing"
        elseif n == 4 then
            os.exit(3)
        end
        return n
    end, {1, 2, 3, 4, 5, 6}, {instances = 2, redo = 1}))
    eq({all[1].ok, all[1].error.name, all[1].thrown:match "on purpose$"}, {false, "REMOTE", "on purpose"})
    eq({all[2].error.name, all[2].thrown}, {"REMOTE", {code = 7}})
    assert(all[3].error.message:find "no such thing")
    eq({all[4].error.name, all[4].begun}, {"LOST", 2})
    eq({all[5].value, all[6].value}, {5, 6})

    all = by_index(fleet:map("no.such", {1, 2}))
    eq({all[1].ok, all[2].error.name, all[1].host}, {false, "REMOTE"})
    fails("there is no function no.such", by_index, fleet:map("no.such", function() return 1 end))

    all = by_index(fleet:map("function(n) while n == 1 do end return n end", {1, 2}, {timeout = 0.2}))
    eq({all[1].error.name, all[2].value}, {"TIMEOUT", 2})
end

-- Other tasks of the program run meanwhile.
do
    local fleet <close> = grapnel.fleet({"one"}, {connect = here.connect, keep = true})
    local map = fleet:map("function() require 'time'.sleep(1000) end", {1})
    eq({map:wait_any(0.1)}, {nil, "timeout"})
    fails("not freed", fleet.run, fleet, "true")
    local cancelled = grapnel.async(function()
        grapnel.sleep(0.1)
        map:cancel()
    end)()
    eq(map:wait_any().error.name, "CANCELLED")
    eq(map:wait_any(), nil)
    eq(cancelled:wait(), true)
    eq(values(fleet:map("tostring", {7})), {"7"})
end

-- Several take from one map.
do
    local fleet = grapnel.fleet({"one"}, here)
    local list = {}
    for i = 1, 500 do
        list[i] = i
    end
    local map = fleet:map("function(n) return n end", list)
    local sum = 0
    local function take()
        for r in map do
            sum = sum + r.value
        end
    end
    local first, second = grapnel.async(take)(), grapnel.async(take)()
    first:wait()
    second:wait()
    eq(sum, 500 * 501 // 2)
end

-- One that is forgotten ends by itself.
do
    grapnel.fleet({"one"}, here):map("function() require 'time'.sleep(1000) end", {1}):wait_any(0.1)
    collectgarbage()
    collectgarbage()
end

do
    local fleet = grapnel.fleet({"one"}, here)
    fails("no option", fleet.map, fleet, "tostring", {}, {instance = 1})
    fails("whole number", fleet.map, fleet, "tostring", {}, {instances = 0})
    fails("a list or an iterator", fleet.map, fleet, "tostring", 7)
    fails("task 2 of 3 is nil", fleet.map, fleet, "tostring", {1, nil, 3})
    fails("a function, its path", fleet.map, fleet, 7, {})
    local object = setmetatable({}, {})
    fails("metatable", fleet.map, fleet, function() return object end, {})
    fails("not written in Lua", fleet.map, fleet, function() return grapnel.now() end, {})
end
print "fine"

-- Large tasks are not taken from an iterator long before there is room for them.
do
    local fleet <close> = grapnel.fleet({"here"}, {connect = {transport = "local"}, memory = 4 << 20})
    local taken, results = 0, 0
    local function large()
        taken = taken + 1
        return ("x"):rep(1 << 20)
    end
    for result in fleet:map("function(s) return #s end", large, {instances = 2}) do
        eq(result.value, 1 << 20)
        results = results + 1
        assert(taken < results + 32, taken)
        if results == 50 then
            break
        end
    end
end
