#include "agent/worker/fdio.h"

#include <errno.h>
#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/worker/waitfd.h"
#include "proto/errors.h"

#define ROOM  ((size_t)8 << 10)   /* the smallest buffer */
#define SPARE ((size_t)256 << 10) /* a larger one does not outlive its use */
#define TURN  ((size_t)1 << 20)   /* bytes after which others have their turn */
#define SOME  ((size_t)64 << 10)  /* the most that read("s") gives */

/* Bits of a reading method's context. */
enum { READ_RAISE = 1, READ_RECEIVE = 2 };

struct want {
    char kind; /* 'n': a number of bytes, 'l', 'L', 'a', 's' */
    size_t n;
};

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

/* ---- the buffer ------------------------------------------------------------------------------ */

/* Lua's own allocator, so that the memory counts as Lua's. */
static void resize(lua_State *L, struct fdio *f, size_t room)
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

/* Makes room for n more bytes behind the last. */
static void reserve(lua_State *L, struct fdio *f, size_t n)
{
    size_t held = f->end - f->begin;

    if (f->begin > 0 && (held == 0 || f->room - f->end < n)) {
        memmove(f->bytes, f->bytes + f->begin, held);
        f->begin = 0;
        f->end = held;
    }
    if (f->room - f->end < n) {
        size_t room = f->room < ROOM ? ROOM : 2 * f->room;
        resize(L, f, room < held + n ? held + n : room);
    }
}

/* Pushes the first n bytes less `cut` at their end, and drops all n. */
static void push_bytes(lua_State *L, struct fdio *f, size_t n, size_t cut)
{
    lua_pushlstring(L, f->bytes == NULL ? "" : f->bytes + f->begin, n - cut);
    f->begin += n;
    f->searched = 0;
    if (f->begin == f->end) {
        f->begin = f->end = 0;
        if (f->room > SPARE) {
            resize(L, f, 0);
        }
    }
}

/* Reads what there is: bytes, 0 at the end of file, or a negative errno value. */
static ssize_t fill(lua_State *L, struct fdio *f, const struct want *w)
{
    size_t held = f->end - f->begin;
    ssize_t n;

    /* A large number is no reason to take that memory before the bytes are there. */
    reserve(L, f,
            w->kind == 'n' && w->n - held > ROOM / 2 && w->n <= 2 * held + TURN ? w->n - held
                                                                                : ROOM / 2);
    do {
        n = read(f->fd, f->bytes + f->end, f->room - f->end);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    f->end += (size_t)n;
    return n;
}

/* ---- reading --------------------------------------------------------------------------------- */

static struct want check_want(lua_State *L, int arg)
{
    struct want w = {.kind = 'l'};
    const char *text;

    if (lua_isnoneornil(L, arg)) {
        return w;
    }
    if (lua_type(L, arg) == LUA_TNUMBER) {
        lua_Integer n = luaL_checkinteger(L, arg);
        luaL_argcheck(L, n >= 0, arg, "not negative expected");
        w.kind = 'n';
        w.n = (size_t)n;
        return w;
    }
    text = luaL_checkstring(L, arg);
    w.kind = text[0] == '*' ? text[1] : text[0];
    luaL_argcheck(L, w.kind != '\0' && strchr("lLas", w.kind) != NULL, arg, "invalid format");
    return w;
}

static int take_line(lua_State *L, struct fdio *f, const struct want *w, int ctx)
{
    const char *from = f->bytes + f->begin;
    size_t held = f->end - f->begin;
    const char *end =
        held > f->searched ? memchr(from + f->searched, '\n', held - f->searched) : NULL;
    size_t n, cut;

    if (end == NULL) {
        f->searched = held;
        return 0;
    }
    n = (size_t)(end - from) + 1;
    cut = w->kind == 'L' ? 0 : (ctx & READ_RECEIVE) != 0 && n > 1 && end[-1] == '\r' ? 2 : 1;
    push_bytes(L, f, n, cut);
    return 1;
}

/* Pushes what is wanted if it is there. */
static int take(lua_State *L, struct fdio *f, const struct want *w, int ctx)
{
    size_t held = f->end - f->begin;

    switch (w->kind) {
    case 'n':
        if (held < w->n) {
            return 0;
        }
        push_bytes(L, f, w->n, 0);
        return 1;
    case 's':
        if (held == 0) {
            return 0;
        }
        push_bytes(L, f, held < SOME ? held : SOME, 0);
        return 1;
    case 'a':
        return 0;
    default:
        return take_line(L, f, w, ctx);
    }
}

/* Three values of a failure are on top: in the form that this method has. */
static int read_failed(lua_State *L, struct fdio *f, int ctx)
{
    if ((ctx & READ_RAISE) != 0) {
        lua_pop(L, 1);
        return lua_error(L);
    }
    if ((ctx & READ_RECEIVE) != 0) {
        lua_pop(L, 1);
        push_bytes(L, f, f->end - f->begin, 0);
    }
    return 3;
}

/* The end of file: what is left counts as well. */
static int read_ended(lua_State *L, struct fdio *f, const struct want *w, int ctx)
{
    size_t held = f->end - f->begin;

    f->ended = 1;
    if ((ctx & READ_RECEIVE) != 0 && (w->kind != 'a' || held == 0)) {
        fdio_failed(L, EPIPE);
        return read_failed(L, f, ctx);
    }
    if (held == 0 && w->kind != 'a') {
        lua_pushnil(L);
        return 1;
    }
    push_bytes(L, f, held, 0);
    return 1;
}

/* Stack: the object, the format, the deadline. */
static int read_on(lua_State *L, int status, lua_KContext ctx)
{
    struct fdio *f = fdio_self(L);
    struct want w = check_want(L, 2);
    size_t turn = 0;
    int how = (int)ctx;

    if (fdio_waited(L, f, status) != 0) {
        return read_failed(L, f, how);
    }
    while (!take(L, f, &w, how)) {
        ssize_t n = turn < TURN ? fill(L, f, &w) : -EAGAIN;
        if (n == 0) {
            return read_ended(L, f, &w, how);
        }
        if (n == -EAGAIN) {
            return fdio_wait(L, f, EV_READ, 3, read_on, ctx);
        }
        if (n < 0) {
            fdio_failed(L, (int)-n);
            return read_failed(L, f, how);
        }
        turn += (size_t)n;
    }
    return 1;
}

/* Begins to read: object and format are in the stack. */
static int read_begin(lua_State *L, int how)
{
    struct fdio *f = fdio_self(L);

    check_want(L, 2);
    lua_settop(L, 2);
    fdio_deadline(L, f->timeout);
    return read_on(L, 0, how);
}

/*** stream:read([format]) -> string | nil [, message, errno]
 * format: a number of bytes; "l" (default): a line; "L": with its end; "a": all up to the end of
 * file; "s": what is there now, at least a byte. nil alone: end of file. Other calls on the
 * instance run meanwhile. After a timeout what was read already is still there.
 */
static int stream_read(lua_State *L)
{
    return read_begin(L, 0);
}

static int next_line(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, lua_upvalueindex(2));
    return read_begin(L, READ_RAISE);
}

/*** stream:lines([format]) -> iterator
 * For `for`: what read(format) gives until the end of file. Failures are errors.
 */
static int stream_lines(lua_State *L)
{
    (void)fdio_self(L);
    check_want(L, 2);
    lua_settop(L, 2);
    lua_pushcclosure(L, next_line, 2);
    return 1;
}

/* The part that the caller has already counts as read. */
static void unread(lua_State *L, struct fdio *f, int arg)
{
    size_t n;
    const char *prefix = luaL_optlstring(L, arg, "", &n);

    if (n > 0) {
        reserve(L, f, n);
        memmove(f->bytes + f->begin + n, f->bytes + f->begin, f->end - f->begin);
        memcpy(f->bytes + f->begin, prefix, n);
        f->end += n;
        f->searched = 0;
    }
}

int fdio_receive(lua_State *L)
{
    struct fdio *f = fdio_self(L);

    check_want(L, 2);
    unread(L, f, 3);
    return read_begin(L, READ_RECEIVE);
}

/* ---- writing --------------------------------------------------------------------------------- */

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
        ssize_t n = turn < TURN ? put(f, bytes + at, end - at) : -EAGAIN;
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
static int stream_write(lua_State *L)
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

/* ---- the object ------------------------------------------------------------------------------ */

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
    resize(L, f, 0);
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
        {"read", stream_read},
        {"write", stream_write},
        {"lines", stream_lines},
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
