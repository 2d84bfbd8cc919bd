/* A fleet's maps in Lua: fleetmap.lua, and what it needs of C. */
#ifndef GRAPNEL_LAUNCHER_LUA_FLEETMAP_H
#define GRAPNEL_LAUNCHER_LUA_FLEETMAP_H

#include <lua.h>

#include "launcher/grapnel.h"

/* Makes the type known, and puts fleet:map in the place of the function on top, which begins a map
 * by fleetmap_begin. */
void fleetmap_add(lua_State *L);
/* begin(fleet, path or source, is source, options, count or nil) → map, whose tasks are still to be
 * put; the fleet, whose value is at index 1, lives as long. */
int fleetmap_begin(lua_State *L, struct grapnel_fleet *f,
                   const struct grapnel_instance_options *instance);

#endif
