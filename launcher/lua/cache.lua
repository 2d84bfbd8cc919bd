-- The connection cache as programs see it: grapnel.get_connection and what belongs to it.
--
-- A slot is what is known here of a connection in the cache: {key, box, name, host, options, made,
-- making}. box is its C side, host what was typed, made whether it has had a line, making a future
-- while there is to be a new one. What the program gets is a handle, which stays the same whatever
-- becomes of the line, and by which the connection is in use as long as the program has it. The
-- object over its present line is the handle's alone: that one, and all that the program gets by it,
-- is what tells the C side that the line is in use.
local core, slots, grapnel = ...

local handles = setmetatable({}, {__mode = "v"}) -- by key
local renewed -- the program's function, or nil

-- ---- handles ----

-- conn: the object over a new line.
local function handle_of(slot, conn)
    local handle = handles[slot.key]
    if handle then
        local own = getmetatable(handle)
        own.conn = conn or own.conn
        return handle
    end
    handle = {name = slot.name}
    local own = {conn = conn or core.conn(slot.box)}

    local function present()
        return own.conn or error("EOF: the connection is closed", 0)
    end

    -- Methods may be called with a dot or with a colon.
    local function method(name, f)
        handle[name] = function(first, ...)
            if rawequal(first, handle) then
                return f(...)
            end
            return f(first, ...)
        end
    end

    method("close", function()
        core.close(slot.box)
    end)
    method("facts", function()
        return core.facts(slot.box)
    end)
    method("reconnect", function()
        slot.reconnect()
    end)

    own.use = core.hold(slot.box)
    own.__name = "grapnel.conn"
    function own.__index(_, name)
        if name == "generation" then
            return slot.generation()
        end
        local value = present()[name]
        if type(value) ~= "function" or not rawequal(value, rawget(own.conn, name)) then
            return value
        end
        handle[name] = function(first, ...) -- of the line that is there when it is called
            if rawequal(first, handle) then
                return present()[name](...)
            end
            return present()[name](first, ...)
        end
        return handle[name]
    end
    function own.__close()
        core.close(slot.box)
    end
    function own.__tostring()
        return tostring(present())
    end
    handles[slot.key] = setmetatable(handle, own)
    return handle
end

-- ---- making ----

-- Begins to give it a line; slot.making() waits for that, and raises what it fails with.
local function begin(slot)
    local use = core.hold(slot.box)
    slot.making = grapnel.async(function()
        local _ <close> = use
        local ok, result = pcall(function()
            local server <close> = core.again(slot.box)
            return core.connect(slot.options, slot.box, server, slot.host)
        end)
        slot.making = nil
        if not ok then
            core.give_up(slot.box)
            error(result, 0)
        end
        slot.made = true
        return handle_of(slot, result)
    end)()
end

local function add(server, number, host, options)
    local slot = {host = host, options = {}}
    for name, value in pairs(options or {}) do
        slot.options[name] = value
    end
    slot.key, slot.box = core.add(server, number)
    slots[slot.key] = slot
    slot.name = core.about(slot.box)

    local last = 1
    function slot.generation()
        local _, generation = core.about(slot.box)
        last = generation or last
        return last
    end

    function slot.reconnect()
        local server <close> = core.again(slot.box)
        local before = slot.generation()
        core.settle(server)
        if not slot.making then
            if slot.generation() == before then
                core.renew(slot.box)
            end
            begin(slot)
        end
        slot.making()
    end

    begin(slot)
    return slot
end

-- The cache has news of a connection: called in a task.
local function attend(slot)
    if not slot then
        return
    end
    local anew, told, generation, why = core.news(slot.box)
    if anew and not slot.making then
        begin(slot)
    end
    if not told or not renewed then
        return
    end
    if slot.making then
        local ok, e = pcall(slot.making)
        why = why or not ok and tostring(e) or nil
    end
    local ok, e = pcall(renewed, handle_of(slot), generation, why)
    if not ok then
        warn("grapnel: renewed: ", tostring(e))
    end
end

-- ---- getting ----

local function get(host, options)
    local key = core.hit(host, options)
    local slot = key and slots[key]
    if slot and slot.made and not slot.making then
        return handle_of(slot)
    end
    local server <close>, number = core.want(host, options)
    local alive
    key, alive = core.slot(server, number)
    if not core.takes(server) or (key and not alive) then
        core.settle(server, host)
        key, alive = core.slot(server, number)
    end
    slot = key and slots[key] or add(server, number, host, options)
    if key and not alive and not slot.making then
        core.renew(slot.box)
        begin(slot)
    end
    if slot.making then
        return slot.making()
    end
    return handle_of(slot)
end

-- The options that are meant by these arguments.
local function options_of(user, instance)
    if instance == nil and (user == nil or type(user) == "table") then
        return user
    end
    local options = {}
    if type(user) == "table" then
        for name, value in pairs(user) do
            options[name] = value
        end
    else
        options.user = user
    end
    if instance ~= nil then
        options.instance = instance
    end
    return options
end

function grapnel.get_connection(host, user, instance)
    return get(host, options_of(user, instance))
end

function grapnel.create_connections(hosts, user, n)
    n = n or 1
    if math.type(n) ~= "integer" or n < 1 or n > 65535 then
        error("grapnel: a number of connections must be 1 to 65535", 2)
    end
    local getting = {}
    for _, host in ipairs(type(hosts) == "table" and hosts or {hosts}) do
        for i = 1, n do
            getting[#getting + 1] = grapnel.async(get)(host, options_of(user, i))
        end
    end
    local made, failed, why = {}, false, nil
    for i, future in ipairs(getting) do
        future:wait()
        if future.error and not failed then
            failed, why = true, future.error
        elseif not failed then
            made[i] = future.value
        end
    end
    if failed then
        error(why, 0)
    end
    return made
end

-- ---- asking ----

local function ask(slot, seconds)
    local function answer()
        if slot.making then
            slot.making()
        end
        return handle_of(slot).ping()
    end
    return (seconds and grapnel.timed(answer, seconds) or answer)()
end

function grapnel.check_connection(host, user, instance, seconds)
    local key, why = core.look(host, options_of(user, instance))
    if not key then
        return nil, why
    end
    local ok, result = pcall(ask, slots[key], seconds)
    if not ok then
        return nil, tostring(result)
    end
    return result
end

function grapnel.check_connections(seconds)
    local asked = {}
    for _, slot in pairs(slots) do
        local name, _, serial = core.about(slot.box)
        if name then
            asked[#asked + 1] = {name = name, serial = serial, answer = grapnel.async(ask)(slot, seconds)}
        end
    end
    table.sort(asked, function(a, b)
        return a.serial > b.serial
    end)
    local silent = {}
    for _, one in ipairs(asked) do
        one.answer:wait()
        if one.answer.error then
            silent[#silent + 1] = one.name
        end
    end
    return silent
end

grapnel.ping_connection, grapnel.ping_connections = grapnel.check_connection, grapnel.check_connections

-- ---- closing ----

function grapnel.close_connection(host, user, instance)
    local options = options_of(user)
    instance = instance or type(options) == "table" and options.instance or nil
    if instance == 0 then
        error("0 is no instance: 1 to 65535", 2)
    end
    return core.close_connection(host, options, instance)
end

function grapnel.close_connections()
    return core.close_connection()
end

function grapnel.close_deployed_server(host, user)
    return core.close_deployed_server(host, options_of(user))
end

function grapnel.close_deployed_servers()
    return core.close_deployed_server()
end

function grapnel.close_ssh_connection(host, user)
    return core.close_ssh_connection(host, options_of(user))
end

function grapnel.close_ssh_connections()
    return core.close_ssh_connection()
end

-- ---- limits ----

local function whole(name, value)
    if math.type(value) ~= "integer" or value < 0 then
        error(("grapnel: limit \"%s\" must be a whole number from 0 on"):format(name), 4)
    end
    return value
end

local function seconds(name, value)
    if type(value) ~= "number" or not (value >= 0 and value <= 1e9) then
        error(("grapnel: limit \"%s\" must be a number of seconds"):format(name), 4)
    end
    return math.ceil(value * 1000)
end

-- 0 says "always ask", which is negative there, where 0 stands for the default.
local function freshness(name, value)
    return value == 0 and -1 or seconds(name, value)
end

local function attempts(name, value)
    if value == true or value == math.huge then
        return -1
    end
    return value and math.min(whole(name, value), 0x7fffffff) or 0
end

local function hook(name, value)
    if type(value) ~= "function" then
        error(("grapnel: limit \"%s\" must be a function"):format(name), 4)
    end
    return value
end

local kinds = {
    idle = seconds,
    servers = whole,
    connections = whole,
    fresh = freshness,
    patience = seconds,
    reconnect = attempts,
    back_off = seconds,
    back_off_most = seconds,
    renewed = hook,
}

local function read_limits(limits)
    local l = {}
    for name, value in pairs(limits) do
        local kind = kinds[name]
        if not kind then
            error(("grapnel: there is no limit \"%s\""):format(tostring(name)), 3)
        end
        l[name] = kind(name, value)
    end
    return l
end

function grapnel.cache_limits(limits)
    local l = read_limits(limits or {})
    core.limits(l.idle or 0, l.servers or 0, l.connections or 0, l.fresh or 0, l.patience or 0,
        l.reconnect or 0, l.back_off or 0, l.back_off_most or 0)
    renewed = l.renewed
end

return attend
