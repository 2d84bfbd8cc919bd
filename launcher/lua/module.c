#include "launcher/lua/module.h"

#include "peer/peer.h"

int luaopen_grapnel(lua_State *L)
{
    lua_newtable(L);
    peer_push_version(L);
    lua_setfield(L, -2, "version");
    return 1;
}
