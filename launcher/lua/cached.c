#include "launcher/lua/cached.h"

#include <lauxlib.h>

#include "launcher/cache/connections.h"
#include "launcher/lua/cachelist.h"
#include "launcher/lua/connect.h"
#include "launcher/lua/held.h"
#include "launcher/lua/until.h"
#include "launcher/lua/wanted.h"
#include "lua_cache.h"
#include "peer/peer.h"
#include "proto/wire.h"

/* ---- what all of them need ---- */

int cached_fail(lua_State *L, const struct grapnel_error *e)
{
    char text[1600];

    grapnel_error_format(e, text, sizeof text);
    lua_pushstring(L, text);
    return lua_error(L);
}

struct grapnel *cached_context(lua_State *L)
{
    struct grapnel *g = host_context(host_of(L));
    struct grapnel_error e;

    if (context_forked(g, &e))
        cached_fail(L, &e);
    return g;
}

const char *cached_target(lua_State *L, struct options_lua *o)
{
    const char *host = luaL_optstring(L, 1, NULL);

    lua_settop(L, 2);
    options_lua_read(L, 2, o);
    return host;
}

void cached_number(lua_State *L, lua_Integer number)
{
    if (number < 1 || number > CACHE_INSTANCE_MAX)
        luaL_error(L, "%I is no instance: 1 to %d", (LUAI_UACINT)number, CACHE_INSTANCE_MAX);
}

/* Pushes what the tables of cache.lua know the one in this slot by; c may be NULL. */
static int push_key(lua_State *L, struct grapnel_connection *c, const struct held *held)
{
    if (c && !held)
        return luaL_error(L, "%s is not an instance of Lua", c->name);
    if (held)
        lua_pushlightuserdata(L, (void *)(uintptr_t)held);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- getting ---- */

/* hit(host, options) → key, or nil: it takes more than that. */
static int hit(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct options_lua o;
    const char *host = cached_target(L, &o);
    struct held *held = NULL;
    struct grapnel_connection *c = NULL;
    struct cached *s = NULL;

    luaL_argcheck(L, host, 1, "string expected");
    cached_number(L, o.instance.number);
    o.connect = connections_options(host, &o.connect);
    context_lock(g);
    if (g->cache)
        s = cache_hit(g->cache, host, &o.connect);
    c = s ? cache_instance(s, o.instance.number) : NULL;
    held = c && c->class->alive(c->end) ? held_of(c) : NULL;
    context_unlock_quiet(g);
    return push_key(L, NULL, held);
}

/* want(host, options) → server, number */
static int want(lua_State *L)
{
    struct options_lua o;
    const char *host = cached_target(L, &o);
    struct error e = {0};

    (void)cached_context(L);
    o.connect = connections_options(host, &o.connect);
    if (!wanted_push(L, host_of(L), host, &o.connect, 0, &e))
        return connect_fail(L, host, &e);
    lua_pushinteger(L, o.instance.number);
    return 2;
}

/* again(box) → server: that of one that is held, as if it was wanted. */
static int again(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct held *held = held_at(L, 1);
    struct grapnel_connection *c;
    struct cached *s;
    struct error e = {0};

    context_lock(g);
    c = held_slot(held);
    s = c ? c->of : NULL;
    context_unlock_quiet(g);
    if (!s) {
        errors_set(&e, -E_CLOSED, "the connection was closed");
        return connect_fail(L, "", &e);
    }
    if (!wanted_push_again(L, host_of(L), s, &e))
        return connect_fail(L, cache_name(s), &e);
    return 1;
}

static int settled(lua_State *L, int status, lua_KContext context)
{
    int result = until_result(L);
    struct wanted *w = (struct wanted *)context;
    struct error e = {0};

    (void)status;
    if (result < 0)
        return until_raise(L, result);
    if (wanted_outcome(w, &e) < 0)
        return connect_fail(L, luaL_optstring(L, 2, cache_name(wanted_server(w))), &e);
    return 0;
}

/* settle(server [, host]): waits until it is ready. */
static int settle(lua_State *L)
{
    struct wanted *w = wanted_at(L, 1);

    lua_settop(L, 2);
    return until_suspend(L, wanted_settled, w, UINT64_MAX, settled, (lua_KContext)w);
}

/* takes(server) → whether an instance can be started on it. */
static int takes(lua_State *L)
{
    lua_pushboolean(L, wanted_takes(wanted_at(L, 1)));
    return 1;
}

/* slot(server, number) → key or nil, whether it is alive */
static int slot(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct wanted *w = wanted_at(L, 1);
    int number = (int)luaL_checkinteger(L, 2), alive;
    struct grapnel_connection *c;
    struct held *held;

    context_lock(g);
    c = cache_instance(wanted_server(w), number);
    held = c ? held_of(c) : NULL;
    alive = held && c->class->alive(held);
    context_unlock_quiet(g);
    push_key(L, c, held);
    lua_pushboolean(L, alive);
    return 2;
}

/* add(server, number) → key, box: to be made. */
static int add(lua_State *L)
{
    struct wanted *w = wanted_at(L, 1);
    struct error e = {0};
    struct held *held =
        held_push(L, host_of(L), wanted_server(w), (int)luaL_checkinteger(L, 2), &e);

    if (!held)
        return connect_fail(L, cache_name(wanted_server(w)), &e);
    lua_pushlightuserdata(L, held);
    lua_insert(L, -2);
    return 2;
}

/* renew(box): it is to be made anew. */
static int renew(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct held *held = held_at(L, 1);
    struct error e = {0};

    context_lock(g);
    if (held_slot(held))
        cache_renew_instance(held_slot(held), &e);
    else
        errors_set(&e, -E_CLOSED, "the connection was closed");
    context_unlock(g);
    return e.code ? connect_fail(L, "", &e) : 0;
}

/* give_up(box): what was being made has failed. */
static int give_up(lua_State *L)
{
    held_fail(held_at(L, 1));
    return 0;
}

/* news(box) → to be made anew, told, generation, why not or nil */
static int news(lua_State *L)
{
    int anew, told, generation;
    struct grapnel_error e;
    char text[1600];

    held_news(held_at(L, 1), &anew, &told, &generation, &e);
    lua_pushboolean(L, anew);
    lua_pushboolean(L, told);
    lua_pushinteger(L, generation);
    if (!e.code)
        return 3;
    grapnel_error_format(&e, text, sizeof text);
    lua_pushstring(L, text);
    return 4;
}

/* ---- holding ---- */

/* What the program got by it may still be there. */
static void release(lua_State *L)
{
    struct grapnel_connection **use = lua_touserdata(L, 1), *c = *use;
    struct grapnel *g = c && host_lives(L) ? host_context(host_of(L)) : NULL;

    *use = NULL;
    if (!g || context_forked(g, NULL))
        return;
    context_lock(g);
    if (held_of(c))
        held_note_use(held_of(c));
    cache_done_instance(c);
    context_unlock(g);
}

static int on_release(lua_State *L)
{
    release(L);
    return 0;
}

/* hold(box) → a value: by it, the connection is in use, until it is closed or collected. */
static int hold(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct held *held = held_at(L, 1);
    struct grapnel_connection **use = lua_newuserdatauv(L, sizeof(void *), 0);

    *use = NULL;
    if (luaL_newmetatable(L, "grapnel.use")) {
        lua_pushcfunction(L, on_release);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, on_release);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    context_lock(g);
    *use = held_slot(held);
    if (*use)
        cache_hold_instance(*use);
    context_unlock_quiet(g);
    return 1;
}

/* conn(box) → a connection over the line that it has; nothing: it has none. */
static int conn(lua_State *L)
{
    struct line *line;

    (void)cached_context(L);
    line = held_line(held_at(L, 1));
    if (!line)
        return 0;
    connect_push(L, line, 0);
    return 1;
}

/* about(box) → name, generation, order; nothing: it was closed. */
static int about(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct held *held = held_at(L, 1);
    const struct grapnel_connection *c;
    char name[512];
    lua_Integer generation = 0, serial = 0;

    context_lock(g);
    c = held_slot(held);
    if (c && !c->of)
        c = NULL;
    if (c) {
        snprintf(name, sizeof name, "%s", c->name);
        generation = (lua_Integer)c->generation;
        serial = (lua_Integer)c->serial;
    }
    context_unlock_quiet(g);
    if (!c)
        return 0;
    lua_pushstring(L, name);
    lua_pushinteger(L, generation);
    lua_pushinteger(L, serial);
    return 3;
}

/* facts(box): what the agent told of its host. */
static int facts(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct held *held = held_at(L, 1);
    struct grapnel_connection *c;
    struct grapnel_server *s;

    context_lock(g);
    c = held_slot(held);
    s = c && c->of ? cache_server(c->of) : NULL;
    context_unlock_quiet(g);
    return connect_facts(L, s);
}

/* look(host, options) → key; or nil, why: nothing is made. */
static int look(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct options_lua o;
    const char *host = cached_target(L, &o);
    struct grapnel_connection *c = NULL;
    struct held *held = NULL;
    struct cached *s = NULL;
    struct cache *cache;
    struct error e = {0};

    luaL_argcheck(L, host, 1, "string expected");
    cached_number(L, o.instance.number);
    o.connect = connections_options(host, &o.connect);
    context_lock(g);
    cache = cache_of(g);
    if (cache)
        s = cache_look(cache, host, &o.connect, &e);
    c = s ? cache_instance(s, o.instance.number) : NULL;
    held = c ? held_of(c) : NULL;
    context_unlock_quiet(g);
    if (e.code)
        return connect_fail(L, host, &e);
    push_key(L, c, held);
    if (held)
        return 1;
    lua_pushfstring(L, "%s: %s:%d", errors_text(-E_NOT_HELD), host, o.instance.number);
    return 2;
}

static int append(lua_State *L, const void *bytes, size_t n, void *arg)
{
    (void)L;
    return wire_put(arg, bytes, n);
}

/* Pushes cache.lua without its line numbers: they would stand before the errors of what it calls,
 * and tell the user nothing. */
static void load_code(lua_State *L)
{
    struct wire_buf code = {0};
    int status;

    if (luaL_loadbufferx(L, lua_cache, lua_cache_size, "=grapnel", "t") != LUA_OK)
        lua_error(L);
    if (lua_dump(L, append, &code, 1) != 0) {
        wire_free(&code);
        luaL_error(L, "not enough memory");
    }
    status =
        luaL_loadbufferx(L, (const char *)wire_data(&code), wire_length(&code), "=grapnel", "b");
    wire_free(&code);
    if (status != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
}

void cached_add(lua_State *L)
{
    static const luaL_Reg core[] = {
        {"hit", hit},         {"want", want},   {"again", again},
        {"settle", settle},   {"takes", takes}, {"slot", slot},
        {"add", add},         {"renew", renew}, {"connect", connect_held},
        {"give_up", give_up}, {"news", news},   {"hold", hold},
        {"about", about},     {"facts", facts}, {"look", look},
        {"conn", conn},       {NULL, NULL}};

    cachelist_add(L);
    lua_newtable(L); /* what cache.lua knows of connections, by key */
    load_code(L);
    luaL_newlib(L, core);
    cachelist_add_core(L);
    lua_pushvalue(L, -3);
    lua_pushvalue(L, -5);
    lua_call(L, 3, 1);
    held_set_up(L);
}
