#include "agent/worker/child.h"

#include <errno.h>
#include <ev.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "agent/worker/waitfd.h"
#include "peer/tasks.h"

#define GRACE_SECONDS   2.0 /* from TERM to KILL */
#define COLLECT_SECONDS 0.1 /* for cancelled tasks to let go of what they have */

static const char key; /* of the registry: its address */

struct children;

struct child {
    struct child *next;
    struct children *all;
    uint64_t owner; /* of the task that has started it */
    pid_t pid;
    int ended;
    int status;
    int forgotten;
    int orphan; /* the owner has gone */
    int doomed; /* was told to end for that */
    void (*woken)(void *arg);
    void *arg;
};

/* Those of one Lua state, in its registry. */
struct children {
    ev_signal watcher;
    ev_timer grace;
    ev_timer collect;
    struct ev_loop *loop;
    struct child *first;
    lua_State *L; /* its user value: a thread of our own, to collect garbage */
};

static int look(struct child *c)
{
    pid_t pid;

    if (c->ended) {
        return 1;
    }
    do {
        pid = waitpid(c->pid, &c->status, WNOHANG);
    } while (pid < 0 && errno == EINTR);
    c->ended = pid != 0;
    return c->ended;
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    struct children *all = watcher->data;
    struct child **at = &all->first;

    (void)loop;
    (void)events;
    while (*at != NULL) {
        struct child *c = *at;
        int known = c->ended;
        if (look(c) && c->forgotten) {
            *at = c->next;
            free(c);
            continue;
        }
        if (c->ended && !known && c->woken != NULL) {
            c->woken(c->arg);
        }
        at = &c->next;
    }
}

static int children_free(lua_State *L)
{
    struct children *all = lua_touserdata(L, 1);

    ev_ref(all->loop);
    ev_signal_stop(all->loop, &all->watcher);
    ev_timer_stop(all->loop, &all->grace);
    ev_timer_stop(all->loop, &all->collect);
    while (all->first != NULL) {
        struct child *c = all->first;
        all->first = c->next;
        (void)look(c);
        free(c);
    }
    return 0;
}

/* ---- those whose owner has gone ---- */

static void on_grace(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct children *all = watcher->data;

    (void)loop;
    (void)events;
    for (struct child *c = all->first; c != NULL; c = c->next) {
        if (c->doomed && !look(c)) {
            (void)kill(-c->pid, SIGKILL);
        }
    }
}

static void restart(struct children *all, ev_timer *timer, double seconds)
{
    ev_timer_stop(all->loop, timer);
    ev_now_update(all->loop);
    ev_timer_set(timer, seconds, 0.);
    ev_timer_start(all->loop, timer);
}

static void doom(struct child *c)
{
    if (!c->doomed && !look(c)) {
        c->doomed = 1;
        (void)kill(-c->pid, SIGTERM);
        restart(c->all, &c->all->grace, GRACE_SECONDS);
    }
}

/* What nobody has any more is not known before the collector has looked. */
static void on_collect(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct children *all = watcher->data;

    (void)loop;
    (void)events;
    (void)lua_gc(all->L, LUA_GCCOLLECT);
}

void child_left(lua_State *L, uint64_t owner)
{
    struct children *all;
    int had = 0;

    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    all = lua_touserdata(L, -1);
    lua_pop(L, 1);
    for (struct child *c = all != NULL ? all->first : NULL; c != NULL; c = c->next) {
        if (c->owner != owner || c->ended) {
            continue;
        }
        c->orphan = 1;
        if (c->forgotten) {
            doom(c);
        } else {
            had = 1;
        }
    }
    if (had) {
        restart(all, &all->collect, COLLECT_SECONDS);
    }
}

/* ---- starting and ending ---- */

void child_open(lua_State *L)
{
    struct children *all;

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
        all = lua_newuserdatauv(L, sizeof *all, 1);
        all->loop = waitfd_loop(L);
        all->first = NULL;
        all->L = lua_newthread(L);
        lua_setiuservalue(L, -2, 1);
        ev_timer_init(&all->grace, on_grace, 0., 0.);
        ev_timer_init(&all->collect, on_collect, 0., 0.);
        all->grace.data = all->collect.data = all;
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, children_free);
        lua_setfield(L, -2, "__gc");
        ev_signal_init(&all->watcher, on_signal, SIGCHLD);
        all->watcher.data = all;
        ev_signal_start(all->loop, &all->watcher);
        ev_unref(all->loop);
        lua_setmetatable(L, -2);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
    }
    lua_pop(L, 1);
}

struct child *child_start(lua_State *L, const struct spawn_program *program,
                          void (*woken)(void *arg), void *arg, struct error *e)
{
    struct child *c = calloc(1, sizeof *c);
    const struct tasks *t = tasks_of(L);
    const struct task *k = t != NULL ? tasks_current(t) : NULL;
    struct children *all;

    if (c == NULL) {
        errors_set(e, -E_NOMEM, "%s", program->argv[0]);
        return NULL;
    }
    if (spawn_start(program, &c->pid, e) != 0) {
        free(c);
        return NULL;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
    all = lua_touserdata(L, -1);
    lua_pop(L, 1);
    c->woken = woken;
    c->arg = arg;
    c->all = all;
    c->owner = k != NULL ? tasks_owner(k) : 0;
    c->next = all->first;
    all->first = c;
    return c;
}

void child_forget(struct child *c)
{
    if (c != NULL) {
        c->woken = NULL;
        c->forgotten = 1;
        if (c->orphan) {
            doom(c);
        }
    }
}

pid_t child_pid(const struct child *c)
{
    return c->pid;
}

int child_ended(struct child *c, int *status)
{
    int ended = look(c);

    if (ended && status != NULL) {
        *status = c->status;
    }
    return ended;
}

int child_signal(struct child *c, int number)
{
    if (look(c)) {
        errno = ESRCH;
        return -1;
    }
    return kill(-c->pid, number);
}
