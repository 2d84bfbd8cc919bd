-- Runs the Lua in Markdown files (arguments), so that it stays true: each block between ```lua and
-- ``` by itself, in the working directory, with connections that go to this machine.
--
-- `grapnel` is the module in it, `conn` a connection that is made when it is used. Where
-- lines end in `--> text`, these texts are all that is printed, in this order. A line
-- `<!-- lua: CODE -->` before a block is run first; after `<!-- file: NAME -->` the block is not run, but
-- becomes that file.
local grapnel = require "grapnel"

local connect, opened = grapnel.connect, {}

function grapnel.connect(target, options)
    local all = {}
    for k, v in pairs(options or {}) do
        all[k] = v
    end
    all.transport = "local"
    local conn = connect(target, all)
    table.insert(opened, conn)
    return conn
end

-- What is said of the connection cache goes to this machine, too.
for _, name in ipairs {
    "get_connection", "create_connections", "check_connection", "ping_connection",
    "close_connection", "close_deployed_server", "close_ssh_connection",
} do
    local f = grapnel[name]
    grapnel[name] = function(host, user, ...)
        local all = type(user) == "table" and {} or {user = user}
        for k, v in pairs(type(user) == "table" and user or {}) do
            all[k] = v
        end
        all.transport = "local"
        return f(host, all, ...)
    end
end

-- And so do fleets.
local fleet = grapnel.fleet

function grapnel.fleet(targets, options)
    local all, connect = {}, {}
    for k, v in pairs(options or {}) do
        all[k] = v
    end
    for k, v in pairs(all.connect or {}) do
        connect[k] = v
    end
    connect.transport = "local"
    all.connect = connect
    return fleet(targets, all)
end

-- → list of {at = line, text, before = code or nil, file = name or nil}
local function blocks_of(path)
    local blocks, block, n, before, name = {}, nil, 0, nil, nil
    for line in io.lines(path) do
        n = n + 1
        if block and line == "```" then
            block.text = table.concat(block, "\n")
            table.insert(blocks, block)
            block, before, name = nil, nil, nil
        elseif block then
            table.insert(block, line)
        elseif line == "```lua" then
            block = {at = n, before = before, file = name}
        else
            before = line:match "^<!%-%- lua: (.*) %-%->$" or line == "" and before or nil
            name = line:match "^<!%-%- file: (.*) %-%->$" or line == "" and name or nil
        end
    end
    if block then
        error(path .. ": a block without an end")
    end
    return blocks
end

-- Examples are programs of their own: what they set is global, and forgotten afterwards.
local function with_globals(printed, f)
    local before = {}
    for k, v in pairs(_G) do
        before[k] = v
    end
    _G.grapnel = grapnel
    function _G.print(...)
        local parts = table.pack(...)
        for i = 1, parts.n do
            parts[i] = tostring(parts[i])
        end
        table.insert(printed, table.concat(parts, "\t"))
    end
    setmetatable(_G, {
        __index = function(_, k)
            if k == "conn" then
                _G.conn = grapnel.connect "web1"
                return _G.conn
            end
        end,
    })
    local ok, why = xpcall(f, function(e)
        return debug.traceback(tostring(e))
    end)
    setmetatable(_G, nil)
    for k in pairs(_G) do
        _G[k] = before[k]
    end
    if not ok then
        error(why, 0)
    end
end

local function run(block, where)
    local printed, wanted = {}, {}
    with_globals(printed, function()
        if block.before then
            assert(load(block.before, "=set-up of " .. where))()
        end
        assert(load(("\n"):rep(block.at) .. block.text, "@" .. where:gsub(":%d+$", "")))()
    end)
    for text in block.text:gmatch "%-%-> ([^\n]*)" do
        table.insert(wanted, text)
    end
    if #wanted > 0 and table.concat(printed, "\n") ~= table.concat(wanted, "\n") then
        error(("%s: printed\n%s\nwhere the text says\n%s"):format(where, table.concat(printed, "\n"),
            table.concat(wanted, "\n")), 0)
    end
end

local count, failed = 0, 0
for _, path in ipairs(arg) do
    for _, block in ipairs(blocks_of(path)) do
        local where = ("%s:%d"):format(path:match "[^/]*$", block.at)
        if block.file then
            local file <close> = assert(io.open(block.file, "w"))
            file:write(block.text, "\n")
        end
        local ok, why = true, nil
        if not block.file then
            ok, why = pcall(run, block, where)
        end
        count = count + 1
        if not ok then
            failed = failed + 1
            io.stderr:write(where, ": ", why, "\n\n")
        end
        for i = #opened, 1, -1 do
            table.remove(opened).close()
        end
        grapnel.close_ssh_connections()
        grapnel.cache_limits()
    end
end
print(("%d examples, %d failed"):format(count, failed))
os.exit(failed == 0 and 0 or 1, true)
