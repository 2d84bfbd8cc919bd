#include <ctype.h>
#include <errno.h>
#include <ev.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/fdio_internal.h"

#define ROOM   ((size_t)8 << 10)   /* the smallest buffer */
#define SPARE  ((size_t)256 << 10) /* a larger one does not outlive its use */
#define SOME   ((size_t)64 << 10)  /* the most that read("s") gives */
#define DIGITS 200                 /* the longest number that read("n") takes, as Lua's files */

/* Bits of a reading method's context. */
enum { READ_RAISE = 1, READ_RECEIVE = 2 };

struct want {
    char kind; /* '#': n bytes, 'l', 'L', 'a', 's', 'n': a number */
    size_t n;
};

/* ---- the buffer ------------------------------------------------------------------------------ */

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
        fdio_resize(L, f, room < held + n ? held + n : room);
    }
}

static void drop(lua_State *L, struct fdio *f, size_t n)
{
    f->begin += n;
    f->searched = 0;
    if (f->begin == f->end) {
        f->begin = f->end = 0;
        if (f->room > SPARE) {
            fdio_resize(L, f, 0);
        }
    }
}

/* Pushes the first n bytes less `cut` at their end, and drops all n. */
static void push_bytes(lua_State *L, struct fdio *f, size_t n, size_t cut)
{
    lua_pushlstring(L, f->bytes == NULL ? "" : f->bytes + f->begin, n - cut);
    drop(L, f, n);
}

/* A FIFO that nobody has opened for writing yet reads as if it had ended. */
static int not_begun(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) && poll(&p, 1, 0) == 0;
}

/* Reads what there is: bytes, 0 at the end of file, or a negative errno value. */
static ssize_t fill(lua_State *L, struct fdio *f, const struct want *w)
{
    size_t held = f->end - f->begin;
    ssize_t n;

    /* A large number is no reason to take that memory before the bytes are there. */
    reserve(L, f,
            w->kind == '#' && w->n - held > ROOM / 2 && w->n <= 2 * held + FDIO_TURN ? w->n - held
                                                                                     : ROOM / 2);
    do {
        n = read(f->fd, f->bytes + f->end, f->room - f->end);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    if (n == 0 && not_begun(f->fd)) {
        return -EAGAIN;
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
        w.kind = '#';
        w.n = (size_t)n;
        return w;
    }
    text = luaL_checkstring(L, arg);
    w.kind = text[0] == '*' ? text[1] : text[0];
    luaL_argcheck(L, w.kind != '\0' && strchr("lLasn", w.kind) != NULL, arg, "invalid format");
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

static size_t digits(const char *p, size_t at, size_t n, int hex)
{
    while (at < n && (hex ? isxdigit((unsigned char)p[at]) : isdigit((unsigned char)p[at]))) {
        at++;
    }
    return at;
}

/* How many of n bytes may belong to a number that they begin with. */
static size_t numeral(const char *p, size_t n)
{
    size_t at = n > 0 && (p[0] == '+' || p[0] == '-'), from, point;
    int hex = at + 1 < n && p[at] == '0' && (p[at + 1] | 32) == 'x';

    at += hex ? 2 : 0;
    from = at;
    at = digits(p, at, n, hex);
    point = at < n && p[at] == '.';
    at = digits(p, at + point, n, hex);
    if (at > from + point && at < n && (p[at] | 32) == (hex ? 'p' : 'e')) {
        at++;
        at = digits(p, at + (at < n && (p[at] == '+' || p[at] == '-')), n, 0);
    }
    return at;
}

/* As Lua's files: what cannot be the rest of a number stays, and nil is what begins like one but is
 * none.  last: no more bytes will come. */
static int take_number(lua_State *L, struct fdio *f, int last)
{
    char text[DIGITS + 1];
    size_t n;

    while (f->begin < f->end && isspace((unsigned char)f->bytes[f->begin])) {
        drop(L, f, 1);
    }
    n = numeral(f->bytes + f->begin, f->end - f->begin);
    if (n == f->end - f->begin && n <= DIGITS && !last) {
        return 0;
    }
    text[0] = '\0';
    if (n > 0 && n <= DIGITS) {
        memcpy(text, f->bytes + f->begin, n);
        text[n] = '\0';
    }
    drop(L, f, n <= DIGITS ? n : DIGITS);
    if (lua_stringtonumber(L, text) == 0) {
        lua_pushnil(L);
    }
    return 1;
}

/* Pushes what is wanted if it is there. */
static int take(lua_State *L, struct fdio *f, const struct want *w, int ctx)
{
    size_t held = f->end - f->begin;

    switch (w->kind) {
    case '#':
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
    case 'n':
        return take_number(L, f, 0);
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
    if (w->kind == 'n') {
        return take_number(L, f, 1);
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
        ssize_t n = turn < FDIO_TURN ? fill(L, f, &w) : -EAGAIN;
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
 * file; "s": what is there now, at least a byte; "n": a number, as Lua's files read it. nil alone:
 * end of file. Other calls on the instance run meanwhile. After a timeout what was read already is
 * still there.
 */
int fdio_read(lua_State *L)
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
int fdio_lines(lua_State *L)
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
