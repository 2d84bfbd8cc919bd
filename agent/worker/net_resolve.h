/* Addresses for the module net: from texts, by the system's resolver where it must be, in a thread
 * of its own, so that nothing else waits for it. */
#ifndef GRAPNEL_AGENT_WORKER_NET_RESOLVE_H
#define GRAPNEL_AGENT_WORKER_NET_RESOLVE_H

#include <lua.h>
#include <sys/socket.h>

struct net_address {
    socklen_t length;
    struct sockaddr_storage at;
};

struct net_query; /* a userdata */

/* Pushes the query for the addresses of a host: an address as text, a name, "*" (any address of
 * this host), "unix:PATH", "unix:@NAME" (abstract). family: AF_UNSPEC, AF_INET, AF_INET6; AF_UNIX:
 * `host` is the path or @name itself. port is ignored where there is none. Raises errors. */
struct net_query *net_resolve_push(lua_State *L, const char *host, lua_Integer port, int family);

/* -1: it is answered; else the descriptor that can be read when it is. */
int net_resolve_fd(struct net_query *q);

/* When it is answered: the address number i from 0, or NULL behind the last. */
const struct net_address *net_resolve_get(const struct net_query *q, size_t i);

/* When there is none: returns nil, message, number. */
int net_resolve_failed(lua_State *L, const struct net_query *q);

/* Pushes address, port (nil for a Unix socket) and "inet", "inet6" or "unix"; returns 3. */
int net_resolve_tell(lua_State *L, const struct net_address *a);

#endif
