#include "agent/worker/net_open.h"

#include <errno.h>
#include <ev.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/mods.h"
#include "agent/worker/net_options.h"
#include "agent/worker/net_resolve.h"
#include "proto/errors.h"

#define BACKLOG 128

static struct socket *self(lua_State *L)
{
    return luaL_checkudata(L, 1, NET_SOCKET);
}

static int one(lua_State *L)
{
    lua_pushinteger(L, 1);
    return 1;
}

/* Makes it a socket of that family, anew if it is one already and not bound. 0, or an errno value.
 */
int net_open_make(lua_State *L, struct socket *s, int family, int fresh)
{
    int fd;

    if (s->io.fd >= 0 && (s->bound || (s->family == family && !fresh))) {
        return s->family == family ? 0 : EAFNOSUPPORT;
    }
    fd = socket(family, s->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    if (s->io.fd >= 0) {
        net_options_copy(s->io.fd, fd);
        fdio_shut(L, &s->io);
    }
    s->io.fd = fd;
    s->family = family;
    s->made = 1;
    return 0;
}

static const struct sockaddr *raw(const struct net_address *a)
{
    return (const void *)&a->at;
}

/* ---- what is done with addresses ------------------------------------------------------------- */

/* Stack of all of these: the socket, the query, the deadline, what to send. */

static int connected(lua_State *L, lua_KContext purpose)
{
    if (purpose == NET_OPEN) {
        lua_pushvalue(L, 1);
        return 1;
    }
    return one(L);
}

static int go_on(lua_State *L, int status, lua_KContext purpose);

/* One address after the other. */
static int connect_on(lua_State *L, struct socket *s, const struct net_query *q,
                      lua_KContext purpose)
{
    const struct net_address *a;

    if (s->connecting) {
        socklen_t n = sizeof s->number;
        s->connecting = 0;
        if (getsockopt(s->io.fd, SOL_SOCKET, SO_ERROR, &s->number, &n) == 0 && s->number == 0) {
            return connected(L, purpose);
        }
    }
    while ((a = net_resolve_get(q, s->next)) != NULL) {
        s->number = net_open_make(L, s, a->at.ss_family, s->next > 0);
        s->next++;
        if (s->number != 0) {
            continue;
        }
        if (connect(s->io.fd, raw(a), a->length) == 0) {
            return connected(L, purpose);
        }
        if (errno == EINPROGRESS || errno == EINTR) {
            s->connecting = 1;
            return fdio_wait(L, &s->io, EV_WRITE, 3, go_on, purpose);
        }
        s->number = errno;
    }
    return fdio_failed(L, s->number);
}

static int bind_now(lua_State *L, struct socket *s, const struct net_query *q, lua_KContext purpose)
{
    const struct net_address *a = net_resolve_get(q, 0);
    int on = 1;
    int number = net_open_make(L, s, a->at.ss_family, 0);

    if (number == 0 && s->type == SOCK_STREAM && s->family != AF_UNIX) {
        (void)setsockopt(s->io.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (number != 0 || bind(s->io.fd, raw(a), a->length) != 0) {
        return fdio_failed(L, number != 0 ? number : errno);
    }
    s->bound = 1;
    if (purpose == NET_BIND) {
        return one(L);
    }
    if (s->type == SOCK_STREAM && listen(s->io.fd, (int)lua_tointeger(L, 4)) != 0) {
        return fdio_failed(L, errno);
    }
    lua_pushvalue(L, 1);
    return 1;
}

static int send_to(lua_State *L, struct socket *s, const struct net_query *q, lua_KContext purpose)
{
    const struct net_address *a = net_resolve_get(q, 0);
    size_t n;
    const char *bytes = lua_tolstring(L, 4, &n);
    int number = net_open_make(L, s, a->at.ss_family, 0);
    ssize_t sent;

    if (number != 0) {
        return fdio_failed(L, number);
    }
    do {
        sent = sendto(s->io.fd, bytes, n, MSG_NOSIGNAL, raw(a), a->length);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno == EAGAIN) {
        return fdio_wait(L, &s->io, EV_WRITE, 3, go_on, purpose);
    }
    if (sent < 0) {
        return fdio_failed(L, errno);
    }
    lua_pushinteger(L, sent);
    return 1;
}

static int purpose_on(lua_State *L, int status, lua_KContext purpose)
{
    struct socket *s = self(L);
    struct net_query *q = lua_touserdata(L, 2);
    int fd = net_resolve_fd(q);

    if (status == -E_TIMEOUT) {
        return fdio_failed(L, ETIMEDOUT);
    }
    if (s->io.fd < 0 && s->made) {
        return fdio_failed(L, EBADF);
    }
    if (fd >= 0) {
        return fdio_wait_for(L, fd, EV_READ, 3, go_on, purpose);
    }
    if (net_resolve_get(q, 0) == NULL) {
        return net_resolve_failed(L, q);
    }
    switch (purpose) {
    case NET_CONNECT:
    case NET_OPEN:
        return connect_on(L, s, q, purpose);
    case NET_SEND_TO:
        return send_to(L, s, q, purpose);
    default:
        return bind_now(L, s, q, purpose);
    }
}

static int go_on(lua_State *L, int status, lua_KContext purpose)
{
    int n = purpose_on(L, status, purpose);

    /* A socket that nobody has got yet is not left open. */
    if ((purpose == NET_OPEN || purpose == NET_LISTEN) && lua_isnil(L, -n)) {
        fdio_shut(L, &self(L)->io);
    }
    return n;
}

int net_open(lua_State *L, int host, int port, double seconds, int extra, enum net_purpose purpose)
{
    struct socket *s = self(L);
    const char *name = luaL_checkstring(L, host);
    lua_Integer number = 0;

    if (s->family != AF_UNIX && strncmp(name, "unix:", 5) != 0) {
        number = luaL_checkinteger(L, port);
    }
    luaL_argcheck(L, !s->connecting || purpose != NET_CONNECT, 1, "the socket is connecting");
    s->next = 0;
    s->number = 0;
    if (lua_gettop(L) < 4) {
        lua_settop(L, 4);
    }
    net_resolve_push(L, name, number, s->family);
    fdio_deadline(L, seconds);
    if (extra != 0) {
        lua_pushvalue(L, extra);
    } else {
        lua_pushnil(L);
    }
    for (int i = 4; i >= 2; i--) {
        lua_replace(L, i);
    }
    lua_settop(L, 4);
    return go_on(L, 0, purpose);
}

/* ---- functions ------------------------------------------------------------------------------- */

/* Puts the socket below the arguments: host and port are at 2 and 3, options at 4. */
static void insert_socket(lua_State *L)
{
    const char *type;

    lua_settop(L, 3);
    type = "stream";
    if (lua_istable(L, 3) && lua_getfield(L, 3, "type") != LUA_TNIL) {
        type = luaL_checkstring(L, -1);
    }
    luaL_argcheck(L, strcmp(type, "stream") == 0 || strcmp(type, "dgram") == 0, 3,
                  "option 'type': 'stream' or 'dgram' expected");
    lua_settop(L, 3);
    net_socket_push(L, AF_UNSPEC, strcmp(type, "dgram") == 0 ? SOCK_DGRAM : SOCK_STREAM);
    lua_insert(L, 1);
}

int net_open_connect(lua_State *L)
{
    double seconds = lua_istable(L, 3) ? mods_option_number(L, 3, "timeout", -1) : -1;

    insert_socket(L);
    return net_open(L, 2, 3, seconds, 0, NET_OPEN);
}

int net_open_listen(lua_State *L)
{
    lua_Integer backlog = lua_istable(L, 3) ? mods_option_int(L, 3, "backlog", BACKLOG)
                                            : luaL_optinteger(L, 3, BACKLOG);

    insert_socket(L);
    lua_pushinteger(L, backlog);
    return net_open(L, 2, 3, -1, 5, NET_LISTEN);
}
