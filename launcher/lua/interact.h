/* Dialogues with Lua, here or on a host: conn.interact(), grapnel repl and grapnel lua. */
#ifndef GRAPNEL_LAUNCHER_LUA_INTERACT_H
#define GRAPNEL_LAUNCHER_LUA_INTERACT_H

#include <lua.h>

/* Pushes the function dialogue(prompt, evaluate, closed [, read]) of interact.lua.  The module must
 * be open. */
void interact_push_dialogue(lua_State *L);

/* Pushes its function words(thrown) → text: an error value as it is shown. */
void interact_push_words(lua_State *L);

/* Sets the method `interact` of the connection on top of the stack. */
void interact_set_method(lua_State *L);

#endif
