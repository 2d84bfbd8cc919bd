#include "launcher/lua/luajson.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"
#include "peer/peer.h"

#define DEPTH_MAX 64

/* Holds a value that is being made, so that an error of Lua's does not lose it. */
struct box {
    struct grapnel_value *value;
};

static struct grapnel_value *convert(lua_State *L, int depth);

static int collect(lua_State *L)
{
    struct box *box = lua_touserdata(L, 1);

    grapnel_value_free(box->value);
    box->value = NULL;
    return 0;
}

/* True for a table whose keys are 1 to *n and no others. */
static int is_list(lua_State *L, lua_Integer *n)
{
    lua_Integer count = 0;

    *n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (key < 1 || key > *n) {
            lua_pop(L, 2);
            return 0;
        }
        count++;
    }
    return count == *n;
}

static struct grapnel_value *list(lua_State *L, lua_Integer n, int depth)
{
    struct grapnel_value *to = grapnel_value_new_array();

    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -1, i);
        if (grapnel_value_append(to, convert(L, depth)) < 0) {
            grapnel_value_free(to);
            return NULL;
        }
    }
    return to;
}

static struct grapnel_value *map(lua_State *L, int depth)
{
    struct grapnel_value *to = grapnel_value_new_map();

    for (lua_pushnil(L); lua_next(L, -2);) {
        struct grapnel_value *item = convert(L, depth), *key;
        lua_pushvalue(L, -1);
        key = convert(L, depth);
        if (grapnel_value_set_pair(to, key, item) < 0) {
            lua_pop(L, 1);
            grapnel_value_free(to);
            return NULL;
        }
    }
    return to;
}

/* {"ref": kind} for what has no copy.  Upvalue 1: grapnel.type. */
static struct grapnel_value *reference(lua_State *L)
{
    struct grapnel_value *to = grapnel_value_new_map();
    const char *kind = luaL_typename(L, -1);

    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, -2);
    if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_type(L, -1) == LUA_TSTRING)
        kind = lua_tostring(L, -1);
    if (grapnel_value_set(to, "ref", grapnel_value_new_string(kind, strlen(kind))) < 0) {
        grapnel_value_free(to);
        to = NULL;
    }
    return to;
}

/* The value on top, which is popped; NULL: memory is out, or it is too deep. */
static struct grapnel_value *convert(lua_State *L, int depth)
{
    struct grapnel_value *to = NULL;
    int top = lua_gettop(L);
    const char *text;
    lua_Integer count;
    size_t n;

    if (depth >= DEPTH_MAX || !lua_checkstack(L, 8)) {
        lua_pop(L, 1);
        return NULL;
    }
    switch (lua_type(L, -1)) {
    case LUA_TNIL:
        to = grapnel_value_new_nil();
        break;
    case LUA_TBOOLEAN:
        to = grapnel_value_new_bool(lua_toboolean(L, -1));
        break;
    case LUA_TNUMBER:
        to = lua_isinteger(L, -1) ? grapnel_value_new_int(lua_tointeger(L, -1))
                                  : grapnel_value_new_float(lua_tonumber(L, -1));
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, -1, &n);
        to = grapnel_value_new_string(text, n);
        break;
    case LUA_TTABLE:
        to = is_list(L, &count) ? list(L, count, depth + 1) : map(L, depth + 1);
        break;
    default:
        to = reference(L);
    }
    lua_settop(L, top - 1);
    return to;
}

struct grapnel_value *luajson_value(lua_State *L)
{
    return convert(L, 0);
}

static int text_of(lua_State *L)
{
    struct box *box = lua_newuserdatauv(L, sizeof *box, 0);
    char *json;

    box->value = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    box->value = convert(L, 0);
    json = box->value ? grapnel_value_json(box->value) : NULL;
    if (!json)
        return luaL_error(L, "a value that contains itself, or is nested over %d levels",
                          DEPTH_MAX);
    lua_pushstring(L, json);
    grapnel_string_free(json);
    return 1;
}

void luajson_push(lua_State *L)
{
    peer_push_module(L);
    lua_getfield(L, -1, "type");
    lua_remove(L, -2);
    lua_pushcclosure(L, text_of, 1);
}
