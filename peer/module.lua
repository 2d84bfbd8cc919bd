-- Functions of the module that are better said in Lua.
local grapnel = ...

-- timed(f, seconds): f, whose calls raise a timeout and stop the far side when they take longer.
function grapnel.timed(f, seconds)
    local start = grapnel.async(f)
    return function(...)
        return start(...):set_expiry(seconds)()
    end
end
