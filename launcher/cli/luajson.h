/* Lua values as JSON. */
#ifndef GRAPNEL_CLI_LUAJSON_H
#define GRAPNEL_CLI_LUAJSON_H

#include <lua.h>

/* A lua_CFunction: json(value) → text, as grapnel_value_json writes it; functions and other objects
 * become {"ref": "function"}.  Raises an error for what contains itself.  Upvalue 1: a function
 * that tells the kind of an object (grapnel.type). */
int luajson_text(lua_State *L);

#endif
