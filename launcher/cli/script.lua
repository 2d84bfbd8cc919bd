-- The near end of `grapnel script`: lines go in, what the script says comes out.
local conn, grapnel, console, far, options = ...

-- It goes through one channel, so that what it sends and what it prints stay in order.
local VALUE, OUT, ERR = 0, 1, 2
local channel = conn.remote_exec(far)
local late = false

local function feed()
    channel:send(options.start)
    if options.input then
        for line in grapnel.lines() do
            channel:send(line)
        end
    end
    channel:close_write()
end

-- Its time begins when it is there.
local function watch()
    grapnel.sleep(options.timeout)
    late = true
    channel:close()
end

local function show(item)
    local kind, what = item[1], item[2]
    if kind == VALUE then
        console.write(1, console.json(what) .. "\n")
    elseif kind == OUT or kind == ERR then
        console.write(kind, what)
    elseif options.timeout then
        grapnel.async(watch)()
    end
end

local function run()
    grapnel.async(feed)()
    for item in channel do
        show(item)
    end
end

local ok, thrown = pcall(run)
if late then
    return "late"
elseif ok then
    return "done"
end
return conn.closed and "lost" or "failed", console.words(thrown)
