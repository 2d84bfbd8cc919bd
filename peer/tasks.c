#include "peer/tasks.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "peer/tasks_internal.h"

#define POOL_MOST 256  /* coroutines kept for later tasks */
#define TURN_MOST 1024 /* tasks run before what comes from outside is looked at again */

static const char state_key = 0;   /* addresses are the registry's keys: the box, … */
static const char threads_key = 0; /* … and the table of all threads by their tasks */

/* ---- queues ---- */

static void append(struct queue *q, struct task *k)
{
    k->next = NULL;
    if (q->last != NULL) {
        q->last->next = k;
    } else {
        q->first = k;
    }
    q->last = k;
}

static struct task *take(struct queue *q)
{
    struct task *k = q->first;

    if (k != NULL) {
        q->first = k->next;
        if (q->first == NULL) {
            q->last = NULL;
        }
    }
    return k;
}

static void move_all(struct queue *to, struct queue *from)
{
    if (from->first == NULL) {
        return;
    }
    if (to->last != NULL) {
        to->last->next = from->first;
    } else {
        to->first = from->first;
    }
    to->last = from->last;
    from->first = from->last = NULL;
}

void tasks_ready(struct task *k)
{
    k->state = TASK_READY;
    append(&k->t->ready, k);
}

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
    while (t->all != NULL) {
        if (t->all->wait != NULL) {
            t->all->wait->state = WAIT_IDLE;
            t->all->wait->task = NULL;
        }
        destroy(t->all);
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
    if (k->exposed || t->pooled >= POOL_MOST) {
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

/* ---- running ---- */

static int make_traceback(lua_State *L)
{
    lua_State *of = lua_touserdata(L, 1);

    luaL_traceback(L, of, NULL, 0);
    return 1;
}

/* Leaves the traceback of k's code, or nil, on the service's stack. */
static void push_traceback(struct task *k)
{
    lua_State *S = k->t->service;

    if (k->cancel || !lua_checkstack(S, LUA_MINSTACK)) {
        lua_pushnil(S);
        return;
    }
    lua_pushcfunction(S, make_traceback);
    lua_pushlightuserdata(S, k->L);
    if (lua_pcall(S, 1, 1, 0) != LUA_OK) {
        lua_pop(S, 1);
        lua_pushnil(S);
    }
}

/* Closes k's variables, whose code may wait and be cancelled as any other. */
static void close_thread(struct task *k, lua_State *from)
{
    struct tasks_saved saved = tasks_set_aside(k->t);

    k->t->current = k;
    (void)tasks_close_thread(k->t, k->L, from);
    tasks_put_back(k->t, &saved);
}

static void finish(struct task *k, lua_State *from, int status, int n)
{
    struct tasks *t = k->t;

    if (status != LUA_OK) {
        push_traceback(k);
        if (lua_status(k->L) != LUA_OK) {
            close_thread(k, from);
        }
        lua_xmove(t->service, k->L, 1);
        lua_insert(k->L, -2);
        n = 2;
    }
    k->state = TASK_ENDED;
    k->wait = NULL;
    t->count--;
    if (k->done != NULL) {
        k->done(k->arg, k, k->L, status, n);
    }
    tasks_drop(k);
}

/* Its code is not run any more, but may tidy up. */
static void end_cancelled(struct task *k, lua_State *from)
{
    k->raised = 1;
    if (lua_status(k->L) != LUA_OK) {
        close_thread(k, from);
    }
    lua_settop(k->L, 0);
    tasks_push_cancelled(k->L);
    finish(k, from, LUA_ERRRUN, 1);
}

/* A coroutine that could not be resumed is as it was. */
static void put_off(struct task *k)
{
    lua_pop(k->L, 1);
    tasks_mark(k->L);
    k->state = TASK_READY;
    append(&k->t->later, k);
    k->t->refused = 1;
}

/* Its coroutine yielded: because of a wait, to step back, or by a yield of some C library's that
 * means nothing here, which is taken for the latter. */
static void yielded(struct task *k, lua_State *from, int n)
{
    struct tasks *t = k->t;
    int suspended = t->suspending;

    t->suspending = 0;
    if (!suspended) {
        lua_pop(k->L, n);
        k->state = TASK_STEPPED;
    }
    if (k->state == TASK_KILLED) {
        end_cancelled(k, from);
        return;
    }
    tasks_mark(k->L);
    if (k->state == TASK_STEPPED) {
        append(&t->later, k);
    }
}

static void run_one(struct task *k, lua_State *from)
{
    struct tasks *t = k->t;
    struct tasks_saved saved;
    int status, n = 0, fresh = !k->started;

    if (fresh && k->cancel) {
        end_cancelled(k, from);
        return;
    }
    if (!fresh) {
        tasks_unmark(k->L);
    }
    saved = tasks_set_aside(t);
    k->started = 1;
    k->state = TASK_RUNNING;
    tasks_leave_wait(k);
    t->current = k;
    t->passes = 1;
    t->preempt = 0;
    tasks_enter(t, k->L);
    status = lua_resume(k->L, from, fresh ? k->nargs : 0, &n);
    tasks_put_back(t, &saved);
    if (status == LUA_YIELD) {
        yielded(k, from, n);
    } else if (status != LUA_OK && lua_status(k->L) == LUA_YIELD) {
        put_off(k);
    } else {
        finish(k, from, status, n);
    }
}

struct tasks_saved tasks_set_aside(struct tasks *t)
{
    struct tasks_saved s = {t->current, t->running, t->passes};

    tasks_enter(t, NULL);
    t->current = NULL;
    t->passes = 0;
    return s;
}

void tasks_put_back(struct tasks *t, const struct tasks_saved *s)
{
    tasks_enter(t, NULL);
    t->current = s->current;
    t->passes = s->passes;
    tasks_enter(t, s->running);
}

int tasks_run_from(struct tasks *t, lua_State *from, const struct tasks_wait *until)
{
    struct task *k;
    unsigned budget = TURN_MOST;

    tasks_fire_timers(t);
    move_all(&t->ready, &t->later);
    t->refused = 0;
    while (budget-- > 0 && (until == NULL || until->state == WAIT_WAITING) && !t->refused &&
           (k = take(&t->ready)) != NULL) {
        run_one(k, from);
    }
    return t->ready.first != NULL || t->later.first != NULL;
}

int tasks_run(struct tasks *t)
{
    return tasks_run_from(t, t->L, NULL);
}
