/* Waiting: by yielding, or nested. */
#include <lauxlib.h>
#include <math.h>

#include "peer/tasks_internal.h"
#include "proto/errors.h"

int tasks_waiting(const struct tasks_wait *w)
{
    return w->state == WAIT_WAITING;
}

static void over(struct tasks_wait *w, int result)
{
    struct task *k = w->task;

    w->state = WAIT_WOKEN;
    w->result = result;
    w->t->woken = 1;
    tasks_timer_stop(&w->timer);
    if (k != NULL && k->state == TASK_WAITING) {
        tasks_ready(k);
    }
}

void tasks_wake(struct tasks_wait *w)
{
    if (w->state == WAIT_WAITING) {
        over(w, 0);
    } else if (w->state == WAIT_IDLE) {
        w->state = WAIT_WOKEN;
        w->result = 0;
    }
}

void tasks_wait_cancel(struct tasks_wait *w)
{
    if (w->state == WAIT_WAITING) {
        over(w, -E_CANCELLED);
    }
}

void tasks_leave_wait(struct task *k)
{
    struct tasks_wait *w = k->wait;

    if (w == NULL) {
        return;
    }
    k->wait = NULL;
    w->task = NULL;
    w->state = WAIT_IDLE;
    if (w->result == -E_CANCELLED) {
        k->raised++; /* the waiting function does it */
    }
}

static void on_time(void *arg)
{
    over(arg, -E_TIMEOUT);
}

/* Inside a finalizer the collector does not run, and what was interrupted may be half done. */
static int in_finalizer(lua_State *L)
{
    return lua_gc(L, LUA_GCCOUNT) < 0;
}

static void nest(struct tasks *t, lua_State *L, struct tasks_wait *w)
{
    struct tasks_saved saved = tasks_set_aside(t);

    t->nesting++;
    while (w->state == WAIT_WAITING) {
        int more = tasks_run_from(t, L, w), result;
        if (w->state != WAIT_WAITING) {
            break;
        }
        if (t->refused) {
            over(w, -E_LIMIT);
            break;
        }
        result = t->host.wait(t->host.arg, more ? 0 : tasks_next_deadline(t));
        if (result < 0 && w->state == WAIT_WAITING) {
            over(w, result);
        }
    }
    t->nesting--;
    tasks_put_back(t, &saved);
}

static int wait_nested(struct tasks *t, lua_State *L, struct tasks_wait *w)
{
    struct task *k = t->current;

    if (t->nesting < TASKS_NEST_MAX && !in_finalizer(L)) {
        nest(t, L, w);
    } else {
        over(w, -E_LIMIT);
    }
    if (k != NULL) {
        tasks_leave_wait(k);
    }
    w->state = WAIT_IDLE;
    if (w->result == -E_LIMIT) {
        return luaL_error(L, in_finalizer(L) ? "a finalizer cannot wait"
                                             : "waits are nested too deeply (in functions such as "
                                               "table.sort, which cannot be left while they wait)");
    }
    return 0;
}

int tasks_suspend(lua_State *L, struct tasks_wait *w, uint64_t deadline_us, lua_KFunction k,
                  lua_KContext ctx)
{
    struct tasks *t = tasks_of(L);

    if (t == NULL) {
        return luaL_error(L, "nothing can wait here any more");
    }
    if (w->state == WAIT_WOKEN) {
        w->state = WAIT_IDLE;
        return k(L, LUA_OK, ctx);
    }
    if (w->state == WAIT_WAITING) {
        return luaL_error(L, "something else waits for this already");
    }
    if (t->current != NULL && t->current->cancel) {
        w->result = -E_CANCELLED;
        t->current->raised++;
        return k(L, LUA_OK, ctx);
    }
    if (deadline_us != UINT64_MAX && tasks_timer_set(t, &w->timer, deadline_us, on_time, w) != 0) {
        return luaL_error(L, "not enough memory");
    }
    w->t = t;
    w->task = t->current;
    w->state = WAIT_WAITING;
    if (t->current != NULL) {
        t->current->wait = w;
    }
    if (tasks_can_yield(t, L)) {
        t->current->state = TASK_WAITING;
        t->suspending = 1;
        return lua_yieldk(L, 0, ctx, k);
    }
    (void)wait_nested(t, L, w);
    return k(L, LUA_OK, ctx);
}

/* ---- sleep ---- */

static int slept(lua_State *L, int status, lua_KContext ctx)
{
    const struct tasks_wait *w = lua_touserdata(L, -1);

    (void)status;
    (void)ctx;
    if (w->result == -E_CANCELLED) {
        return tasks_cancelled_error(L);
    }
    return w->result == -E_TIMEOUT ? 0 : luaL_error(L, "%s", errors_text(w->result));
}

int tasks_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    struct tasks_wait *w = lua_newuserdatauv(L, sizeof(*w), 0);
    const struct tasks *t = tasks_of(L);
    uint64_t deadline = UINT64_MAX;

    *w = (struct tasks_wait){0};
    luaL_argcheck(L, !isnan(seconds), 1, "not a time");
    if (t != NULL && seconds < 1e12) {
        deadline = t->now_us() + (seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
    }
    return tasks_suspend(L, w, deadline, slept, 0);
}
