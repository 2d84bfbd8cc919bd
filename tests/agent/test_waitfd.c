/* Waiting for descriptors, children and times in a worker's loop. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/worker/loop.h"
#include "agent/worker/waitfd.h"
#include "proto/errors.h"
#include "tests/unit/unit.h"

static lua_State *L;
static struct loop *loop;
static struct tasks *tasks;
static int ends[2];
static char text[1000];

static int log_status(lua_State *S, int status, lua_KContext ctx)
{
    size_t at = strlen(text);

    /* The function's stack is as it was. */
    ck_assert_str_eq(lua_tostring(S, -1), "mine");
    snprintf(text + at, sizeof text - at, "%s%d:%d", at > 0 ? " " : "", (int)ctx, status);
    return 0;
}

/* readable(seconds, ctx), writable(seconds, ctx), timed(seconds, ctx) */
static int l_readable(lua_State *S)
{
    lua_pushliteral(S, "mine");
    return waitfd(S, ends[0], EV_READ, luaL_checknumber(S, 1), log_status, luaL_checkinteger(S, 2));
}

static int l_writable(lua_State *S)
{
    lua_pushliteral(S, "mine");
    return waitfd(S, ends[1], EV_WRITE, luaL_checknumber(S, 1), log_status,
                  luaL_checkinteger(S, 2));
}

static int l_timed(lua_State *S)
{
    lua_pushliteral(S, "mine");
    return waitfd_sleep(S, luaL_checknumber(S, 1), log_status, luaL_checkinteger(S, 2));
}

static int l_write(lua_State *S)
{
    (void)S;
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    return 0;
}

static int reap(lua_State *S, int status, lua_KContext ctx)
{
    int how;
    pid_t pid = waitpid((pid_t)ctx, &how, WNOHANG);

    if (status == 0 && pid == 0) {
        return waitfd_child(S, lua_tonumber(S, 2), reap, ctx);
    }
    lua_pushinteger(S, pid != 0 ? WEXITSTATUS(how) : status);
    return 1;
}

/* child(script, seconds): its exit status, or the code of a wait that failed */
static int l_child(lua_State *S)
{
    const char *script = luaL_checkstring(S, 1);
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(pid, 0);
    return waitfd_child(S, luaL_checknumber(S, 2), reap, pid);
}

static int l_cancel(lua_State *S)
{
    tasks_cancel(lua_touserdata(S, 1));
    return 0;
}

static void log_failure(void *arg, struct task *k, lua_State *S, int status, int n)
{
    size_t at = strlen(text);

    (void)arg;
    (void)k;
    (void)n;
    if (status != LUA_OK) {
        snprintf(text + at, sizeof text - at, "%s%s", at > 0 ? " " : "", lua_tostring(S, -1));
    }
}

static void spawn(const char *name, const char *source)
{
    lua_State *S;
    struct task *k = tasks_prepare(tasks, &S);

    ck_assert_ptr_nonnull(k);
    lua_pushlightuserdata(S, k);
    lua_setglobal(S, name);
    ck_assert_int_eq(luaL_loadstring(S, source), LUA_OK);
    tasks_start(k, 0, log_failure, NULL);
}

static void run(void)
{
    while (tasks_count(tasks) > 0) {
        int more = tasks_run(tasks);
        if (tasks_count(tasks) > 0) {
            ck_assert_int_eq(loop_wait(loop, more ? 0 : tasks_next_deadline(tasks)), 0);
        }
    }
}

static void set_up(void)
{
    static const luaL_Reg functions[] = {
        {"readable", l_readable}, {"writable", l_writable}, {"timed", l_timed}, {"write", l_write},
        {"child", l_child},       {"cancel", l_cancel},     {NULL, NULL}};
    struct tasks_host host = {loop_wait, NULL};

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    loop = loop_new(ends[0], ends[1]);
    ck_assert_ptr_nonnull(loop);
    host.arg = loop;
    L = luaL_newstate();
    luaL_openlibs(L);
    tasks = tasks_new(L, &host, loop_now_us);
    ck_assert_ptr_nonnull(tasks);
    waitfd_set_loop(L, loop_events(loop));
    lua_pushglobaltable(L);
    luaL_setfuncs(L, functions, 0);
    lua_settop(L, 0);
    text[0] = '\0';
}

static void tear_down(void)
{
    waitfd_end(L);
    tasks_free(tasks);
    lua_close(L);
    loop_free(loop);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

START_TEST(a_descriptor_wakes_its_task)
{
    spawn("a", "readable(-1, 1)");
    spawn("b", "writable(10, 2) write()");
    run();
    ck_assert_str_eq(text, "2:0 1:0");
}
END_TEST

START_TEST(several_wait_for_one)
{
    spawn("a", "readable(-1, 1)");
    spawn("b", "readable(-1, 2)");
    spawn("c", "timed(0.01, 3) write()");
    run();
    ck_assert_ptr_nonnull(strstr(text, "3:0 "));
    ck_assert_ptr_nonnull(strstr(text, "1:0"));
    ck_assert_ptr_nonnull(strstr(text, "2:0"));
}
END_TEST

START_TEST(it_comes_too_late)
{
    spawn("a", "readable(0.01, 1) readable(0, 2) write() readable(0.01, 3)");
    run();
    ck_assert_str_eq(text, "1:-6 2:-6 3:0");
}
END_TEST

START_TEST(a_cancel_ends_it)
{
    spawn("a", "readable(-1, 1)");
    spawn("b", "timed(0.01, 2) cancel(a)");
    run();
    ck_assert_str_eq(text, "2:0 cancelled");
    /* Nothing watches any more. */
    lua_gc(L, LUA_GCCOLLECT);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(loop_wait(loop, 0), 0);
}
END_TEST

START_TEST(it_waits_nested)
{
    spawn("a", "table.sort({1, 2}, function() readable(-1, 1) return false end)");
    spawn("b", "timed(0.01, 2) write()");
    run();
    ck_assert_str_eq(text, "2:0 1:0");
}
END_TEST

START_TEST(children_end)
{
    spawn("a", "assert(child('exit 3', 10) == 3)");
    spawn("b", "assert(child('exit 4', 10) == 4) assert(child('exit 5', -1) == 5)");
    spawn("c", "assert(child('read x; exit 6', 0.01) == -6)");
    spawn("d", "table.sort({1, 2}, function() assert(child('exit 7', 10) == 7) return false end)");
    /* The third one outlives its wait. */
    int in = dup(0), silent[2];
    ck_assert_int_eq(pipe2(silent, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(silent[0], 0), 0);
    run();
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(dup2(in, 0), 0);
    close(silent[0]);
    close(silent[1]);
    close(in);
    int how;
    ck_assert_int_gt(waitpid(-1, &how, 0), 0);
    ck_assert_int_eq(WEXITSTATUS(how), 6);
}
END_TEST

START_TEST(a_state_without_a_loop)
{
    waitfd_end(L);
    ck_assert_ptr_null(waitfd_loop(L));
    spawn("a", "local ok, e = pcall(readable, 1, 1) assert(not ok and e:find('can wait')) "
               "assert(not pcall(timed, 1, 1))");
    run();
    ck_assert_str_eq(text, "");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("waitfd");
    TCase *c = tcase_create("waitfd");

    tcase_add_checked_fixture(c, set_up, tear_down);
    tcase_add_test(c, a_descriptor_wakes_its_task);
    tcase_add_test(c, several_wait_for_one);
    tcase_add_test(c, it_comes_too_late);
    tcase_add_test(c, a_cancel_ends_it);
    tcase_add_test(c, it_waits_nested);
    tcase_add_test(c, children_end);
    tcase_add_test(c, a_state_without_a_loop);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
