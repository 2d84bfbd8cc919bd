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

-- A message's tasks while they are done: `out` has outcomes, up to n; each is whether it went well, a
-- count, and so many values.  Others may look at it between any two instructions.
local current
local short = 0 -- messages up to this one begin no other task

local function outcome(chunk, ok, ...)
    local out, n, count = chunk.out, chunk.n, select("#", ...)
    out[n + 1], out[n + 2], out[n + 3] = ok, count, ...
    if not ok then
        local why = ...
        if type(why) == "table" then -- else the stack has overflowed, also for `failed`
            count, out[n + 2], out[n + 3], out[n + 4] = 2, 2, why[1], why[2]
        end
    elseif count > 1 then
        local all = {...}
        for i = 2, count do
            out[n + 2 + i] = all[i]
        end
    end
    chunk.last = now()
    chunk.n = n + 2 + count
end

-- → its number, nanoseconds, outcomes.
local function told(chunk)
    return chunk.number, chunk.last - chunk.began, unpack(chunk.out, 1, chunk.n)
end

-- Tasks are the count of their arguments, and these.  Those that are not begun when the time is up
-- are left for others.
local function run(before, number, limit, ...)
    if before then
        before:wait()
    end
    local args, at, began = pack(...), 1, now()
    local chunk = {number = number, out = {}, n = 0, began = began, last = began}
    current = chunk
    while at <= args.n and number > short and chunk.last - began <= limit do
        local behind = at + args[at] + 1
        outcome(chunk, xpcall(f, failed, unpack(args, at + 1, behind - 1)))
        at = behind
    end
    current = nil
    return told(chunk)
end

-- The task that is being done is the last one of the messages up to that.  → what is done; nothing:
-- they say that themselves.
local function shorten(number)
    short = number
    local chunk = current
    if chunk then
        return told(chunk)
    end
end

-- Each call of the launcher's runs beside the others, but the tasks do not.
local start = grapnel.async(run)
local newest

-- number: of the message; limit: nanoseconds for its tasks; none: it is cut short, and those before.
return function(number, limit, ...)
    if not limit then
        return shorten(number)
    end
    local mine = start(newest, number, limit, ...)
    newest = mine
    local leaving <close> = setmetatable({}, {__close = function()
        mine:cancel()
    end})
    return mine()
end
