/* What a service's client may see (PEER_SERVICE). */
#include <string.h>

#include "peer/serve.h"

#define EXPOSED "exposed_"
#define CHAIN   16 /* tables behind tables that are looked into */

static bool file_method(const char *name)
{
    static const char *const names[] = {"read",  "write", "seek",   "close",
                                        "lines", "flush", "setvbuf"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Replaces the table on top by the one that it inherits from; false, and popped: none.  Functions
 * as __index are not asked: they would run with names of the client's choice. */
static bool next_in_chain(lua_State *L)
{
    if (!lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    lua_pushliteral(L, "__index");
    lua_rawget(L, -2);
    lua_replace(L, -3);
    lua_pop(L, 1);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        return false;
    }
    return true;
}

/* Below a table on top there is a key: pushes what the table, or one that it inherits from, has
 * there; false, and nothing pushed: nothing.  The table stays, or is gone. */
static bool find_in_chain(lua_State *L)
{
    for (int i = 0; i < CHAIN; i++) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, -2) != LUA_TNIL) {
            return true;
        }
        lua_pop(L, 1);
        if (!next_in_chain(L)) {
            return false;
        }
    }
    return false;
}

bool serve_exposed(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING) {
        return false;
    }
    const char *name = lua_tostring(L, 2);
    if (luaL_testudata(L, 1, LUA_FILEHANDLE) != NULL) {
        return file_method(name) && luaL_getmetafield(L, 1, "__index") == LUA_TTABLE &&
               lua_getfield(L, -1, name) == LUA_TFUNCTION;
    }
    if (!lua_istable(L, 1)) {
        return false;
    }
    bool prefixed = strncmp(name, EXPOSED, sizeof(EXPOSED) - 1) == 0;
    lua_pushfstring(L, "%s%s", prefixed ? "" : EXPOSED, name);
    lua_pushvalue(L, 1);
    return find_in_chain(L);
}

/* ---- services by name ---- */

bool serve_is_list(lua_State *L, int idx)
{
    if (!lua_istable(L, idx)) {
        return false;
    }
    bool list = lua_rawgeti(L, idx, 1) == LUA_TTABLE;
    lua_pop(L, 1);
    return list;
}

/* True when the table on top has the name at index 1. */
static bool has_name(lua_State *L)
{
    int top = lua_gettop(L);
    lua_pushliteral(L, "name");
    lua_pushvalue(L, top);
    bool named = find_in_chain(L) && lua_rawequal(L, -1, 1);
    lua_settop(L, top);
    return named;
}

bool serve_named(lua_State *L, const struct peer *p)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 10, "a service");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->services_ref);
    if (!serve_is_list(L, -1)) {
        if (lua_istable(L, -1) && has_name(L)) {
            return true;
        }
        lua_settop(L, top);
        return false;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, top + 1, i) == LUA_TTABLE; i++) {
        if (has_name(L)) {
            lua_replace(L, top + 1);
            return true;
        }
        lua_pop(L, 1);
    }
    lua_settop(L, top);
    return false;
}

/* ---- what is guarded where not everything is ---- */

void serve_guard(lua_State *L, struct peer *p, int idx)
{
    if (p->o.policy == PEER_SERVICE) {
        return;
    }
    idx = lua_absindex(L, idx);
    luaL_checkstack(L, 4, "a service");
    if (p->guarded_ref == LUA_NOREF) {
        lua_newtable(L);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "k");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        p->guarded_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->guarded_ref);
    lua_pushvalue(L, idx);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

bool serve_guarded(lua_State *L, const struct peer *p, int idx)
{
    if (p->o.policy == PEER_SERVICE || p->guarded_ref == LUA_NOREF || lua_isnoneornil(L, idx)) {
        return p->o.policy == PEER_SERVICE;
    }
    idx = lua_absindex(L, idx);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->guarded_ref);
    lua_pushvalue(L, idx);
    bool found = lua_rawget(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return found;
}

bool serve_exposes(lua_State *L, int idx)
{
    int top = lua_gettop(L);
    bool found = false, more = true;
    lua_pushvalue(L, idx);
    for (int i = 0; i < CHAIN && !found && more; i++) {
        lua_pushnil(L);
        while (!found && lua_next(L, -2)) {
            found = lua_type(L, -2) == LUA_TSTRING &&
                    strncmp(lua_tostring(L, -2), EXPOSED, sizeof(EXPOSED) - 1) == 0;
            lua_pop(L, 1);
        }
        if (!found) {
            more = next_in_chain(L);
        }
    }
    lua_settop(L, top);
    return found;
}
