#include "launcher/lua/cachelist.h"

#include <lauxlib.h>

#include "launcher/cache/cache.h"
#include "launcher/lua/cached.h"
#include "launcher/lua/held.h"

#define CLOSE_MS 5000 /* for a worker to leave */

/* ---- lists ---- */

static int push_list(lua_State *L, char **(*get)(struct grapnel *, struct grapnel_error *))
{
    struct grapnel_error e;
    char **list = get(cached_context(L), &e);

    if (!list)
        return cached_fail(L, &e);
    lua_newtable(L);
    for (size_t i = 0; list[i]; i++) {
        lua_pushstring(L, list[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    grapnel_strings_free(list);
    return 1;
}

static int list_connections(lua_State *L)
{
    return push_list(L, grapnel_list_connections);
}

static int list_deployed_servers(lua_State *L)
{
    return push_list(L, grapnel_list_deployed_servers);
}

static int list_ssh_connections(lua_State *L)
{
    return push_list(L, grapnel_list_ssh_connections);
}

/* ---- closing ---- */

/* How many were closed, or why not in good order. */
static int closed(lua_State *L, int n, const struct grapnel_error *e)
{
    host_look(host_of(L));
    if (n < 0)
        return cached_fail(L, e);
    lua_pushinteger(L, n);
    return 1;
}

/* close_connection([host [, options [, number]]]) → how many */
static int close_connection(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    lua_Integer number = luaL_optinteger(L, 3, 0);
    struct options_lua o;
    const char *host = cached_target(L, &o);
    struct grapnel_error e;

    if (number != 0)
        cached_number(L, number);
    return closed(L, grapnel_close_connection(g, host, &o.connect, (int)number, &e), &e);
}

/* close_deployed_server([host [, options]]) → how many */
static int close_deployed_server(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct options_lua o;
    const char *host = cached_target(L, &o);
    struct grapnel_error e;

    return closed(L, grapnel_close_deployed_server(g, host, &o.connect, &e), &e);
}

/* close_ssh_connection([host [, options]]) → how many */
static int close_ssh_connection(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct options_lua o;
    const char *host = cached_target(L, &o);
    struct grapnel_error e;

    return closed(L, grapnel_close_ssh_connection(g, host, &o.connect, &e), &e);
}

static int is_over(void *arg)
{
    const struct grapnel_connection *c = arg;

    return c->class->over(c->end);
}

/* close(box): this one. */
static int close_one(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct held *held = held_at(L, 1);
    struct grapnel_connection *c;

    context_lock(g);
    c = held_slot(held);
    if (c && c->of) {
        cache_hold_instance(c);
        cache_close_instance(c);
        (void)context_wait(g, is_over, c, context_deadline(CLOSE_MS));
        cache_done_instance(c);
    }
    context_unlock(g);
    host_look(host_of(L));
    return 0;
}

/* ---- limits ---- */

/* limits(idle, servers, connections, fresh, patience, reconnect, back_off, back_off_most): times in
 * ms */
static int limits(lua_State *L)
{
    struct grapnel *g = cached_context(L);
    struct grapnel_cache_limits l = {.idle = luaL_checkinteger(L, 1),
                                     .servers = (size_t)luaL_checkinteger(L, 2),
                                     .connections = (size_t)luaL_checkinteger(L, 3),
                                     .fresh = luaL_checkinteger(L, 4),
                                     .patience = luaL_checkinteger(L, 5),
                                     .reconnect = (int)luaL_checkinteger(L, 6),
                                     .back_off = luaL_checkinteger(L, 7),
                                     .back_off_most = luaL_checkinteger(L, 8),
                                     .renewed = held_renewed,
                                     .arg = host_of(L)};
    struct grapnel_error e;

    return grapnel_cache_limits(g, &l, &e) < 0 ? cached_fail(L, &e) : 0;
}

/* ---- public ---- */

void cachelist_add(lua_State *L)
{
    static const luaL_Reg lists[] = {{"list_connections", list_connections},
                                     {"list_deployed_servers", list_deployed_servers},
                                     {"list_ssh_connections", list_ssh_connections},
                                     {NULL, NULL}};

    luaL_setfuncs(L, lists, 0);
}

void cachelist_add_core(lua_State *L)
{
    static const luaL_Reg core[] = {{"close", close_one},
                                    {"close_connection", close_connection},
                                    {"close_deployed_server", close_deployed_server},
                                    {"close_ssh_connection", close_ssh_connection},
                                    {"limits", limits},
                                    {NULL, NULL}};

    luaL_setfuncs(L, core, 0);
}
