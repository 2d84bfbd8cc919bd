#include "agent/worker/net_options.h"

#include <errno.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/worker/fdio.h"

static const struct option {
    const char *name;
    int level, number;
    int flag; /* boolean for Lua */
} options[] = {
    {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, 1},    {"reuseport", SOL_SOCKET, SO_REUSEPORT, 1},
    {"keepalive", SOL_SOCKET, SO_KEEPALIVE, 1},    {"broadcast", SOL_SOCKET, SO_BROADCAST, 1},
    {"dontroute", SOL_SOCKET, SO_DONTROUTE, 1},    {"rcvbuf", SOL_SOCKET, SO_RCVBUF, 0},
    {"sndbuf", SOL_SOCKET, SO_SNDBUF, 0},          {"nodelay", IPPROTO_TCP, TCP_NODELAY, 1},
    {"keepidle", IPPROTO_TCP, TCP_KEEPIDLE, 0},    {"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, 0},
    {"keepcnt", IPPROTO_TCP, TCP_KEEPCNT, 0},      {"ttl", IPPROTO_IP, IP_TTL, 0},
    {"ipv6-v6only", IPPROTO_IPV6, IPV6_V6ONLY, 1},
};

static const struct option *find(lua_State *L)
{
    const char *name = luaL_checkstring(L, 2);

    name += strncmp(name, "tcp-", 4) == 0 ? 4 : 0;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].name, name) == 0) {
            return &options[i];
        }
    }
    luaL_argerror(L, 2, "unknown option");
    return NULL;
}

/* LuaSocket's form is a table {on =, timeout =}; a number of seconds does, too. */
static int set_linger(lua_State *L, int fd)
{
    struct linger l = {.l_onoff = 1};

    if (lua_istable(L, 3)) {
        lua_getfield(L, 3, "on");
        l.l_onoff = lua_toboolean(L, -1);
        lua_getfield(L, 3, "timeout");
        l.l_linger = (int)lua_tointeger(L, -1);
    } else {
        l.l_linger = (int)luaL_checkinteger(L, 3);
    }
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
}

int net_options_set(lua_State *L, int fd)
{
    int value, result;

    if (strcmp(luaL_checkstring(L, 2), "linger") == 0) {
        result = set_linger(L, fd);
    } else {
        const struct option *o = find(L);
        luaL_checkany(L, 3);
        value = o->flag ? lua_toboolean(L, 3) : (int)luaL_checkinteger(L, 3);
        result = setsockopt(fd, o->level, o->number, &value, sizeof value);
    }
    if (result != 0) {
        return fdio_failed(L, errno);
    }
    lua_pushinteger(L, 1);
    return 1;
}

int net_options_get(lua_State *L, int fd)
{
    const struct option *o = find(L);
    int value = 0;
    socklen_t n = sizeof value;

    if (getsockopt(fd, o->level, o->number, &value, &n) != 0) {
        return fdio_failed(L, errno);
    }
    if (o->flag) {
        lua_pushboolean(L, value);
    } else {
        lua_pushinteger(L, value);
    }
    return 1;
}

void net_options_copy(int from, int to)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const struct option *o = &options[i];
        int value = 0;
        socklen_t n = sizeof value;
        if (o->flag && getsockopt(from, o->level, o->number, &value, &n) == 0 && value != 0) {
            (void)setsockopt(to, o->level, o->number, &value, sizeof value);
        }
    }
}
