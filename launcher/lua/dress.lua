-- What is still to be done for a new connection, by the options of grapnel.connect.
return function(conn, service, require, teleport, grapnel, seconds)
    local function dress()
        if not teleport then
            conn.refuse_bytecode()
        end
        if require then
            conn.require_from(require ~= true and require or nil)
        end
        if service then
            conn.become_service(service)
        end
    end
    if seconds then
        dress = grapnel.timed(dress, seconds)
    end
    dress()
end
