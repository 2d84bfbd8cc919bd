/* grapnel lua: Lua on this machine, with the launcher as a module. */
#ifndef GRAPNEL_CLI_LUA_H
#define GRAPNEL_CLI_LUA_H

struct options;

/* Returns 0, 1 after an error, or SAY_FAILED. */
int lua_verb(const struct options *o);

#endif
