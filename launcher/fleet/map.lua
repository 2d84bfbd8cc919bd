-- Does the tasks of a map in one instance.  what: a path, or source; → the function that is called
-- with several tasks at a time.
local what, is_source = ...

-- What the tasks run may put others in their places.
local error, load, pcall, require, select = error, load, pcall, require, select
local setmetatable, tostring, type, xpcall = setmetatable, tostring, type, xpcall
local traceback, pack, unpack = debug.traceback, table.pack, table.unpack
local grapnel, now = require "grapnel", require "time".monotonic_ns

-- ---- what is called: the function, or nil and why there is none ----

local function compiled(source)
    local f, why = load("return " .. source, "=map", "t", _ENV)
    if not f then
        local chunk, really = load(source, "=map", "t", _ENV)
        f, why = chunk, why:find "<eof>$" and why or really
    end
    if not f then
        return nil, why
    end
    return f()
end

local texts = {} -- paths that stand for no function there, but for running a text

function texts.execute(source, ...)
    local chunk, why = load(source, "=execute", "t", _ENV)
    if not chunk then
        error(why, 0)
    end
    return chunk(...)
end

function texts.eval(source, ...)
    return texts.execute("return " .. source, ...)
end

local function found(path)
    if texts[path] then
        return texts[path]
    end
    local module, name = path:match "^(.+)%.([^.]+)$"
    if module then
        local there, table_of = pcall(require, module)
        if there and type(table_of) == "table" and table_of[name] ~= nil then
            return table_of[name]
        end
        if not there and not tostring(table_of):find("module '" .. module .. "' not found", 1, true) then
            return nil, table_of
        end
    end
    local at = _ENV
    for part in path:gmatch "[^.]+" do
        at = type(at) == "table" and at[part] or nil
    end
    if at == nil then
        return nil, "there is no function " .. path .. " here"
    end
    return at
end

local f, why = (is_source and compiled or found)(what)
if type(f) ~= "function" and not (debug.getmetatable(f) or {}).__call then
    return nil, tostring(why or "what is mapped is a " .. type(f) .. ", not a function")
end

-- ---- tasks ----

local function failed(thrown)
    return {thrown, traceback(nil, 2)}
end

-- Puts an outcome behind the first n of `out`: whether it went well, a count, and so many values.
local function outcome(out, n, ok, ...)
    local count = select("#", ...)
    out[n + 1], out[n + 2], out[n + 3] = ok, count, ...
    if not ok then
        local why = ...
        if type(why) == "table" then -- else the stack has overflowed, also for `failed`
            out[n + 2], out[n + 3], out[n + 4] = 2, why[1], why[2]
            return n + 4
        end
    elseif count > 1 then
        local all = {...}
        for i = 2, count do
            out[n + 2 + i] = all[i]
        end
    end
    return n + 2 + count
end

-- Tasks are the count of their arguments, and these.  Those that are not begun when the time is up
-- are left for others.  → nanoseconds, outcomes.
local function run(before, limit, ...)
    if before then
        before:wait()
    end
    local args = pack(...)
    local out, n, at, began = {0}, 1, 1, now()
    local last = began
    while at <= args.n and last - began <= limit do
        local behind = at + args[at] + 1
        n = outcome(out, n, xpcall(f, failed, unpack(args, at + 1, behind - 1)))
        at, last = behind, now()
    end
    out[1] = last - began
    return unpack(out, 1, n)
end

-- Each call of the launcher's runs beside the others, but the tasks do not.
local start = grapnel.async(run)
local newest

return function(...)
    local mine = start(newest, ...)
    newest = mine
    local leaving <close> = setmetatable({}, {__close = function()
        mine:cancel()
    end})
    return mine()
end
