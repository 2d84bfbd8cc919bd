/* The library `coroutine` of a state with tasks.
 *
 * To its user it is the stock one.  Below, when the code inside a coroutine waits, the coroutine
 * yields with the tasks' `suspending` set; whoever has resumed it then yields in the same way, and
 * so on up to the task's own thread; and when the task goes on each resumes its coroutine again.
 *
 * A task's own thread is to its code what the main chunk is elsewhere: it cannot yield. */
#include <lauxlib.h>

#include "peer/tasks_internal.h"

#if LUA_VERSION_RELEASE_NUM >= 50406
#define close_thread(co, from) lua_closethread(co, from)
#else
#define close_thread(co, from) lua_resetthread(co)
#endif

#define FAILED    (-1) /* the error value is on L's stack */
#define SUSPENDED (-2) /* L must yield, too */

/* NULL: the tasks were freed. */
static struct tasks *tasks_here(lua_State *L)
{
    return *(struct tasks **)lua_touserdata(L, lua_upvalueindex(1));
}

static int is_task(const struct tasks *t, const lua_State *L)
{
    return t != NULL && t->current != NULL && t->current->L == L;
}

int tasks_close_thread(struct tasks *t, lua_State *co, lua_State *from)
{
    lua_State *running;
    int status, passes;

    (void)from;
    if (t == NULL) {
        return close_thread(co, from);
    }
    running = t->running;
    passes = t->passes;
    t->passes = 0;
    tasks_enter(t, co);
    status = close_thread(co, from);
    t->passes = passes;
    tasks_enter(t, running);
    return status;
}

/* lua_resume; n is how many values are left on co's stack. */
static int resume_within(struct tasks *t, lua_State *L, lua_State *co, int nargs, int *n)
{
    lua_State *running;
    int status, passes;

    if (t == NULL) {
        return lua_resume(co, L, nargs, n);
    }
    running = t->running;
    passes = t->passes;
    t->passes = tasks_can_yield(t, L);
    tasks_enter(t, co);
    status = lua_resume(co, L, nargs, n);
    t->passes = passes;
    tasks_enter(t, running);
    return status;
}

/* Resumes co with its arguments on its stack: the number of results, which are on L's stack then,
 * or FAILED or SUSPENDED. */
static int go(struct tasks *t, lua_State *L, lua_State *co, int nargs)
{
    int n, status = resume_within(t, L, co, nargs, &n);

    if (status == LUA_YIELD && t != NULL && t->suspending) {
        tasks_mark(co);
        return SUSPENDED;
    }
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return FAILED;
    }
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        lua_pushliteral(L, "too many results to resume");
        return FAILED;
    }
    lua_xmove(co, L, n);
    return n;
}

/* The nargs topmost values of L are the arguments. */
static int resume(struct tasks *t, lua_State *L, lua_State *co, int nargs)
{
    if (lua_status(co) == LUA_YIELD && tasks_marked(co)) {
        lua_pushliteral(L, "cannot resume non-suspended coroutine");
        return FAILED;
    }
    if (!lua_checkstack(co, nargs)) {
        lua_pushliteral(L, "too many arguments to resume");
        return FAILED;
    }
    lua_xmove(L, co, nargs);
    return go(t, L, co, nargs);
}

static int go_on(struct tasks *t, lua_State *L, lua_State *co)
{
    tasks_unmark(co);
    return go(t, L, co, 0);
}

/* ---- resume ---- */

static int resume_results(lua_State *L, int n);

static int resume_again(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    return resume_results(L, go_on(tasks_here(L), L, lua_tothread(L, 1)));
}

static int resume_results(lua_State *L, int n)
{
    if (n == SUSPENDED) {
        return lua_yieldk(L, 0, 0, resume_again);
    }
    lua_pushboolean(L, n >= 0);
    n = n >= 0 ? n : 1;
    lua_insert(L, -(n + 1));
    return n + 1;
}

static lua_State *get_thread(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);

    luaL_argexpected(L, co != NULL, 1, "thread");
    return co;
}

static int co_resume(lua_State *L)
{
    lua_State *co = get_thread(L);

    return resume_results(L, resume(tasks_here(L), L, co, lua_gettop(L) - 1));
}

/* ---- wrap ---- */

/* The error of a wrapped coroutine goes on in its caller. */
static int wrap_error(lua_State *L, struct tasks *t, lua_State *co)
{
    int status = lua_status(co);

    if (status != LUA_OK && status != LUA_YIELD) {
        status = tasks_close_thread(t, co, L);
        lua_xmove(co, L, 1); /* closing may have made another error of it */
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int wrap_results(lua_State *L, int n);

static int wrap_again(lua_State *L, int status, lua_KContext ctx)
{
    (void)status;
    (void)ctx;
    return wrap_results(L, go_on(tasks_here(L), L, lua_tothread(L, lua_upvalueindex(2))));
}

static int wrap_results(lua_State *L, int n)
{
    if (n == SUSPENDED) {
        return lua_yieldk(L, 0, 0, wrap_again);
    }
    if (n == FAILED) {
        return wrap_error(L, tasks_here(L), lua_tothread(L, lua_upvalueindex(2)));
    }
    return n;
}

static int wrapped(lua_State *L)
{
    lua_State *co = lua_tothread(L, lua_upvalueindex(2));

    return wrap_results(L, resume(tasks_here(L), L, co, lua_gettop(L)));
}

static int co_create(lua_State *L)
{
    lua_State *co;

    luaL_checktype(L, 1, LUA_TFUNCTION);
    co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int co_wrap(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_pushvalue(L, lua_upvalueindex(1));
    (void)co_create(L);
    lua_pushcclosure(L, wrapped, 2);
    return 1;
}

/* ---- the rest ---- */

static int co_yield (lua_State *L)
{
    if (is_task(tasks_here(L), L)) {
        return luaL_error(L, "attempt to yield from outside a coroutine");
    }
    return lua_yield(L, lua_gettop(L));
}

static const char *status_of(lua_State *L, lua_State *co)
{
    lua_Debug ar;

    if (L == co) {
        return "running";
    }
    switch (lua_status(co)) {
    case LUA_YIELD:
        return tasks_marked(co) ? "normal" : "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &ar)) {
            return "normal";
        }
        return lua_gettop(co) == 0 ? "dead" : "suspended";
    default:
        return "dead";
    }
}

static int co_status(lua_State *L)
{
    lua_pushstring(L, status_of(L, get_thread(L)));
    return 1;
}

static int co_isyieldable(lua_State *L)
{
    lua_State *co = lua_isnone(L, 1) ? L : get_thread(L);

    lua_pushboolean(L, lua_isyieldable(co) && !is_task(tasks_here(L), co));
    return 1;
}

static int co_running(lua_State *L)
{
    struct tasks *t = tasks_here(L);
    int is_main = lua_pushthread(L);

    if (is_task(t, L)) {
        t->current->exposed = 1;
        is_main = 1;
    }
    lua_pushboolean(L, is_main);
    return 2;
}

static int co_close(lua_State *L)
{
    lua_State *co = get_thread(L);
    const char *status = status_of(L, co);

    if (*status != 'd' && *status != 's') {
        return luaL_error(L, "cannot close a %s coroutine", status);
    }
    if (tasks_close_thread(tasks_here(L), co, L) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

void tasks_coroutine_install(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"create", co_create}, {"resume", co_resume},   {"wrap", co_wrap},
        {"yield", co_yield },  {"status", co_status},   {"isyieldable", co_isyieldable},
        {"close", co_close},   {"running", co_running}, {NULL, NULL}};

    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "coroutine") == LUA_TTABLE) {
        lua_pushvalue(L, -3);
        luaL_setfuncs(L, functions, 1);
    }
    lua_pop(L, 2);
}
