/* The struct formats of the module dev. */
#ifndef GRAPNEL_AGENT_WORKER_DEV_PACK_H
#define GRAPNEL_AGENT_WORKER_DEV_PACK_H

#include <lua.h>

/* Puts pack, unpack and sizeof into the table on top of the stack. */
void dev_pack_open(lua_State *L);

/* The argument as a size in bytes: an integer, or a format. */
lua_Integer dev_pack_size(lua_State *L, int arg);

#endif
