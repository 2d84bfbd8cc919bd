/* Lua within the command. */
#ifndef GRAPNEL_CLI_LUARUN_H
#define GRAPNEL_CLI_LUARUN_H

#include <lua.h>

#include "launcher/grapnel.h"

/* A state with Lua's libraries, for which require "grapnel" gives what is linked in here, on the
 * context g (NULL: one of its own).  NULL: memory is out.  lua_close is due. */
lua_State *luarun_new(struct grapnel *g);

/* As lua_pcall; an error's message has the traceback behind it. */
int luarun_call(lua_State *L, int arguments, int results);

/* Reads all of a file, or standard input for "-".  Text of *n bytes and a zero behind, for free;
 * without a first line that begins with #, but for its end.  NULL with errno. */
char *luarun_read(const char *path, size_t *n);

#endif
