-- What the scripts beside this one share: where to connect to, and how to insist.
local grapnel = require "grapnel"

local check = {}

--- Equal by value; tables member by member.
local function same(a, b)
    if rawequal(a, b) or type(a) ~= "table" or type(b) ~= "table" then
        return a == b or a ~= a and b ~= b
    end
    for k, v in pairs(a) do
        if not same(v, b[k]) then
            return false
        end
    end
    for k in pairs(b) do
        if a[k] == nil then
            return false
        end
    end
    return true
end

local function show(v)
    if type(v) ~= "table" then
        return type(v) == "string" and ("%q"):format(v) or tostring(v)
    end
    local items = {}
    for k, item in pairs(v) do
        items[#items + 1] = ("[%s]=%s"):format(show(k), show(item))
    end
    return "{" .. table.concat(items, ", ") .. "}"
end

function check.eq(got, wanted, what)
    if not same(got, wanted) then
        error(("%s: got %s, wanted %s"):format(what or "value", show(got), show(wanted)), 2)
    end
end

--- f must fail with a message in which the text stands; returns the message.
function check.fails(text, f, ...)
    local ok, message = pcall(f, ...)
    if ok then
        error(("no failure, where %q was expected"):format(text), 2)
    end
    message = tostring(message)
    if not message:find(text, 1, true) then
        error(("failed with %q, where %q was expected"):format(message, text), 2)
    end
    return message
end

--- Connects to the test's host.
function check.connect(options)
    options = options or {}
    options.config = os.getenv "SSHD_CONFIG"
    options.transport = os.getenv "TEST_TRANSPORT"
    return grapnel.connect(os.getenv "TEST_TARGET" or "t", options)
end

return check
