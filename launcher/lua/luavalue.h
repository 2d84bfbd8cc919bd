/* Values of the C interface in Lua. */
#ifndef GRAPNEL_LAUNCHER_LUA_LUAVALUE_H
#define GRAPNEL_LAUNCHER_LUA_LUAVALUE_H

#include <lua.h>

#include "launcher/grapnel.h"

/* Pushes a copy of v; what has no copy (refs) is nil. */
void luavalue_push(lua_State *L, const struct grapnel_value *v);

#endif
