-- grapnel lua without a file: a dialogue with this machine's own state.
local dialogue = ...

-- true, what is to be shown; false when more must come.
local function evaluate(text)
    local f = load("return " .. text, "=stdin", "t")
    local why
    if not f then
        f, why = load(text, "=stdin", "t")
    end
    if not f then
        if why:sub(-5) == "<eof>" then
            return false
        end
        error(why, 0)
    end
    local results = table.pack(xpcall(f, debug.traceback))
    if not results[1] then
        error(results[2], 0)
    end
    for i = 2, results.n do
        results[i] = tostring(results[i])
    end
    return true, results.n > 1 and table.concat(results, "\t", 2, results.n) or nil
end

dialogue("", evaluate, function()
    return false
end)
