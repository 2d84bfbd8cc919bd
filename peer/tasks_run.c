/* Running: what is ready, in its order, each until it waits, steps back or ends. */
#include <lauxlib.h>

#include "peer/tasks_internal.h"

#define TURN_MOST 1024 /* tasks run before what comes from outside is looked at again */

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
    k->t->woken = 1;
    append(&k->t->ready, k);
}

/* ---- a task's end ---- */

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

/* ---- running ---- */

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
    k->stuck = 0;
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
    t->woken = 0;
    return t->ready.first != NULL || t->later.first != NULL;
}

int tasks_run(struct tasks *t)
{
    return tasks_run_from(t, t->L, NULL);
}
