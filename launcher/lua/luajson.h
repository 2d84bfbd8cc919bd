/* Lua values as JSON. */
#ifndef GRAPNEL_LAUNCHER_LUA_LUAJSON_H
#define GRAPNEL_LAUNCHER_LUA_LUAJSON_H

#include <lua.h>

/* Pushes the function json(value) → text, as grapnel_value_json writes it; functions and other
 * objects become {"ref": "function"}.  It raises an error for what contains itself. */
void luajson_push(lua_State *L);

#endif
