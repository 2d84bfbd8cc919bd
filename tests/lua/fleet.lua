-- Fleets, over hosts that are all this machine.
local grapnel = require "grapnel"
local check = require "check"
local eq, fails = check.eq, check.fails

local here = {transport = "local", env = {WHO = "instance"}}
local names = {"one", "two", "three", "four"}

local function by_host(job)
    local all = {}
    for result in job do
        assert(not all[result.host], "told twice")
        all[result.host] = result
    end
    for _, name in ipairs(names) do
        assert(all[name], name .. " was not told")
    end
    return all
end

-- Commands: words, and lines with input.
do
    local fleet = grapnel.fleet(names, {connect = here, fanout = 2})
    eq(#fleet, 4)
    for _, r in pairs(by_host(fleet:run {"echo", "a b"})) do
        eq({r.ok, r.status, r.out, r.err, r.attempts, r.begun, r.confirmed},
            {true, 0, "a b\n", "", 1, true, true})
        assert(r.phases.deploy > 0 and r.phases.exec > 0 and not r.phases.auth)
    end
    local all = by_host(fleet:run("cat; echo $X; pwd; exit 3",
        {input = "in ", env = {"X=y"}, cwd = "/"}))
    eq({all.one.ok, all.one.status, all.one.out}, {false, 3, "in y\n/\n"})
    eq(all.one.error, nil)
end

-- The end of a loop is the job's, however it comes about.
do
    local fleet = grapnel.fleet(names, {connect = here})
    local first = os.tmpname()
    for _ in fleet:run("rm " .. first .. " 2>/dev/null || sleep 1000") do
        break -- the others sleep
    end
    fails("enough", function()
        for _ in fleet:run {"true"} do
            error "enough"
        end
    end)
    eq(by_host(fleet:run {"true"}).one.ok, true)
    fails("zero byte", fleet.run, fleet, {"echo", "a\0b"})
    fails("zero byte", fleet.run, fleet, "echo a\0b")
    fails("zero byte", fleet.run, fleet, "true", {env = {"A=\0"}})
end

-- Connections that are kept; calls; what the agents tell.
do
    local fleet <close> = grapnel.fleet(names, {connect = here, keep = true})
    local first = by_host(fleet:facts())
    local again = by_host(fleet:facts())
    eq(again.two.value.pid, first.two.value.pid)
    eq(again.two.attempts, 0)
    for _, r in pairs(by_host(fleet:call("eval", "{os.getenv 'WHO', 1.5, {x = true}}"))) do
        eq(r.value, {"instance", 1.5, {x = true}})
    end
    eq(by_host(fleet:call("eval", "1, 'b', {3}")).one.results, {1, "b", {3}})
    local failed = by_host(fleet:call("eval", "error 'no'")).three
    eq({failed.ok, failed.error.name}, {false, "REMOTE"})
    assert(failed.error.message:find("three", 1, true))
    assert(math.type(by_host(fleet:ping()).four.value) == "integer")
end

-- Other tasks run while a job is waited for; it is stopped, and the hosts confirm that.
do
    local fleet = grapnel.fleet(names, {connect = here})
    local job = fleet:run "sleep 1000"
    fails("not freed", fleet.run, fleet, "true")
    eq({job:wait_any(0.2)}, {nil, "timeout"})
    eq(job:counts().hosts, 4)
    local cancelled = grapnel.async(function()
        grapnel.sleep(0.1)
        job:cancel()
    end)()
    for _, r in pairs(by_host(job)) do
        eq({r.error.name, r.confirmed}, {"CANCELLED", true})
    end
    eq(cancelled:wait(), true)
    eq(job:wait_any(), nil)
    eq(job:counts(), nil)
end

-- Sets of names, in the language of targets.
do
    local fleet, hosts = grapnel.fleet("n[1-5]!n3", {connect = here}), {}
    for r in fleet:run "true" do
        hosts[r.index] = r.host
    end
    eq(hosts, {"n1", "n2", "n4", "n5"})
    fails("n[1-", grapnel.fleet, "n[1-", {connect = here})
end

-- The same name twice is one host.
do
    local fleet = grapnel.fleet({"one", "one"}, {connect = here})
    local same
    for r in fleet:run "true" do
        same = same or r.same
    end
    eq(same, "one")
end

-- One that is forgotten ends by itself.
do
    grapnel.fleet(names, {connect = here}):run "sleep 1000"
    collectgarbage()
    collectgarbage()
end

fails("no option", grapnel.fleet, names, {fanoot = 1})
fails("whole number", grapnel.fleet, names, {fanout = -1})
fails("targets are strings", grapnel.fleet, {{}})
fails("list of strings", function()
    grapnel.fleet(names, {connect = here}):run {1}
end)
print "fine"
