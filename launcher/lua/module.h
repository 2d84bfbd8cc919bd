/* The launcher as a Lua module: require "grapnel". */
#ifndef GRAPNEL_LAUNCHER_LUA_MODULE_H
#define GRAPNEL_LAUNCHER_LUA_MODULE_H

#include <lua.h>

#include "launcher/grapnel.h"

/* Pushes the module's table.  Lua's own loaders look for it by this name, in grapnel.so. */
int luaopen_grapnel(lua_State *L);

/* Lets the module, which is to be opened afterwards, use this context, which must outlive L.  May
 * raise errors. */
void module_use(lua_State *L, struct grapnel *g);

/* Pushes a connection over a server of that context: an instance of its own on it, as *o says (may
 * be NULL).  The server belongs to the connection afterwards, also when an error is raised. */
void module_connect(lua_State *L, struct grapnel_server *s,
                    const struct grapnel_instance_options *o);

#endif
