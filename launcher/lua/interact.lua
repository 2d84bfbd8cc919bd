-- Dialogues: what is typed is evaluated, here or on a host, and what comes of it is printed.
local grapnel, open_console, json = ...

-- Lines of what is no terminal, while the rest goes on.
local function plain()
    local next_line = grapnel.lines()
    return function()
        return next_line()
    end
end

-- A terminal: Ctrl-C drops what was typed (read gives false), or stops what runs.
local function attended(console)
    local running, interrupted
    local watcher = grapnel.async(function()
        for _ in grapnel.lines(console:signals()) do
            if running then
                interrupted = true
                running:cancel()
            end
        end
    end)()
    local function run(evaluate, text)
        interrupted = false
        running = grapnel.async(evaluate)(text)
        console:watch(true)
        local result = table.pack(pcall(running))
        console:watch(false)
        running = nil
        if interrupted and not result[1] then
            return false, "interrupted"
        end
        return table.unpack(result, 1, result.n)
    end
    local function read(prompt)
        return console:read(prompt)
    end
    return read, run, watcher
end

-- What was thrown, as text; JSON where it has none of its own.
local function words(thrown)
    if type(thrown) == "string" then
        return thrown
    end
    local told, text = pcall(tostring, thrown)
    if told and not text:find "^%S+: 0x%x+$" then
        return text
    end
    local plain_data, shown = pcall(json, thrown)
    return plain_data and shown or grapnel.type(thrown)
end

-- prompt: text before the >; evaluate(text) → false if more must come, else true and what is to be
-- shown, or nil; closed() → true when there is nobody to evaluate any more; read(prompt) → line,
-- nil at the end, false for a text that is dropped; without it standard input is read.
-- Returns true if nothing has failed; and with what the dialogue was cut off, if it was.
local function dialogue(prompt, evaluate, closed, read)
    local console <close> = not read and open_console() or nil
    local run, watcher = pcall, nil
    if console then
        read, run, watcher = attended(console)
    end
    read = read or plain()
    local fine, cut, text = true, nil, nil
    while true do
        local line = read(prompt .. (text and ">> " or "> "))
        if line == nil and not text then
            break
        end
        if line == nil then
            if not console then
                fine = false
                io.stderr:write("the input ends within a statement\n")
            end
            break
        end
        text = line and (text and text .. "\n" .. line or line) or nil
        if text and text:find("%S") then
            local ok, complete, shown = run(evaluate, text)
            if not ok then
                fine = false
                if closed() then
                    cut = words(complete)
                    break
                end
                io.stderr:write(words(complete), "\n")
            elseif complete and shown then
                print(shown)
            end
            if complete or not ok then
                if console then
                    console:remember(text)
                end
                text = nil
            end
        else
            text = nil
        end
    end
    if watcher then
        watcher:cancel()
    end
    return fine, cut
end

-- The method of a connection.
local function of(conn)
    return function(first, second)
        local scope <close> = conn.redirect_stdio()
        local read = first
        if first == conn then
            read = second
        end
        local fine, cut = dialogue(conn.name, function(text)
            return conn.call("interact", text)
        end, function()
            return conn.closed
        end, read)
        if cut then
            io.stderr:write(cut, "\n")
        end
        return fine, cut
    end
end

return dialogue, of, words
