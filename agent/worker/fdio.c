#include "agent/worker/fdio_internal.h"

#include <errno.h>
#include <ev.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/worker/waitfd.h"
#include "proto/errors.h"

struct fdio *fdio_test(lua_State *L, int index)
{
    struct fdio *f = lua_touserdata(L, index);

    if (f == NULL || luaL_getmetafield(L, index, "__fdio") == LUA_TNIL) {
        return NULL;
    }
    lua_pop(L, 1);
    return f;
}

struct fdio *fdio_self(lua_State *L)
{
    struct fdio *f = fdio_test(L, 1);

    if (f == NULL) {
        luaL_typeerror(L, 1, "stream");
    }
    return f;
}

void fdio_deadline(lua_State *L, double seconds)
{
    lua_Integer at = -1;

    if (seconds >= 0 && seconds < 1e9) {
        at = (lua_Integer)clock_now_us() + (lua_Integer)(seconds * 1e6);
    }
    lua_pushinteger(L, at);
}

int fdio_wait_for(lua_State *L, int fd, int events, int deadline, lua_KFunction k, lua_KContext ctx)
{
    lua_Integer at = lua_tointeger(L, deadline);
    lua_Integer now = (lua_Integer)clock_now_us();

    return waitfd(L, fd, events, at < 0 ? -1 : at > now ? (double)(at - now) / 1e6 : 0, k, ctx);
}

int fdio_wait(lua_State *L, struct fdio *f, int events, int deadline, lua_KFunction k,
              lua_KContext ctx)
{
    return fdio_wait_for(L, f->fd, events, deadline, k, ctx);
}

int fdio_failed(lua_State *L, int number)
{
    static const struct {
        int number;
        const char *text;
    } texts[] = {
        {ETIMEDOUT, "timeout"},
        {EPIPE, "closed"},
        {ECONNRESET, "closed"},
        {ECONNABORTED, "closed"},
        {EBADF, "closed"},
        {ECONNREFUSED, "connection refused"},
        {EADDRINUSE, "address already in use"},
        {EISCONN, "already connected"},
        {EACCES, "permission denied"},
    };
    const char *text = strerror(number);

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (texts[i].number == number) {
            text = texts[i].text;
        }
    }
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushinteger(L, number);
    return 3;
}

int fdio_waited(lua_State *L, const struct fdio *f, int status)
{
    if (f->fd < 0) {
        return fdio_failed(L, EBADF);
    }
    return status == 0 ? 0 : fdio_failed(L, status == -E_TIMEOUT ? ETIMEDOUT : ECANCELED);
}

/*** stream:settimeout([seconds]) -> true
 * The most that each later read or write lasts; nothing: for ever.
 */
static int stream_settimeout(lua_State *L)
{
    fdio_self(L)->timeout = luaL_optnumber(L, 2, -1);
    lua_pushboolean(L, 1);
    return 1;
}

/*** stream:getfd() -> integer
 * The descriptor's number on the host; -1 when it is closed.
 */
static int stream_getfd(lua_State *L)
{
    lua_pushinteger(L, fdio_self(L)->fd);
    return 1;
}

void fdio_resize(lua_State *L, struct fdio *f, size_t room)
{
    void *ud;
    lua_Alloc alloc = lua_getallocf(L, &ud);
    char *bytes = alloc(ud, f->bytes, f->room, room);

    if (room > 0 && bytes == NULL) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        bytes = alloc(ud, f->bytes, f->room, room);
    }
    if (room > 0 && bytes == NULL) {
        luaL_error(L, "not enough memory");
    }
    f->bytes = bytes;
    f->room = room;
}

void fdio_shut(lua_State *L, struct fdio *f)
{
    struct ev_loop *loop = waitfd_loop(L);

    if (f->fd >= 0) {
        if (loop != NULL) {
            ev_feed_fd_event(loop, f->fd, EV_READ | EV_WRITE);
        }
        close(f->fd);
        f->fd = -1;
    }
    f->begin = f->end = f->searched = 0;
    fdio_resize(L, f, 0);
}

/*** stream:close() -> true
 * Closes it. A read or write of another task that waits for it fails with "closed".
 */
static int stream_close(lua_State *L)
{
    fdio_shut(L, fdio_self(L));
    lua_pushboolean(L, 1);
    return 1;
}

static int stream_tostring(lua_State *L)
{
    const struct fdio *f = fdio_self(L);

    luaL_getmetafield(L, 1, "__name");
    if (f->fd < 0) {
        lua_pushfstring(L, "%s (closed)", lua_tostring(L, -1));
    } else {
        lua_pushfstring(L, "%s (descriptor %d)", lua_tostring(L, -1), f->fd);
    }
    return 1;
}

struct fdio *fdio_new(lua_State *L, size_t size, int fd, const char *class, const luaL_Reg *methods,
                      const luaL_Reg *meta)
{
    static const luaL_Reg all[] = {
        {"read", fdio_read},
        {"write", fdio_write},
        {"lines", fdio_lines},
        {"settimeout", stream_settimeout},
        {"getfd", stream_getfd},
        {"close", stream_close},
        {NULL, NULL},
    };
    static const luaL_Reg all_meta[] = {
        {"__gc", stream_close},
        {"__close", stream_close},
        {"__tostring", stream_tostring},
        {NULL, NULL},
    };
    struct fdio *f = lua_newuserdatauv(L, size, 0);

    memset(f, 0, size);
    f->fd = fd;
    f->timeout = -1;
    if (luaL_newmetatable(L, class)) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "__fdio");
        luaL_setfuncs(L, all_meta, 0);
        luaL_setfuncs(L, meta, 0);
        lua_newtable(L);
        luaL_setfuncs(L, all, 0);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return f;
}
