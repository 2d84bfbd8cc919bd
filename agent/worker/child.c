#include "agent/worker/child.h"

#include <errno.h>
#include <ev.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "agent/worker/waitfd.h"

static const char key; /* of the registry: its address */

struct child {
    struct child *next;
    pid_t pid;
    int ended;
    int status;
    int forgotten;
    void (*woken)(void *arg);
    void *arg;
};

/* Those of one Lua state, in its registry. */
struct children {
    ev_signal watcher;
    struct ev_loop *loop;
    struct child *first;
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
    while (all->first != NULL) {
        struct child *c = all->first;
        all->first = c->next;
        (void)look(c);
        free(c);
    }
    return 0;
}

void child_open(lua_State *L)
{
    struct children *all;

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TNIL) {
        all = lua_newuserdatauv(L, sizeof *all, 0);
        all->loop = waitfd_loop(L);
        all->first = NULL;
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
    c->next = all->first;
    all->first = c;
    return c;
}

void child_forget(struct child *c)
{
    if (c != NULL) {
        c->woken = NULL;
        c->forgotten = 1;
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
