#include "agent/worker/proc_run.h"

#include <errno.h>
#include <ev.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "agent/clock.h"
#include "agent/worker/mods.h"
#include "agent/worker/object.h"
#include "agent/worker/proc_start.h"
#include "agent/worker/waitfd.h"
#include "peer/tasks.h"
#include "proto/errors.h"

#define RUN      "grapnel.run"
#define MAX      ((lua_Integer)64 << 20) /* bytes of each output, where no option says it */
#define PIECE    ((size_t)64 << 10)
#define GRACE_US 2000000u /* from TERM to KILL, and from there to the end of what still writes */

/* One output of the command. */
struct output {
    ev_io watcher;
    char *bytes;
    size_t n, room, max;
    int cut; /* more came than max */
};

/* Of one call, on its stack. Its watchers fill it while the task sleeps. */
struct run {
    struct ev_loop *loop;
    lua_Alloc alloc;
    void *ud;
    struct child *child;
    ev_io input;
    const char *bytes; /* what it gets to read */
    size_t n;
    struct output out[2];
    struct tasks_wait wait;
    int fds[3];  /* -1: closed */
    int ended;   /* the command itself */
    int nomem;   /* for its output */
    int expired; /* how often its time was over */
};

static void close_end(struct run *r, int at, ev_io *watcher)
{
    if (r->fds[at] >= 0) {
        ev_io_stop(r->loop, watcher);
        close(r->fds[at]);
        r->fds[at] = -1;
    }
}

/* Its outputs are what it leaves; its input is nobody's once it has ended. */
static int complete(const struct run *r)
{
    return r->ended && r->fds[1] < 0 && r->fds[2] < 0;
}

static void close_all(struct run *r)
{
    close_end(r, 0, &r->input);
    close_end(r, 1, &r->out[0].watcher);
    close_end(r, 2, &r->out[1].watcher);
}

static void woken(void *arg)
{
    struct run *r = arg;

    r->ended = 1;
    close_end(r, 0, &r->input);
    if (complete(r)) {
        tasks_wake(&r->wait);
    }
}

static void on_input(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct run *r = watcher->data;
    ssize_t n = write(r->fds[0], r->bytes, r->n);

    (void)loop;
    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n >= 0) {
        r->bytes += n;
        r->n -= (size_t)n;
    }
    /* A command need not read all that it is given. */
    if (n < 0 || r->n == 0) {
        close_end(r, 0, &r->input);
    }
}

/* Lua's allocator, so that the memory counts as Lua's. It may collect nothing here. */
static int grow(struct run *r, struct output *o)
{
    size_t room = o->room == 0 ? PIECE : 2 * o->room;
    char *bytes;

    room = room > o->max ? o->max : room;
    bytes = r->alloc(r->ud, o->bytes, o->room, room);
    if (bytes == NULL) {
        return -E_NOMEM;
    }
    o->bytes = bytes;
    o->room = room;
    return 0;
}

static ssize_t read_output(struct run *r, struct output *o, int fd)
{
    char beyond[4096];
    ssize_t n;

    if (o->n == o->room && o->room < o->max && grow(r, o) != 0) {
        r->nomem = 1;
        return 0;
    }
    if (o->n < o->room) {
        size_t most = o->room - o->n;
        n = read(fd, o->bytes + o->n, most < PIECE ? most : PIECE);
        o->n += n > 0 ? (size_t)n : 0;
    } else {
        n = read(fd, beyond, sizeof beyond);
        o->cut |= n > 0;
    }
    return n;
}

static void on_output(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct run *r = watcher->data;
    int at = watcher == &r->out[0].watcher ? 1 : 2;
    ssize_t n = read_output(r, &r->out[at - 1], r->fds[at]);

    (void)loop;
    (void)events;
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
        return;
    }
    close_end(r, at, watcher);
    if (complete(r) || r->nomem) {
        tasks_wake(&r->wait);
    }
}

static int run_free(lua_State *L)
{
    struct run *r = lua_touserdata(L, 1);

    close_all(r);
    for (int i = 0; i < 2; i++) {
        if (r->out[i].bytes != NULL) {
            r->alloc(r->ud, r->out[i].bytes, r->out[i].room, 0);
            r->out[i].bytes = NULL;
        }
    }
    if (r->child != NULL) {
        if (!r->ended) {
            (void)child_signal(r->child, SIGKILL);
        }
        child_forget(r->child);
        r->child = NULL;
    }
    return 0;
}

static int push_result(lua_State *L, struct run *r)
{
    static const char *const names[] = {"out", "err"};
    int status = 0;

    (void)child_ended(r->child, &status);
    proc_start_result(L, status);
    for (int i = 0; i < 2; i++) {
        struct output *o = &r->out[i];
        lua_pushlstring(L, o->bytes == NULL ? "" : o->bytes, o->n);
        lua_setfield(L, -2, names[i]);
    }
    if (r->out[0].cut || r->out[1].cut) {
        mods_set_flag(L, "truncated", 1);
    }
    if (r->expired > 0) {
        mods_set_flag(L, "timeout", 1);
    }
    return 1;
}

static int run_on(lua_State *L, int status, lua_KContext ctx);

static int wait_on(lua_State *L, struct run *r, uint64_t deadline)
{
    return tasks_suspend(L, &r->wait, deadline, run_on, (lua_KContext)(intptr_t)r);
}

static int run_on(lua_State *L, int status, lua_KContext ctx)
{
    struct run *r = (struct run *)(intptr_t)ctx;

    (void)status;
    if (r->wait.result == -E_CANCELLED) {
        return tasks_cancelled_error(L);
    }
    if (r->nomem) {
        return luaL_error(L, "not enough memory");
    }
    if (complete(r)) {
        return push_result(L, r);
    }
    if (r->wait.result != -E_TIMEOUT) {
        return luaL_error(L, "the instance ends");
    }
    r->expired++;
    if (r->expired > 2) {
        /* What has left its group may hold the pipes for ever. */
        close_all(r);
        return r->ended ? push_result(L, r) : wait_on(L, r, UINT64_MAX);
    }
    (void)kill(-child_pid(r->child), r->expired == 1 ? SIGTERM : SIGKILL);
    return wait_on(L, r, clock_now_us() + GRACE_US);
}

static void watch(struct run *r, int at, ev_io *watcher, int events,
                  void (*callback)(struct ev_loop *, ev_io *, int))
{
    ev_io_init(watcher, callback, r->fds[at] < 0 ? 0 : r->fds[at], events);
    watcher->data = r;
    if (r->fds[at] >= 0) {
        ev_io_start(r->loop, watcher);
    }
}

static struct run *push_run(lua_State *L)
{
    static const luaL_Reg methods[] = {{NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", run_free}, {"__close", run_free}, {NULL, NULL}};
    struct run *r = lua_newuserdatauv(L, sizeof *r, 0);

    memset(r, 0, sizeof *r);
    r->loop = waitfd_loop(L);
    r->alloc = lua_getallocf(L, &r->ud);
    r->fds[0] = r->fds[1] = r->fds[2] = -1;
    object_class(L, RUN, methods, meta);
    return r;
}

/*** proc.run(command [, options]) -> table | nil, message, errno
 * Runs a command to its end, while other calls on the instance go on. command: a table of words,
 * or a line for /bin/sh. Result: `status` (its exit status) or `signal` (the name of what killed
 * it), `code` (as a shell tells it: 128 and more for signals), `out`, `err`; `truncated` when it
 * wrote more than max; `timeout` when its time was over.
 *
 * Options: `input` (what it reads; without it nothing), `cwd`, `env` (names and values over those
 * of the instance; false takes one away), `clear` (true: only what env says), `timeout` (seconds;
 * then its process group gets TERM, and KILL two seconds later), `merge` (true: err goes to out),
 * `max` (bytes of each output that are kept, 64 MiB), `stdin`, `stdout`, `stderr` ("pipe", "null",
 * "inherit", or an open file or stream).
 *
 * It is over when the command has ended and nobody holds its outputs open any more. nil: it did not
 * start.
 */
int proc_run(lua_State *L)
{
    struct proc_start s = {.stdio = {PROC_NULL, PROC_PIPE, PROC_PIPE}, .woken = woken};
    lua_Integer max;
    lua_Number seconds;
    struct run *r;

    lua_settop(L, 2);
    max = mods_option_int(L, 2, "max", MAX);
    seconds = mods_option_number(L, 2, "timeout", -1);
    luaL_argcheck(L, max >= 0, 2, "option 'max': not negative expected");
    r = push_run(L);
    if (!lua_isnil(L, 2) && lua_getfield(L, 2, "input") != LUA_TNIL) {
        r->bytes = luaL_checklstring(L, -1, &r->n);
        s.stdio[0] = PROC_PIPE;
    }
    lua_toclose(L, 3);
    s.arg = r;
    r->out[0].max = r->out[1].max = (size_t)max;
    r->child = proc_start(L, &s);
    if (r->child == NULL) {
        return 3;
    }
    memcpy(r->fds, s.fds, sizeof r->fds);
    watch(r, 0, &r->input, EV_WRITE, on_input);
    watch(r, 1, &r->out[0].watcher, EV_READ, on_output);
    watch(r, 2, &r->out[1].watcher, EV_READ, on_output);
    return wait_on(L, r, seconds < 0 ? UINT64_MAX : clock_now_us() + (uint64_t)(seconds * 1e6));
}
