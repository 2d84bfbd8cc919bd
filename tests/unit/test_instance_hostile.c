/* The C interface against real workers that are given bad input, or mean harm. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static struct grapnel *g;
static struct grapnel_server *server;
static struct grapnel_instance *it;
static struct grapnel_error error;

static void setup(void)
{
    struct grapnel_connect_options o = {.transport = "local"};
    struct grapnel_instance_options i = {.memory = 256 << 20, .cpu_seconds = 20};

    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
    server = grapnel_open(g, "here", &o, &error);
    ck_assert_ptr_nonnull(server);
    it = grapnel_instance_open(server, &i, &error);
    ck_assert_msg(it != NULL, "%s: %s", error.name, error.detail);
}

static void teardown(void)
{
    ck_assert_int_eq(grapnel_close(server, 10000, &error), 0);
    grapnel_instance_free(it);
    grapnel_server_free(server);
    grapnel_free(g);
}

static void check_alive(void)
{
    struct grapnel_value *v;

    ck_assert_msg(grapnel_call(it, "eval", &v, &error, "s", "6 * 7") == 0, "%s: %s", error.name,
                  error.detail);
    ck_assert_int_eq(grapnel_value_int(v, 0), 42);
    grapnel_value_free(v);
}

static void check_fails(const char *name, const char *says)
{
    ck_assert_msg(strcmp(error.name, name) == 0 && strstr(error.detail, says) != NULL, "%s: %s",
                  error.name, error.detail);
}

/* ---- bad input ---- */

static const struct {
    const char *source, *name, *says;
} bad[] = {
    {"error('boom', 0)", "REMOTE", "boom"},
    {"error {code = 7}", "REMOTE", "7"},
    {"error()", "REMOTE", ""},
    {"error(setmetatable({}, {__tostring = function() error 'x' end}))", "REMOTE", ""},
    {"local t = {} t.t = t error(t)", "REMOTE", ""},
    {"error(('x'):rep(1 << 21))", "REMOTE", "could not be sent"},
    {"local t = {} t.t = t return require('grapnel').copy(t)", "CYCLE", ""},
    {"local t = {} for _ = 1, 100 do t = {t} end return require('grapnel').copy(t)", "TOO_LARGE",
     ""},
    {"return ('x'):rep(1 << 26)", "TOO_LARGE", "channel"},
    {"return #('x'):rep(1e9)", "MEMORY", ""},
    {"local t = {} for i = 1, 1e9 do t[i] = {i} end", "MEMORY", ""},
    {"local function f() return 1 + f() end f()", "REMOTE", "overflow"},
    {"local function f() return (('x'):gsub('x', f)) end f()", "REMOTE", "overflow"},
    {"return nil + 1", "REMOTE", "arithmetic"},
    {"return (", "REMOTE", "expected"},
    {"\x1bLua", "REMOTE", "binary chunk"},
};

START_TEST(bad_code)
{
    ck_assert_int_lt(grapnel_call(it, "execute", NULL, &error, "s", bad[_i].source), 0);
    check_fails(bad[_i].name, bad[_i].says);
    check_alive();
}
END_TEST

START_TEST(bad_calls)
{
    static const char *const nowhere[] = {"no.such", "nosuch", "sys.nosuch", "", ".", "sys."};
    struct grapnel_value *v;

    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        ck_assert_int_lt(grapnel_call(it, nowhere[i], NULL, &error, ""), 0);
        check_fails("NO_FUNCTION", "");
    }
    ck_assert_int_lt(grapnel_call(it, "\xff\xfe", NULL, &error, ""), 0);
    ck_assert_int_lt(grapnel_call(it, "fs.stat", NULL, &error, "b", 1), 0);
    check_fails("REMOTE", "string expected");
    ck_assert_int_eq(grapnel_call(it, "string.len", &v, &error, "s", "\xc3\x28\xff"), 0);
    ck_assert_int_eq(grapnel_value_int(v, 0), 3);
    grapnel_value_free(v);
    check_alive();
}
END_TEST

START_TEST(code_that_does_not_end)
{
    struct grapnel_future *f = grapnel_call_start(
        it, "execute", &error, "s", "while true do pcall(function() while true do end end) end");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(grapnel_future_expire(f, 100), 0);
    check_alive();
    ck_assert_int_lt(grapnel_future_wait(f, -1, &error), 0);
    check_fails("TIMEOUT", "");
    grapnel_future_free(f);
    check_alive();
}
END_TEST

/* ---- very many ---- */

#define MANY 1100000

START_TEST(a_million_calls_without_answers)
{
    struct grapnel_future **all = calloc(MANY, sizeof(struct grapnel_future *));
    int n = 0;

    ck_assert_ptr_nonnull(all);
    while (n < MANY && (all[n] = grapnel_call_start(it, "time.sleep", &error, "d", 1e6)))
        n++;
    ck_assert_int_ge(n, 1000000);
    ck_assert_int_lt(n, MANY);
    check_fails("LIMIT", "calls wait for their answers");
    grapnel_instance_free(it);
    it = NULL;
    for (int i = 0; i < n; i++) {
        ck_assert_int_lt(grapnel_future_wait(all[i], -1, NULL), 0);
        grapnel_future_free(all[i]);
    }
    free(all);
    it = grapnel_instance_open(server, NULL, &error);
    check_alive();
}
END_TEST

/* A worker that calls and calls what was passed to it, and nothing is ever answered. */
static struct grapnel_request *kept[200000];
static size_t kept_count;

static void keep(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    (void)arg;
    (void)args;
    ck_assert_uint_lt(kept_count, sizeof kept / sizeof *kept);
    kept[kept_count++] = r;
}

START_TEST(a_flood_of_calls)
{
    struct grapnel_value *f = grapnel_value_new_function(keep, NULL, NULL);
    struct grapnel_future *flood;

    kept_count = 0;
    flood = grapnel_call_start(
        it, "execute", &error, "sv",
        "local f = ... while true do require('grapnel').call_no_reply(f) end", f);
    ck_assert_ptr_nonnull(flood);
    ck_assert_int_lt(grapnel_future_wait(flood, 2000, NULL), 0);
    check_alive();
    grapnel_future_free(flood);
    grapnel_instance_free(it);
    for (size_t i = 0; i < kept_count; i++)
        grapnel_fail(kept[i], "over");
    ck_assert_uint_gt(kept_count, 16384);
    ck_assert_uint_le(kept_count, 16384 + 65536);
    grapnel_value_free(f);
    it = grapnel_instance_open(server, NULL, &error);
    check_alive();
}
END_TEST

/* ---- ends ---- */

START_TEST(killed_while_it_answers)
{
    struct grapnel_future *f[20], *killed;
    struct grapnel_value *v;
    struct grapnel_ref *object;
    int answers = 0, lost = 0;

    ck_assert_int_eq(grapnel_call(it, "execute", &v, &error, "s", "return print"), 0);
    object = grapnel_value_ref(v);
    grapnel_value_free(v);
    for (int i = 0; i < 20; i++)
        f[i] = grapnel_call_start(it, "string.rep", &error, "si", "x", 1000000);
    killed = grapnel_call_start(it, "execute", &error, "s",
                                "os.execute('kill -9 ' .. io.open('/proc/self/stat'):read('n'))");
    ck_assert_int_lt(grapnel_future_wait(killed, -1, &error), 0);
    check_fails("INSTANCE", "signal KILL");
    grapnel_future_free(killed);
    for (int i = 0; i < 20; i++) {
        if (grapnel_future_wait(f[i], -1, &error) == 0) {
            size_t n = 0;
            answers += grapnel_value_string(grapnel_future_value(f[i]), &n) && n == 1000000;
        } else {
            check_fails("INSTANCE", "signal KILL");
            lost++;
        }
        grapnel_future_free(f[i]);
    }
    ck_assert_int_eq(answers + lost, 20);
    ck_assert_int_lt(grapnel_call(it, "eval", NULL, &error, "s", "1"), 0);
    check_fails("INSTANCE", "signal KILL");
    ck_assert_int_lt(grapnel_call_ref(object, NULL, &error, ""), 0);
    check_fails("INSTANCE", "signal KILL");
    grapnel_ref_free(object);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("instance_hostile");
    TCase *t = tcase_create("hostile");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, bad_code, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(t, bad_calls);
    tcase_add_test(t, code_that_does_not_end);
    if (!harness_valgrind()) {
        tcase_add_test(t, a_million_calls_without_answers);
        tcase_add_test(t, a_flood_of_calls);
    }
    tcase_add_test(t, killed_while_it_answers);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
