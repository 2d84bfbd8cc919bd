/* `load`, without bytecode where that is not to be had: what runs for another end that is not our
 * owner must not make bytecode of its own run, since that can do anything to this process. */
#ifndef GRAPNEL_PEER_LOADING_H
#define GRAPNEL_PEER_LOADING_H

#include <lua.h>

struct world;

/* Replaces the global `load`.  May raise errors. */
void loading_init(lua_State *L, struct world *w);

#endif
