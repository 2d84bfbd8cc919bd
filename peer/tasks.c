#include "peer/tasks.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "peer/tasks_internal.h"

#define POOL_MOST 256 /* coroutines kept for later tasks */

static const char state_key = 0;   /* addresses are the registry's keys: the box, … */
static const char threads_key = 0; /* … and the table of all threads by their tasks */

/* ---- the state ---- */

struct tasks *tasks_of(lua_State *L)
{
    struct tasks *const *box;

    lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key);
    box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return box != NULL ? *box : NULL;
}

static int set_up(lua_State *L)
{
    struct tasks *t = lua_touserdata(L, 1);

    luaL_checkstack(L, LUA_MINSTACK, NULL);
    tasks_prepare_cancelled(L);
    lua_newtable(L);
    t->service = lua_newthread(L);
    lua_rawsetp(L, -2, t);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &threads_key);
    t->box = lua_newuserdatauv(L, sizeof(struct tasks *), 0);
    *t->box = t;
    lua_getglobal(L, "xpcall");
    t->xpcall = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    tasks_coroutine_install(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
    return 0;
}

struct tasks *tasks_new(lua_State *L, const struct tasks_host *host, uint64_t (*now_us)(void))
{
    struct tasks *t = calloc(1, sizeof(*t));

    if (t == NULL || !lua_checkstack(L, LUA_MINSTACK)) {
        free(t);
        return NULL;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    t->L = lua_tothread(L, -1);
    lua_pop(L, 1);
    t->host = *host;
    t->now_us = now_us;
    lua_pushcfunction(L, set_up);
    lua_pushlightuserdata(L, t);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        if (t->box != NULL) {
            *t->box = NULL;
        }
        free(t);
        return NULL;
    }
    return t;
}

/* Gives k's thread to the collector; an existing key is set to nil without memory. */
static void destroy(struct task *k)
{
    struct tasks *t = k->t;

    lua_rawgetp(t->service, LUA_REGISTRYINDEX, &threads_key);
    lua_pushnil(t->service);
    lua_rawsetp(t->service, -2, k);
    lua_pop(t->service, 1);
    if (k->up != NULL) {
        k->up->down = k->down;
    } else {
        t->all = k->down;
    }
    if (k->down != NULL) {
        k->down->up = k->up;
    }
    free(k);
}

void tasks_free(struct tasks *t)
{
    if (t == NULL) {
        return;
    }
    for (struct task *k = t->all, *next; k != NULL; k = next) {
        next = k->down;
        if (k->wait != NULL) {
            k->wait->state = WAIT_IDLE;
            k->wait->task = NULL;
        }
        destroy(k);
    }
    tasks_forget_timers(t);
    *t->box = NULL;
    lua_pushnil(t->L);
    lua_rawsetp(t->L, LUA_REGISTRYINDEX, &threads_key);
    free(t);
}

lua_State *tasks_state(const struct tasks *t)
{
    return t->L;
}

uint64_t tasks_now(const struct tasks *t)
{
    return t->now_us();
}

size_t tasks_count(const struct tasks *t)
{
    return t->count;
}

struct task *tasks_current(const struct tasks *t)
{
    return t->current;
}

int tasks_woken(const struct tasks *t)
{
    return t->woken;
}

int tasks_running(const struct tasks *t)
{
    return t->current != NULL;
}

/* ---- one task's life ---- */

static int make_thread(lua_State *L)
{
    struct task *k = lua_touserdata(L, 1);

    lua_rawgetp(L, LUA_REGISTRYINDEX, &threads_key);
    k->L = lua_newthread(L);
    lua_rawsetp(L, -2, k);
    return 0;
}

static struct task *make(struct tasks *t)
{
    struct task *k = calloc(1, sizeof(*k));

    if (k == NULL || !lua_checkstack(t->service, LUA_MINSTACK)) {
        free(k);
        return NULL;
    }
    lua_pushcfunction(t->service, make_thread);
    lua_pushlightuserdata(t->service, k);
    if (lua_pcall(t->service, 1, 0, 0) != LUA_OK) {
        lua_pop(t->service, 1);
        free(k);
        return NULL;
    }
    k->t = t;
    k->down = t->all;
    if (t->all != NULL) {
        t->all->up = k;
    }
    t->all = k;
    return k;
}

struct task *tasks_prepare(struct tasks *t, lua_State **L)
{
    struct task *k = t->pool;

    if (k != NULL) {
        t->pool = k->next;
        t->pooled--;
    } else {
        k = make(t);
        if (k == NULL) {
            return NULL;
        }
    }
    k->state = TASK_PREPARED;
    k->user = NULL;
    k->owner = t->current != NULL ? t->current->owner : 0;
    k->started = k->cancel = 0;
    k->raised = 0;
    *L = k->L;
    return k;
}

void tasks_start(struct task *k, int nargs, tasks_done *done, void *arg)
{
    k->nargs = nargs;
    k->done = done;
    k->arg = arg;
    k->t->count++;
    tasks_ready(k);
}

void tasks_drop(struct task *k)
{
    struct tasks *t = k->t;

    lua_settop(k->L, 0);
    if (lua_gethook(k->L) != NULL) {
        lua_sethook(k->L, NULL, 0, 0);
    }
    /* An error out of a hook leaves the coroutine without hooks for good. */
    if (k->exposed || k->cancel || t->pooled >= POOL_MOST) {
        destroy(k);
        return;
    }
    k->state = TASK_POOLED;
    k->next = t->pool;
    t->pool = k;
    t->pooled++;
}

void tasks_set_user(struct task *k, void *user)
{
    k->user = user;
}

void tasks_set_owner(struct task *k, uint64_t owner)
{
    k->owner = owner;
}

uint64_t tasks_owner(const struct task *k)
{
    return k->owner;
}

void *tasks_user(const struct task *k)
{
    return k->user;
}

int tasks_cancelled(const struct task *k)
{
    return k->cancel;
}

void tasks_cancel(struct task *k)
{
    struct tasks *t = k->t;

    if (k->cancel || k->state == TASK_POOLED || k->state == TASK_PREPARED ||
        k->state == TASK_ENDED) {
        return;
    }
    k->cancel = 1;
    if (k->wait != NULL) {
        tasks_wait_cancel(k->wait);
    }
    if (k == t->current) {
        tasks_arm_current(t);
    }
}

void tasks_cancel_all(struct tasks *t)
{
    for (struct task *k = t->all; k != NULL; k = k->down) {
        tasks_cancel(k);
    }
}
