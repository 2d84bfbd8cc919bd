/*** module net
 * Sockets of the host: TCP, UDP, Unix; names and addresses.
 *
 * Whatever waits lets other calls on the instance run meanwhile. A failure gives nil, message,
 * errno. The functions and methods that LuaSocket has,
 * too, do here what they do there (tcp, udp, connect, bind, gettime, sleep; connect, bind, listen,
 * accept, settimeout, receive, send, sendto, receivefrom, close and others of a socket): a program
 * that uses no more of LuaSocket works with this module in its place. What is missing: select, for
 * which there are calls side by side; protect, try, newtry and skip; getstats, setstats and dirty;
 * and the modules that LuaSocket builds on these (socket.http and others).
 *
 * A socket is also a stream: read, write, lines, close and what else the page "stream" tells.
 *
 * A host is a name, an address, or "unix:" and the path of a Unix socket, or "unix:@" and a name in
 * the abstract space; these have no port.
 */
#include <errno.h>
#include <ev.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/fdio.h"
#include "agent/worker/mods.h"
#include "agent/worker/net_open.h"
#include "agent/worker/net_resolve.h"
#include "agent/worker/net_socket.h"
#include "agent/worker/waitfd.h"
#include "proto/errors.h"

static int family_option(lua_State *L, int arg)
{
    const char *name = NULL;
    int family = AF_UNSPEC;

    if (lua_istable(L, arg) && lua_getfield(L, arg, "family") != LUA_TNIL) {
        name = luaL_checkstring(L, -1);
        luaL_argcheck(L, strcmp(name, "inet") == 0 || strcmp(name, "inet6") == 0, arg,
                      "option 'family': 'inet' or 'inet6' expected");
        family = strcmp(name, "inet") == 0 ? AF_INET : AF_INET6;
    }
    return family;
}

/* Stack: query, deadline. ctx: only the first one, as a text. */
static int resolve_on(lua_State *L, int status, lua_KContext ctx)
{
    struct net_query *q = lua_touserdata(L, 1);
    int fd = net_resolve_fd(q);
    const struct net_address *a;

    if (fd >= 0 && status == -E_TIMEOUT) {
        return fdio_failed(L, ETIMEDOUT);
    }
    if (fd >= 0) {
        return fdio_wait_for(L, fd, EV_READ, 2, resolve_on, ctx);
    }
    if (net_resolve_get(q, 0) == NULL) {
        return net_resolve_failed(L, q);
    }
    mods_table(L, 2, 0);
    for (size_t i = 0; (a = net_resolve_get(q, i)) != NULL; i++) {
        net_resolve_tell(L, a);
        if (ctx) {
            lua_pop(L, 2);
            return 1;
        }
        mods_table(L, 0, 2);
        lua_insert(L, -4);
        lua_setfield(L, -4, "family");
        lua_pop(L, 1);
        lua_setfield(L, -2, "address");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/*** net.resolve(host [, options]) -> table | nil, message, number
 * The addresses of a host, each a table with address and family ("inet" or "inet6"). Options:
 * `family`, `timeout` (seconds).
 */
static int net_resolve(lua_State *L)
{
    const char *host = luaL_checkstring(L, 1);
    int family = family_option(L, 2);
    lua_Number seconds = mods_option_number(L, 2, "timeout", -1);

    lua_settop(L, 2);
    net_resolve_push(L, host, 0, family);
    lua_replace(L, 1);
    lua_settop(L, 1);
    fdio_deadline(L, seconds);
    return resolve_on(L, 0, 0);
}

/*** net.dns.toip(host) -> string | nil, message, number
 * The first IPv4 address of a host.
 */
static int net_toip(lua_State *L)
{
    net_resolve_push(L, luaL_checkstring(L, 1), 0, AF_INET);
    lua_replace(L, 1);
    lua_settop(L, 1);
    lua_pushinteger(L, -1);
    return resolve_on(L, 0, 1);
}

/*** net.dns.gethostname() -> string | nil, message, errno
 * The host's own name.
 */
static int net_gethostname(lua_State *L)
{
    char name[256];

    if (gethostname(name, sizeof name) != 0) {
        return mods_failed(L, NULL);
    }
    name[sizeof name - 1] = '\0';
    lua_pushstring(L, name);
    return 1;
}

/*** net.tcp() -> socket
 * A new TCP socket, to be connected or bound.
 */
static int net_tcp(lua_State *L)
{
    net_socket_push(L, AF_UNSPEC, SOCK_STREAM);
    return 1;
}

/*** net.udp() -> socket
 * A new UDP socket. Its methods are sendto and receivefrom, or send and receive once it has a peer
 * (connect, setpeername).
 */
static int net_udp(lua_State *L)
{
    net_socket_push(L, AF_UNSPEC, SOCK_DGRAM);
    return 1;
}

/*** net.unix([type]) -> socket
 * A new Unix socket, "stream" (default) or "dgram"; its addresses are paths, or "@" and a name.
 */
static int net_unix(lua_State *L)
{
    static const char *const names[] = {"stream", "dgram", NULL};

    net_socket_push(L, AF_UNIX,
                    luaL_checkoption(L, 1, "stream", names) == 0 ? SOCK_STREAM : SOCK_DGRAM);
    return 1;
}

/*** net.gettime() -> number
 * Seconds since 1970.
 */
static int net_gettime(lua_State *L)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
    return 1;
}

/*** net.sleep(seconds)
 * Waits.
 */
static int net_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);

    return waitfd_sleep(L, seconds > 0 ? seconds : 0, NULL, 0);
}

/*** net.connect(host, port [, options]) -> socket | nil, message, errno
 * A socket that is connected to the first address of the host that answers. Options: `timeout`
 * (seconds), `type` ("stream" or "dgram": UDP).
 */
/*** net.listen(host, port [, options]) -> socket | nil, message, errno
 * A socket that takes connections (accept) at an address of the host's, "*" for all, port 0 for any
 * (getsockname tells). Options: `backlog`, which may stand in the place of the table, `type`
 * ("dgram": takes datagrams).
 */
/*** net.bind(host, port [, options]) -> socket | nil, message, errno
 * As listen.
 */
int mod_net(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"resolve", net_resolve},
        {"connect", net_open_connect},
        {"listen", net_open_listen},
        {"bind", net_open_listen},
        {"tcp", net_tcp},
        {"udp", net_udp},
        {"unix", net_unix},
        {"gettime", net_gettime},
        {"sleep", net_sleep},
        {NULL, NULL},
    };
    static const luaL_Reg dns[] = {
        {"toip", net_toip}, {"gethostname", net_gethostname}, {NULL, NULL}};

    luaL_newlib(L, functions);
    luaL_newlib(L, dns);
    lua_setfield(L, -2, "dns");
    return 1;
}
