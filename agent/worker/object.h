/* What the modules' objects have in common. */
#ifndef GRAPNEL_AGENT_WORKER_OBJECT_H
#define GRAPNEL_AGENT_WORKER_OBJECT_H

#include <lauxlib.h>
#include <lua.h>

/* Gives the userdata on top of the stack the class `name`: the methods, and the metamethods
 * besides.  Both lists are those of the class's first object. */
void object_class(lua_State *L, const char *name, const luaL_Reg *methods, const luaL_Reg *meta);

#endif
