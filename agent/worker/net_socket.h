/* The sockets of the module net: TCP, UDP and Unix ones are one class of objects. */
#ifndef GRAPNEL_AGENT_WORKER_NET_SOCKET_H
#define GRAPNEL_AGENT_WORKER_NET_SOCKET_H

#include <lua.h>

/* Pushes a new socket (SOCK_STREAM or SOCK_DGRAM) of a family (AF_UNSPEC: it comes with the first
 * address). */
void net_socket_push(lua_State *L, int family, int type);

/* The functions net.connect and net.listen. */
int net_socket_connect(lua_State *L);
int net_socket_listen(lua_State *L);

#endif
