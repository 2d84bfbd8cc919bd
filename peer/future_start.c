/* What gives futures: async, for far and for local functions; and calls that give none. */
#include "peer/api.h"
#include "peer/future_impl.h"

#define FUTURE_ROOM_US     500
#define FUTURE_ROOM        (1024 * 1024)         /* bytes that an ordinary call needs */
#define FUTURE_PATIENCE_US 5000000               /* without a single answer */
#define FUTURE_CROWD       (PEER_CALLS_MAX - 64) /* calls under way, over which async waits */

/* ---- local functions ---- */

static int local_ended(lua_State *L, int status, lua_KContext context)
{
    /* Stack: future, results or an error value. */
    struct future *f = lua_touserdata(L, 1);
    (void)context;
    f->failed = status != LUA_OK && status != LUA_YIELD;
    future_keep(L, f, 1, 1);
    return 0;
}

/* In a task: (future, function, …). */
static int run_local(lua_State *L)
{
    return local_ended(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, local_ended), 0);
}

static void local_done(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct future *f = arg;
    (void)k, (void)L, (void)status, (void)n;
    f->task = NULL;
    future_forget_expiry(f);
    future_settle(f);
}

/* function, … on the stack: runs it beside; the future takes the place of all. */
static int start_local(lua_State *L, struct world *w)
{
    lua_State *C;
    int n = lua_gettop(L);
    struct future *f = future_make(L, w);
    lua_insert(L, 1);
    /* It must stay while the task may look at it. */
    future_anchor(L, 1);
    struct tasks *t = tasks_of(L); /* none while the state is being closed */
    struct task *k = t != NULL ? tasks_prepare(t, &C) : NULL;
    if (k != NULL && !lua_checkstack(C, n + 4)) {
        tasks_drop(k);
        k = NULL;
    }
    if (k == NULL) {
        return luaL_error(L, "%s", errors_text(-E_NOMEM));
    }
    lua_pushcfunction(C, run_local);
    lua_pushvalue(L, 1);
    lua_insert(L, 1);
    lua_xmove(L, C, n + 1);
    f->task = k;
    tasks_start(k, n + 1, local_done, f);
    return 1;
}

/* ---- far functions ---- */

/* The record of a call is worth more for the next one than for keeping a small answer. */
static void told(struct calls_call *c)
{
    struct future *f = c->arg;
    struct peer *p = c->p;
    future_forget_expiry(f);
    size_t n = calls_take_small(c, f->small, sizeof(f->small));
    f->small_n = (uint8_t)n;
    future_settle(f);
    if (n > 0) {
        peer_let(p);
    }
}

/* With very many calls under way one waits until some are answered. */
struct room {
    struct tasks_wait wait;
    uint64_t answered; /* so many had been when we looked last … */
    uint64_t since;    /* … and since then it has not changed */
};

static int start(lua_State *L);
static int call_no_reply(lua_State *L);

static bool crowded(struct peer *p)
{
    return peer_alive(p) &&
           (p->calls_pending >= FUTURE_CROWD || link_is_full(p->link, FUTURE_ROOM));
}

static int room_came(lua_State *L, int status, lua_KContext context)
{
    const struct world *w = lua_touserdata(L, lua_upvalueindex(1));
    struct room *r = lua_touserdata(L, -1);
    struct peer *p = proxy_at(L, w, 1)->p;
    uint64_t now = tasks_now(p->tasks);
    (void)status;
    if (r->wait.result == -E_CANCELLED) {
        return tasks_cancelled_error(L);
    }
    if (r->wait.result != 0 && r->wait.result != -E_TIMEOUT) {
        return peer_raise(L, p, r->wait.result, "");
    }
    if (!crowded(p)) {
        lua_pop(L, 1);
        return context != 0 ? start(L) : call_no_reply(L);
    }
    if (r->answered != p->calls_answered) {
        r->answered = p->calls_answered;
        r->since = now;
    } else if (now - r->since > FUTURE_PATIENCE_US) {
        return peer_raise(L, p, -E_LIMIT, "very many calls wait for their answers, and none comes");
    }
    return tasks_suspend(L, &r->wait, now + FUTURE_ROOM_US, room_came, context);
}

static int wait_for_room(lua_State *L, struct peer *p, bool future)
{
    struct room *r = lua_newuserdatauv(L, sizeof(*r), 0);
    *r = (struct room){.answered = p->calls_answered, .since = tasks_now(p->tasks)};
    return tasks_suspend(L, &r->wait, r->since + FUTURE_ROOM_US, room_came, future);
}

/* (callee, …) → future. */
static int start(lua_State *L)
{
    struct world *w = lua_touserdata(L, lua_upvalueindex(1));
    struct proxy *x = proxy_at(L, w, 1);
    if (x == NULL) {
        return start_local(L, w);
    }
    struct peer *p = x->p;
    if (crowded(p)) {
        return wait_for_room(L, p, true);
    }
    struct calls_call *c = calls_send_call(L, p, 0);
    struct future *f = future_make(L, w);
    c->told = told;
    c->arg = f;
    f->call = c;
    peer_hold(p);
    return 1;
}

/* The function that async gave: upvalues world, callee. */
static int async_call(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    return start(L);
}

/* async(f) → a function whose calls give futures. */
static int async(lua_State *L)
{
    api_check_callable(L, 1);
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_pushcclosure(L, async_call, 2);
    return 1;
}

static int call_no_reply(lua_State *L)
{
    struct world *w = lua_touserdata(L, lua_upvalueindex(1));
    struct proxy *x = proxy_at(L, w, 1);
    api_check_callable(L, 1);
    if (x == NULL) {
        start_local(L, w);
    } else if (crowded(x->p)) {
        return wait_for_room(L, x->p, false);
    } else {
        calls_send_call(L, x->p, CALLS_NO_REPLY);
    }
    return 0;
}

void future_start_init(lua_State *L, struct world *w)
{
    static const luaL_Reg functions[] = {
        {"async", async}, {"call_no_reply", call_no_reply}, {NULL, NULL}};
    lua_pushlightuserdata(L, w);
    luaL_setfuncs(L, functions, 1);
}
