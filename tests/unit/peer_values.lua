-- Values there and back.
local function echo(...)
    return conn.execute("return ...", ...)
end

local function same(a, b)
    assert(rawequal(a, b) and math.type(a) == math.type(b), tostring(a) .. " became " .. tostring(b))
end

local test = {}

function test.scalars()
    for _, v in ipairs {0, 1, 23, 24, 255, 256, 65535, 65536, 2 ^ 32 | 0, math.maxinteger, -1, -24, -25,
                        -256, -257, math.mininteger, 0.5, 1.0, -1e300, 1e-320, math.huge, -math.huge,
                        true, false, "", "a", "äöü", "\0\xff\xfe", ("x"):rep(300), ("y"):rep(70000)} do
        same(v, (echo(v)))
    end
    same(nil, (echo(nil)))
    local nan = echo(0 / 0)
    assert(nan ~= nan)
    assert(1 / echo(-0.0) == -math.huge)
    assert(select("#", echo()) == 0)
    assert(select("#", echo(nil, nil, nil)) == 3)
end

function test.many_values()
    local t = {}
    for i = 1, 5000 do
        t[i] = i
    end
    local back = {echo(table.unpack(t))}
    assert(#back == 5000 and back[5000] == 5000)
end

function test.copies()
    local t = conn.call("execute", "return grapnel_test_table", nil)
    assert(t == nil)
    conn.execute("t = {1, 2, {3, x = 'y'}, [10] = true, [1.5] = 'f', [false] = 0}")
    t = grapnel.obtain(conn.eval("t"))
    assert(not grapnel.isproxy(t) and t[1] == 1 and t[3][1] == 3 and t[3].x == "y" and t[10] == true)
    assert(t[1.5] == "f" and t[false] == 0)
    local copied = grapnel.obtain(echo(t))
    assert(copied == t, "comes home")
    t = conn.call("eval", "{1, 2, 3}")
    assert(#t == 3 and not grapnel.isproxy(t))
    assert(conn.execute("return select(1, ...)[2].b", grapnel.copy {1, {b = 7}}) == 7)
    assert(conn.execute("return math.type((...).n)", grapnel.copy {n = 1.0}) == "float")
end

function test.cycles()
    conn.execute("t = {} t.t = t")
    local ok, e = pcall(conn.call, "eval", "t")
    assert(not ok and e:find("contains itself"), e)
    local t = {}
    t.t = t
    ok, e = pcall(echo, grapnel.copy(t))
    assert(not ok and e:find("contains itself"), e)
    local deep = {}
    for _ = 1, 63 do
        deep = {deep}
    end
    conn.execute("deep = ...", grapnel.copy(deep))
    ok, e = pcall(echo, grapnel.copy {deep})
    assert(not ok and e:find("nested deeper"), e)
end

function test.too_large()
    local ok, e = pcall(echo, ("x"):rep(1 << 20))
    assert(not ok and e:find("channel"), e)
    ok, e = pcall(conn.execute, "return ('x'):rep(1 << 20)")
    assert(not ok and e:find("channel"), e)
    ok, e = pcall(echo, grapnel.copy {[{}] = 1})
    assert(not ok and e:find("as a key"), e)
    assert(echo(1) == 1)
end

return test
