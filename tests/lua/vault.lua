-- A service that has something to hide, and calls what its clients pass.
local secret = "the secret"
local visitors, gone, stored = 0, 0, nil

local inner = setmetatable({exposed_name = "inner", secret = secret}, {
    secret = secret,
    __index = {secret = secret, exposed_inherited = "inherited"},
    __newindex = function() error "newindex ran" end,
    __call = function() error "call ran" end,
    __len = function() error "len ran" end,
    __add = function() error "add ran" end,
    __concat = function() error "concat ran" end,
    __eq = function() error "eq ran" end,
    __lt = function() error "lt ran" end,
    __pairs = function() error "pairs ran" end,
    __close = function() error "close ran" end,
    __tostring = function() return secret end,
})

local service = {secret = secret, inner = inner, exposed_inner = inner, exposed_count = 7}

function service.on_connect()
    visitors = visitors + 1
end

function service.on_disconnect()
    gone = gone + 1
end

function service.exposed_visitors()
    return visitors, gone
end

function service.exposed_handler()
    return setmetatable({}, {__index = function(_, name)
        error("index ran for " .. name)
    end})
end

function service.exposed_file(text)
    local file = assert(io.tmpfile())
    file:write(text or secret)
    file:seek("set")
    return file
end

function service.exposed_thread()
    return coroutine.create(function() return secret end)
end

function service.exposed_call(f, ...)
    return f(...)
end

function service.exposed_index(t, k)
    return t[k]
end

function service.exposed_sort(f)
    local t = {3, 1, 2}
    table.sort(t, function(a, b) return f(a, b) end)
    return t
end

function service.exposed_keep(x)
    stored = x
end

function service.exposed_kept()
    return stored
end

function service.exposed_fail()
    error("failed with " .. secret:gsub(".", "*"))
end

function service.exposed_throw()
    error(setmetatable({secret}, {__tostring = function() return secret end}))
end

return service
