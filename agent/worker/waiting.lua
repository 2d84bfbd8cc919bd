-- What would hold up the whole instance in the standard library: here only its caller waits.

local function how(result)
    if result.signal then
        return nil, "signal", result.code - 128
    end
    return result.status == 0 or nil, "exit", result.status
end

function os.execute(command)
    if command == nil then
        return true
    end
    local result, why, number = require "proc".run(command,
        {stdin = "inherit", stdout = "inherit", stderr = "inherit"})
    if not result then
        return nil, why, number
    end
    return how(result)
end

local pipe = {}
pipe.__index = pipe
pipe.__name = "FILE*"

-- Who waits for it and is cancelled does not come back here: then nobody wants the process any more.
local function done(self, ...)
    self.awaited = false
    return ...
end

-- Formats that follow, unless the first one failed.
local function read_on(self, formats, ...)
    if ... == nil then
        return ...
    end
    return ..., self:read(table.unpack(formats, 1, formats.n))
end

function pipe:read(format, ...)
    if select("#", ...) > 0 then
        return read_on(self, table.pack(...), self:read(format))
    end
    self.awaited = true
    return done(self, self.stream:read(format))
end

function pipe:lines(format)
    return function()
        return self:read(format)
    end
end

function pipe:write(...)
    local done, why, number = self.stream:write(...)
    return done and self, why, number
end

function pipe:flush()
    return self
end

function pipe:setvbuf()
    return true
end

function pipe:seek()
    return nil, "Illegal seek", 29
end

function pipe:close()
    self.stream:close()
    if not self.process then
        return true
    elseif self.awaited then
        return how(self.process:close())
    end
    self.awaited = true
    return how(done(self, self.process:wait()))
end

-- A service can hand one out.
for _, name in ipairs {"read", "lines", "write", "flush", "setvbuf", "seek", "close"} do
    pipe["exposed_" .. name] = pipe[name]
end

pipe.__close = pipe.close

function pipe:__gc()
    if self.awaited and self.process then
        self.process:kill("KILL")
    end
end

function io.popen(command, mode)
    local reads = (mode or "r") == "r"
    if not reads and mode ~= "w" then
        error("bad argument #2 to 'popen' (invalid mode)", 2)
    end
    local process, why, number = require "proc".popen(command,
        {stdin = reads and "inherit" or "pipe", stdout = reads and "pipe" or "inherit",
            stderr = "inherit"})
    if not process then
        return nil, why, number
    end
    return setmetatable({process = process, stream = reads and process.stdout or process.stdin},
        pipe)
end

local type_of = io.type

function io.type(x)
    if getmetatable(x) == pipe then
        return x.stream:getfd() < 0 and "closed file" or "file"
    end
    return type_of(x)
end

function io.open(path, mode)
    return require "fs".open(path, mode)
end

-- ---- files of code, which are no bytecode where that is refused ----

local load = load

function loadfile(path, mode, ...)
    local file, why = io.open(path or "/dev/null")
    if not file then
        return nil, "cannot open " .. why
    end
    local text, what = file:read("a")
    file:close()
    if not text then
        return nil, "cannot read " .. path .. ": " .. what
    end
    text = text:gsub("^\xef\xbb\xbf", ""):gsub("^#[^\n]*", ""):gsub("^\n\27", "\27")
    return load(text, path and "@" .. path or "=stdin", mode, ...)
end

local loadfile = loadfile

function dofile(path)
    local f, why = loadfile(path)
    if not f then
        error(why, 0)
    end
    return f()
end

package.searchers[2] = function(name)
    local path, why = package.searchpath(name, package.path)
    if not path then
        return why
    end
    local f, what = loadfile(path)
    if not f then
        error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, what), 0)
    end
    return f, path
end

return function(stream)
    return setmetatable({stream = stream}, pipe)
end
