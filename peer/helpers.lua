-- What serving needs that C cannot do without getting in the way of waiting: each of these runs
-- metamethods of any object, and those may wait. By place: enum serve_helper.

local metatable_of = debug.getmetatable

local function is_iterator(object)
    local meta = metatable_of(object)
    return meta and meta.__call and not meta.__pairs
end

local function page(object, how, state, most)
    if type(state) ~= "table" then
        local f, s, c
        if how == "ipairs" then
            f, s, c = ipairs(object)
        elseif how == "iterator" then
            f = object
        elseif type(object) == "userdata" and is_iterator(object) then
            f = object
        else
            f, s, c = pairs(object)
        end
        state = {f = f, s = s, c = c, at = 1, n = 0, list = {}}
    end
    if state.at >= state.n and not state.done then
        local f, s, c = state.f, state.s, state.c
        local list, n = {}, 0
        while n < 2 * most do
            local k, v = f(s, c)
            if k == nil then
                state.done = true
                break
            end
            list[n + 1], list[n + 2] = k, v
            n = n + 2
            c = k
        end
        state.c, state.list, state.n, state.at = c, list, n, 1
    end
    return state
end

local function find(path, builtins)
    local builtin = builtins[path]
    if builtin ~= nil then
        return builtin
    end
    local module, name = string.match(path, "^(.+)%.([^.]+)$")
    if module then
        local there, found = pcall(require, module)
        if there and type(found) == "table" and found[name] ~= nil then
            return found[name]
        end
        if not there and not string.find(tostring(found), "module '" .. module .. "' not found", 1, true) then
            error(found, 0)
        end
    end
    if not string.find(path, "[^.]") then
        return nil
    end
    local at = builtins.namespace()
    for part in string.gmatch(path, "[^.]+") do
        if type(at) ~= "table" then
            return nil
        end
        at = at[part]
    end
    return at
end

return {
    function(o, k)
        return o[k]
    end,
    function(o, k, v)
        o[k] = v
    end,
    function(o)
        return #o
    end,
    function(o)
        return tostring(o)
    end,
    function(o)
        local meta = metatable_of(o)
        if type(o) == "table" or meta and meta.__index then
            local close = o.close
            if close ~= nil then
                return close(o)
            end
        end
    end,
    {
        add = function(a, b) return a + b end,
        sub = function(a, b) return a - b end,
        mul = function(a, b) return a * b end,
        div = function(a, b) return a / b end,
        mod = function(a, b) return a % b end,
        pow = function(a, b) return a ^ b end,
        unm = function(a) return -a end,
        idiv = function(a, b) return a // b end,
        band = function(a, b) return a & b end,
        bor = function(a, b) return a | b end,
        bxor = function(a, b) return a ~ b end,
        shl = function(a, b) return a << b end,
        shr = function(a, b) return a >> b end,
        bnot = function(a) return ~a end,
        concat = function(a, b) return a .. b end,
        eq = function(a, b) return a == b end,
        lt = function(a, b) return a < b end,
        le = function(a, b) return a <= b end,
    },
    page,
    find,
}
