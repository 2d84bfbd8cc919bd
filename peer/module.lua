-- Functions of the module that are better said in Lua.
local grapnel = ...

local methods = grapnel.channel_methods
local claim, take, end_of, not_in_time = methods.claim, methods.take, methods.wait_close, methods.not_in_time
methods.claim, methods.take, methods.not_in_time = nil, nil, nil

-- channel:set_callback(f [, endmarker]): f gets each item, those that have come already first; then
-- once the endmarker, unless it is nil.  What goes wrong there is for wait_close to raise.
-- channel → {loop = future, failed, why}
local readers = setmetatable({}, {__mode = "k"})

local function read_all(channel, f)
    local more, item = take(channel)
    while more do
        f(item)
        more, item = take(channel)
    end
end

function methods.set_callback(channel, f, endmarker)
    claim(channel, f)
    local reader = {}
    local function note(ok, why)
        if not ok and not reader.failed then
            reader.failed, reader.why = true, why
        end
    end
    readers[channel] = reader
    reader.loop = grapnel.async(function()
        note(pcall(read_all, channel, f))
        if reader.failed and not channel.closed then
            channel:close(reader.why)
        end
        if endmarker ~= nil then
            note(pcall(f, endmarker))
        end
    end)()
end

-- channel:wait_close([seconds]) returns when the callback has had everything.
function methods.wait_close(channel, seconds)
    local limit = seconds and grapnel.now() + seconds
    local reader = readers[channel]
    if reader then
        if not reader.loop:wait(seconds) then
            not_in_time()
        end
        seconds = limit and math.max(limit - grapnel.now(), 0)
        if reader.failed then
            reader.failed = false
            error(reader.why, 0)
        end
    end
    return end_of(channel, seconds)
end
grapnel.channel_methods = nil

-- timed(f, seconds): f, whose calls raise a timeout and stop the far side when they take longer.
function grapnel.timed(f, seconds)
    local start = grapnel.async(f)
    return function(...)
        return start(...):set_expiry(seconds)()
    end
end
