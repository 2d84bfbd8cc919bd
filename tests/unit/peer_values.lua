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
    local ok, e = pcall(echo, ("x"):rep(64 << 20))
    assert(not ok and e:find("channel"), e)
    ok, e = pcall(conn.execute, "return ('x'):rep(64 << 20)")
    assert(not ok and e:find("channel"), e)
    ok, e = pcall(echo, grapnel.copy {[{}] = 1})
    assert(not ok and e:find("as a key"), e)
    assert(echo(1) == 1)
end

-- One large body, and some at once; a list of very many; pages with large values.
function test.large()
    local text = ("0123456789abcdef"):rep(2 << 20)
    assert(echo(text) == text)
    local back = conn.eval "function(...) return ... end"
    local f, g = grapnel.async(back)(text), grapnel.async(back)(text:sub(1, 20 << 20))
    assert(echo(2) == 2)
    assert(f.value == text and #g.value == 20 << 20)
    local list = {}
    for i = 1, 300000 do
        list[i] = i
    end
    local far = conn.deliver(list)
    assert(#far == 300000 and far[299999] == 299999)
    list = grapnel.obtain(far)
    assert(#list == 300000 and list[299999] == 299999)
    local n = 0
    for _, v in pairs(conn.eval "{('x'):rep(2 << 20), ('y'):rep(2 << 20), 3}") do
        n = n + (type(v) == "string" and #v or v)
    end
    assert(n == (4 << 20) + 3)
end

-- What does not fit beside the calls that wait is refused, and fits afterwards.
function test.large_calls_together()
    local text = ("x"):rep(40 << 20)
    local f = grapnel.async(conn.eval "function(...) return ... end")(text)
    local ok, e = pcall(echo, text)
    assert(not ok and e:find("with too many bytes"), e)
    assert(#f.value == #text and #echo(text) == #text)
end

return test
