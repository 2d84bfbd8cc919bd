/* The launcher as a Lua module: require "grapnel". */
#ifndef GRAPNEL_LAUNCHER_LUA_MODULE_H
#define GRAPNEL_LAUNCHER_LUA_MODULE_H

#include <lua.h>

/* Pushes the module's table.  Lua's own loaders look for it by this name, in grapnel.so. */
int luaopen_grapnel(lua_State *L);

#endif
