/* The connection cache for Lua: lists, closing, limits. */
#ifndef GRAPNEL_LAUNCHER_LUA_CACHELIST_H
#define GRAPNEL_LAUNCHER_LUA_CACHELIST_H

#include <lua.h>

/* Adds the lists to the module, which is on top. */
void cachelist_add(lua_State *L);
/* Adds the rest to the table on top, which is for cache.lua. */
void cachelist_add_core(lua_State *L);

#endif
