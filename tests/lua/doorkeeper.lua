-- A service that looks at its client first: how it does so is told by the environment.
local service, ready = {}, false

function service:on_connect()
    local how = os.getenv "DOOR"
    if how == "slow" then
        require "time".sleep(0.2)
    elseif how == "shut" then
        error "nobody is let in"
    elseif how == "object" then
        error(print)
    end
    ready = true
end

function service.exposed_ready()
    return ready
end

if os.getenv "DOOR" == "nonsense" then
    service.on_connect = 5
end

return service
