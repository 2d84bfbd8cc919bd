-- A service that writes into a file when its client is gone, however it went.
local service, path = {}, nil

function service.exposed_note(where)
    path = where
    return "noted"
end

function service:on_disconnect()
    require "time".sleep(0.05) -- what it does then may take its time
    local file <close> = assert(io.open(path, "w"))
    file:write "told"
end

return service
