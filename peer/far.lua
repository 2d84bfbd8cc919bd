-- What the owner of this end may call by name alone, and what services are told.
-- `common` is what this link and those within it have in common.
local core, grapnel, common = ...

-- What runs here may put others in their places.
local error, ipairs, load, pcall = error, ipairs, load, pcall
local setmetatable, tostring, type = setmetatable, tostring, type
local _G, debug, io, package, table = _G, debug, io, package, table

local namespace = common.namespace or setmetatable({}, {__index = _G})
common.namespace = namespace
common.finders = common.finders or {}

-- The list, from which those have gone whose links have ended.
local function living(list)
    for i = #list, 1, -1 do
        if list[i].core:closed() then
            table.remove(list, i)
        end
    end
    return list
end

local function newest(list)
    return living(list)[#list]
end

local function remove(list, one)
    for i = #list, 1, -1 do
        if list[i] == one then
            table.remove(list, i)
        end
    end
end

-- The namespace is where C finds it.
local far = {namespace}

function far.globals()
    return _G
end

function far.namespace()
    return namespace
end

function far.require(name)
    return require(name)
end

function far.ping()
end

function far.deliver(value)
    return value
end

-- ---- code ----

-- Like a file's, a text's first line may name its interpreter.
local function chunk(source, name, env)
    source = source:gsub("^#![^\n]*", "", 1)
    return load(source, name, "t", env)
end

local function compile(source, name)
    local f, why = chunk(source, name, namespace)
    if not f then
        error(why, 0)
    end
    return f
end

function far.execute(source, ...)
    return compile(source, "=execute")(...)
end

function far.eval(source, ...)
    return compile("return " .. source, "=eval")(...)
end

-- One line or more of a dialogue: complete, then the results as text; or what is wrong.
function far.interact(source)
    local f, first = load("return " .. source, "=stdin", "t", namespace)
    local why
    if not f then
        f, why = load(source, "=stdin", "t", namespace)
    end
    if not f then
        return not (first:find("<eof>$") or why:find("<eof>$")), why
    end
    local results = table.pack(f())
    for i = 1, results.n do
        results[i] = tostring(results[i])
    end
    return true, results.n > 0 and table.concat(results, "\t") or nil
end

-- The code of a channel: it ends with the code.
function far.remote_exec(channel, source, ...)
    if type(source) == "function" then
        return source(channel, ...)
    end
    local f, why = chunk(source, "=remote_exec",
        setmetatable({channel = channel}, {__index = namespace}))
    if not f then
        error(why, 0)
    end
    return f(...)
end

-- ---- functions that come ----

local function by_name(path)
    local at = _G
    for part in path:gmatch("[^.]+") do
        at = type(at) == "table" and at[part] or nil
    end
    if at == nil then
        error("there is no function " .. path .. " here", 0)
    end
    return at
end

-- From here on nothing of this end loads bytecode.
function far.refuse_bytecode()
    core:refuse_bytecode()
end

-- packed: list of {code = bytecode, up = {…}}; an upvalue is one of {env}, {v = scalar},
-- {r = place among the further arguments}, {f = place in the list}, {c = name}, and has `id` if it
-- is shared.
function far.teleport(packed, ...)
    if not core:teleport() then
        error("bytecode is not accepted here", 0)
    end
    local passed, made, shared = table.pack(...), {}, {}
    for i, one in ipairs(packed) do
        local why
        made[i], why = load(one.code, "=teleported", "b", namespace)
        if not made[i] then
            error("the function cannot be used by this Lua: " .. why, 0)
        end
    end
    for i, one in ipairs(packed) do
        for n, up in ipairs(one.up) do
            local first = up.id and shared[up.id]
            if first then
                debug.upvaluejoin(made[i], n, first[1], first[2])
            else
                local value = up.v
                if up.env then
                    -- It has no name if the function was stripped.
                    local called = debug.getupvalue(made[i], n)
                    value = (called == "_ENV" or called == "(no name)") and namespace or _G
                elseif up.r then
                    value = passed[up.r]
                elseif up.f then
                    value = made[up.f]
                elseif up.c then
                    value = by_name(up.c)
                end
                -- A variable of its own: load gives all functions' first one the same value only.
                local box = value
                local function own()
                    return box
                end
                debug.upvaluejoin(made[i], n, own, 1)
                if up.id then
                    shared[up.id] = {made[i], n}
                end
            end
        end
    end
    return made[1]
end

-- ---- modules that come ----

function far.upload_module(name, source, path)
    local f, why = chunk(source, path and "@" .. path or "=" .. name, _G)
    if not f then
        error(why, 0)
    end
    package.preload[name] = f
    package.loaded[name] = nil
end

local mine

function far.require_from(f)
    remove(common.finders, mine)
    mine = f and {core = core, find = f}
    if mine then
        table.insert(living(common.finders), mine)
    end
    if not common.searches then
        common.searches = true
        table.insert(package.searchers, function(name)
            local last = newest(common.finders)
            local source, where
            if last then
                source, where = last.find(name)
            end
            if not source then
                return "\n\tno module '" .. name .. "' with the launcher"
            end
            local chunk, why = chunk(source, "@" .. (where or name), _G)
            if not chunk then
                error(why, 0)
            end
            return chunk, where
        end)
    end
end

-- ---- standard output ----

local function install()
    local methods = getmetatable(io.stdout).__index
    local write = methods.write
    function methods.write(file, ...)
        local top = newest(common.redirections)
        local to = top and (file == io.stdout and top.out or file == io.stderr and top.err)
        if not to then
            return write(file, ...)
        end
        local parts = table.pack(...)
        for i = 1, parts.n do
            if type(parts[i]) ~= "string" and type(parts[i]) ~= "number" then
                error(("bad argument #%d to 'write' (string expected, got %s)"):format(i,
                    type(parts[i])), 2)
            end
        end
        to(table.concat(parts))
        return file
    end
    function io.write(...)
        return io.output():write(...)
    end
    function _G.print(...)
        local parts = table.pack(...)
        for i = 1, parts.n do
            parts[i] = tostring(parts[i])
        end
        io.stdout:write(table.concat(parts, "\t"), "\n")
        io.stdout:flush()
    end
end

-- These are there before any other code is: what keeps them in variables of its own is redirected,
-- too.
if not common.redirections then
    common.redirections = {}
    install()
end

-- From here on print and writes to stdout and stderr go to these functions; until the function that
-- is returned is called.
function far.redirect_stdio(out, err)
    local own = {core = core, out = out, err = err}
    table.insert(living(common.redirections), own)
    return function()
        remove(common.redirections, own)
    end
end

-- ---- services ----

-- From here on this end serves what the source returns, and nothing else.
function far.become_service(source, name, ...)
    local service = compile(source, name)(...)
    if type(service) ~= "table" then
        error("a service is a table with exposed_* in it, not a " .. type(service), 0)
    end
    if type(service[1]) == "table" then
        for i, one in ipairs(service) do
            if type(one) ~= "table" or type(one.name) ~= "string" then
                error(("service %d of the list has no name"):format(i), 0)
            end
        end
    end
    core:become_service(service)
end

local connected = {}

function far.connected(services, conn)
    for _, service in ipairs(type(services[1]) == "table" and services or {services}) do
        if service.on_connect then
            service:on_connect(conn)
        end
        table.insert(connected, service)
    end
end

function far.disconnected(_, conn)
    for _, service in ipairs(connected) do
        if service.on_disconnect then
            pcall(service.on_disconnect, service, conn)
        end
    end
end

return far
