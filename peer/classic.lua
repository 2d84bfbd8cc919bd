-- The classic API of a launcher's connection object (conn.lua): code for the far end, modules,
-- standard output.
local conn, core, grapnel, tools = ...
local method, want, lazy = tools.method, tools.want, tools.lazy

-- ---- code ----

method("execute", function(source, ...)
    want(source, "string", 1, "execute")
    return core:call("execute", source, ...)
end)
method("eval", function(source, ...)
    want(source, "string", 1, "eval")
    return core:call("eval", source, ...)
end)

-- ---- teleport ----

local library -- C functions by what they are called everywhere

local function name_of(f)
    if not library then
        library = {}
        for _, module in ipairs {"string", "table", "math", "utf8", "io", "os", "coroutine", "debug"} do
            for name, value in pairs(_G[module] or {}) do
                if type(value) == "function" then
                    library[value] = module .. "." .. name
                end
            end
        end
        for name, value in pairs(_G) do
            if type(value) == "function" then
                library[value] = name
            end
        end
    end
    return library[f]
end

local function is_c(f)
    return debug.getinfo(f, "S").what == "C"
end

local pack

local function pack_upvalue(state, f, n)
    local name, value = debug.getupvalue(f, n)
    local up = {id = state.ids[debug.upvalueid(f, n)]}
    if up.id == nil then
        state.last = state.last + 1
        up.id = state.last
        state.ids[debug.upvalueid(f, n)] = up.id
    end
    local kind = type(value)
    if kind == "function" and name_of(value) then
        up.c = name_of(value)
    elseif kind == "function" and not is_c(value) then
        up.f = pack(state, value)
    elseif rawequal(value, _G) then
        up.env = true
    elseif kind == "table" or kind == "function" or kind == "userdata" or kind == "thread" then
        table.insert(state.refs, value)
        up.r = #state.refs
    else
        up.v = value
    end
    return up
end

function pack(state, f)
    if state.done[f] then
        return state.done[f]
    end
    local place = #state.list + 1
    local one = {code = string.dump(f), up = {}}
    state.list[place], state.done[f] = one, place
    for n = 1, debug.getinfo(f, "u").nups do
        one.up[n] = pack_upvalue(state, f, n)
    end
    return place
end

local function teleport(f)
    if grapnel.isproxy(f) then
        return f
    end
    want(f, "function", 1, "teleport")
    if not core:sends_code() then
        error("teleport is switched off for this connection", 2)
    end
    if is_c(f) then
        local name = name_of(f)
        if not name then
            error("this function is not written in Lua: it cannot be sent", 2)
        end
        return core:call("eval", name)
    end
    local state = {list = {}, done = {}, ids = {}, refs = {}, last = 0}
    pack(state, f)
    return core:call("teleport", grapnel.copy(state.list), table.unpack(state.refs))
end

method("teleport", teleport)
-- From here on the far end loads no bytecode.
method("refuse_bytecode", function()
    core:call("refuse_bytecode")
end)
method("remote_exec", function(source, ...)
    if type(source) == "function" then
        source = teleport(source)
    elseif not grapnel.isproxy(source) then
        want(source, "string", 1, "remote_exec")
    end
    return core:open("remote_exec", table.pack(source, ...))
end)

-- ---- modules ----

local function read_file(path)
    local file, why = io.open(path, "rb")
    if not file then
        return nil, why
    end
    local text = file:read("a")
    file:close()
    return text
end

-- What is given is a file's name, or source text.
method("upload_module", function(name, source)
    want(name, "string", 1, "upload_module")
    want(source, "string", 2, "upload_module")
    local path
    if not source:find("\n", 1, true) then
        local text, why = read_file(source)
        if not text and not load(source, "=source", "t") then
            error(why, 2)
        end
        path, source = text and source, text or source
    end
    core:call("upload_module", name, source, path)
    rawset(conn.modules, name, nil)
    return conn.modules[name]
end)

local function search(name)
    if not name:find("^[%w_.-]+$") then
        return nil
    end
    local path = package.searchpath(name, package.path)
    if path then
        return read_file(path), path
    end
end

-- From here on a module that the far `require` does not find is looked for here: by
-- searcher(name) → source text, file name; or along package.path. false: no longer.
method("require_from", function(searcher)
    if searcher and not grapnel.isproxy(searcher) then
        want(searcher, "function", 1, "require_from")
    end
    core:call("require_from", searcher == nil and search or searcher)
end)

-- ---- standard output ----

local function writer(to)
    if type(to) == "function" then
        return to
    end
    return function(text)
        to:write(text)
        if to.flush then
            to:flush()
        end
    end
end

-- Until the object that is returned is closed, what is printed there is printed here.
method("redirect_stdio", function(out, err)
    local restore = core:call("redirect_stdio", writer(out or io.stdout), writer(err or out or io.stderr))
    local function close()
        if restore then
            local last = restore
            restore = nil
            if not core:closed() then
                last()
            end
        end
    end
    return setmetatable({close = close}, {__close = close})
end)

-- ---- the far end as a service ----

-- The far end serves what the file of here returns, and nothing else any more.
method("become_service", function(path, ...)
    local source, why = read_file(path)
    if not source then
        error(why, 0)
    end
    core:call("become_service", source, "@" .. path, ...)
end)

-- ---- made when they are first asked for ----

function lazy.namespace()
    return core:call("namespace")
end

function lazy.builtins()
    return core:call("globals")
end

function lazy.modules()
    return setmetatable({}, {
        __index = function(modules, name)
            local module = core:call("require", name)
            rawset(modules, name, module)
            return module
        end,
    })
end
