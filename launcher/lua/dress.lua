-- What is still to be done for a new connection, by the options of grapnel.connect.

-- The functions of a table go as upvalues of one: so they share there what they share here.
local function send_table(conn, service)
    if service[1] ~= nil then
        error("grapnel: several services come from a file", 0)
    end
    local names, locals, functions, values = {}, {}, {}, {}
    for name, value in pairs(service) do
        if type(value) == "function" then
            table.insert(names, name)
            table.insert(functions, value)
            table.insert(locals, "f" .. #names)
        else
            values[name] = value
        end
    end
    local list = table.concat(locals, ", ")
    local all = #names == 0 and function() end
        or assert(load(("local %s return function() return %s end"):format(list, list)))()
    for i, f in ipairs(functions) do
        debug.setupvalue(all, i, f)
    end
    local source = "local service, names, functions = ... "
        .. "for i, f in ipairs {functions()} do service[names[i]] = f end return service"
    conn.call("become_service", source, "=service", conn.deliver(values), conn.deliver(names), conn.teleport(all))
end

return function(conn, service, require, teleport, grapnel, seconds)
    local function dress()
        if not teleport then
            conn.refuse_bytecode()
        end
        if require then
            conn.require_from(require ~= true and require or nil)
        end
        if type(service) == "table" then
            send_table(conn, service)
        elseif service then
            conn.become_service(service)
        end
    end
    if seconds then
        dress = grapnel.timed(dress, seconds)
    end
    dress()
end
