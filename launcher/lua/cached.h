/* The connection cache for Lua: what cache.lua, which has the user's functions, is made of. */
#ifndef GRAPNEL_LAUNCHER_LUA_CACHED_H
#define GRAPNEL_LAUNCHER_LUA_CACHED_H

#include <lua.h>

#include "launcher/grapnel.h"
#include "launcher/lua/options.h"

/* Adds its functions to the module, which is on top. */
void cached_add(lua_State *L);

/* ---- for its functions, which are called by cache.lua ---- */

/* Raises it, as a text without a place in that file. */
int cached_fail(lua_State *L, const struct grapnel_error *e);
/* The context; raises an error in a child of fork. */
struct grapnel *cached_context(lua_State *L);
/* The host at index 1 (NULL: none was given); reads the options at index 2. */
const char *cached_target(lua_State *L, struct options_lua *o);
/* Raises an error for what is no number of an instance. */
void cached_number(lua_State *L, lua_Integer number);

#endif
