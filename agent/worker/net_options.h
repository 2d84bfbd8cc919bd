/* Options of sockets by name. */
#ifndef GRAPNEL_AGENT_WORKER_NET_OPTIONS_H
#define GRAPNEL_AGENT_WORKER_NET_OPTIONS_H

#include <lua.h>

/* socket:setoption and socket:getoption, name at index 2; fd is the socket. */
int net_options_set(lua_State *L, int fd);
int net_options_get(lua_State *L, int fd);

/* Gives one socket those of another that differ. */
void net_options_copy(int from, int to);

#endif
