/* The scheduler: waits of every kind, timers, cancels, preemption, and the replaced coroutines. */
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "peer/tasks.h"
#include "proto/errors.h"
#include "unit.h"

/* A world whose time goes on only when all wait for it. */
struct world {
    lua_State *L;
    struct tasks *t;
    uint64_t now;
    int waits;                /* of the host */
    int give_up;              /* its result */
    size_t limit, used;       /* of Lua's memory; limit 0: none */
    struct tasks_wait *gates; /* what gate(i) waits on */
    int opened;               /* gates that the host has opened … */
    int open;                 /* … of so many that it opens, one at a time */
    int hasty;                /* tasks_woken was wrong */
    int done, failed;
    struct task *last, *marked;
    char log[4096];
};

#define GATES 64

static struct world *world;

static uint64_t now_us(void)
{
    return world->now;
}

static int host_wait(void *arg, uint64_t deadline_us)
{
    struct world *w = arg;

    w->waits++;
    /* What came before has been seen to: one that looks here before it waits does wait. */
    w->hasty |= deadline_us != 0 && tasks_woken(w->t);
    if (w->opened < w->open) {
        tasks_wake(&w->gates[w->opened++]);
        w->hasty |= !tasks_woken(w->t);
        return 0;
    }
    if (w->give_up != 0) {
        return w->give_up;
    }
    if (deadline_us == UINT64_MAX) {
        return -E_CLOSED; /* for ever, in this world */
    }
    if (deadline_us > w->now) {
        w->now = deadline_us;
    }
    return 0;
}

static void *alloc(void *ud, void *p, size_t old, size_t size)
{
    struct world *w = ud;

    if (p == NULL) {
        old = 0;
    }
    if (size == 0) {
        free(p);
        w->used -= old;
        return NULL;
    }
    if (w->limit != 0 && size > old && w->used + (size - old) > w->limit) {
        return NULL;
    }
    void *q = realloc(p, size);
    if (q != NULL) {
        w->used = w->used - old + size;
    }
    return q;
}

/* ---- what the code in the tests uses ---- */

static int l_log(lua_State *L)
{
    size_t at = strlen(world->log);

    for (int i = 1; i <= lua_gettop(L); i++) {
        at += (size_t)snprintf(world->log + at, sizeof world->log - at, "%s%s", at > 0 ? " " : "",
                               luaL_tolstring(L, i, NULL));
        ck_assert_uint_lt(at, sizeof world->log);
        lua_pop(L, 1);
    }
    return 0;
}

static int passed_gate(lua_State *L, int status, lua_KContext ctx)
{
    struct tasks_wait *w = (struct tasks_wait *)ctx;

    (void)status;
    if (w->result == -E_CANCELLED) {
        return tasks_cancelled_error(L);
    }
    lua_pushinteger(L, w->result);
    return 1;
}

/* gate(i [, seconds]): waits until it is opened; 0, or a negative code. */
static int l_gate(lua_State *L)
{
    struct tasks_wait *w = &world->gates[luaL_checkinteger(L, 1)];
    uint64_t deadline = UINT64_MAX;

    if (!lua_isnoneornil(L, 2)) {
        deadline = world->now + (uint64_t)(luaL_checknumber(L, 2) * 1e6);
    }
    return tasks_suspend(L, w, deadline, passed_gate, (lua_KContext)w);
}

static int l_open(lua_State *L)
{
    tasks_wake(&world->gates[luaL_checkinteger(L, 1)]);
    return 0;
}

static int l_preempt(lua_State *L)
{
    (void)L;
    tasks_preempt(world->t);
    return 0;
}

static void on_done(void *arg, struct task *k, lua_State *L, int status, int n)
{
    (void)k;
    (void)arg;
    world->done++;
    if (status != LUA_OK) {
        world->failed++;
        ck_assert_int_eq(n, 2);
        ck_assert_int_ge(lua_gettop(L), 2);
        lua_pushcfunction(L, l_log);
        lua_pushvalue(L, -2);
        ck_assert_int_eq(lua_pcall(L, 1, 0, 0), LUA_OK);
    } else if (n > 0) {
        lua_pushcfunction(L, l_log);
        for (int i = 0; i < n; i++) {
            lua_pushvalue(L, -n - 1);
        }
        ck_assert_int_eq(lua_pcall(L, n, 0, 0), LUA_OK);
    }
}

static struct task *spawn(const char *source)
{
    lua_State *L;
    struct task *k = tasks_prepare(world->t, &L);

    ck_assert_ptr_nonnull(k);
    ck_assert_int_eq(lua_gettop(L), 0);
    ck_assert_msg(luaL_loadbuffer(L, source, strlen(source), "=code") == LUA_OK, "%s",
                  lua_tostring(L, -1));
    tasks_start(k, 0, on_done, NULL);
    world->last = k;
    return k;
}

/* spawn(function, ...): a task of it. */
static int l_spawn(lua_State *L)
{
    lua_State *to;
    int n = lua_gettop(L);
    struct task *k = tasks_prepare(world->t, &to);

    if (k == NULL) {
        return luaL_error(L, "no memory for a task");
    }
    lua_xmove(L, to, n);
    tasks_start(k, n - 1, on_done, NULL);
    lua_pushlightuserdata(L, k);
    return 1;
}

static int l_cancel(lua_State *L)
{
    struct task *k = lua_touserdata(L, 1);

    tasks_cancel(k != NULL ? k : tasks_current(world->t));
    return 0;
}

/* Runs all until nothing is left that time alone moves. */
static void run(void)
{
    int turns = 0;

    for (;;) {
        int more = tasks_run(world->t);
        if (!more && tasks_next_deadline(world->t) == UINT64_MAX) {
            return;
        }
        ck_assert_int_lt(turns++, 1000000);
        ck_assert_int_eq(host_wait(world, more ? world->now : tasks_next_deadline(world->t)), 0);
    }
}

static void main_chunk(const char *source)
{
    ck_assert_msg(luaL_dostring(world->L, source) == LUA_OK, "%s", lua_tostring(world->L, -1));
    lua_settop(world->L, 0);
}

static void set_up(void)
{
    static const luaL_Reg functions[] = {
        {"log", l_log},         {"gate", l_gate},     {"open", l_open},       {"spawn", l_spawn},
        {"preempt", l_preempt}, {"cancel", l_cancel}, {"sleep", tasks_sleep}, {NULL, NULL}};
    struct tasks_host host = {host_wait, NULL};

    world = calloc(1, sizeof *world);
    ck_assert_ptr_nonnull(world);
    world->now = 1000000;
    world->gates = calloc(GATES, sizeof *world->gates);
    world->L = lua_newstate(alloc, world);
    ck_assert_ptr_nonnull(world->L);
    luaL_openlibs(world->L);
    host.arg = world;
    world->t = tasks_new(world->L, &host, now_us);
    ck_assert_ptr_nonnull(world->t);
    lua_pushglobaltable(world->L);
    luaL_setfuncs(world->L, functions, 0);
    lua_pop(world->L, 1);
    ck_assert_int_eq(lua_gettop(world->L), 0);
}

static void tear_down(void)
{
    ck_assert_int_eq(world->hasty, 0);
    ck_assert_int_eq(lua_gettop(world->L), 0);
    tasks_free(world->t);
    lua_close(world->L);
    ck_assert_uint_eq(world->used, 0);
    free(world->gates);
    free(world);
}

#define LOGGED(text) ck_assert_str_eq(world->log, text)

/* ---- waiting ---- */

START_TEST(two_waits_interleave)
{
    spawn("log('a1') gate(1) log('a2') open(2) gate(3) log('a3') return 'a', 4");
    spawn("log('b1') open(1) gate(2) log('b2') open(3) return 'b'");
    run();
    LOGGED("a1 b1 a2 b2 b a3 a 4");
    ck_assert_int_eq(world->done, 2);
    ck_assert_int_eq(world->failed, 0);
    ck_assert_uint_eq(tasks_count(world->t), 0);
}
END_TEST

START_TEST(a_wake_before_the_wait_counts)
{
    spawn("open(1) log(gate(1)) log(gate(1, 0.5)) open(1) log(gate(1))");
    run();
    LOGGED("0 -6 0");
}
END_TEST

START_TEST(timers_are_ordered)
{
    spawn("sleep(3) log(3)");
    spawn("sleep(1) log(1) sleep(1) log(2)");
    spawn("sleep(1) log('1b')");
    spawn("sleep(0) log(0)");
    spawn("for i = 1, 100 do spawn(function(i) sleep(i * 7 % 100 / 10 + 4); "
          "if last then assert(last <= i * 7 % 100) end last = i * 7 % 100 end, i) end");
    uint64_t begin = world->now;
    run();
    LOGGED("0 1 1b 2 3");
    ck_assert_int_eq(world->failed, 0);
    ck_assert_uint_eq(world->now - begin, 13900000);
}
END_TEST

static void log_fire(void *arg)
{
    strcat(world->log, arg);
}

START_TEST(timers_stop_and_move)
{
    struct tasks_timer a = {0}, b = {0}, c = {0};

    ck_assert_int_eq(tasks_timer_set(world->t, &a, world->now + 10, log_fire, "a"), 0);
    ck_assert_int_eq(tasks_timer_set(world->t, &b, world->now + 20, log_fire, "b"), 0);
    ck_assert_int_eq(tasks_timer_set(world->t, &c, world->now + 30, log_fire, "c"), 0);
    ck_assert_int_eq(tasks_timer_set(world->t, &a, world->now + 40, log_fire, "A"), 0);
    ck_assert_uint_eq(tasks_next_deadline(world->t), world->now + 20);
    tasks_timer_stop(&b);
    tasks_timer_stop(&b);
    run();
    LOGGED("cA");
    ck_assert_uint_eq(tasks_next_deadline(world->t), UINT64_MAX);
    /* One that is left when all ends is none of its owner's trouble. */
    static struct tasks_timer left;
    ck_assert_int_eq(tasks_timer_set(world->t, &left, world->now + 10, log_fire, "x"), 0);
}
END_TEST

START_TEST(an_error_comes_with_its_traceback)
{
    lua_State *L;
    struct task *k;

    spawn("local t <close> = setmetatable({}, {__close = function() sleep(1) log('closed') end}) "
          "sleep(1) error({}, 0) ");
    run();
    ck_assert_int_eq(world->failed, 1);
    ck_assert_msg(strncmp(world->log, "closed table: ", 14) == 0, "%s", world->log);
    /* The thread is as good as new. */
    k = tasks_prepare(world->t, &L);
    ck_assert_int_eq(lua_gettop(L), 0);
    tasks_drop(k);
}
END_TEST

static char traceback[1000];

static void keep_traceback(void *arg, struct task *k, lua_State *L, int status, int n)
{
    (void)arg;
    (void)k;
    ck_assert_int_eq(status, LUA_ERRRUN);
    ck_assert_int_eq(n, 2);
    ck_assert_str_eq(lua_tostring(L, -1), "code:2: boom");
    snprintf(traceback, sizeof traceback, "%s", lua_tostring(L, -2));
}

START_TEST(a_traceback_tells_where)
{
    static const char source[] = "local function inner()\n error('boom')\n end\n inner() return 1";
    lua_State *L;
    struct task *k = tasks_prepare(world->t, &L);

    ck_assert_int_eq(luaL_loadbuffer(L, source, sizeof source - 1, "=code"), LUA_OK);
    tasks_start(k, 0, keep_traceback, NULL);
    run();
    ck_assert_ptr_nonnull(strstr(traceback, "code:2: in "));
    ck_assert_ptr_nonnull(strstr(traceback, "code:4: in "));
}
END_TEST

/* ---- cancelling ---- */

START_TEST(cancel_before_it_runs)
{
    struct task *k = spawn("log('never')");
    tasks_cancel(k);
    tasks_cancel(k);
    ck_assert_int_eq(tasks_cancelled(k), 1);
    run();
    LOGGED("cancelled");
    ck_assert_int_eq(world->failed, 1);
}
END_TEST

START_TEST(cancel_while_it_waits)
{
    struct task *k = spawn("log(pcall(sleep, 1000)) log(2) sleep(1) log(3)");
    uint64_t begin = world->now;
    ck_assert_int_eq(tasks_run(world->t), 0);
    tasks_cancel(k);
    run();
    /* One that handles the error can tidy up, but not wait. */
    LOGGED("false cancelled 2 cancelled");
    ck_assert_uint_eq(world->now, begin);
}
END_TEST

START_TEST(cancel_when_it_was_woken)
{
    struct task *k = spawn("log(gate(1)) log('on') while true do end");
    tasks_run(world->t);
    tasks_wake(&world->gates[1]);
    tasks_cancel(k);
    run();
    LOGGED("cancelled");
}
END_TEST

START_TEST(cancel_itself)
{
    spawn("cancel() log('on')");
    run();
    LOGGED("cancelled");
}
END_TEST

START_TEST(cancel_from_another_task)
{
    main_chunk("k = spawn(function() local t <close> = setmetatable({}, {__close = function() "
               "log('closed') end}) sleep(1000) end)");
    spawn("sleep(1) cancel(k)");
    run();
    LOGGED("closed cancelled");
}
END_TEST

START_TEST(cancel_in_coroutines)
{
    struct task *k =
        spawn("local f = coroutine.wrap(function() local g = coroutine.wrap(function() "
              "log('in') gate(1) log('never') end) g() end) f()");
    tasks_run(world->t);
    tasks_cancel(k);
    run();
    ck_assert_str_eq(world->log, "in code:1: code:1: cancelled");
}
END_TEST

static void on_alarm(int number)
{
    (void)number;
    tasks_preempt(world->t);
}

static void start_alarm(long us)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, us}, {0, us}};

    ck_assert_int_eq(sigaction(SIGVTALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_VIRTUAL, &every, NULL), 0);
}

static void stop_alarm(void)
{
    struct itimerval never = {{0, 0}, {0, 0}};
    ck_assert_int_eq(setitimer(ITIMER_VIRTUAL, &never, NULL), 0);
}

START_TEST(an_endless_loop_lets_others_run)
{
    struct task *k = spawn("while true do end");
    start_alarm(2000);
    spawn("for i = 1, 5 do sleep(0) log(i) end stop = true");
    spawn("while not stop do end log('seen')");
    while (tasks_count(world->t) > 1) {
        tasks_run(world->t);
    }
    LOGGED("1 2 3 4 5 seen");
    tasks_cancel(k);
    tasks_run(world->t);
    stop_alarm();
    LOGGED("1 2 3 4 5 seen cancelled");
    ck_assert_uint_eq(tasks_count(world->t), 0);
}
END_TEST

/* Code that cannot be left and never ends: here others run in it, and it is cancelled. */
static const char *const unleavable[] = {
    "table.sort({1, 2, 3}, function() while true do end end)",
    "while true do xpcall(error, load('while true do end')) end",
    "local f = load('while true do end') "
    "while true do table.sort({1, 2, 3}, function() xpcall(f, f) end) end",
    "while true do xpcall(load('while true do end'), load('while true do end')) end",
    "while true do xpcall(coroutine.wrap(load('while true do end')), load('while true do end')) "
    "end",
    "local function f(n) if n > 0 then return f(n - 1) + 1 end while true do end end "
    "while true do xpcall(f, load('while true do end'), 50000) end",
};

START_TEST(an_endless_comparator_or_handler)
{
    world->marked = spawn(unleavable[_i]);
    start_alarm(2000);
    spawn("for i = 1, 3 do sleep(0) log(i) end spawn(function() cancel(k) end)");
    lua_pushlightuserdata(world->L, world->marked);
    lua_setglobal(world->L, "k");
    while (tasks_count(world->t) > 0) {
        tasks_run(world->t);
    }
    stop_alarm();
    LOGGED("1 2 3 cancelled");
}
END_TEST

/* The coroutine of a task that was ended by a hook is of no use for another: hooks do not run in it
 * any more. */
START_TEST(another_endless_loop_after_a_cancel)
{
    start_alarm(2000);
    for (int i = 0; i < 3; i++) {
        struct task *k = spawn("while true do end");
        tasks_run(world->t);
        tasks_cancel(k);
        tasks_run(world->t);
    }
    stop_alarm();
    LOGGED("cancelled cancelled cancelled");
    ck_assert_uint_eq(tasks_count(world->t), 0);
}
END_TEST

static const char *const stubborn[] = {
    "while true do pcall(sleep, 10) end",
    "while true do pcall(function() while true do end end) end",
    "while true do pcall(function() for i = 1, 100000 do end end) end",
    "local function f() while true do pcall(f) end end f()",
    "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
    "while true do xpcall(load('while true do end'), load('for i = 1, 1e5 do end')) end",
    "while true do local t <close> = setmetatable({}, {__close = load('while true do end')}) end",
    "while true do pcall(coroutine.wrap(function() sleep(1) end)) end",
    "while true do pcall(table.sort, {1,2,3,4}, function() sleep(1) return false end) end",
    "while true do string.gsub('aaaa', 'a', function() pcall(sleep, 1) end) end",
};

START_TEST(no_code_survives_its_cancel)
{
    struct task *k = spawn(stubborn[_i]);
    start_alarm(2000);
    for (int i = 0; i < 20; i++) {
        if (tasks_run(world->t) == 0) {
            host_wait(world, tasks_next_deadline(world->t));
        }
    }
    ck_assert_uint_eq(tasks_count(world->t), 1);
    tasks_cancel(k);
    for (int i = 0; i < 20; i++) {
        tasks_run(world->t);
    }
    stop_alarm();
    ck_assert_uint_eq(tasks_count(world->t), 0);
    ck_assert_int_eq(world->failed, 1);
}
END_TEST

START_TEST(preempted_code_goes_on)
{
    spawn("local t = {} for i = 1, 100 do t[i] = i preempt() end "
          "local co = coroutine.wrap(function(...) for i = 1, 100 do preempt() "
          "t[#t + 1] = 0 coroutine.yield(select('#', ...) + i) end end) "
          "for i = 1, 50 do assert(co(1, 2) == 2 + i) end "
          "table.sort(t, function(a, b) preempt() return a > b end) "
          "local s = ('x'):rep(10):gsub('x', function() preempt() return 'yy' end) "
          "return #t, t[1], t[150], s");
    spawn("for i = 1, 20 do sleep(0) end return 'other'");
    run();
    LOGGED("other 150 100 0 yyyyyyyyyyyyyyyyyyyy");
    ck_assert_int_eq(world->failed, 0);
}
END_TEST

START_TEST(a_hook_of_the_users_stays)
{
    spawn("local n = 0 debug.sethook(function() n = n + 1 end, '', 100) "
          "for i = 1, 100 do preempt() for j = 1, 100 do end end "
          "local h, m, c = debug.gethook() debug.sethook() return n > 90, m, c");
    run();
    LOGGED("true  100");
}
END_TEST

/* ---- nested waits ---- */

static const char *const unyieldable[] = {
    "table.sort({3, 1, 2}, function(a, b) sleep(1) return a < b end)",
    "string.gsub('abc', '.', function(c) sleep(1) end)",
    "local t = setmetatable({}, {__tostring = function() sleep(1) return 'x' end}) "
    "assert(tostring(t) == 'x')",
    "local t = setmetatable({}, {__index = function(_, i) sleep(1) if i < 3 then return 'e' end "
    "end, "
    "__len = function() sleep(1) return 2 end}) assert(table.concat(t) == 'ee')",
    "local n = 0 assert(load(function() sleep(1) n = n + 1 return n < 3 and ' ' or nil end))",
    "package.preload.m = function() sleep(1) return 1 end package.loaded.m = nil "
    "assert(require 'm' == 1)",
    "local t <close> = setmetatable({}, {__close = function() sleep(1) end}) "
    "local co = coroutine.create(function() local u <close> = t coroutine.yield() end) "
    "coroutine.resume(co) assert(coroutine.close(co))",
    /* These can yield: the same must hold. */
    "local t = setmetatable({}, {__index = function() sleep(1) return 5 end, "
    "__add = function() sleep(1) return 6 end, __eq = function() sleep(1) return true end}) "
    "assert(t.x == 5 and t + 1 == 6 and t == setmetatable({}, getmetatable(t)))",
    "for _, v in (function() return function(_, i) sleep(1) return i < 3 and i + 1 or nil end, "
    "nil, "
    "0 end)() do end",
};

START_TEST(others_run_while_code_waits_that_cannot_yield)
{
    char source[1000];

    spawn("for i = 1, 3 do sleep(0.1) log(i) end");
    snprintf(source, sizeof source, "%s log('first')", unyieldable[_i]);
    spawn(source);
    run();
    LOGGED("1 2 3 first");
    ck_assert_int_eq(world->failed, 0);
    world->log[0] = '\0';
    /* In the main chunk, too. */
    spawn("sleep(0.1) log('task')");
    snprintf(source, sizeof source, "sleep(0.05) %s log('main')", unyieldable[_i]);
    main_chunk(source);
    LOGGED("task main");
}
END_TEST

START_TEST(the_main_chunk_waits)
{
    spawn("gate(1) log('a') open(2)");
    main_chunk("open(1) log('m') log(gate(2)) sleep(2) log('end') "
               "local co = coroutine.wrap(function() sleep(1) coroutine.yield(5) sleep(1) end) "
               "log(co()) co() log(coroutine.isyieldable())");
    LOGGED("m a 0 end 5 false");
}
END_TEST

START_TEST(the_host_wakes)
{
    world->open = 4;
    spawn("gate(0) log('a') table.sort({1, 2}, function() gate(2) return false end) log('c')");
    main_chunk("gate(1) log('b') gate(3) log('d')");
    LOGGED("a c b d");
    ck_assert_int_eq(world->waits, 4);
}
END_TEST

START_TEST(waits_within_waits)
{
    /* Each cannot be left, and needs the next to go on. */
    main_chunk("function step(n) if n < 20 then spawn(step, n + 1) end "
               "table.sort({1, 2}, function() gate(n) return false end) "
               "if n > 1 then open(n - 1) end end spawn(step, 1)");
    spawn("sleep(1) open(20)");
    run();
    ck_assert_int_eq(world->failed, 0);
    ck_assert_int_eq(world->done, 21);
}
END_TEST

START_TEST(too_many_waits_within_waits)
{
    main_chunk("function step(n) if n < 60 then spawn(step, n + 1) end "
               "local ok, e = pcall(table.sort, {1, 2}, function() sleep(1) return false end) "
               "if not ok then if not seen then log(n, e) end seen = true end end spawn(step, 1)");
    run();
    ck_assert_msg(strncmp(world->log, "33 ", 3) == 0 &&
                      strstr(world->log, "waits are nested too deeply"),
                  "%s", world->log);
    ck_assert_int_eq(world->done, 60);
    ck_assert_int_eq(world->failed, 0);
}
END_TEST

START_TEST(a_finalizer_cannot_wait)
{
    spawn("do local t = setmetatable({}, {__gc = function() log(pcall(sleep, 1)) end}) end "
          "collectgarbage() log('end')");
    run();
    LOGGED("false a finalizer cannot wait end");
}
END_TEST

START_TEST(cancel_of_a_nested_wait)
{
    main_chunk("k = spawn(function() table.sort({1, 2}, function() sleep(1000) end) end)");
    spawn("sleep(1) cancel(k) log('done')");
    run();
    LOGGED("done cancelled");
}
END_TEST

START_TEST(the_host_gives_up)
{
    world->give_up = -E_LOST;
    ck_assert_int_ne(luaL_dostring(world->L, "sleep(1)"), LUA_OK);
    ck_assert_ptr_nonnull(strstr(lua_tostring(world->L, -1), "]:1: the line to the host was lost"));
    lua_settop(world->L, 0);
}
END_TEST

/* ---- coroutines ---- */

START_TEST(a_wait_in_coroutines_suspends_the_task)
{
    spawn("local function deep(n) if n == 0 then log('in') log(gate(1)) return 'r' end "
          "return coroutine.wrap(deep)(n - 1) end "
          "local g = coroutine.create(function(a) "
          "local b = coroutine.yield(a + 1) log(deep(5)) error('oops', 0) end) "
          "log(coroutine.resume(g, 1)) log(coroutine.status(g)) "
          "log(coroutine.resume(g, 2)) log(coroutine.status(g)) log(coroutine.resume(g))");
    spawn("log('other') open(1)");
    run();
    LOGGED("true 2 suspended in other 0 r false oops dead false cannot resume dead coroutine");
}
END_TEST

START_TEST(a_waiting_coroutine_belongs_to_its_task)
{
    spawn("main = coroutine.running() co = coroutine.create(function() gate(1) return 7 end) "
          "log(coroutine.resume(co))");
    spawn("log(coroutine.status(co), coroutine.status(main)) "
          "log(coroutine.resume(co)) log(coroutine.resume(main)) "
          "log(pcall(coroutine.close, co)) log(pcall(coroutine.close, main)) open(1)");
    run();
    LOGGED("normal normal false cannot resume non-suspended coroutine "
           "false cannot resume non-suspended coroutine "
           "false cannot close a normal coroutine false cannot close a normal coroutine true 7");
}
END_TEST

START_TEST(a_task_is_like_a_main_chunk)
{
    spawn("local co, main = coroutine.running() log(type(co), main, coroutine.isyieldable()) "
          "log(pcall(coroutine.yield, 1)) "
          "coroutine.wrap(function() local c, m = coroutine.running() "
          "log(c ~= co, m, coroutine.isyieldable()) end)()");
    run();
    LOGGED("thread true false false attempt to yield from outside a coroutine true false true");
}
END_TEST

/* What the stock library does, ours does: the same code in a state of each. */
static const char alike[] =
    "local out = {} local function put(...) for i = 1, select('#', ...) do "
    "out[#out + 1] = tostring((select(i, ...))):gsub('0x%x+', 'P') end end "
    "local co = coroutine.create(function(...) put(...) put(coroutine.yield(1, nil, 3)) "
    "put(coroutine.yield()) return 'r', nil end) "
    "put(coroutine.resume(co, 'a', nil)) put(coroutine.resume(co, 'b')) put(coroutine.resume(co)) "
    "put(coroutine.status(co)) put(coroutine.resume(co)) "
    "put(coroutine.resume(coroutine.create(function() error('x') end))) "
    "put(coroutine.resume(coroutine.create(function() error() end))) "
    "put(pcall(coroutine.wrap(function() error('x') end))) "
    "put(pcall(coroutine.wrap(function() error({}) end))) "
    "local w = coroutine.wrap(function() return 1 end) put(w()) put(pcall(w)) "
    "put(pcall(coroutine.resume, 1)) put(pcall(coroutine.wrap, 1)) put(pcall(coroutine.create)) "
    "put(pcall(coroutine.status, {})) put(pcall(coroutine.close, 1)) "
    "put(coroutine.resume((coroutine.running()))) "
    "put(pcall(coroutine.close, (coroutine.running()))) "
    "local closed = coroutine.create(function() local a <close> = setmetatable({}, {__close = "
    "function(_, e) put('closing', e) end}) coroutine.yield(1) end) "
    "put(coroutine.resume(closed)) put(coroutine.close(closed)) put(coroutine.status(closed)) "
    "put(coroutine.close(closed)) "
    "local bad = coroutine.create(function() local a <close> = setmetatable({}, {__close = "
    "function(_, e) error('in close', 0) end}) coroutine.yield(1) end) "
    "put(coroutine.resume(bad)) put(coroutine.close(bad)) put(coroutine.close(bad)) "
    "put(pcall(coroutine.wrap(function() local a <close> = setmetatable({}, {__close = "
    "function(_, e) error('closing ' .. e, 0) end}) error('first', 0) end))) "
    "local e = coroutine.create(error) put(coroutine.resume(e, 100)) put(coroutine.close(e)) "
    "put(coroutine.resume(coroutine.create(function() return pcall(pcall, coroutine.yield, 1) "
    "end))) "
    "local self self = coroutine.create(function() put(coroutine.status(self), "
    "coroutine.resume(self)) coroutine.wrap(function() put(coroutine.status(self), "
    "coroutine.resume(self)) put(pcall(coroutine.close, self)) end)() end) coroutine.resume(self) "
    "put(coroutine.isyieldable(), coroutine.isyieldable(self)) "
    "local rec = function(f) return coroutine.wrap(function() return f(f) end)() end "
    "put(select('#', pcall(rec, rec))) "
    "put(coroutine.resume(coroutine.create(function() return table.unpack({}, 1, 100) end))) "
    "return table.concat(out, ',')";

START_TEST(coroutines_are_as_they_were)
{
    lua_State *stock = luaL_newstate();
    lua_State *L;
    struct task *k;
    char expected[4000];

    luaL_openlibs(stock);
    ck_assert_msg(luaL_loadbuffer(stock, alike, sizeof alike - 1, "=code") == LUA_OK &&
                      lua_pcall(stock, 0, 1, 0) == LUA_OK,
                  "%s", lua_tostring(stock, -1));
    snprintf(expected, sizeof expected, "%s", lua_tostring(stock, -1));
    lua_close(stock);
    k = tasks_prepare(world->t, &L);
    ck_assert_int_eq(luaL_loadbuffer(L, alike, sizeof alike - 1, "=code"), LUA_OK);
    tasks_start(k, 0, on_done, NULL);
    run();
    ck_assert_str_eq(world->log, expected);
}
END_TEST

START_TEST(coroutines_outlive_the_tasks)
{
    main_chunk("c = coroutine.wrap(function() coroutine.yield(1) return 2 end) assert(c() == 1) "
               "s = sleep");
    spawn("gate(1)");
    tasks_run(world->t);
    tasks_free(world->t);
    world->t = NULL;
    main_chunk("assert(c() == 2) assert(coroutine.wrap(function() return 3 end)() == 3) "
               "local ok, e = pcall(s, 1) assert(not ok and e:find('can wait'))");
    tasks_wake(&world->gates[1]);
}
END_TEST

/* ---- many, memory ---- */

START_TEST(a_hundred_thousand_tasks)
{
    struct timespec a, b;

    main_chunk("n = 0 function one(i) n = n + i end");
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 100000; i++) {
        lua_State *L;
        struct task *k = tasks_prepare(world->t, &L);
        ck_assert_ptr_nonnull(k);
        lua_getglobal(L, "one");
        lua_pushinteger(L, 1);
        tasks_start(k, 1, NULL, NULL);
    }
    run();
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("# 100,000 tasks at once: %.0f ns each\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e5);
    main_chunk("assert(n == 100000)");
    /* One after the other: no memory is needed any more. */
    lua_gc(world->L, LUA_GCCOLLECT);
    lua_gc(world->L, LUA_GCSTOP);
    size_t used = world->used;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 1000000; i++) {
        lua_State *L;
        struct task *k = tasks_prepare(world->t, &L);
        lua_getglobal(L, "one");
        lua_pushinteger(L, 1);
        tasks_start(k, 1, NULL, NULL);
        tasks_run(world->t);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("# one after the other: %.0f ns each\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 1e6);
    ck_assert_uint_eq(world->used, used);
    lua_gc(world->L, LUA_GCRESTART);
}
END_TEST

START_TEST(many_that_wait)
{
    spawn("for i = 1, 10000 do spawn(function() coroutine.wrap(function() sleep(i % 10) end)() "
          "n = (n or 0) + 1 end) end");
    spawn("sleep(11) return n");
    run();
    LOGGED("10000");
}
END_TEST

START_TEST(memory_error_in_a_task)
{
    spawn("gate(1) log('survived')");
    tasks_run(world->t);
    world->limit = world->used + 2000000;
    spawn("local s = ('x'):rep(3000000)");
    spawn("local t = {} for i = 1, 1e8 do t[i] = {} end");
    run();
    tasks_wake(&world->gates[1]);
    run();
    LOGGED("not enough memory not enough memory survived");
    world->limit = 0;
}
END_TEST

START_TEST(memory_error_anywhere)
{
    /* Every allocation of this fails once; nothing may be left in disorder. */
    static const char source[] =
        "local co = coroutine.wrap(function() sleep(1) spawn(sleep, 1) end) co() "
        "pcall(table.sort, {1, 2}, function() sleep(1) return false end) "
        "local t <close> = setmetatable({}, {__close = function() sleep(1) end}) error('x')";

    for (size_t more = 0; more < 20000; more += 24) {
        lua_State *L;
        struct task *k;

        lua_gc(world->L, LUA_GCCOLLECT);
        world->limit = world->used + more;
        k = tasks_prepare(world->t, &L);
        if (k == NULL) {
            continue;
        }
        if (luaL_loadbuffer(L, source, 0, "=x") != LUA_OK) { /* the least that a task can have */
            tasks_drop(k);
            continue;
        }
        lua_settop(L, 0);
        world->limit = 0;
        ck_assert_int_eq(luaL_loadbuffer(L, source, sizeof source - 1, "=x"), LUA_OK);
        world->limit = world->used + more;
        tasks_start(k, 0, NULL, NULL);
        run();
        ck_assert_uint_eq(tasks_count(world->t), 0);
    }
    world->limit = 0;
    spawn("sleep(1) return 'fine'");
    run();
    LOGGED("fine");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("tasks");
    TCase *c = tcase_create("tasks");

    tcase_set_timeout(c, 30);
    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, two_waits_interleave);
    tcase_add_test(c, a_wake_before_the_wait_counts);
    tcase_add_test(c, timers_are_ordered);
    tcase_add_test(c, timers_stop_and_move);
    tcase_add_test(c, an_error_comes_with_its_traceback);
    tcase_add_test(c, a_traceback_tells_where);
    tcase_add_test(c, cancel_before_it_runs);
    tcase_add_test(c, cancel_while_it_waits);
    tcase_add_test(c, cancel_when_it_was_woken);
    tcase_add_test(c, cancel_itself);
    tcase_add_test(c, cancel_from_another_task);
    tcase_add_test(c, cancel_in_coroutines);
    tcase_add_test(c, an_endless_loop_lets_others_run);
    tcase_add_test(c, another_endless_loop_after_a_cancel);
    tcase_add_loop_test(c, an_endless_comparator_or_handler, 0,
                        sizeof(unleavable) / sizeof(*unleavable));
    tcase_add_loop_test(c, no_code_survives_its_cancel, 0,
                        (int)(sizeof stubborn / sizeof *stubborn));
    tcase_add_test(c, preempted_code_goes_on);
    tcase_add_test(c, a_hook_of_the_users_stays);
    tcase_add_loop_test(c, others_run_while_code_waits_that_cannot_yield, 0,
                        (int)(sizeof unyieldable / sizeof *unyieldable));
    tcase_add_test(c, the_main_chunk_waits);
    tcase_add_test(c, the_host_wakes);
    tcase_add_test(c, waits_within_waits);
    tcase_add_test(c, too_many_waits_within_waits);
    tcase_add_test(c, a_finalizer_cannot_wait);
    tcase_add_test(c, cancel_of_a_nested_wait);
    tcase_add_test(c, the_host_gives_up);
    tcase_add_test(c, a_wait_in_coroutines_suspends_the_task);
    tcase_add_test(c, a_waiting_coroutine_belongs_to_its_task);
    tcase_add_test(c, a_task_is_like_a_main_chunk);
    tcase_add_test(c, coroutines_are_as_they_were);
    tcase_add_test(c, coroutines_outlive_the_tasks);
    tcase_add_test(c, a_hundred_thousand_tasks);
    tcase_add_test(c, many_that_wait);
    tcase_add_test(c, memory_error_in_a_task);
    tcase_add_test(c, memory_error_anywhere);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
