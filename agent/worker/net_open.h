/* Sockets and addresses: connecting, binding, sending to one, once a host is looked up. */
#ifndef GRAPNEL_AGENT_WORKER_NET_OPEN_H
#define GRAPNEL_AGENT_WORKER_NET_OPEN_H

#include "agent/worker/net_socket.h"

/* What is done with the addresses, once there are some. OPEN and LISTEN are for sockets that nobody
 * has got yet: their result is the socket, and where it fails it is closed. */
enum net_purpose { NET_CONNECT, NET_BIND, NET_SEND_TO, NET_OPEN, NET_LISTEN };

/* A method of the socket at index 1: does it with the host and the port at these indexes, within so
 * many seconds (negative: any). What is at `extra` (0: nothing) is what to send, or the backlog. */
int net_open(lua_State *L, int host, int port, double seconds, int extra, enum net_purpose purpose);

/* Makes it a socket of that family; anew, with its options, if it is one already and not bound,
 * where the family is another or `fresh` is true. 0, or an errno value. */
int net_open_make(lua_State *L, struct socket *s, int family, int fresh);

/* The functions net.connect and net.listen. */
int net_open_connect(lua_State *L);
int net_open_listen(lua_State *L);

#endif
