/* Fleets in Lua: grapnel.fleet. */
#ifndef GRAPNEL_LAUNCHER_LUA_FLEET_H
#define GRAPNEL_LAUNCHER_LUA_FLEET_H

#include <lua.h>

/* Adds `fleet` to the module, which is on top. */
void fleet_add(lua_State *L);

#endif
