/* The worker's modules in a Lua state of their own, with tasks and an event loop but no link: runs
 * the functions that each of tests/agent/mods/NAME.lua returns in a table. They have, besides the
 * modules, these globals:
 *   TMP         an empty directory
 *   spawn(f)    runs f in a task beside this one; the test lasts until all have ended. Returns a
 *               function that cancels it, to be called before it has ended */
#include <dirent.h>
#include <ev.h>
#include <glob.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"
#include "peer/tasks.h"
#include "tests/unit/unit.h"

#define PATIENCE 20 /* seconds */

struct world {
    lua_State *L;
    struct tasks *tasks;
    struct ev_loop *loop;
    int failures;
    char name[PATH_MAX]; /* of the test that runs */
};

static struct world *world; /* of spawn() */

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void on_time(struct ev_loop *loop, struct ev_timer *w, int events)
{
    (void)loop;
    (void)w;
    (void)events;
}

static int host_wait(void *arg, uint64_t deadline_us)
{
    struct world *w = arg;
    struct ev_timer timer;
    uint64_t now = now_us();

    if (deadline_us <= now) {
        ev_run(w->loop, EVRUN_NOWAIT);
        return 0;
    }
    uint64_t left = deadline_us - now;
    ev_now_update(w->loop);
    ev_timer_init(&timer, on_time, left > PATIENCE * 1000000u ? PATIENCE : (double)left / 1e6, 0);
    ev_timer_start(w->loop, &timer);
    ev_run(w->loop, ev_pending_count(w->loop) > 0 ? EVRUN_NOWAIT : EVRUN_ONCE);
    ev_timer_stop(w->loop, &timer);
    return 0;
}

static void on_done(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct world *w = arg;

    (void)n;
    if (status != LUA_OK && !tasks_cancelled(k)) {
        w->failures++;
        fprintf(stderr, "# %s: %s\n# %s\n", w->name, lua_tostring(L, -1), lua_tostring(L, -2));
    }
}

static int cancel(lua_State *L)
{
    tasks_cancel(lua_touserdata(L, lua_upvalueindex(1)));
    return 0;
}

static int spawn(lua_State *L)
{
    lua_State *T;
    struct task *k = tasks_prepare(world->tasks, &T);

    ck_assert_ptr_nonnull(k);
    lua_settop(L, 1);
    lua_xmove(L, T, 1);
    tasks_start(k, 0, on_done, world);
    lua_pushlightuserdata(L, k);
    lua_pushcclosure(L, cancel, 1);
    return 1;
}

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static void start(struct world *w)
{
    struct tasks_host host = {.wait = host_wait, .arg = w};

    w->loop = ev_loop_new(EVFLAG_AUTO);
    w->L = luaL_newstate();
    ck_assert_ptr_nonnull(w->L);
    luaL_openlibs(w->L);
    w->tasks = tasks_new(w->L, &host, now_us);
    ck_assert_ptr_nonnull(w->tasks);
    waitfd_set_loop(w->L, w->loop);
    mods_preload(w->L);
    lua_register(w->L, "spawn", spawn);
    world = w;
}

static void end(struct world *w)
{
    waitfd_end(w->L);
    tasks_free(w->tasks);
    lua_close(w->L);
    ev_loop_destroy(w->loop);
}

static int descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static void drive(struct world *w)
{
    uint64_t end_us = now_us() + PATIENCE * 1000000u;

    while (tasks_count(w->tasks) > 0) {
        int more = tasks_run(w->tasks);
        if (tasks_count(w->tasks) == 0)
            break;
        ck_assert_msg(now_us() < end_us, "%s: takes too long", w->name);
        uint64_t next = more ? 0 : tasks_next_deadline(w->tasks);
        host_wait(w, next < end_us ? next : end_us);
    }
}

/* Runs the function on top of the stack, and pops it. */
static void run_one(struct world *w)
{
    char directory[] = "/tmp/grapnel-mods-XXXXXX";
    char command[64];
    int before, after;
    char cwd[PATH_MAX];

    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    lua_pushstring(w->L, directory);
    lua_setglobal(w->L, "TMP");
    /* What libev opens on first use stays open. */
    host_wait(w, 0);
    lua_gc(w->L, LUA_GCCOLLECT);
    before = descriptors();
    lua_State *T;
    struct task *k = tasks_prepare(w->tasks, &T);
    ck_assert_ptr_nonnull(k);
    lua_xmove(w->L, T, 1);
    tasks_start(k, 0, on_done, w);
    drive(w);
    lua_gc(w->L, LUA_GCCOLLECT);
    lua_gc(w->L, LUA_GCCOLLECT); /* a pooled coroutine's values, then what they held */
    after = descriptors();
    ck_assert_int_eq(chdir(cwd), 0);
    if (after != before) {
        w->failures++;
        fprintf(stderr, "# %s: %d descriptors were open, now %d\n", w->name, before, after);
    }
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
    if (waitpid(-1, NULL, WNOHANG) >= 0) {
        w->failures++;
        fprintf(stderr, "# %s: a child is left\n", w->name);
    }
}

static glob_t files;

START_TEST(test_file)
{
    struct world w = {0};
    const char *file = files.gl_pathv[_i];

    start(&w);
    lua_pushcfunction(w.L, traceback);
    ck_assert_msg(luaL_loadfile(w.L, file) == LUA_OK && lua_pcall(w.L, 0, 1, 1) == LUA_OK, "%s",
                  lua_tostring(w.L, -1));
    ck_assert_msg(lua_istable(w.L, -1), "%s: no table", file);
    int tests = 0;
    for (lua_pushnil(w.L); lua_next(w.L, 2) != 0; tests++) {
        snprintf(w.name, sizeof w.name, "%s: %s", file, lua_tostring(w.L, -2));
        run_one(&w);
    }
    ck_assert_int_gt(tests, 0);
    ck_assert_int_eq(w.failures, 0);
    end(&w);
}
END_TEST

/* Run from the top of the tree, or nothing would be tested. */
START_TEST(test_any)
{
    ck_assert_uint_gt(files.gl_pathc, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("mods");
    TCase *t = tcase_create("lua");

    tcase_set_timeout(t, 120);
    tcase_add_test(t, test_any);
    if (glob("tests/agent/mods/*.lua", 0, NULL, &files) == 0)
        tcase_add_loop_test(t, test_file, 0, (int)files.gl_pathc);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
