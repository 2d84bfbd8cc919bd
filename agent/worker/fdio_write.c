#include <errno.h>
#include <ev.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/worker/fdio_internal.h"

/* Three values of a failure are on top; `done` bytes are written. */
static int write_failed(lua_State *L, size_t done)
{
    if (lua_toboolean(L, 5)) {
        lua_pop(L, 1);
        lua_pushinteger(L, (lua_Integer)done);
    }
    return 3;
}

static ssize_t put(const struct fdio *f, const char *bytes, size_t n)
{
    ssize_t done;

    do {
        done = f->socket ? send(f->fd, bytes, n, MSG_NOSIGNAL) : write(f->fd, bytes, n);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

/* Stack: the object, the bytes, where the first and behind the last of them is, true when it is
 * send, the deadline. The context is how far it is. */
static int write_on(lua_State *L, int status, lua_KContext ctx)
{
    struct fdio *f = fdio_self(L);
    const char *bytes = lua_tostring(L, 2);
    size_t end = (size_t)lua_tointeger(L, 4);
    size_t at = (size_t)ctx;
    size_t turn = 0;

    if (fdio_waited(L, f, status) != 0) {
        return write_failed(L, at);
    }
    do {
        ssize_t n = turn < FDIO_TURN ? put(f, bytes + at, end - at) : -EAGAIN;
        if (n == -EAGAIN) {
            return fdio_wait(L, f, EV_WRITE, 6, write_on, (lua_KContext)at);
        }
        if (n < 0) {
            fdio_failed(L, (int)-n);
            return write_failed(L, at);
        }
        at += (size_t)n;
        turn += (size_t)n;
    } while (at < end);
    if (lua_toboolean(L, 5)) {
        lua_pushinteger(L, (lua_Integer)end);
    } else {
        lua_pushvalue(L, 1);
    }
    return 1;
}

static int write_begin(lua_State *L, size_t begin, size_t end, int sends)
{
    struct fdio *f = fdio_self(L);

    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)begin);
    lua_pushinteger(L, (lua_Integer)end);
    lua_pushboolean(L, sends);
    fdio_deadline(L, f->timeout);
    return write_on(L, 0, (lua_KContext)begin);
}

/*** stream:write(string, …) -> stream | nil, message, errno
 * Writes all of the strings.
 */
int fdio_write(lua_State *L)
{
    int top = lua_gettop(L);
    size_t n;

    for (int i = 2; i <= top; i++) {
        luaL_checkstring(L, i);
    }
    luaL_checkstring(L, 2);
    lua_concat(L, top - 1);
    luaL_checklstring(L, 2, &n);
    return write_begin(L, 0, n, 0);
}

/* A position as string.sub's, from 1 to n + 1. */
static size_t position(lua_Integer i, size_t n)
{
    if (i < 0) {
        i = -i > (lua_Integer)n ? 1 : (lua_Integer)n + 1 + i;
    }
    return i < 1 ? 1 : i > (lua_Integer)n + 1 ? n + 1 : (size_t)i;
}

int fdio_send(lua_State *L)
{
    size_t n;
    size_t begin, end;

    luaL_checklstring(L, 2, &n);
    begin = position(luaL_optinteger(L, 3, 1), n) - 1;
    end = position(luaL_optinteger(L, 4, -1), n);
    end = end > n ? n : end;
    return write_begin(L, begin, end < begin ? begin : end, 1);
}
