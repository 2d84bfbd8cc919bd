#include "agent/worker/net_resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/worker/object.h"

#define QUERY         "grapnel.query"
#define ADDRESSES_MAX 32

/* What the thread has; whoever comes last frees it. */
struct lookup {
    atomic_int holders;
    int done; /* its end of a pipe: closed when there is an answer */
    int code; /* of getaddrinfo */
    struct addrinfo hints;
    struct addrinfo *list;
    char host[256];
    char port[8];
};

struct net_query {
    int fd; /* -1: answered */
    int code;
    size_t n;
    struct net_address *addresses;
    struct lookup *lookup;
};

static void let_go(struct lookup *l)
{
    if (l != NULL && atomic_fetch_sub(&l->holders, 1) == 1) {
        if (l->list != NULL) {
            freeaddrinfo(l->list);
        }
        free(l);
    }
}

static void *look_up(void *arg)
{
    struct lookup *l = arg;
    int done = l->done;

    l->code = getaddrinfo(l->host, l->port, &l->hints, &l->list);
    let_go(l);
    close(done);
    return NULL;
}

/* 0, or an errno value. */
static int start_thread(struct lookup *l)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int number;

    /* Signals are for the thread that runs the loop. */
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    number = pthread_create(&thread, &attr, look_up, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return number;
}

static int query_free(lua_State *L)
{
    struct net_query *q = lua_touserdata(L, 1);

    if (q->fd >= 0) {
        close(q->fd);
        q->fd = -1;
    }
    let_go(q->lookup);
    q->lookup = NULL;
    free(q->addresses);
    q->addresses = NULL;
    return 0;
}

static void keep(struct net_query *q, const void *address, socklen_t length)
{
    if (q->n % 4 == 0) {
        void *more = realloc(q->addresses, (q->n + 4) * sizeof *q->addresses);
        if (more == NULL) {
            q->code = EAI_MEMORY;
            return;
        }
        q->addresses = more;
    }
    memset(&q->addresses[q->n], 0, sizeof *q->addresses);
    memcpy(&q->addresses[q->n].at, address, length);
    q->addresses[q->n++].length = length;
}

static void keep_list(struct net_query *q, const struct addrinfo *list)
{
    for (; list != NULL && q->n < ADDRESSES_MAX; list = list->ai_next) {
        if (list->ai_addrlen <= sizeof q->addresses->at) {
            keep(q, list->ai_addr, list->ai_addrlen);
        }
    }
}

/* A name in the abstract space begins with a zero byte, and its length counts. */
static void keep_path(lua_State *L, struct net_query *q, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof a.sun_path) {
        luaL_error(L, "the path of a Unix socket is empty or too long");
    }
    memcpy(a.sun_path, path, n);
    if (path[0] == '@') {
        a.sun_path[0] = '\0';
        n--;
    }
    keep(q, &a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1));
}

/* What needs no thread: an address as text. True when it was one. */
static int keep_numeric(struct net_query *q, const char *host, const char *port,
                        const struct addrinfo *wanted)
{
    struct addrinfo hints = *wanted;
    struct addrinfo *list = NULL;

    hints.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(host, port, &hints, &list) != 0) {
        return 0;
    }
    keep_list(q, list);
    freeaddrinfo(list);
    return 1;
}

static void begin(lua_State *L, struct net_query *q, const char *host, const char *port,
                  const struct addrinfo *hints)
{
    struct lookup *l = calloc(1, sizeof *l);
    int ends[2];
    int number;

    if (l == NULL || pipe2(ends, O_CLOEXEC) != 0) {
        free(l);
        luaL_error(L, "resolving: %s", strerror(errno));
        return;
    }
    (void)snprintf(l->host, sizeof l->host, "%s", host);
    (void)snprintf(l->port, sizeof l->port, "%s", port);
    l->hints = *hints;
    l->done = ends[1];
    atomic_init(&l->holders, 2);
    q->fd = ends[0];
    number = start_thread(l);
    if (number != 0) {
        close(ends[1]);
        free(l);
        luaL_error(L, "resolving: %s", strerror(number));
    }
    q->lookup = l;
}

struct net_query *net_resolve_push(lua_State *L, const char *host, lua_Integer port, int family)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", query_free}, {NULL, NULL}};
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct net_query *q = lua_newuserdatauv(L, sizeof *q, 0);
    char text[8];

    memset(q, 0, sizeof *q);
    q->fd = -1;
    object_class(L, QUERY, methods, meta);
    if (family == AF_UNIX || strncmp(host, "unix:", 5) == 0) {
        keep_path(L, q, family == AF_UNIX ? host : host + 5);
        return q;
    }
    if (port < 0 || port > 65535) {
        luaL_error(L, "no port has the number %I", (LUAI_UACINT)port);
    }
    if (strlen(host) > 255) {
        luaL_error(L, "the name of the host is too long");
    }
    (void)snprintf(text, sizeof text, "%d", (int)port);
    if (strcmp(host, "*") == 0) {
        host = family == AF_INET6 ? "::" : "0.0.0.0";
    }
    if (!keep_numeric(q, host, text, &hints)) {
        begin(L, q, host, text, &hints);
    }
    return q;
}

/* Takes what the thread has found, once its end of the pipe is closed. */
int net_resolve_fd(struct net_query *q)
{
    struct pollfd p = {.fd = q->fd, .events = POLLIN};

    if (q->fd >= 0 && poll(&p, 1, 0) > 0) {
        close(q->fd);
        q->fd = -1;
        q->code = q->lookup->code;
        if (q->code == 0) {
            keep_list(q, q->lookup->list);
        }
        let_go(q->lookup);
        q->lookup = NULL;
    }
    return q->fd;
}

const struct net_address *net_resolve_get(const struct net_query *q, size_t i)
{
    return i < q->n ? &q->addresses[i] : NULL;
}

int net_resolve_failed(lua_State *L, const struct net_query *q)
{
    lua_pushnil(L);
    lua_pushstring(L, gai_strerror(q->code == 0 ? EAI_NONAME : q->code));
    lua_pushinteger(L, q->code == 0 ? EAI_NONAME : q->code);
    return 3;
}

static void push_unix(lua_State *L, const struct net_address *a)
{
    const struct sockaddr_un *un = (const void *)&a->at;
    size_t n = a->length - offsetof(struct sockaddr_un, sun_path);

    if (a->length <= offsetof(struct sockaddr_un, sun_path)) {
        lua_pushliteral(L, ""); /* it has no name */
    } else if (un->sun_path[0] == '\0') {
        lua_pushliteral(L, "@");
        lua_pushlstring(L, un->sun_path + 1, n - 1);
        lua_concat(L, 2);
    } else {
        lua_pushlstring(L, un->sun_path, strnlen(un->sun_path, n));
    }
}

int net_resolve_tell(lua_State *L, const struct net_address *a)
{
    const struct sockaddr_in *in = (const void *)&a->at;
    const struct sockaddr_in6 *in6 = (const void *)&a->at;
    char text[INET6_ADDRSTRLEN + 1] = "";

    switch (a->at.ss_family) {
    case AF_INET:
        lua_pushstring(L, inet_ntop(AF_INET, &in->sin_addr, text, sizeof text));
        lua_pushinteger(L, ntohs(in->sin_port));
        lua_pushliteral(L, "inet");
        return 3;
    case AF_INET6:
        lua_pushstring(L, inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text));
        lua_pushinteger(L, ntohs(in6->sin6_port));
        lua_pushliteral(L, "inet6");
        return 3;
    default:
        push_unix(L, a);
        lua_pushnil(L);
        lua_pushliteral(L, "unix");
        return 3;
    }
}
