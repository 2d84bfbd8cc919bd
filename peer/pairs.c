/* Iteration, the side that asks: while one page is consumed, the next one is on its way. */
#include "peer/pairs.h"

#include <string.h>

#include "peer/peer_impl.h"
#include "peer/strict.h"

struct pairs {
    struct peer *p;
    struct calls_call *page; /* being consumed; NULL: none */
    struct calls_call *next; /* asked for; NULL: there is no more */
    struct codec_in in;      /* in page */
    size_t left;             /* values still in it */
    size_t most;
    bool steady; /* `most` stays as it is */
    bool home_told;
    char how[12];
};

/* ---- asking ---- */

/* Asks for the page that begins at the state on top of the stack.  The proxy is user value 1 of
 * the iterator at `self`. */
static void ask(lua_State *L, struct pairs *it, int self)
{
    struct codec_out c;
    int state = lua_gettop(L);
    lua_getiuservalue(L, self, 1);
    calls_begin(&c, it->p, L, "next", 4);
    int rc = codec_put(&c, state + 1);
    rc = rc != 0 ? rc : codec_put_text(&c, it->how);
    rc = rc != 0 ? rc : codec_put(&c, state);
    rc = rc != 0 ? rc : codec_put_int(&c, (int64_t)it->most);
    if (rc != 0) {
        codec_raise(&c, rc);
    }
    it->next = calls_send(&c);
    lua_settop(L, state);
    if (!it->steady && it->most < PAIRS_MOST) {
        it->most *= 2;
    }
}

static void release(void *arg, enum strict_ref what, int64_t id)
{
    if (what == STRICT_FAR) {
        proxy_released(arg, id, 1);
    }
}

/* Done with the page, of which some may not have been decoded. */
static void drop_page(struct pairs *it)
{
    if (it->page == NULL) {
        return;
    }
    if (it->left > 0) {
        strict_tell(it->in.at, (size_t)(it->in.end - it->in.at), it->left, release, it->p);
        it->left = 0;
    }
    message_done(it->p, &it->page->m, true);
    calls_drop(it->page, false);
    it->page = NULL;
}

/* Takes the answer as the page, and asks for the one after it. */
static void take_page(lua_State *L, struct pairs *it)
{
    size_t n;
    it->page = it->next;
    it->next = NULL;
    struct message *m = &it->page->m;
    codec_open(&it->in, it->p, L, m->bytes, m->n);
    if (!codec_array(&it->in, &n) || n != 2 || !codec_array(&it->in, &it->left)) {
        it->left = 0;
        luaL_error(L, "%s", "malformed answer");
    }
    struct codec_in state = it->in;
    state.at += strict_tell(state.at, (size_t)(state.end - state.at), it->left, NULL, NULL);
    codec_get(&state);
    if (!lua_isnil(L, -1)) {
        ask(L, it, 1);
    }
    lua_pop(L, 1);
}

static int give(lua_State *L, struct pairs *it)
{
    if (it->left < 2) {
        return 0;
    }
    luaL_checkstack(L, 4, "pairs");
    codec_get(&it->in);
    it->left--;
    codec_get(&it->in);
    it->left--;
    return 2;
}

static int step(lua_State *L);

static int arrived(lua_State *L, int status, lua_KContext context)
{
    struct pairs *it = (struct pairs *)context;
    struct calls_call *c = it->next;
    (void)status;
    int result = c->wait.result;
    if (result != 0) {
        it->next = NULL;
        calls_drop(c, true);
        return result == -E_CANCELLED ? tasks_cancelled_error(L) : peer_raise(L, it->p, result, "");
    }
    struct codec_in in;
    codec_open(&in, it->p, L, c->m.bytes, c->m.bytes != NULL ? c->m.n : 0);
    if (c->code != 0 || codec_is_map(&in)) {
        it->next = NULL;
        calls_results(L, c);
        calls_drop(c, false);
        return lua_error(L);
    }
    take_page(L, it);
    return step(L);
}

/* The iterator function: (iterator, previous key) → key, value.  A key of nil ends a loop, so that
 * pages without anything in them are passed over. */
static int step(lua_State *L)
{
    struct pairs *it = luaL_checkudata(L, 1, "grapnel.pairs");
    lua_settop(L, 1);
    if (it->left >= 2) {
        return give(L, it);
    }
    drop_page(it);
    if (it->next == NULL || peer_unusable(it->p)) {
        return 0;
    }
    return tasks_suspend(L, &it->next->wait, UINT64_MAX, arrived, (lua_KContext)it);
}

static int collect(lua_State *L)
{
    struct pairs *it = lua_touserdata(L, 1);
    if (it->p != NULL) {
        drop_page(it);
        if (it->next != NULL) {
            calls_drop(it->next, true);
            it->next = NULL;
        }
        peer_let(it->p);
        it->p = NULL;
    }
    return 0;
}

/* ---- beginning ---- */

/* Pushes step, iterator, nil for the proxy at index 1. */
static int begin(lua_State *L, struct world *w, const char *how, size_t most, bool steady)
{
    struct proxy *x = proxy_at(L, w, 1);
    if (x == NULL) {
        return luaL_argerror(L, 1, "proxy expected");
    }
    if (!peer_alive(x->p)) {
        return peer_raise(L, x->p, x->p->error.code, x->p->error.detail);
    }
    lua_pushcfunction(L, step);
    struct pairs *it = lua_newuserdatauv(L, sizeof(*it), 1);
    memset(it, 0, sizeof(*it));
    it->most = most;
    it->steady = steady;
    strncpy(it->how, how, sizeof(it->how) - 1);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->pairs_ref);
    lua_setmetatable(L, -2);
    it->p = x->p;
    peer_hold(it->p);
    int self = lua_gettop(L);
    lua_pushnil(L);
    ask(L, it, self);
    return 3;
}

int pairs_start(lua_State *L)
{
    lua_settop(L, 1);
    return begin(L, lua_touserdata(L, lua_upvalueindex(1)), "pairs", PAIRS_FIRST, false);
}

int pairs_buffiter(lua_State *L)
{
    struct world *w = peer_world(L);
    lua_Integer most = luaL_optinteger(L, 2, PAIRS_MOST);
    struct proxy *x = proxy_at(L, w, 1);
    bool function =
        x != NULL && (proxy_is_procedure(x) || strcmp(proxy_kinds[x->kind], "function") == 0);
    const char *how = luaL_optstring(L, 3, function ? "iterator" : "pairs");
    luaL_argcheck(L, most >= 1 && most <= PAIRS_MOST, 2, "1 to 4096");
    return begin(L, w, how, (size_t)most, true);
}

/* Upvalues: world, the original. */
static int either_ipairs(lua_State *L)
{
    struct world *w = lua_touserdata(L, lua_upvalueindex(1));
    if (proxy_at(L, w, 1) != NULL) {
        lua_settop(L, 1);
        return begin(L, w, "ipairs", PAIRS_FIRST, false);
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 3);
    return 3;
}

void pairs_init(lua_State *L, struct world *w)
{
    luaL_newmetatable(L, "grapnel.pairs");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    w->pairs_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(L, w);
    if (lua_getglobal(L, "ipairs") == LUA_TFUNCTION) {
        lua_pushcclosure(L, either_ipairs, 2);
        lua_setglobal(L, "ipairs");
    } else {
        lua_pop(L, 2);
    }
}
