#include "launcher/lua/module.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "launcher/lua/host.h"
#include "launcher/lua/input.h"
#include "launcher/lua/interact.h"
#include "launcher/lua/line.h"
#include "launcher/lua/options.h"
#include "launcher/lua/until.h"
#include "lua_dress.h"
#include "peer/peer.h"
#include "peer/tasks.h"
#include "proto/errors.h"

#define NAME_BYTES 256

static int fail(lua_State *L, const struct grapnel_error *e)
{
    char text[1600];

    grapnel_error_format(e, text, sizeof text);
    return luaL_error(L, "%s", text);
}

/* ---- what a connection has besides what its peer gives it ---- */

/* Upvalue 1: a userdata with the line, which all of the connection's methods share.  NULL: the
 * connection is closed, or the state is. */
static struct line **place_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct line *line_of(lua_State *L)
{
    return host_lives(L) ? *place_of(L) : NULL;
}

/* close(): also as the method of a to-be-closed variable. */
static int close_line(lua_State *L)
{
    struct line *line = line_of(L);

    if (line) {
        *place_of(L) = NULL;
        line_end(line);
    }
    return 0;
}

static void push_json(lua_State *L, const struct grapnel_value *v)
{
    const struct grapnel_value *key, *item;
    const char *text;
    size_t n;

    luaL_checkstack(L, 4, NULL);
    switch (grapnel_value_type(v)) {
    case GRAPNEL_BOOL:
        lua_pushboolean(L, grapnel_value_bool(v, 0));
        break;
    case GRAPNEL_INT:
        lua_pushinteger(L, grapnel_value_int(v, 0));
        break;
    case GRAPNEL_FLOAT:
        lua_pushnumber(L, grapnel_value_float(v, 0.));
        break;
    case GRAPNEL_BYTES:
    case GRAPNEL_TEXT:
        text = grapnel_value_string(v, &n);
        lua_pushlstring(L, text, n);
        break;
    case GRAPNEL_ARRAY:
        lua_newtable(L);
        for (size_t i = 0; i < grapnel_value_count(v); i++) {
            push_json(L, grapnel_value_at(v, i));
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case GRAPNEL_MAP:
        lua_newtable(L);
        for (size_t i = 0; grapnel_value_pair(v, i, &key, &item); i++) {
            push_json(L, key);
            push_json(L, item);
            lua_rawset(L, -3);
        }
        break;
    case GRAPNEL_NIL:
    case GRAPNEL_REF:
        lua_pushnil(L);
        break;
    }
}

/* facts(): what the agent told of its host. */
static int facts(lua_State *L)
{
    struct line *line = line_of(L);
    struct grapnel_value *v = NULL;
    struct grapnel_error e;
    char *json;

    if (!line)
        return luaL_error(L, "EOF: the connection is closed");
    json = grapnel_facts_json(line_server(line), 0, -1, &e);
    if (json)
        v = grapnel_value_from_json(json, strlen(json), &e);
    grapnel_string_free(json);
    if (!v)
        return fail(L, &e);
    push_json(L, v);
    grapnel_value_free(v);
    return 1;
}

/* Adds the methods to the connection on top of the stack. */
static void add_methods(lua_State *L, struct line *line)
{
    static const luaL_Reg methods[] = {{"close", close_line}, {"facts", facts}, {NULL, NULL}};
    struct line **place = lua_newuserdatauv(L, sizeof(struct line *), 0);

    *place = line;
    luaL_setfuncs(L, methods, 1);
}

/* ---- connecting ---- */

static struct line *start(lua_State *L, struct host *h, struct grapnel_server *s,
                          const struct grapnel_instance_options *o, bool teleport,
                          struct grapnel_error *e)
{
    char name[NAME_BYTES];
    struct peer_options options = {.opener = true,
                                   .policy = PEER_PASSED,
                                   .teleport = teleport,
                                   .name = name,
                                   .depth_max = o->depth};

    snprintf(name, sizeof name, "%s:%d", connection_target(s), o->number > 0 ? o->number : 1);
    return line_start(L, h, s, o, &options, e);
}

static void push_connection(lua_State *L, struct line *line)
{
    peer_push(L, line_peer(line));
    add_methods(L, line);
    interact_set_method(L);
}

/* Stack: the service or nil, what answers the far `require` or nil, whether functions are sent,
 * when it has to be done or nil (s), connection, and, if it failed, an error value. */
static int dressed(lua_State *L, int status, lua_KContext context)
{
    if (status != LUA_OK && status != LUA_YIELD) {
        line_end((struct line *)context);
        return lua_error(L);
    }
    lua_settop(L, 5);
    return 1;
}

static int too_late(lua_State *L, struct line *line)
{
    struct error inner = {0};
    struct grapnel_error e;

    errors_set(&inner, -E_CONNECT_TIMEOUT, "the instance has not answered");
    context_error(&e, connection_target(line_server(line)), &inner);
    line_end(line);
    return fail(L, &e);
}

/* Stack: as above, without a connection. */
static int connected(lua_State *L, int status, lua_KContext context)
{
    struct line *line = (struct line *)context;
    int result = until_result(L);
    struct grapnel_error e;

    (void)status;
    if (result == -E_TIMEOUT)
        return too_late(L, line);
    if (result < 0 || line_outcome(line, &e) < 0) {
        line_end(line);
        return result < 0 ? until_raise(L, result) : fail(L, &e);
    }
    push_connection(L, line);
    if (lua_isnil(L, 1) && !lua_toboolean(L, 2) && lua_toboolean(L, 3))
        return 1;
    if (luaL_loadbufferx(L, lua_dress, lua_dress_size, "=grapnel", "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_pushvalue(L, 5);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    peer_push_module(L);
    if (lua_isnil(L, 4))
        lua_pushnil(L);
    else
        lua_pushnumber(L, lua_tonumber(L, 4) - (double)context_now() / 1e6);
    return dressed(L, lua_pcallk(L, 6, 0, 0, context, dressed), context);
}

static int is_settled(void *arg)
{
    return line_settled(arg);
}

static void push_option(lua_State *L, int index)
{
    if (index)
        lua_pushvalue(L, index);
    else
        lua_pushnil(L);
}

/* connect(target [, options]): other tasks run while it waits. */
static int connect_to(lua_State *L)
{
    const char *target = luaL_checkstring(L, 1);
    struct host *h = host_of(L);
    struct grapnel_server *s;
    struct grapnel_error e;
    struct options_lua o;
    struct line *line;
    uint64_t deadline = UINT64_MAX;

    lua_settop(L, 2);
    options_lua_read(L, &o);
    if (o.service && lua_type(L, o.service) != LUA_TSTRING && !lua_istable(L, o.service))
        return luaL_error(L,
                          "grapnel.connect: option \"service\" must be a file's name or a table");
    s = host_server(h, target, &o.connect, &e);
    /* The worker goes out with the agent, before anybody has answered. */
    line = s ? start(L, h, s, &o.instance, o.teleport, &e) : NULL;
    if (!line)
        return fail(L, &e);
    push_option(L, o.service);
    push_option(L, o.require);
    lua_pushboolean(L, o.teleport);
    if (o.connect.connect_timeout > 0) {
        deadline = context_now() + (uint64_t)o.connect.connect_timeout * 1000;
        lua_pushnumber(L, (double)deadline / 1e6);
    } else {
        lua_pushnil(L);
    }
    lua_rotate(L, 1, 4);
    lua_settop(L, 4);
    return until_suspend(L, is_settled, line, deadline, connected, (lua_KContext)line);
}

/* ---- letting things happen ---- */

static int is_deserted(void *arg)
{
    return !host_alive(arg);
}

static int driven(lua_State *L, int status, lua_KContext context)
{
    int result = until_result(L);

    (void)status;
    (void)context;
    if (result < 0 && result != -E_TIMEOUT)
        return until_raise(L, result);
    lua_pushboolean(L, result == 0);
    return 1;
}

/* drive([seconds]): lets calls from hosts, callbacks and tasks run for so long, or until the last
 * connection has ended: then it returns true. */
static int drive(lua_State *L)
{
    struct host *h = host_of(L);
    lua_Number seconds = luaL_optnumber(L, 1, HUGE_VAL);
    uint64_t deadline = UINT64_MAX;

    luaL_argcheck(L, !isnan(seconds), 1, "not a time");
    if (seconds < 1e9)
        deadline = context_now() + (seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
    return until_suspend(L, is_deserted, h, deadline, driven, 0);
}

void module_use(lua_State *L, struct grapnel *g)
{
    host_on(L, g);
}

void module_connect(lua_State *L, struct grapnel_server *s,
                    const struct grapnel_instance_options *o)
{
    static const struct grapnel_instance_options defaults;
    struct host *h = host_of(L);
    struct grapnel_error e;
    struct line *line;

    if (host_adopt_server(h, s) < 0) {
        grapnel_server_free(s);
        luaL_error(L, "out of memory");
    }
    line = start(L, h, s, o ? o : &defaults, true, &e);
    if (!line)
        fail(L, &e);
    else
        push_connection(L, line);
}

/* now(): monotonic seconds */
static int now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)context_now() / 1e6);
    return 1;
}

int luaopen_grapnel(lua_State *L)
{
    static const luaL_Reg functions[] = {{"connect", connect_to},
                                         {"drive", drive},
                                         {"now", now},
                                         {"lines", input_lines},
                                         {NULL, NULL}};

    host_of(L);
    peer_push_module(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
