#include "launcher/lua/input.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/lua/host.h"
#include "peer/tasks.h"

#define META      "grapnel.input"
#define READ      (64 * 1024)
#define LINE_MOST (16u * 1024 * 1024)

struct input {
    struct input *next; /* of the host */
    struct host *host;
    struct tasks_wait wait;
    int fd;
    int over;
    char *bytes; /* n of `room`, from `at` on */
    size_t at, n, room;

    /* guarded by the context's lock */
    ev_io watcher;
    int ready;
};

/* ---- the loop's side ---- */

static void on_ready(struct ev_loop *loop, ev_io *w, int events)
{
    struct input *in = w->data;

    (void)events;
    ev_io_stop(loop, w);
    in->ready = 1;
    host_stir(in->host);
}

void input_look(struct input *first)
{
    for (struct input *in = first; in; in = in->next) {
        struct pollfd p = {.fd = in->fd, .events = POLLIN};
        if (ev_is_active(&in->watcher) && poll(&p, 1, 0) > 0)
            on_ready(host_context(in->host)->loop, &in->watcher, EV_READ);
    }
}

void input_serve(struct input *first)
{
    for (struct input *in = first; in; in = in->next) {
        if (in->ready) {
            in->ready = 0;
            tasks_wake(&in->wait);
        }
    }
}

static void watch(struct input *in, int on)
{
    struct grapnel *g = host_context(in->host);

    context_lock(g);
    if (on)
        ev_io_start(g->loop, &in->watcher);
    else
        ev_io_stop(g->loop, &in->watcher);
    context_unlock(g);
}

/* ---- lines ---- */

/* Pushes the next line if it is there. */
static int push_line(lua_State *L, struct input *in)
{
    const char *start = in->bytes + in->at;
    const char *end = in->n ? memchr(start, '\n', in->n) : NULL;
    size_t length = end ? (size_t)(end - start) : in->n;

    if (!end && (!in->over || in->n == 0))
        return 0;
    lua_pushlstring(L, start, length);
    length += end ? 1 : 0;
    in->at += length;
    in->n -= length;
    return 1;
}

static int make_room(struct input *in)
{
    char *more;

    if (in->at > 0 && in->n > 0)
        memmove(in->bytes, in->bytes + in->at, in->n);
    in->at = 0;
    if (in->room - in->n >= READ)
        return 0;
    if (in->n > LINE_MOST)
        return -1;
    more = realloc(in->bytes, 2 * in->room + READ);
    if (!more)
        return -1;
    in->bytes = more;
    in->room = 2 * in->room + READ;
    return 0;
}

static int step(lua_State *L, int status, lua_KContext context)
{
    struct input *in = luaL_checkudata(L, lua_upvalueindex(1), META);
    ssize_t got;

    (void)context;
    if (status != LUA_OK && in->wait.result == -E_CANCELLED) {
        watch(in, 0);
        return tasks_cancelled_error(L);
    }
    if (make_room(in) < 0)
        return luaL_error(L, "a line of the input is too long");
    do
        got = read(in->fd, in->bytes + in->n, in->room - in->n);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return luaL_error(L, "the input cannot be read: %s", strerror(errno));
    if (got > 0)
        in->n += (size_t)got;
    in->over = got == 0;
    if (push_line(L, in))
        return 1;
    if (in->over)
        return 0;
    watch(in, 1);
    return tasks_suspend(L, &in->wait, UINT64_MAX, step, 0);
}

static int next_line(lua_State *L)
{
    struct input *in = luaL_checkudata(L, lua_upvalueindex(1), META);

    if (push_line(L, in))
        return 1;
    if (in->over)
        return 0;
    if (tasks_waiting(&in->wait))
        return luaL_error(L, "somebody else is waiting for this input");
    watch(in, 1);
    return tasks_suspend(L, &in->wait, UINT64_MAX, step, 0);
}

static int collect(lua_State *L)
{
    struct input *in = luaL_checkudata(L, 1, META);

    if (in->host) {
        watch(in, 0);
        host_remove_input(in->host, in);
    }
    free(in->bytes);
    in->bytes = NULL;
    in->host = NULL;
    return 0;
}

struct input **input_link(struct input *in)
{
    return &in->next;
}

/* The descriptor of the file at index 1, or standard input's. */
static int descriptor(lua_State *L)
{
    luaL_Stream *file;

    if (lua_isnoneornil(L, 1))
        return STDIN_FILENO;
    file = luaL_checkudata(L, 1, LUA_FILEHANDLE);
    luaL_argcheck(L, file->closef, 1, "the file is closed");
    return fileno(file->f);
}

int input_lines(lua_State *L)
{
    struct host *h = host_of(L);
    int fd = descriptor(L);
    struct input *in = lua_newuserdatauv(L, sizeof *in, 1);

    memset(in, 0, sizeof *in);
    if (luaL_newmetatable(L, META)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    in->fd = fd;
    ev_io_init(&in->watcher, on_ready, fd, EV_READ);
    in->watcher.data = in;
    in->host = h;
    host_add_input(h, in);
    if (lua_gettop(L) > 1) { /* the file lives as long */
        lua_pushvalue(L, 1);
        lua_setiuservalue(L, -2, 1);
    }
    lua_pushcclosure(L, next_line, 1);
    return 1;
}
