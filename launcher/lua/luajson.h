/* Lua values as JSON. */
#ifndef GRAPNEL_LAUNCHER_LUA_LUAJSON_H
#define GRAPNEL_LAUNCHER_LUA_LUAJSON_H

#include <lua.h>

struct grapnel_value;

/* Pushes the function json(value) → text, as grapnel_value_json writes it; functions and other
 * objects become {"ref": "function"}.  It raises an error for what contains itself. */
void luajson_push(lua_State *L);

/* The value on top, which is popped, by copy, for grapnel_value_free; functions and the like as
 * above.  NULL: memory is out, or it is nested too deeply. */
struct grapnel_value *luajson_value(lua_State *L);

#endif
