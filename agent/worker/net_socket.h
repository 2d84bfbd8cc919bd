/* The sockets of the module net: TCP, UDP and Unix ones are one class of objects. */
#ifndef GRAPNEL_AGENT_WORKER_NET_SOCKET_H
#define GRAPNEL_AGENT_WORKER_NET_SOCKET_H

#include <lua.h>

#include "agent/worker/fdio.h"

#define NET_SOCKET "socket" /* the class */

struct socket {
    struct fdio io;
    int family; /* AF_UNSPEC: that of the first address */
    int type;
    int made; /* there is, or was, a descriptor */
    int bound;
    int connecting;
    size_t next; /* address to try */
    int number;  /* errno of the last try */
};

/* Pushes a new socket (SOCK_STREAM or SOCK_DGRAM) of a family (AF_UNSPEC: it comes with the first
 * address). */
void net_socket_push(lua_State *L, int family, int type);

#endif
