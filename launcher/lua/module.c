#include "launcher/lua/module.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "launcher/lua/host.h"
#include "launcher/lua/input.h"
#include "launcher/lua/interact.h"
#include "launcher/lua/line.h"
#include "launcher/lua/options.h"
#include "peer/peer.h"

#define NAME_BYTES 256

static int fail(lua_State *L, const struct grapnel_error *e)
{
    char text[1600];

    grapnel_error_format(e, text, sizeof text);
    return luaL_error(L, "%s", text);
}

/* ---- what a connection has besides what its peer gives it ---- */

/* Upvalue 1: a line in a light userdata, or nil when it is closed. */
static struct line *line_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* close(): also as the method of a to-be-closed variable. */
static int close_line(lua_State *L)
{
    struct line *line = line_of(L);

    if (line) {
        lua_pushnil(L);
        lua_replace(L, lua_upvalueindex(1));
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

/* Sets a member of the connection on top of the stack: a function with the line as its upvalue. */
static void set_method(lua_State *L, const char *name, lua_CFunction f, struct line *line)
{
    lua_pushlightuserdata(L, line);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, name);
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
    set_method(L, "close", close_line, line);
    set_method(L, "facts", facts, line);
    interact_set_method(L);
}

/* Protected: connection, service's file or nil, what answers the far `require` or nil. */
static int dress(lua_State *L)
{
    if (lua_toboolean(L, 3)) {
        lua_getfield(L, 1, "require_from");
        if (lua_isboolean(L, 3))
            lua_pushnil(L);
        else
            lua_pushvalue(L, 3);
        lua_call(L, 1, 0);
    }
    if (!lua_isnil(L, 2)) {
        lua_getfield(L, 1, "become_service");
        lua_pushvalue(L, 2);
        lua_call(L, 1, 0);
    }
    lua_settop(L, 1);
    return 1;
}

/* connect(target [, options]) */
static int connect_to(lua_State *L)
{
    const char *target = luaL_checkstring(L, 1);
    struct host *h = host_of(L);
    struct grapnel_server *s;
    struct grapnel_error e;
    struct options_lua o;
    struct line *line;

    lua_settop(L, 2);
    options_lua_read(L, &o);
    s = host_server(h, target, &o.connect, &e);
    /* The worker goes out with the agent, before anybody has answered. */
    line = s ? start(L, h, s, &o.instance, o.teleport, &e) : NULL;
    if (!line)
        return fail(L, &e);
    if (grapnel_wait_ready(s, -1, &e) < 0) {
        line_end(line);
        return fail(L, &e);
    }
    lua_pushcfunction(L, dress);
    push_connection(L, line);
    lua_pushstring(L, o.service);
    if (o.require)
        lua_pushvalue(L, o.require);
    else
        lua_pushnil(L);
    if (lua_pcall(L, 3, 1, 0) != LUA_OK) {
        line_end(line);
        return lua_error(L);
    }
    return 1;
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
    static const luaL_Reg functions[] = {
        {"connect", connect_to}, {"now", now}, {"lines", input_lines}, {NULL, NULL}};

    host_of(L);
    peer_push_module(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
