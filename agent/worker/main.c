/* The worker: the process on a host in which one instance's Lua runs. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

#include "peer/peer.h"

int main(void)
{
    lua_State *L = luaL_newstate();

    if (!L)
        return 1;
    luaL_openlibs(L);
    peer_push_version(L);
    printf("worker %s, %s\n", lua_tostring(L, -1), LUA_VERSION);
    lua_close(L);
    return 0;
}
