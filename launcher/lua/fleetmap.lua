-- fleet:map(f, tasks [, options]): a map's job from its function and its tasks.
local meta, tools, begin = ...
local wants, put, go, take, now = tools.wants, tools.put, tools.go, tools.take, tools.now

-- ---- functions, as source ----

-- Libraries, and the functions in them, by what they are called everywhere.
local function library()
    local names = {[_G] = "_ENV"}
    for name, value in pairs(_G) do
        if type(value) == "function" then
            names[value] = name
        end
    end
    for _, module in ipairs {"string", "table", "math", "utf8", "io", "os", "coroutine", "debug"} do
        names[_G[module] or false] = module
        for name, value in pairs(_G[module] or {}) do
            if type(value) == "function" then
                names[value] = module .. "." .. name
            end
        end
    end
    return names
end

-- Source that makes the function: with what it calls, and copies of what else it has in variables
-- outside; what functions and tables have in common, they have in common there.
local function source_of(f)
    local names, out, boxes, joins = library(), {}, {}, {}
    local functions, tables = 0, 0
    local known, places = {}, {}

    local function say(...)
        out[#out + 1] = string.format(...)
    end

    local function expression(value)
        local kind = type(value)
        if kind == "nil" or kind == "boolean" or kind == "number" or kind == "string" then
            return string.format("%q", value)
        elseif names[value] then
            return names[value]
        elseif known[value] then
            return known[value]
        elseif kind == "function" then
            if debug.getinfo(value, "S").what == "C" then
                error("grapnel: a function that is not written in Lua cannot be sent", 0)
            end
            functions = functions + 1
            known[value] = ("f[%d]"):format(functions)
            say("f[%d] = load(%q, '=mapped', 'b', _ENV)", functions, string.dump(value))
            local place = known[value]
            for n = 1, debug.getinfo(value, "u").nups do
                local id = debug.upvalueid(value, n)
                if not places[id] then
                    local at = #boxes + 1
                    places[id], boxes[at] = at, ""
                    boxes[at] = ("b[%d] = box(%s)"):format(at, expression(select(2, debug.getupvalue(value, n))))
                end
                joins[#joins + 1] = ("join(%s, %d, b[%d], 1)"):format(place, n, places[id])
            end
            return place
        elseif kind == "table" then
            if getmetatable(value) ~= nil then
                error("grapnel: a table with a metatable cannot be sent", 0)
            end
            tables = tables + 1
            local place = ("t[%d]"):format(tables)
            known[value] = place
            say("%s = {}", place)
            for k, v in pairs(value) do
                k, v = expression(k), expression(v)
                say("%s[%s] = %s", place, k, v)
            end
            return place
        end
        error("grapnel: a " .. kind .. " cannot be sent", 0)
    end

    say("local f, t, b, join = {}, {}, {}, debug.upvaluejoin")
    say("local function box(v) return function() return v end end")
    local place = expression(f)
    return table.concat({table.concat(out, "\n"), table.concat(boxes, "\n"),
        table.concat(joins, "\n"), "return " .. place}, "\n")
end

-- ---- tasks ----

local function is_callable(x)
    local of = getmetatable(x)
    return type(x) == "function" or type(of) == "table" and of.__call ~= nil
end

-- → what gives the next one's arguments; and how many there are, if that is known.
local function source(tasks)
    if is_callable(tasks) then
        return tasks
    elseif type(tasks) ~= "table" then
        error("bad argument #2 to 'map' (a list or an iterator expected, got " .. type(tasks) .. ")", 3)
    end
    local at, n = 0, #tasks
    for i = 1, n do
        if tasks[i] == nil then
            error(("bad argument #2 to 'map' (task %d of %d is nil)"):format(i, n), 3)
        end
    end
    return function()
        at = at + 1
        return tasks[at]
    end, n
end

local names = {instances = true, ordered = true, redo = true, timeout = true, ahead = true}

local function check(options)
    if type(options) ~= "table" then
        error("bad argument #3 to 'map' (table expected, got " .. type(options) .. ")", 3)
    end
    for name in pairs(options) do
        if not names[name] then
            error('grapnel: a map has no option "' .. tostring(name) .. '"', 3)
        end
    end
end

-- ---- maps ----

local sources = setmetatable({}, {__mode = "k"}) -- map → iterator

local function wait_any(map, seconds)
    local limit = seconds and now() + seconds
    while true do
        if wants(map) then
            local next = sources[map]
            repeat
                put(map, next())
            until not wants(map, true)
            go(map)
        end
        local result, why = take(map, limit and limit - now())
        if result ~= false then
            if type(why) == "table" then
                error("grapnel: " .. why.message:gsub("^grapnel: ", ""), 0)
            end
            return result, why
        end
    end
end

meta.__index.wait_any = wait_any

function meta.__call(map)
    return (wait_any(map))
end

return function(fleet, f, tasks, options)
    options = options or {}
    check(options)
    local next, count = source(tasks)
    local what, is_source = f, true
    if type(f) == "function" then
        what = library()[f]
        is_source = not what
        what = what or source_of(f)
    elseif type(f) ~= "string" then
        error("bad argument #1 to 'map' (a function, its path or its source expected, got " .. type(f) .. ")", 2)
    else
        is_source = not f:find "^[%w_.]+$"
    end
    local map = begin(fleet, what, is_source, options, count)
    sources[map] = next
    return map, nil, nil, map -- for loops, whose end is the map's
end
