local stock = {apples = 3}
local service = {}

function service:on_connect(conn) end    -- both are optional
function service:on_disconnect(conn) end

function service.exposed_count(what)
    return stock[what] or error("no such thing: " .. what)
end

return service
