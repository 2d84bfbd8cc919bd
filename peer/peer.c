#include "peer/peer.h"

void peer_push_version(lua_State *L)
{
    lua_pushstring(L, GRAPNEL_VERSION);
}
