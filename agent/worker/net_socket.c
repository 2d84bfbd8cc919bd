#include "agent/worker/net_socket.h"

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <string.h>

#include "agent/worker/net_open.h"
#include "agent/worker/net_options.h"
#include "agent/worker/net_resolve.h"

#define DATAGRAM_MAX 65536
#define BACKLOG      128

static struct socket *self(lua_State *L)
{
    return luaL_checkudata(L, 1, NET_SOCKET);
}

static int one(lua_State *L)
{
    lua_pushinteger(L, 1);
    return 1;
}

/*** socket:connect(host, port) -> 1 | nil, message, errno
 * Connects it, within its timeout, to the first address of the host that answers. A Unix socket has
 * a path, or "@" and a name, and no port.
 */
static int socket_connect(lua_State *L)
{
    return net_open(L, 2, 3, self(L)->io.timeout, 0, NET_CONNECT);
}

/*** socket:setpeername(host, port) -> 1 | nil, message, errno
 * As connect: whom a datagram socket talks with.
 */
/*** socket:bind(host, port) -> 1 | nil, message, errno
 * Gives it an address of the host's: "*" for all, port 0 for any. The address may be used again at
 * once after the end of a socket that had it.
 */
static int socket_bind(lua_State *L)
{
    return net_open(L, 2, 3, self(L)->io.timeout, 0, NET_BIND);
}

/*** socket:setsockname(host, port) -> 1 | nil, message, errno
 * As bind.
 */
/*** socket:listen([backlog]) -> 1 | nil, message, errno
 * Takes connections from now on.
 */
static int socket_listen(lua_State *L)
{
    if (listen(self(L)->io.fd, (int)luaL_optinteger(L, 2, BACKLOG)) != 0) {
        return fdio_failed(L, errno);
    }
    return one(L);
}

/* ---- connections and datagrams --------------------------------------------------------------- */

static int accept_on(lua_State *L, int status, lua_KContext ctx)
{
    struct socket *s = self(L);
    struct socket *got;
    int fd;

    if (fdio_waited(L, &s->io, status) != 0) {
        return 3;
    }
    net_socket_push(L, s->family, s->type);
    got = lua_touserdata(L, -1);
    do {
        fd = accept4(s->io.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0 && errno == EAGAIN) {
        lua_settop(L, 2);
        return fdio_wait(L, &s->io, EV_READ, 2, accept_on, ctx);
    }
    if (fd < 0) {
        return fdio_failed(L, errno);
    }
    got->io.fd = fd;
    got->made = 1;
    return 1;
}

/*** socket:accept([timeout]) -> socket | nil, message, errno
 * Waits for a connection to it.
 */
static int socket_accept(lua_State *L)
{
    lua_Number seconds = luaL_optnumber(L, 2, self(L)->io.timeout);

    lua_settop(L, 1);
    fdio_deadline(L, seconds);
    return accept_on(L, 0, 0);
}

/* Stack: the socket, the most bytes, the deadline. ctx: with the sender. */
static int datagram_on(lua_State *L, int status, lua_KContext ctx)
{
    struct socket *s = self(L);
    struct net_address from = {.length = sizeof from.at};
    size_t most = (size_t)lua_tointeger(L, 2);
    luaL_Buffer b;
    char *to;
    ssize_t n;

    if (fdio_waited(L, &s->io, status) != 0) {
        return 3;
    }
    to = luaL_buffinitsize(L, &b, most);
    do {
        n = recvfrom(s->io.fd, to, most, 0, (void *)&from.at, &from.length);
    } while (n < 0 && errno == EINTR);
    luaL_pushresultsize(&b, n > 0 ? (size_t)n : 0);
    if (n < 0 && errno == EAGAIN) {
        lua_settop(L, 3);
        return fdio_wait(L, &s->io, EV_READ, 3, datagram_on, ctx);
    }
    if (n < 0) {
        return fdio_failed(L, errno);
    }
    if (!ctx) {
        return 1;
    }
    from.at.ss_family = (sa_family_t)s->family; /* a sender without a name has none of these */
    return 1 + net_resolve_tell(L, &from);
}

static int receive_datagram(lua_State *L, int sender)
{
    lua_Integer most = luaL_optinteger(L, 2, DATAGRAM_MAX);

    luaL_argcheck(L, most >= 0, 2, "not negative expected");
    lua_settop(L, 1);
    lua_pushinteger(L, most < DATAGRAM_MAX ? most : DATAGRAM_MAX);
    fdio_deadline(L, self(L)->io.timeout);
    return datagram_on(L, 0, sender);
}

/*** socket:receivefrom([size]) -> string, address, port, family | nil, message, errno
 * The next datagram, cut to `size` bytes, and who sent it.
 */
static int socket_receivefrom(lua_State *L)
{
    return receive_datagram(L, 1);
}

/*** socket:receive([pattern [, prefix]]) -> string | nil, message, partial
 * As LuaSocket: pattern "*l" (default; the line without its end), "*a" or a number of bytes;
 * message "timeout" or "closed", partial what came until then. On a datagram socket: the next
 * datagram, cut to `pattern` bytes.
 */
static int socket_receive(lua_State *L)
{
    return self(L)->type == SOCK_DGRAM ? receive_datagram(L, 0) : fdio_receive(L);
}

/*** socket:send(string [, i [, j]]) -> integer | nil, message, integer
 * As LuaSocket: sends the bytes from i to j (all), and gives the position of the last that was
 * sent, also when it failed. On a datagram socket: sends them as one.
 */
/*** socket:sendto(string, host [, port]) -> integer | nil, message, errno
 * Sends a datagram; the number of its bytes.
 */
static int socket_sendto(lua_State *L)
{
    luaL_checkstring(L, 2);
    return net_open(L, 3, 4, self(L)->io.timeout, 2, NET_SEND_TO);
}

/*** socket:shutdown([how]) -> 1 | nil, message, errno
 * how: "send" (default: the peer reads the end of file), "receive" or "both".
 */
static int socket_shutdown(lua_State *L)
{
    static const char *const names[] = {"send", "receive", "both", NULL};
    static const int hows[] = {SHUT_WR, SHUT_RD, SHUT_RDWR};

    if (shutdown(self(L)->io.fd, hows[luaL_checkoption(L, 2, "send", names)]) != 0) {
        return fdio_failed(L, errno);
    }
    return one(L);
}

static int tell(lua_State *L, int (*name)(int, struct sockaddr *, socklen_t *))
{
    struct net_address a = {.length = sizeof a.at};

    if (name(self(L)->io.fd, (void *)&a.at, &a.length) != 0) {
        return fdio_failed(L, errno);
    }
    return net_resolve_tell(L, &a);
}

static int get_peer(int fd, struct sockaddr *at, socklen_t *n)
{
    return getpeername(fd, at, n);
}

static int get_own(int fd, struct sockaddr *at, socklen_t *n)
{
    return getsockname(fd, at, n);
}

/*** socket:getpeername() -> address, port, family | nil, message, errno
 * Who is at the other end. family: "inet", "inet6" or "unix".
 */
/*** socket:peername() -> address, port, family | nil, message, errno
 * As getpeername.
 */
static int socket_getpeername(lua_State *L)
{
    return tell(L, get_peer);
}

/*** socket:getsockname() -> address, port, family | nil, message, errno
 * Its own address.
 */
/*** socket:sockname() -> address, port, family | nil, message, errno
 * As getsockname.
 */
static int socket_getsockname(lua_State *L)
{
    return tell(L, get_own);
}

/*** socket:setoption(name, value) -> 1 | nil, message, errno
 * Options that are true or false: reuseaddr reuseport keepalive broadcast dontroute nodelay
 * ipv6-v6only; numbers: rcvbuf sndbuf keepidle keepintvl keepcnt ttl; linger: seconds, or a table
 * with on and timeout. "tcp-nodelay" is nodelay as well.
 */
static int socket_setoption(lua_State *L)
{
    struct socket *s = self(L);

    if (!s->made && s->family == AF_UNSPEC) {
        (void)net_open_make(L, s, AF_INET, 0);
    }
    return net_options_set(L, s->io.fd);
}

/*** socket:getoption(name) -> value | nil, message, errno
 * The value of an option of setoption.
 */
static int socket_getoption(lua_State *L)
{
    return net_options_get(L, self(L)->io.fd);
}

void net_socket_push(lua_State *L, int family, int type)
{
    static const luaL_Reg methods[] = {
        {"connect", socket_connect},
        {"setpeername", socket_connect},
        {"bind", socket_bind},
        {"setsockname", socket_bind},
        {"listen", socket_listen},
        {"accept", socket_accept},
        {"receive", socket_receive},
        {"send", fdio_send},
        {"receivefrom", socket_receivefrom},
        {"sendto", socket_sendto},
        {"shutdown", socket_shutdown},
        {"getpeername", socket_getpeername},
        {"peername", socket_getpeername},
        {"getsockname", socket_getsockname},
        {"sockname", socket_getsockname},
        {"setoption", socket_setoption},
        {"getoption", socket_getoption},
        {NULL, NULL},
    };
    static const luaL_Reg meta[] = {{NULL, NULL}};
    struct socket *s = (struct socket *)fdio_new(L, sizeof *s, -1, NET_SOCKET, methods, meta);

    s->io.socket = 1;
    s->family = family;
    s->type = type;
}
