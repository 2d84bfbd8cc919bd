#include "peer/future.h"

#include <stdlib.h>
#include <string.h>

#include "peer/api.h"
#include "peer/future_impl.h"

#define FUTURE         "grapnel.future"
#define LATE           "the answer did not come in time"
#define FUTURE_LOOK_US 50 /* that `ready` gives to events; a deadline in the past gives none */

static const char anchors_key; /* futures whose callbacks are due, by address */

/* The functions that look at a future often have the world as their upvalue. */
static struct future *self(lua_State *L)
{
    const struct world *w = lua_touserdata(L, lua_upvalueindex(1));
    if (w != NULL && lua_getmetatable(L, 1)) {
        bool is = lua_topointer(L, -1) == w->future_meta;
        lua_pop(L, 1);
        if (is) {
            return lua_touserdata(L, 1);
        }
    }
    return luaL_checkudata(L, 1, FUTURE);
}

/* ---- becoming ready ---- */

static int run_callbacks(lua_State *L);

static void wake(struct future *f)
{
    for (struct waiter *w = f->waiters; w != NULL; w = w->next) {
        tasks_wake(&w->wait);
    }
}

/* Who waits goes on when the callbacks have begun. */
void future_settle(struct future *f)
{
    lua_State *C;
    struct task *k = f->anchored ? tasks_prepare(f->world->tasks, &C) : NULL;
    f->ready = true;
    if (k == NULL) {
        wake(f);
        return;
    }
    lua_pushcfunction(C, run_callbacks);
    lua_pushlightuserdata(C, f);
    tasks_start(k, 1, NULL, NULL);
}

struct future *future_make(lua_State *L, struct world *w)
{
    struct future *f = lua_newuserdatauv(L, sizeof(*f), USER_COUNT);
    memset(f, 0, sizeof(*f));
    f->world = w;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->future_ref);
    lua_setmetatable(L, -2);
    return f;
}

/* ---- results ---- */

void future_keep(lua_State *L, struct future *f, int at, int base)
{
    int n = lua_gettop(L) - base;
    if (n > 1) {
        lua_createtable(L, n, 0);
        lua_insert(L, base + 1);
        for (int i = n; i > 0; i--) {
            lua_rawseti(L, base + 1, i);
        }
    }
    if (n > 0) {
        lua_setiuservalue(L, at, USER_RESULTS);
    }
    f->results = n;
    f->taken = true;
}

/* Of a ready future at index 1: takes what came. */
static void take(lua_State *L, struct future *f)
{
    int base = lua_gettop(L);
    if (f->small_n > 0) {
        calls_push_small(L, f->small, f->small_n);
        future_keep(L, f, 1, base);
        f->call = NULL;
        f->small_n = 0;
        return;
    }
    if (f->taken || f->call == NULL) {
        return;
    }
    f->failed = calls_results(L, f->call) < 0;
    future_keep(L, f, 1, base);
    struct peer *p = f->call->p;
    calls_drop(f->call, false);
    f->call = NULL;
    peer_let(p);
}

static int late(lua_State *L)
{
    return api_raise(L, "timeout", LATE);
}

/* Returns what became of it: all results, or raises its error. */
static int outcome(lua_State *L, struct future *f)
{
    if (f->expired) {
        return late(L);
    }
    take(L, f);
    lua_settop(L, 1);
    if (!f->taken) {
        return api_raise(L, "cancelled", "cancelled");
    }
    int n = f->results;
    lua_getiuservalue(L, 1, USER_RESULTS);
    if (n > 1) {
        luaL_checkstack(L, n + 2, "results");
        for (int i = 1; i <= n; i++) {
            lua_rawgeti(L, 2, i);
        }
    }
    return f->failed ? lua_error(L) : n;
}

/* ---- waiting ---- */

static void leave(struct waiter *w)
{
    if (w->future == NULL) {
        return;
    }
    struct waiter **at = &w->future->waiters;
    while (*at != NULL && *at != w) {
        at = &(*at)->next;
    }
    if (*at == w) {
        *at = w->next;
    }
    w->future = NULL;
}

static void cancel(struct future *f)
{
    if (f->ready) {
        return;
    }
    if (f->call != NULL && peer_alive(f->call->p)) {
        link_cancel(f->call->p->link, f->call->id);
    }
    if (f->task != NULL) {
        tasks_cancel(f->task);
    }
}

static uint64_t deadline_of(const struct future *f)
{
    return !f->ready && f->expiry != NULL ? f->expiry->timer.at_us : UINT64_MAX;
}

void future_forget_expiry(struct future *f)
{
    if (f->expiry != NULL) {
        tasks_timer_stop(&f->expiry->timer);
        free(f->expiry);
        f->expiry = NULL;
    }
}

/* It is stopped when its time is up, and not when who waits for it goes on: what runs may wait
 * inside of that wait, which then cannot end before it. */
static void expire(void *arg)
{
    struct future *f = ((struct expiry *)arg)->future;
    f->expired = true;
    cancel(f);
}

static void not_within(lua_State *L, const struct future *f)
{
    if (f->task != NULL && tasks_current(f->world->tasks) == f->task) {
        luaL_error(L, "%s", "what runs cannot wait for its own end");
    }
}

/* Waits until it is ready or that time has come.  Then k continues; w->wait.result is 0 or not. */
static int wait_until(lua_State *L, struct future *f, uint64_t deadline, lua_KFunction k)
{
    struct waiter *w = lua_newuserdatauv(L, sizeof(*w), 0);
    *w = (struct waiter){.next = f->waiters, .future = f};
    lua_rawgeti(L, LUA_REGISTRYINDEX, f->world->waiter_ref);
    lua_setmetatable(L, -2);
    f->waiters = w;
    return tasks_suspend(L, &w->wait, deadline, k, (lua_KContext)w);
}

/* Of a waiter: it is still in the list if the wait raised an error. */
static int collect_waiter(lua_State *L)
{
    leave(lua_touserdata(L, 1));
    return 0;
}

/* Leaves the list; raises a cancel.  True: it is ready. */
static bool awake(lua_State *L, lua_KContext context)
{
    struct waiter *w = (struct waiter *)context;
    struct future *f = w->future;
    int result = w->wait.result;
    leave(w);
    if (result == -E_CANCELLED) {
        tasks_cancelled_error(L);
    } else if (result != 0 && result != -E_TIMEOUT) {
        lua_pushstring(L, errors_text(result));
        lua_error(L);
    }
    return f->ready;
}

static int value_came(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    struct future *f = lua_touserdata(L, 1);
    if (!awake(L, context) || f->expired) {
        cancel(f);
        return late(L);
    }
    return outcome(L, f);
}

/* future(): all results. */
static int value(lua_State *L)
{
    struct future *f = self(L);
    if (f->ready) {
        return outcome(L, f);
    }
    not_within(L, f);
    return wait_until(L, f, deadline_of(f), value_came);
}

static int only_first(lua_State *L, int status, lua_KContext context)
{
    int n = value_came(L, status, context);
    lua_settop(L, lua_gettop(L) - n + (n > 0));
    return n > 0;
}

static int ended(lua_State *L, int status, lua_KContext context)
{
    struct future *f = lua_touserdata(L, 1);
    (void)status;
    bool ready = awake(L, context);
    lua_settop(L, 1);
    if (f->expired || (!ready && api_now(L) >= deadline_of(f))) {
        cancel(f);
        return late(L);
    }
    lua_pushboolean(L, ready);
    return 1;
}

/* future:wait([seconds]): true, or false when the seconds have passed.  Raises a timeout at its own
 * expiry. */
static int wait_for(lua_State *L)
{
    struct future *f = self(L);
    uint64_t deadline = lua_isnoneornil(L, 2) ? UINT64_MAX : api_deadline(L, 2);
    uint64_t expiry = deadline_of(f);
    lua_settop(L, 1);
    if (f->expired) {
        return late(L);
    }
    if (f->ready) {
        lua_pushboolean(L, 1);
        return 1;
    }
    not_within(L, f);
    return wait_until(L, f, deadline < expiry ? deadline : expiry, ended);
}

static int looked(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    const struct future *f = lua_touserdata(L, 1);
    lua_pushboolean(L, awake(L, context) && !f->expired);
    return 1;
}

static int set_expiry(lua_State *L)
{
    struct future *f = self(L);
    struct tasks *t = tasks_of(L); /* none while the state is being closed */
    uint64_t at = lua_isnoneornil(L, 2) ? UINT64_MAX : api_deadline(L, 2);
    lua_settop(L, 1);
    if (f->ready) {
        return 1;
    }
    future_forget_expiry(f);
    if (at == UINT64_MAX || t == NULL) {
        return 1;
    }
    if (at <= api_now(L)) {
        f->expired = true;
        cancel(f);
        return 1;
    }
    struct expiry *x = calloc(1, sizeof(*x));
    if (x == NULL || tasks_timer_set(t, &x->timer, at, expire, x) != 0) {
        free(x);
        return luaL_error(L, "%s", errors_text(-E_NOMEM));
    }
    x->future = f;
    f->expiry = x;
    return 1;
}

static int cancel_it(lua_State *L)
{
    cancel(self(L));
    return 0;
}

/* ---- callbacks ---- */

/* In a task: (future). */
static int all_begun(lua_State *L)
{
    wake(lua_touserdata(L, 1));
    return 0;
}

/* Tasks begin in the order in which they are started: this one after the callbacks.  The future is
 * at index 3. */
static int woken_last(lua_State *L, struct future *f)
{
    lua_State *C;
    struct task *k = tasks_prepare(f->world->tasks, &C);
    if (k == NULL) {
        wake(f);
        return 0;
    }
    lua_pushcfunction(C, all_begun);
    lua_pushvalue(L, 3);
    lua_xmove(L, C, 1);
    tasks_start(k, 1, NULL, NULL);
    return 0;
}

/* Nobody waits for a callback: its error becomes a warning, as in a finalizer. */
static void callback_done(void *arg, struct task *k, lua_State *L, int status, int n)
{
    lua_State *M = tasks_state(((const struct world *)arg)->tasks);
    (void)n;
    if (status == LUA_OK || tasks_cancelled(k)) {
        return;
    }
    const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, -1);
    lua_warning(M, "error in a callback of a future (", 1);
    lua_warning(M, why, 1);
    lua_warning(M, ")", 0);
}

/* In a task: (address). */
static int run_callbacks(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
    lua_rawgetp(L, 2, lua_touserdata(L, 1));
    lua_pushnil(L);
    lua_rawsetp(L, 2, lua_touserdata(L, 1));
    struct future *f = lua_touserdata(L, 3);
    if (f == NULL) {
        return 0;
    }
    f->anchored = false;
    lua_getiuservalue(L, 3, USER_CALLBACKS);
    lua_pushnil(L);
    lua_setiuservalue(L, 3, USER_CALLBACKS);
    lua_Integer n = lua_istable(L, 4) ? (lua_Integer)lua_rawlen(L, 4) : 0;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_State *C;
        struct task *k = tasks_prepare(f->world->tasks, &C);
        if (k == NULL) {
            break;
        }
        lua_rawgeti(L, 4, i);
        lua_pushvalue(L, 3);
        lua_xmove(L, C, 2);
        tasks_start(k, 1, callback_done, f->world);
    }
    return woken_last(L, f);
}

void future_anchor(lua_State *L, int idx)
{
    struct future *f = lua_touserdata(L, idx);
    lua_pushvalue(L, idx);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &anchors_key);
    lua_insert(L, -2);
    lua_rawsetp(L, -2, f);
    lua_pop(L, 1);
    f->anchored = true;
}

static int add_callback(lua_State *L)
{
    struct future *f = self(L);
    api_check_callable(L, 2);
    lua_settop(L, 2);
    if (f->ready && !f->anchored) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 0);
        lua_settop(L, 1);
        return 1;
    }
    if (lua_getiuservalue(L, 1, USER_CALLBACKS) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, USER_CALLBACKS);
    }
    lua_pushvalue(L, 2);
    lua_rawseti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
    future_anchor(L, 1);
    lua_settop(L, 1);
    return 1;
}

/* ---- looking ---- */

static int get(lua_State *L)
{
    struct future *f = self(L);
    const char *name = luaL_checkstring(L, 2);
    lua_settop(L, 2);
    if (strcmp(name, "ready") == 0) {
        /* Who polls must let things happen, too. */
        if (!f->ready || f->expired) {
            return wait_until(L, f, api_now(L) + FUTURE_LOOK_US, looked);
        }
        lua_pushboolean(L, 1);
    } else if (strcmp(name, "value") == 0) {
        lua_settop(L, 1);
        if (!f->ready) {
            not_within(L, f);
            return wait_until(L, f, deadline_of(f), only_first);
        }
        int n = outcome(L, f);
        lua_settop(L, lua_gettop(L) - n + (n > 0));
        return n > 0;
    } else if (strcmp(name, "error") == 0) {
        lua_settop(L, 1);
        lua_pushboolean(L, 0);
        if (f->ready) {
            take(L, f);
            if (f->expired) {
                lua_pushliteral(L, LATE);
                api_push_error(L, "timeout");
            } else if (!f->taken) {
                lua_pushliteral(L, "cancelled");
            } else if (f->failed && lua_getiuservalue(L, 1, USER_RESULTS) == LUA_TNIL) {
                lua_pushboolean(L, 1);
            } else if (!f->failed) {
                lua_pushboolean(L, 0);
            }
        }
    } else if (strcmp(name, "expired") == 0) {
        lua_pushboolean(L, f->expired || (!f->ready && api_now(L) >= deadline_of(f)));
    } else {
        luaL_getmetafield(L, 1, "methods");
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
    }
    return 1;
}

static int show(lua_State *L)
{
    const struct future *f = self(L);
    bool expired = f->expired || api_now(L) >= deadline_of(f);
    const char *how = expired ? "expired" : f->ready ? "ready" : "pending";
    lua_pushfstring(L, FUTURE ": %p (%s)", (const void *)f, how);
    return 1;
}

static int collect(lua_State *L)
{
    struct future *f = lua_touserdata(L, 1);
    if (!f->ready) {
        future_forget_expiry(f);
    }
    if (f->small_n == 0 && f->call != NULL) {
        struct peer *p = f->call->p;
        calls_drop(f->call, false);
        f->call = NULL;
        peer_let(p);
    }
    return 0;
}

void future_init(lua_State *L, struct world *w)
{
    static const luaL_Reg methods[] = {{"wait", wait_for},
                                       {"set_expiry", set_expiry},
                                       {"add_callback", add_callback},
                                       {"cancel", cancel_it},
                                       {NULL, NULL}};
    future_start_init(L, w);
    luaL_newmetatable(L, FUTURE);
    w->future_meta = lua_topointer(L, -1);
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, get, 1);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, value, 1);
    lua_setfield(L, -2, "__call");
    lua_pushcfunction(L, show);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "methods");
    w->future_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, collect_waiter);
    lua_setfield(L, -2, "__gc");
    w->waiter_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &anchors_key);
}
