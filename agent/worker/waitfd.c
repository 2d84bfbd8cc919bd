#include "agent/worker/waitfd.h"

#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "peer/tasks.h"
#include "proto/errors.h"

#define WAIT "grapnel.wait" /* the metatable of one */

static const char key = 0; /* its address is the registry's key of the state's struct waits */

struct wait {
    struct tasks_wait w;
    ev_io io;
    struct waits *waits;
    struct wait *next, **at; /* among those that wait for children */
    int alone;               /* it waits for its time */
    lua_KFunction k;
    lua_KContext ctx;
};

struct waits {
    struct ev_loop *loop;
    ev_signal child; /* watched once somebody has waited for one */
    struct wait *parents;
};

static struct waits *waits_of(lua_State *L)
{
    struct waits *waits;

    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    waits = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return waits;
}

/* ---- events ---- */

static void on_io(struct ev_loop *loop, ev_io *io, int events)
{
    struct wait *wait = io->data;

    (void)events;
    ev_io_stop(loop, io);
    tasks_wake(&wait->w);
}

static void leave(struct wait *wait)
{
    if (wait->waits->loop != NULL) {
        ev_io_stop(wait->waits->loop, &wait->io);
    }
    if (wait->at != NULL) {
        *wait->at = wait->next;
        if (wait->next != NULL) {
            wait->next->at = wait->at;
        }
        wait->at = NULL;
    }
}

static void wake_parents(struct waits *waits)
{
    while (waits->parents != NULL) {
        struct wait *wait = waits->parents;
        leave(wait);
        tasks_wake(&wait->w);
    }
}

static void on_child(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop;
    (void)events;
    wake_parents(watcher->data);
}

/* ---- waiting ---- */

static int over(lua_State *L, int status, lua_KContext ctx)
{
    struct wait *wait = lua_touserdata(L, -1);
    lua_KFunction k = wait->k;
    int result = wait->w.result, alone = wait->alone;

    (void)status;
    leave(wait);
    ctx = wait->ctx;
    lua_pop(L, 1);
    if (result == -E_CANCELLED) {
        return tasks_cancelled_error(L);
    }
    return k(L, alone && result == -E_TIMEOUT ? 0 : result, ctx);
}

/* Pushes a new wait. */
static struct wait *make(lua_State *L, lua_KFunction k, lua_KContext ctx)
{
    struct waits *waits = waits_of(L);
    struct wait *wait;

    if (waits == NULL || waits->loop == NULL) {
        luaL_error(L, "nothing can wait here any more");
    }
    luaL_checkstack(L, 5, NULL);
    wait = lua_newuserdatauv(L, sizeof(*wait), 0);
    memset(wait, 0, sizeof *wait);
    wait->waits = waits;
    wait->k = k;
    wait->ctx = ctx;
    ev_init(&wait->io, on_io);
    wait->io.data = wait;
    luaL_setmetatable(L, WAIT);
    return wait;
}

static int suspend(lua_State *L, struct wait *wait, double seconds)
{
    uint64_t deadline = UINT64_MAX;

    if (seconds >= 0 && seconds < 1e12) {
        deadline = tasks_now(tasks_of(L)) + (uint64_t)(seconds * 1e6);
    }
    return tasks_suspend(L, &wait->w, deadline, over, 0);
}

int waitfd(lua_State *L, int fd, int events, double seconds, lua_KFunction k, lua_KContext ctx)
{
    struct wait *wait = make(L, k, ctx);

    ev_io_set(&wait->io, fd, events);
    ev_io_start(wait->waits->loop, &wait->io);
    return suspend(L, wait, seconds);
}

int waitfd_child(lua_State *L, double seconds, lua_KFunction k, lua_KContext ctx)
{
    struct wait *wait = make(L, k, ctx);
    struct waits *waits = wait->waits;

    if (!ev_is_active(&waits->child)) {
        ev_signal_start(waits->loop, &waits->child);
        tasks_wake(&wait->w); /* it may have ended before this was watched */
    }
    wait->next = waits->parents;
    wait->at = &waits->parents;
    if (wait->next != NULL) {
        wait->next->at = &wait->next;
    }
    waits->parents = wait;
    return suspend(L, wait, seconds);
}

static int nothing(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

int waitfd_sleep(lua_State *L, double seconds, lua_KFunction k, lua_KContext ctx)
{
    struct wait *wait = make(L, k != NULL ? k : nothing, ctx);

    wait->alone = 1;
    return suspend(L, wait, seconds >= 0 ? seconds : 0);
}

/* ---- the state's loop ---- */

struct ev_loop *waitfd_loop(lua_State *L)
{
    const struct waits *waits = waits_of(L);

    return waits != NULL ? waits->loop : NULL;
}

static int forget(lua_State *L)
{
    leave(luaL_checkudata(L, 1, WAIT));
    return 0;
}

void waitfd_set_loop(lua_State *L, struct ev_loop *loop)
{
    struct waits *waits = lua_newuserdatauv(L, sizeof(*waits), 0);

    memset(waits, 0, sizeof *waits);
    waits->loop = loop;
    ev_signal_init(&waits->child, on_child, SIGCHLD);
    waits->child.data = waits;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    luaL_newmetatable(L, WAIT);
    lua_pushcfunction(L, forget);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
}

void waitfd_end(lua_State *L)
{
    struct waits *waits = waits_of(L);

    if (waits != NULL && waits->loop != NULL) {
        ev_signal_stop(waits->loop, &waits->child);
        waits->loop = NULL;
    }
}
