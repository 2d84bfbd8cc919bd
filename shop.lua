return {
    {name = "Stock", exposed_count = function(what) return 3 end},
    {name = "Orders", exposed_place = function(what) return "ordered: " .. what end},
}
