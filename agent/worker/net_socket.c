#include "agent/worker/net_socket.h"

#include <errno.h>
#include <ev.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/fdio.h"
#include "agent/worker/mods.h"
#include "agent/worker/net_options.h"
#include "agent/worker/net_resolve.h"
#include "proto/errors.h"

#define SOCKET       "socket"
#define DATAGRAM_MAX 65536
#define BACKLOG      128

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

/* What is done with the addresses, once there are some. */
enum purpose { CONNECT, BIND, SEND_TO, OPEN, LISTEN };

static struct socket *self(lua_State *L)
{
    return luaL_checkudata(L, 1, SOCKET);
}

static int one(lua_State *L)
{
    lua_pushinteger(L, 1);
    return 1;
}

/* Makes it a socket of that family, anew if it is one already and not bound. 0, or an errno value.
 */
static int make(lua_State *L, struct socket *s, int family, int fresh)
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
    if (purpose == OPEN) {
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
        s->number = make(L, s, a->at.ss_family, s->next > 0);
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
    int number = make(L, s, a->at.ss_family, 0);

    if (number == 0 && s->type == SOCK_STREAM && s->family != AF_UNIX) {
        (void)setsockopt(s->io.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (number != 0 || bind(s->io.fd, raw(a), a->length) != 0) {
        return fdio_failed(L, number != 0 ? number : errno);
    }
    s->bound = 1;
    if (purpose == BIND) {
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
    int number = make(L, s, a->at.ss_family, 0);
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
    case CONNECT:
    case OPEN:
        return connect_on(L, s, q, purpose);
    case SEND_TO:
        return send_to(L, s, q, purpose);
    default:
        return bind_now(L, s, q, purpose);
    }
}

static int go_on(lua_State *L, int status, lua_KContext purpose)
{
    int n = purpose_on(L, status, purpose);

    /* A socket that nobody has got yet is not left open. */
    if ((purpose == OPEN || purpose == LISTEN) && lua_isnil(L, -n)) {
        fdio_shut(L, &self(L)->io);
    }
    return n;
}

/* Stack: the socket. Host and port are at these indexes; what is at `extra` (0: nothing) comes to
 * index 4. */
static int begin(lua_State *L, int host, int port, double seconds, int extra, enum purpose purpose)
{
    struct socket *s = self(L);
    const char *name = luaL_checkstring(L, host);
    lua_Integer number = 0;

    if (s->family != AF_UNIX && strncmp(name, "unix:", 5) != 0) {
        number = luaL_checkinteger(L, port);
    }
    luaL_argcheck(L, !s->connecting || purpose != CONNECT, 1, "the socket is connecting");
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

/*** socket:connect(host, port) -> 1 | nil, message, errno
 * Connects it, within its timeout, to the first address of the host that answers. A Unix socket has
 * a path, or "@" and a name, and no port.
 */
static int socket_connect(lua_State *L)
{
    return begin(L, 2, 3, self(L)->io.timeout, 0, CONNECT);
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
    return begin(L, 2, 3, self(L)->io.timeout, 0, BIND);
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
    return begin(L, 3, 4, self(L)->io.timeout, 2, SEND_TO);
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
        (void)make(L, s, AF_INET, 0);
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
    struct socket *s = (struct socket *)fdio_new(L, sizeof *s, -1, SOCKET, methods, meta);

    s->io.socket = 1;
    s->family = family;
    s->type = type;
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

int net_socket_connect(lua_State *L)
{
    double seconds = lua_istable(L, 3) ? mods_option_number(L, 3, "timeout", -1) : -1;

    insert_socket(L);
    return begin(L, 2, 3, seconds, 0, OPEN);
}

int net_socket_listen(lua_State *L)
{
    lua_Integer backlog = lua_istable(L, 3) ? mods_option_int(L, 3, "backlog", BACKLOG)
                                            : luaL_optinteger(L, 3, BACKLOG);

    insert_socket(L);
    lua_pushinteger(L, backlog);
    return begin(L, 2, 3, -1, 5, LISTEN);
}
