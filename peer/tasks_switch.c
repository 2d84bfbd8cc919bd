/* Which code runs, and how it is reached from outside: by a hook on the next instruction. */
#include <lauxlib.h>

#include "peer/tasks_internal.h"

#define STUCK_TIMES 5     /* slices in code that cannot be left, before others run inside of it */
#define GRACE_TIMES 3     /* so often a cancelled task's code may go on after the error … */
#define LEVELS_MOST 1000  /* of calls that are looked at */
#define GRACE_COUNT 10000 /* … for so many instructions, to tidy up */

static const char mark = 0;      /* its address is the mark */
static const char cancelled = 0; /* its address is the registry's key of the error value */

/* ---- the mark ---- */

void tasks_mark(lua_State *co)
{
    if (lua_checkstack(co, 1)) {
        lua_pushlightuserdata(co, (void *)&mark);
    }
}

int tasks_marked(lua_State *co)
{
    return lua_gettop(co) > 0 && lua_touserdata(co, -1) == (const void *)&mark;
}

void tasks_unmark(lua_State *co)
{
    if (tasks_marked(co)) {
        lua_pop(co, 1);
    }
}

/* ---- the error of cancelled tasks ---- */

void tasks_push_cancelled(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &cancelled);
}

int tasks_cancelled_error(lua_State *L)
{
    tasks_push_cancelled(L);
    return lua_error(L);
}

void tasks_prepare_cancelled(lua_State *L)
{
    lua_pushliteral(L, "cancelled");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &cancelled);
}

/* ---- the hook ---- */

int tasks_can_yield(const struct tasks *t, lua_State *L)
{
    return t->current != NULL && t->running == L && t->passes && lua_isyieldable(L);
}

static void on_hook(lua_State *L, lua_Debug *ar);

/* The user's hook comes back afterwards.  Not interrupted by the signal, or in its handler. */
static void arm(struct tasks *t, lua_State *L, int count)
{
    t->saved = lua_gethook(L);
    t->saved_mask = lua_gethookmask(L);
    t->saved_count = lua_gethookcount(L);
    if (t->saved == on_hook) {
        t->saved = NULL;
    }
    t->armed = L;
    lua_sethook(L, on_hook, LUA_MASKCOUNT, count);
}

static void disarm(struct tasks *t)
{
    if (lua_gethook(t->armed) == on_hook) {
        lua_sethook(t->armed, t->saved, t->saved_mask, t->saved_count);
    }
    t->armed = NULL;
}

static int patience(const struct task *k)
{
    return k->raised == 0 || k->raised > GRACE_TIMES ? 1 : GRACE_COUNT;
}

void tasks_enter(struct tasks *t, lua_State *L)
{
    t->running = NULL; /* keeps the signal's handler away */
    if (t->armed != NULL) {
        disarm(t);
    }
    if (L != NULL && t->current != NULL) {
        if (t->current->cancel) {
            arm(t, L, patience(t->current));
        } else if (t->preempt) {
            arm(t, L, 1);
        }
    }
    t->running = L;
}

void tasks_arm_current(struct tasks *t)
{
    tasks_enter(t, t->running);
}

void tasks_preempt(struct tasks *t)
{
    lua_State *L = t->running;

    if (L != NULL && t->current != NULL && t->armed == NULL) {
        t->preempt = 1;
        arm(t, L, 1);
    }
}

/* Where it cannot yield, the others get one turn inside of it; not at once, since short pieces of
 * such code are many (a module that is loaded), and better not interrupted. */
static void nested_turn(struct tasks *t, lua_State *L)
{
    struct tasks_saved saved;

    if (++t->current->stuck < STUCK_TIMES || t->nesting >= TASKS_NEST_MAX / 2) {
        return;
    }
    t->current->stuck = 0;
    saved = tasks_set_aside(t);
    t->nesting++;
    (void)t->host.wait(t->host.arg, 0);
    (void)tasks_run_from(t, L, NULL);
    t->nesting--;
    tasks_put_back(t, &saved);
}

static void step_back(struct tasks *t, lua_State *L)
{
    if (tasks_can_yield(t, L)) {
        t->current->state = TASK_STEPPED;
        t->suspending = 1;
        (void)lua_yield(L, 0);
    } else {
        nested_turn(t, L);
    }
}

static int as_it_is(lua_State *L)
{
    (void)L;
    return 1;
}

/* What handles messages within a hook can itself not be reached by one.  So cancelled code has no
 * message handlers of its own: xpcall's lie in its second slot.  False: there may be more. */
static int take_handlers(const struct tasks *t, lua_State *L)
{
    lua_Debug ar;

    for (int level = 0; level < LEVELS_MOST; level++) {
        if (!lua_getstack(L, level, &ar)) {
            return 1;
        }
        if (lua_getinfo(L, "f", &ar) && lua_tocfunction(L, -1) == t->xpcall) {
            lua_pushcfunction(L, as_it_is);
            (void)lua_setlocal(L, &ar, 2);
        }
        lua_pop(L, 1);
    }
    return 0;
}

/* Code that has handled the error too often is left for good: its thread is closed where it is.
 * Where that cannot be, each of its functions gets the error at its first instruction. */
static void cancel(struct tasks *t, lua_State *L)
{
    int reached = take_handlers(t, L);

    t->current->raised++;
    if ((t->current->raised > GRACE_TIMES || !reached) && tasks_can_yield(t, L)) {
        t->current->state = TASK_KILLED;
        t->suspending = 1;
        (void)lua_yield(L, 0);
        return;
    }
    tasks_enter(t, L);
    (void)tasks_cancelled_error(L);
}

static void on_hook(lua_State *L, lua_Debug *ar)
{
    struct tasks *t = tasks_of(L);

    (void)ar;
    /* A coroutine gets the hook of who creates it. */
    if (t == NULL || t->armed != L || t->running != L || t->current == NULL) {
        lua_sethook(L, NULL, 0, 0);
        return;
    }
    if (!t->current->cancel && t->preempt) {
        t->preempt = 0;
        tasks_enter(t, L);
        step_back(t, L);
        if (t->suspending) {
            return;
        }
    }
    if (t->current->cancel) {
        cancel(t, L);
        return;
    }
    tasks_enter(t, L);
}
