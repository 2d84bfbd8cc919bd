/* Objects that cross: proxies of the other end's, and the handing out of ours. */
#include <string.h>

#include "peer/pairs.h"
#include "peer/peer_impl.h"

/* By place. */
#define KIND_PROCEDURE 5
const char *const proxy_kinds[] = {"table", "function",  "userdata", "thread",
                                   "file",  "procedure", NULL};

/* ---- ours ---- */

int64_t proxy_issue(struct peer *p, lua_State *L, int idx)
{
    void *object = (void *)(uintptr_t)lua_topointer(L, idx);
    if (refs_id(p->refs, object) == 0) {
        /* Anchored first: this may raise, and a number without an object would be a trap. */
        idx = lua_absindex(L, idx);
        luaL_checkstack(L, 3, "references");
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->anchors_ref);
        lua_pushvalue(L, idx);
        lua_rawsetp(L, -2, object);
        lua_pop(L, 1);
    }
    return refs_issue(p->refs, object);
}

bool proxy_push_home(struct peer *p, lua_State *L, int64_t id)
{
    const void *object = refs_find(p->refs, id);
    if (object == NULL) {
        lua_pushnil(L);
        return false;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->anchors_ref);
    bool there = lua_rawgetp(L, -1, object) != LUA_TNIL;
    lua_remove(L, -2);
    return there;
}

/* ---- theirs ---- */

struct proxy *proxy_at(lua_State *L, const struct world *w, int idx)
{
    if (lua_type(L, idx) != LUA_TUSERDATA || !lua_getmetatable(L, idx)) {
        return NULL;
    }
    bool is = lua_topointer(L, -1) == w->proxy_meta;
    lua_pop(L, 1);
    return is ? lua_touserdata(L, idx) : NULL;
}

bool proxy_is_procedure(const struct proxy *x)
{
    return x->kind == KIND_PROCEDURE;
}

static uint8_t kind_of(const char *kind, size_t n)
{
    uint8_t i = 0;
    while (strlen(proxy_kinds[i]) != n || memcmp(proxy_kinds[i], kind, n) != 0) {
        i++; /* strict_check lets no others in */
    }
    return i;
}

void proxy_push(struct peer *p, lua_State *L, int64_t id, const char *kind, size_t n)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->imports_ref);
    if (lua_rawgeti(L, -1, id) == LUA_TUSERDATA) {
        struct proxy *x = lua_touserdata(L, -1);
        x->count++;
        lua_remove(L, -2);
        return;
    }
    lua_pop(L, 1);
    struct proxy *x = lua_newuserdatauv(L, sizeof(*x), 0);
    *x = (struct proxy){.p = p, .id = id, .kind = kind_of(kind, n)};
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, id);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->world->proxy_ref);
    lua_setmetatable(L, -2);
    peer_hold(p);
    x->count = 1;
    lua_remove(L, -2);
}

void proxy_released(struct peer *p, int64_t id, int64_t count)
{
    if (!peer_alive(p)) {
        return;
    }
    if (p->released_n == PEER_RELEASE_MAX) {
        proxy_flush(p);
    }
    p->released[2 * p->released_n] = id;
    p->released[2 * p->released_n + 1] = count;
    if (p->released_n++ == 0 && p->o.wake != NULL) {
        p->o.wake(p->o.arg);
    }
}

void proxy_flush(struct peer *p)
{
    size_t n = p->released_n;
    p->released_n = 0;
    if (n > 0 && peer_alive(p)) {
        link_release(p->link, p->released, n);
    }
}

/* ---- metamethods ---- */

static const struct world *world_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* The proxy at index 1, by which the metamethod was found. */
static struct proxy *self(lua_State *L)
{
    struct proxy *x = proxy_at(L, world_of(L), 1);
    if (x == NULL) {
        luaL_argerror(L, 1, "proxy expected");
    }
    return x;
}

/* One operation on the object at index 1 with the further arguments up to the top of the stack. */
static int operate(lua_State *L, const char *name)
{
    struct proxy *x = self(L);
    struct codec_out c;
    int top = lua_gettop(L);
    calls_begin(&c, x->p, L, name, (size_t)top);
    int rc = codec_put_home(&c, x->id);
    for (int i = 2; rc == 0 && i <= top; i++) {
        rc = codec_put(&c, i);
    }
    return rc != 0 ? codec_raise(&c, rc) : calls_wait(L, calls_send(&c));
}

static int meta_index(lua_State *L)
{
    lua_settop(L, 2);
    return operate(L, "index");
}

static int meta_newindex(lua_State *L)
{
    lua_settop(L, 3);
    return operate(L, "newindex");
}

static int meta_len(lua_State *L)
{
    lua_settop(L, 1);
    return operate(L, "len");
}

static int meta_close(lua_State *L)
{
    lua_settop(L, 1);
    struct proxy *x = self(L);
    return peer_alive(x->p) ? operate(L, "close") : 0;
}

static int meta_call(lua_State *L)
{
    return calls_wait(L, calls_send_call(L, self(L)->p, 0));
}

static int meta_tostring(lua_State *L)
{
    lua_settop(L, 1);
    struct proxy *x = self(L);
    if (peer_alive(x->p)) {
        return operate(L, "tostring");
    }
    lua_pushfstring(L, "%s: %I of %s, which is gone", proxy_kinds[x->kind], (lua_Integer)x->id,
                    x->p->name);
    return 1;
}

static int meta_gc(lua_State *L)
{
    struct proxy *x = self(L);
    if (x->count > 0) {
        proxy_released(x->p, x->id, x->count);
        x->count = 0;
        peer_let(x->p);
    }
    return 0;
}

/* Operators with two operands, of which one at least is a proxy: upvalue 2 is the name. */
static int meta_operator(lua_State *L)
{
    const struct world *w = world_of(L);
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    struct proxy *a = proxy_at(L, w, 1), *b = proxy_at(L, w, 2);
    struct peer *p = a != NULL ? a->p : b != NULL ? b->p : NULL;
    struct codec_out c;
    if (p == NULL) {
        return luaL_error(L, "proxy expected");
    }
    if (name[0] == 'e' && (a == NULL || b == NULL || a->p != b->p || !peer_alive(p))) {
        lua_pushboolean(L, 0);
        return 1;
    }
    calls_begin(&c, p, L, "op", 3);
    int rc = codec_put_text(&c, name);
    for (int i = 1; rc == 0 && i <= 2; i++) {
        rc = codec_put(&c, i);
    }
    return rc != 0 ? codec_raise(&c, rc) : calls_wait(L, calls_send(&c));
}

void proxy_init(lua_State *L, struct world *w)
{
    static const luaL_Reg plain[] = {
        {"__index", meta_index}, {"__newindex", meta_newindex}, {"__len", meta_len},
        {"__call", meta_call},   {"__tostring", meta_tostring}, {"__close", meta_close},
        {"__gc", meta_gc},       {"__pairs", pairs_start},      {NULL, NULL}};
    static const char *const operators[] = {"add", "sub",  "mul",    "div", "mod",  "pow",
                                            "unm", "idiv", "band",   "bor", "bxor", "shl",
                                            "shr", "bnot", "concat", "eq",  "lt",   "le"};
    lua_newtable(L);
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, plain, 1);
    for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
        lua_pushfstring(L, "__%s", operators[i]);
        lua_pushlightuserdata(L, w);
        lua_pushstring(L, operators[i]);
        lua_pushcclosure(L, meta_operator, 2);
        lua_rawset(L, -3);
    }
    lua_pushliteral(L, "proxy");
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "proxy");
    lua_setfield(L, -2, "__name");
    w->proxy_meta = lua_topointer(L, -1);
    w->proxy_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
