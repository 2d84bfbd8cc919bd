/* A Lua state as one end of a link. */
#ifndef GRAPNEL_PEER_PEER_H
#define GRAPNEL_PEER_PEER_H

#include <lua.h>

/* Pushes the version of grapnel, a string. */
void peer_push_version(lua_State *L);

#endif
