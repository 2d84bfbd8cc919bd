/* Instances over the local transport, with the real worker: how they run, and how they end. */
#include <check.h>
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static struct grapnel *g;
static struct grapnel_server *server;
static struct grapnel_instance *it;
static struct grapnel_error error;
static size_t descriptors_before;

static size_t descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static struct grapnel_instance *open_with(const struct grapnel_instance_options *o)
{
    struct grapnel_instance *i = grapnel_instance_open(server, o, &error);

    ck_assert_msg(i != NULL, "%s: %s", error.name, error.detail);
    return i;
}

static void setup(void)
{
    struct grapnel_connect_options o = {.transport = "local"};

    descriptors_before = descriptors();
    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
    server = grapnel_open(g, "here", &o, &error);
    ck_assert_ptr_nonnull(server);
    it = open_with(NULL);
}

static void teardown(void)
{
    if (server)
        ck_assert_int_eq(grapnel_close(server, 10000, &error), 0);
    grapnel_instance_free(it);
    grapnel_server_free(server);
    grapnel_free(g);
    ck_assert_uint_eq(descriptors(), descriptors_before);
}

static struct grapnel_value *eval(struct grapnel_instance *i, const char *source)
{
    struct grapnel_value *v;
    int rc = grapnel_call(i, "execute", &v, &error, "s", source);

    ck_assert_msg(rc == 0, "%s: %s", error.name, error.detail);
    return v;
}

static int64_t number(struct grapnel_instance *i, const char *source)
{
    struct grapnel_value *v = eval(i, source);
    int64_t n = grapnel_value_int(v, -1);

    grapnel_value_free(v);
    return n;
}

static void check_failure(const char *name, const char *detail)
{
    ck_assert_msg(strcmp(error.name, name) == 0, "%s: %s", error.name, error.detail);
    ck_assert_msg(strstr(error.detail, detail) != NULL, "%s", error.detail);
}

/* ---- what runs ---- */

START_TEST(the_first_call_goes_with_the_agent)
{
    struct grapnel_server_info info;
    struct grapnel_value *v;

    ck_assert_int_eq(grapnel_call(it, "sys.uname", &v, &error, ""), 0);
    ck_assert_str_eq(grapnel_value_string(grapnel_value_get(v, "sysname"), NULL), "Linux");
    grapnel_value_free(v);
    grapnel_server_info(server, &info); /* and with the worker */
    ck_assert_int_gt(info.early_bytes, 100000);
    ck_assert_str_eq(grapnel_instance_name(it), "here:1");
}
END_TEST

START_TEST(a_one_shot_server_runs_an_instance)
{
    struct grapnel_connect_options o = {.transport = "local", .one_shot = 1};
    struct grapnel_server *s = grapnel_open(g, "once", &o, &error);
    struct grapnel_instance *i = grapnel_instance_open(s, NULL, &error);

    ck_assert_ptr_nonnull(i);
    ck_assert_int_eq(number(i, "return 6 * 7"), 42);
    ck_assert_ptr_null(grapnel_instance_open(s, NULL, &error));
    ck_assert_int_eq(grapnel_instance_close(i, 0, &error), 0);
    ck_assert_int_eq(grapnel_close(s, 5000, &error), 0);
    grapnel_instance_free(i);
    grapnel_server_free(s);
}
END_TEST

START_TEST(instances_have_states_of_their_own)
{
    const char *const env[] = {"MARK=here", NULL};
    const char *const unset[] = {"HOME", NULL};
    struct grapnel_instance_options o = {.number = 2, .cwd = "/usr", .env = env, .unset = unset};
    struct grapnel_instance *other = open_with(&o);
    struct grapnel_value *v;

    ck_assert_int_eq(number(it, "x = 5 return x"), 5);
    ck_assert_int_eq(number(other, "return x or 0"), 0);
    v = eval(other, "local f = io.popen('pwd') local cwd = f:read() f:close() "
                    "return {os.getenv('MARK'), os.getenv('HOME') or 'none', cwd}");
    ck_assert_str_eq(grapnel_value_string(grapnel_value_at(v, 0), NULL), "here");
    ck_assert_str_eq(grapnel_value_string(grapnel_value_at(v, 1), NULL), "none");
    ck_assert_str_eq(grapnel_value_string(grapnel_value_at(v, 2), NULL), "/usr");
    grapnel_value_free(v);
    ck_assert_str_eq(grapnel_instance_name(other), "here:2");
    grapnel_instance_free(other);
}
END_TEST

static char printed[200];
static void on_output(void *arg, struct grapnel_instance *i, const void *bytes, size_t n)
{
    (void)arg;
    (void)i;
    strncat(printed, bytes, n);
    if (strchr(printed, '\n'))
        grapnel_stop(g);
}

START_TEST(what_it_prints_is_told)
{
    struct grapnel_instance_options o = {.output = on_output};
    struct grapnel_instance *i = open_with(&o);

    printed[0] = '\0';
    grapnel_value_free(eval(i, "print('hello')"));
    ck_assert_int_eq(grapnel_drive(g, 5000), 0);
    ck_assert_str_eq(printed, "hello\n");
    grapnel_instance_free(i);
}
END_TEST

START_TEST(calls_do_not_wait_for_each_other)
{
    double began = grapnel_now();
    struct grapnel_future *f = grapnel_call_start(it, "time.sleep", &error, "d", 0.6);
    struct grapnel_future *h = grapnel_call_start(it, "time.sleep", &error, "d", 0.6);

    ck_assert_int_eq(number(it, "return 1"), 1);
    ck_assert(grapnel_now() - began < 0.5);
    ck_assert_int_eq(grapnel_future_wait(f, 5000, NULL), 0);
    ck_assert_int_eq(grapnel_future_wait(h, 5000, NULL), 0);
    ck_assert(grapnel_now() - began < 1.1);
    grapnel_future_free(f);
    grapnel_future_free(h);
}
END_TEST

START_TEST(cancel_stops_the_task)
{
    static const char source[] = "n = 0 while true do n = n + 1 require('time').sleep(0.01) end";
    struct grapnel_future *f = grapnel_call_start(it, "execute", &error, "s", source);
    int64_t n;

    ck_assert_int_eq(grapnel_future_wait(f, 50, NULL), -6);
    grapnel_future_cancel(f);
    ck_assert_int_eq(grapnel_future_wait(f, 5000, &error), -7);
    grapnel_future_free(f);
    n = number(it, "return n");
    grapnel_value_free(eval(it, "require('time').sleep(0.05)"));
    ck_assert_int_eq(number(it, "return n"), n);
    /* Endless loops, too, and by a time limit. */
    f = grapnel_call_start(it, "execute", &error, "s", "while true do end");
    ck_assert_int_eq(grapnel_future_expire(f, 50), 0);
    ck_assert_int_eq(grapnel_future_wait(f, 5000, &error), -6);
    grapnel_future_free(f);
    ck_assert_int_eq(number(it, "return 3"), 3);
}
END_TEST

/* ---- both ways ---- */

static void doubled(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    (void)arg;
    grapnel_return(r, "x", 2 * grapnel_value_int(grapnel_value_at(args, 0), 0));
}

static void refuse(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    (void)arg;
    (void)args;
    grapnel_fail(r, "not today");
}

static void count(void *arg)
{
    *(int *)arg += 1;
}

/* Refers to the far function that is its argument, from within the call. */
static void call_again(void *arg, struct grapnel_request *r, const struct grapnel_value *args)
{
    struct grapnel_ref *far = grapnel_value_ref(grapnel_value_at(args, 0));

    ck_assert_ptr_nonnull(far);
    *(struct grapnel_future **)arg = grapnel_call_ref_start(far, &error, "i", 20);
    grapnel_ref_free(far);
    grapnel_return(r, "");
}

START_TEST(functions_go_both_ways)
{
    struct grapnel_future *f = NULL;
    struct grapnel_value *v, *function;
    struct grapnel_ref *ref;
    int gone = 0;

    ck_assert_int_eq(
        grapnel_call(it, "execute", &v, &error, "sf", "local f = ... return f(21)", doubled, NULL),
        0);
    ck_assert_int_eq(grapnel_value_int(v, 0), 42);
    grapnel_value_free(v);
    ck_assert_int_eq(grapnel_call(it, "execute", NULL, &error, "sf", "(...)()", refuse, NULL), -80);
    check_failure("REMOTE", "not today");
    ck_assert_int_eq(grapnel_call(it, "execute", NULL, &error, "sf",
                                  "(...)(function(n) return n + 1 end)", call_again, &f),
                     0);
    ck_assert_int_eq(grapnel_future_wait(f, 5000, &error), 0);
    ck_assert_int_eq(grapnel_value_int(grapnel_future_value(f), 0), 21);
    grapnel_future_free(f);
    v = eval(it, "return function(f) return f(4), f end");
    ref = grapnel_value_ref(v);
    grapnel_value_free(v);
    function = grapnel_value_new_function(doubled, &gone, count);
    ck_assert_int_eq(grapnel_call_ref(ref, &v, &error, "v", function), 0);
    ck_assert_int_eq(grapnel_value_int(v, 0), 8);
    grapnel_value_free(v);
    grapnel_value_free(function);
    grapnel_ref_free(ref);
    for (int n = 0; n < 200 && !gone; n++) /* the collector's work, and its telling */
        grapnel_value_free(eval(it, "collectgarbage() collectgarbage() require('time').sleep(0)"));
    ck_assert_int_eq(gone, 1);
}
END_TEST

START_TEST(objects_stay_there)
{
    struct grapnel_call_options o = {.path = "execute", .flags = GRAPNEL_CALL_REFS};
    struct grapnel_value *v, *args = grapnel_value_new_array();
    struct grapnel_ref *table, *same;
    struct grapnel_future *f;

    grapnel_value_append(args, grapnel_value_new_string("t = t or {7, 8, n = 1} return t", 31));
    o.args = args;
    f = grapnel_callv(it, &o, &error);
    ck_assert_int_eq(grapnel_future_wait(f, -1, &error), 0);
    table = grapnel_value_ref(grapnel_future_value(f));
    ck_assert_ptr_nonnull(table);
    ck_assert_str_eq(grapnel_ref_kind(table), "table");
    grapnel_future_free(f);
    f = grapnel_callv(it, &o, &error);
    ck_assert_int_eq(grapnel_future_wait(f, -1, &error), 0);
    same = grapnel_value_ref(grapnel_future_value(f));
    ck_assert_ptr_eq(table, same);
    grapnel_future_free(f);
    grapnel_ref_free(same);
    grapnel_value_free(args);
    ck_assert_int_eq(number(it, "setmetatable(t, {__unm = function(a) return -a.n end}) return 0"),
                     0);
    args = grapnel_value_new_array();
    grapnel_value_append(args, grapnel_value_new_string("unm", 3));
    o = (struct grapnel_call_options){.ref = table, .op = "op", .args = args};
    f = grapnel_callv(it, &o, &error);
    ck_assert_int_eq(grapnel_future_wait(f, -1, &error), 0);
    ck_assert_int_eq(grapnel_value_int(grapnel_future_value(f), 0), -1);
    grapnel_future_free(f);
    grapnel_value_free(args);
    ck_assert_int_eq(grapnel_ref_set(table, &error, "si", "n", 58), 0);
    ck_assert_int_eq(number(it, "return t.n"), 58);
    ck_assert_int_eq(grapnel_ref_index(table, &v, &error, "i", 2), 0);
    ck_assert_int_eq(grapnel_value_int(v, 0), 8);
    grapnel_value_free(v);
    ck_assert_int_eq(grapnel_ref_length(table, &error), 2);
    ck_assert_int_eq(grapnel_call(it, "rawequal", &v, &error, "rv", table, NULL), 0);
    grapnel_value_free(v);
    ck_assert_int_eq(grapnel_ref_obtain(table, &v, &error), 0);
    ck_assert_int_eq(grapnel_value_int(grapnel_value_get(v, "n"), 0), 58);
    grapnel_value_free(v);
    grapnel_ref_free(table);
}
END_TEST

START_TEST(a_call_without_an_answer)
{
    struct grapnel_value *args = grapnel_value_new_array();
    struct grapnel_call_options o = {
        .path = "execute", .args = args, .flags = GRAPNEL_CALL_NO_REPLY};

    grapnel_value_append(args, grapnel_value_new_string("y = (y or 0) + 1 error('x')", 27));
    for (int i = 0; i < 10; i++) {
        struct grapnel_future *f = grapnel_callv(it, &o, &error);
        ck_assert_ptr_nonnull(f);
        if (i % 2)
            ck_assert_int_eq(grapnel_future_wait(f, 5000, NULL), 0);
        grapnel_future_free(f);
    }
    ck_assert_int_eq(number(it, "return y"), 10);
    grapnel_value_free(args);
}
END_TEST

/* As much as fits into an answer, and what does not. */
START_TEST(large_values)
{
    struct grapnel_value *v = eval(it, "return string.rep('x', 1000000)");
    size_t n;

    ck_assert_ptr_nonnull(grapnel_value_string(v, &n));
    ck_assert_uint_eq(n, 1000000);
    grapnel_value_free(v);
    v = eval(it, "return string.rep('x', 1 << 21)");
    ck_assert_ptr_nonnull(grapnel_value_string(v, &n));
    ck_assert_uint_eq(n, 1 << 21);
    grapnel_value_free(v);
    v = eval(it, "local t = {} for i = 1, 70000 do t[i] = 1 end return t");
    ck_assert_uint_eq(grapnel_value_count(v), 70000);
    grapnel_value_free(v);
    ck_assert_int_lt(
        grapnel_call(it, "execute", NULL, &error, "s", "return string.rep('x', 1 << 26)"), 0);
    check_failure("TOO_LARGE", "channel");
    ck_assert_int_lt(grapnel_call(it, "execute", NULL, &error, "sf",
                                  "local t = setmetatable({}, {__copy = true}) "
                                  "for i = 1, 70000 do t[i] = 1 end return (...)(t)",
                                  doubled, NULL),
                     0);
    ck_assert_int_eq(number(it, "return 1"), 1);
}
END_TEST

#define MANY 100000

START_TEST(a_hundred_thousand_calls_at_once)
{
    struct grapnel_future **all = calloc(MANY, sizeof(struct grapnel_future *));

    ck_assert_ptr_nonnull(all);
    for (int i = 0; i < MANY; i++) {
        all[i] = grapnel_call_start(it, "math.abs", &error, "i", -i);
        ck_assert_ptr_nonnull(all[i]);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(grapnel_future_wait(all[i], 60000, &error), 0);
        ck_assert_int_eq(grapnel_value_int(grapnel_future_value(all[i]), -1), i);
        grapnel_future_free(all[i]);
    }
    free(all);
}
END_TEST

/* ---- how it ends ---- */

START_TEST(an_end_is_told_and_touches_no_other)
{
    static const struct {
        const char *source, *name, *detail;
    } ends[] = {
        {"os.exit(3)", "INSTANCE", "exited with status 3"},
        /* Not SEGV, which sanitizers handle. */
        {"os.execute('kill -ABRT $PPID')", "INSTANCE", "killed by signal ABRT"},
        {"io.stderr:write('so long') os.execute('kill -KILL $PPID')", "INSTANCE", "so long"},
    };
    struct grapnel_instance *other = open_with(NULL);
    struct grapnel_future *pending;

    ck_assert_int_eq(number(it, "x = 1 return x"), 1);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        pending = grapnel_call_start(other, "time.sleep", &error, "i", 100);
        ck_assert_int_lt(grapnel_call(other, "execute", NULL, &error, "s", ends[i].source), 0);
        check_failure(ends[i].name, ends[i].detail);
        ck_assert_int_lt(grapnel_future_wait(pending, 0, &error), 0);
        check_failure(ends[i].name, ends[i].detail);
        grapnel_future_free(pending);
        ck_assert_int_lt(grapnel_instance_error(other, &error), 0);
        check_failure(ends[i].name, ends[i].detail);
        ck_assert_int_eq(grapnel_instance_reopen(other, &error), 0);
        ck_assert_int_eq(number(other, "return 2"), 2);
    }
    ck_assert_int_eq(number(it, "return x"), 1);
    grapnel_instance_free(other);
}
END_TEST

START_TEST(limits_hold)
{
    struct grapnel_instance_options o = {.memory = 32 * 1024 * 1024, .cpu_seconds = 1};
    struct grapnel_instance *i = open_with(&o);

    ck_assert_int_lt(
        grapnel_call(i, "execute", NULL, &error, "s", "return #string.rep('x', 1 << 30)"), 0);
    ck_assert_int_eq(number(i, "return 1"), 1);
    ck_assert_int_lt(grapnel_call(i, "execute", NULL, &error, "s", "while true do end"), 0);
    check_failure("CPU_LIMIT", "XCPU");
    grapnel_instance_free(i);
}
END_TEST

START_TEST(a_bad_start_is_told)
{
    struct grapnel_instance_options o = {.cwd = "/no/such/folder"};
    struct grapnel_instance *i = open_with(&o);

    ck_assert_int_lt(grapnel_call(i, "math.abs", NULL, &error, "i", 1), 0);
    check_failure("CWD", "/no/such/folder");
    grapnel_instance_free(i);
}
END_TEST

START_TEST(a_cut_line_fails_all)
{
    struct grapnel_future *f[20];
    int64_t worker = number(it, "local f = io.open('/proc/self/stat') return f:read('n')");

    for (int i = 0; i < 20; i++)
        f[i] = grapnel_call_start(it, "time.sleep", &error, "i", 100);
    ck_assert(harness_process_runs((pid_t)worker));
    grapnel_server_free(server);
    server = NULL;
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(grapnel_future_wait(f[i], 0, &error), -5);
        grapnel_future_free(f[i]);
    }
    harness_wait_process((pid_t)worker);
}
END_TEST

START_TEST(closing_the_server_ends_instances)
{
    struct grapnel_future *f = grapnel_call_start(it, "time.sleep", &error, "i", 100);

    ck_assert_int_eq(number(it, "return 1"), 1);
    ck_assert_int_eq(grapnel_close(server, 10000, &error), 0);
    ck_assert_int_lt(grapnel_future_wait(f, 1000, &error), 0);
    grapnel_future_free(f);
}
END_TEST

START_TEST(what_it_started_goes_with_it)
{
    int64_t child = number(it, "local f = io.popen('sleep 1000 >/dev/null & echo $!') "
                               "return f:read('n')");

    ck_assert(harness_process_runs((pid_t)child));
    ck_assert_int_eq(grapnel_instance_close(it, 0, &error), 0);
    ck_assert(!harness_process_runs((pid_t)child));
}
END_TEST

START_TEST(what_it_left_does_not_hide_its_end)
{
    int64_t child = number(it, "local f = io.popen('sleep 1000 >/dev/null & echo $!') "
                               "return f:read('n')");

    ck_assert_int_lt(grapnel_call(it, "os.exit", NULL, &error, "i", 5), 0);
    check_failure("INSTANCE", "exited with status 5");
    harness_wait_process((pid_t)child);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("instance");
    TCase *t = tcase_create("instance");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, the_first_call_goes_with_the_agent);
    tcase_add_test(t, a_one_shot_server_runs_an_instance);
    tcase_add_test(t, instances_have_states_of_their_own);
    tcase_add_test(t, what_it_prints_is_told);
    tcase_add_test(t, calls_do_not_wait_for_each_other);
    tcase_add_test(t, cancel_stops_the_task);
    tcase_add_test(t, functions_go_both_ways);
    tcase_add_test(t, objects_stay_there);
    tcase_add_test(t, a_call_without_an_answer);
    tcase_add_test(t, large_values);
    tcase_add_test(t, a_hundred_thousand_calls_at_once);
    tcase_add_test(t, an_end_is_told_and_touches_no_other);
    tcase_add_test(t, limits_hold);
    tcase_add_test(t, a_bad_start_is_told);
    tcase_add_test(t, a_cut_line_fails_all);
    tcase_add_test(t, closing_the_server_ends_instances);
    tcase_add_test(t, what_it_started_goes_with_it);
    tcase_add_test(t, what_it_left_does_not_hide_its_end);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
