-- The channel of a script on one of many hosts: what it sends goes through a function of the
-- launcher's, and bytes that make its lines come from another one.
local far, start, say, ask = ...
local grapnel = require("grapnel")
local error, find, sub, table = error, string.find, string.sub, table
local remove, concat = table.remove, table.concat

-- Many are under way at once, as a line may be long; more than these wait.
local BYTES, ITEMS = 256 * 1024, 128
local send, under_way, sizes, bytes = grapnel.async(say), {}, {}, 0

local function flush(items, most)
    while #under_way > items or bytes > most do
        local first = remove(under_way, 1)
        bytes = bytes - remove(sizes, 1)
        first:wait()
    end
end

local started, piece, at, ended = false, "", 1, false

local function line()
    local parts = {}
    while not ended do
        local newline = find(piece, "\n", at, true)
        parts[#parts + 1] = sub(piece, at, newline and newline - 1)
        if newline then
            at = newline + 1
            return concat(parts)
        end
        piece, at = ask(), 1
        ended = not piece
    end
    local last = concat(parts)
    return last ~= "" and last or nil
end

local channel = {closed = false}

function channel:send(item)
    local size = type(item[2]) == "string" and #item[2] or 1024
    under_way[#under_way + 1] = send(grapnel.copy(item))
    sizes[#sizes + 1] = size
    bytes = bytes + size
    flush(ITEMS, BYTES)
end

function channel:receive()
    if not started then
        started = true
        return start
    end
    return line() or error("EOF: the channel has ended", 0)
end

function channel:close_write()
end

function channel:close()
    self.closed, ended = true, true
    flush(0, 0)
end

setmetatable(channel, {__call = line})

local last <close> = setmetatable({}, {__close = function()
    flush(0, 0)
end})
local run, why = load(far, "=script", "t", setmetatable({channel = channel}, {__index = _ENV}))
if not run then
    error(why, 0)
end
run()
