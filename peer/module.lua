-- Functions of the module that are better said in Lua.
local grapnel = ...

-- channel:set_callback(f [, endmarker]): f gets each item, those that have come already first; then
-- once the endmarker, unless it is nil.
local readers = setmetatable({}, {__mode = "k"}) -- channel → the future of its callback's loop

function grapnel.channel_methods.set_callback(channel, f, endmarker)
    readers[channel] = grapnel.async(function()
        local ok, why = pcall(function()
            for item in channel:iter() do
                f(item)
            end
        end)
        if endmarker ~= nil then
            f(endmarker)
        end
        if not ok and not channel.closed then
            channel:close(tostring(why))
        end
    end)()
end

-- channel:wait_close([seconds]) returns when the callback has had everything.
local wait_close = grapnel.channel_methods.wait_close

function grapnel.channel_methods.wait_close(channel, seconds)
    local limit = seconds and grapnel.now() + seconds
    local reader = readers[channel]
    if reader and reader:wait(seconds) then
        seconds = limit and math.max(limit - grapnel.now(), 0)
    end
    return wait_close(channel, seconds)
end
grapnel.channel_methods = nil

-- timed(f, seconds): f, whose calls raise a timeout and stop the far side when they take longer.
function grapnel.timed(f, seconds)
    local start = grapnel.async(f)
    return function(...)
        return start(...):set_expiry(seconds)()
    end
end
