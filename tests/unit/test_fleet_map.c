/* Maps over the local transport: every task is told once, whatever becomes of what does it. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/agent/harness.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#include "launcher/grapnel.h"

#define TASKS  2000
#define NOBODY SIZE_MAX

static struct grapnel_connect_options local = {.transport = "local"};
static struct grapnel *g;
static struct grapnel_error error;
static size_t descriptors_before, threads_before;

static size_t entries(const char *folder)
{
    DIR *d = opendir(folder);
    size_t n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void setup(void)
{
    sshtools_enter();
    descriptors_before = entries("/proc/self/fd");
    threads_before = entries("/proc/self/task");
    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    grapnel_free(g);
    ck_assert_uint_eq(entries("/proc/self/fd"), descriptors_before);
    ck_assert_uint_eq(entries("/proc/self/task"), threads_before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    sshtools_leave();
}

static struct grapnel_fleet *fleet(size_t hosts, struct grapnel_fleet_options o)
{
    static const char *const names[] = {"one", "two", "three", "four", NULL};
    struct grapnel_fleet *f;

    o.connect = &local;
    ck_assert_uint_le(hosts, 4);
    f = grapnel_fleet_new(g, names + 4 - hosts, &o, &error);
    ck_assert_ptr_nonnull(f);
    return f;
}

/* The numbers from 1 to `last`. */
struct numbers {
    int64_t n, last;
};

static int next_number(void *arg, struct grapnel_value **args)
{
    struct numbers *numbers = arg;

    if (numbers->n == numbers->last)
        return GRAPNEL_MAP_END;
    *args = grapnel_value_new_array();
    ck_assert_int_eq(grapnel_value_append(*args, grapnel_value_new_int(++numbers->n)), 0);
    return GRAPNEL_MAP_TASK;
}

START_TEST(test_each_task_is_told_once)
{
    struct numbers numbers = {.last = TASKS};
    struct grapnel_map_options o = {.source = "function(n) return n * n, 'and more' end",
                                    .next = next_number,
                                    .arg = &numbers,
                                    .instances = 8};
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){0});
    struct grapnel_fleet_job *job = grapnel_fleet_map(f, &o, NULL, NULL, NULL, &error);
    static int told[TASKS];
    struct grapnel_fleet_result host;
    struct grapnel_map_result r;

    ck_assert_msg(job != NULL, "%s", error.detail);
    memset(told, 0, sizeof told);
    while (grapnel_fleet_map_next(job, 20000, &r, &error) == 0) {
        int64_t n = (int64_t)r.index + 1;

        ck_assert_uint_lt(r.index, TASKS);
        ck_assert_int_eq(told[r.index]++, 0);
        ck_assert_msg(r.error == NULL, "%s", r.error ? r.error->detail : "");
        ck_assert_int_eq(grapnel_value_int(r.value, 0), n * n);
        ck_assert_uint_eq(grapnel_value_count(r.results), 2);
        ck_assert_uint_eq(r.host, 0);
        ck_assert_int_ge(r.instance, 1);
        ck_assert_int_le(r.instance, 8);
        ck_assert_int_eq(r.begun, 1);
    }
    ck_assert_msg(strcmp(error.name, "CLOSED") == 0, "%s: %s", error.name, error.detail);
    for (int i = 0; i < TASKS; i++)
        ck_assert_int_eq(told[i], 1);
    ck_assert_int_eq(grapnel_fleet_wait_any(job, 0, &host, &error), 0);
    ck_assert_int_eq(host.failed, 0);
    ck_assert_int_eq(host.confirmed, 1);
    ck_assert_int_eq(grapnel_value_int(host.value, 0), TASKS);
    grapnel_fleet_job_free(job);
    grapnel_fleet_free(f);
}
END_TEST

/* ---- all results of a map, by index ---- */

struct told {
    int times, code, begun, instance;
    size_t host;
    int64_t value;
    char text[1000]; /* of the error, or of the value if it is a string */
};

struct results {
    struct told of[TASKS];
    size_t n, order[TASKS];
    struct grapnel_error end;
};

static struct results all;

static void note(const struct grapnel_map_result *r)
{
    struct told *t = &all.of[r->index];
    const char *said = grapnel_value_string(r->value, NULL);

    ck_assert_uint_lt(r->index, TASKS);
    ck_assert_int_eq(t->times++, 0);
    all.order[all.n++] = (size_t)r->index;
    t->code = r->error ? r->error->code : 0;
    t->begun = r->begun;
    t->instance = r->instance;
    t->host = r->host;
    t->value = grapnel_value_int(r->value, -1);
    snprintf(t->text, sizeof t->text, "%s", r->error ? r->error->detail : said ? said : "");
}

static void on_result(void *arg, const struct grapnel_map_result *r)
{
    (void)arg;
    note(r);
}

static struct grapnel_fleet_job *start(struct grapnel_fleet *f, struct grapnel_map_options o,
                                       struct numbers *numbers)
{
    struct grapnel_fleet_job *job;

    memset(&all, 0, sizeof all);
    o.next = o.next ? o.next : next_number;
    o.arg = numbers;
    job = grapnel_fleet_map(f, &o, NULL, NULL, NULL, &error);
    ck_assert_msg(job != NULL, "%s", error.detail);
    return job;
}

/* Takes what is left of the results. */
static void take_all(struct grapnel_fleet_job *job)
{
    struct grapnel_map_result r;

    while (grapnel_fleet_map_next(job, 30000, &r, &all.end) == 0)
        note(&r);
    ck_assert_msg(strcmp(all.end.name, "TIMEOUT") != 0 || *all.end.detail, "%s", "nothing came");
}

static void finish(struct grapnel_fleet *f, struct grapnel_fleet_job *job)
{
    grapnel_fleet_job_free(job);
    grapnel_fleet_free(f);
}

/* Maps the numbers from 1 to `last` on one host. */
static void map_all(struct grapnel_map_options o, int64_t last)
{
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){0});
    struct numbers numbers = {.last = last};
    struct grapnel_fleet_job *job = start(f, o, &numbers);

    take_all(job);
    finish(f, job);
}

/* Those of `last` that have an error, of which the test has none in mind. */
static void check_fine(int64_t last, size_t except)
{
    for (size_t i = 0; i < (size_t)last; i++) {
        ck_assert_int_eq(all.of[i].times, 1);
        if (i != except)
            ck_assert_msg(all.of[i].code == 0, "task %zu: %s", i, all.of[i].text);
    }
    ck_assert_uint_eq(all.n, (size_t)last);
}

static int is_code(int code, const char *name)
{
    return strcmp(grapnel_error_name(code), name) == 0;
}

#define ck_assert_code(code, name)                                                                 \
    ck_assert_msg(is_code(code, name), "%s, not %s", grapnel_error_name(code), name)

START_TEST(test_results_come_in_order_if_that_is_wanted)
{
    struct grapnel_map_options o = {
        .source = "function(n) if n % 7 == 1 then require 'time'.sleep(0.02) end return n end",
        .instances = 4,
        .ordered = _i};
    int sorted = 1;

    map_all(o, 300);
    check_fine(300, NOBODY);
    ck_assert_str_eq(all.end.name, "CLOSED");
    for (size_t i = 0; i < 300; i++) {
        sorted = sorted && all.order[i] == i;
        ck_assert_int_eq(all.of[i].value, (int64_t)i + 1);
    }
    ck_assert_int_eq(sorted, _i);
}
END_TEST

START_TEST(test_a_path_and_several_hosts)
{
    struct grapnel_fleet *f = fleet(3, (struct grapnel_fleet_options){0});
    struct numbers numbers = {.last = 500};
    struct grapnel_fleet_job *job =
        start(f, (struct grapnel_map_options){.path = "math.tointeger"}, &numbers);
    struct grapnel_fleet_result host;
    int64_t done = 0;

    take_all(job);
    check_fine(500, NOBODY);
    while (grapnel_fleet_wait_any(job, 10000, &host, &error) == 0) {
        ck_assert_int_eq(host.failed, 0);
        done += grapnel_value_int(host.value, -1000);
    }
    ck_assert_int_eq(done, 500);
    finish(f, job);
}
END_TEST

START_TEST(test_tasks_that_fail)
{
    struct grapnel_map_options o = {.source = "local function deep(n) return 1 + deep(n + 1) end\n"
                                              "return function(n)\n"
                                              "if n == 1 then error 'on purpose' end\n"
                                              "if n == 2 then error {code = 7} end\n"
                                              "if n == 3 then return nil, 'no such thing' end\n"
                                              "if n == 4 then local t = {} t.t = t return t end\n"
                                              "if n == 5 then return deep(1) end\n"
                                              "if n == 6 then return end\n"
                                              "if n == 7 then return nil, 7 end\n"
                                              "return n end",
                                    .instances = 2};
    static const char *const texts[] = {"on purpose; remote traceback", "{\"code\":7}",
                                        "no such thing", "", "stack overflow"};

    map_all(o, 100);
    ck_assert_str_eq(all.end.name, "CLOSED");
    ck_assert_uint_eq(all.n, 100);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_code(all.of[i].code, i == 3 ? "CYCLE" : "REMOTE");
        ck_assert_msg(strstr(all.of[i].text, texts[i]) != NULL, "%s", all.of[i].text);
    }
    for (size_t i = 5; i < 100; i++)
        ck_assert_msg(all.of[i].code == 0, "task %zu: %s", i, all.of[i].text);
}
END_TEST

START_TEST(test_a_function_that_is_not_there)
{
    static const struct {
        const char *path, *source, *text;
    } bad[] = {{"no.such", NULL, "there is no function no.such here"},
               {NULL, "function(", "map:1"},
               {NULL, "7", "is a number, not a function"},
               {NULL, "error 'at once'", "at once"}};
    struct grapnel_map_options o = {.path = bad[_i].path, .source = bad[_i].source, .count = 10};

    map_all(o, 10);
    ck_assert_code(all.end.code, "REMOTE");
    ck_assert_msg(strstr(all.end.detail, bad[_i].text) != NULL, "%s", all.end.detail);
    ck_assert_uint_eq(all.n, 10);
    for (size_t i = 0; i < 10; i++) {
        ck_assert_code(all.of[i].code, "REMOTE");
        ck_assert_int_eq(all.of[i].begun, 0);
    }
}
END_TEST

/* ---- the source ---- */

START_TEST(test_an_endless_source_is_asked_when_there_is_room)
{
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){0});
    struct numbers numbers = {.last = INT64_MAX};
    struct grapnel_map_options o = {
        .source = "function(n) return n end", .instances = 2, .ordered = _i, .ahead = 20};
    struct grapnel_fleet_job *job = start(f, o, &numbers);
    struct grapnel_fleet_result host;
    struct grapnel_map_result r;

    for (int64_t i = 0; i < 200; i++) {
        ck_assert_int_eq(grapnel_fleet_map_next(job, 10000, &r, &error), 0);
        note(&r);
        ck_assert_int_le(numbers.n, i + 21);
    }
    ck_assert_int_eq(grapnel_drive(g, 50), -6);
    ck_assert_int_le(numbers.n, 220);
    grapnel_fleet_cancel(job);
    take_all(job);
    ck_assert_str_eq(all.end.name, "CANCELLED");
    ck_assert_int_eq((int64_t)all.n, numbers.n);
    ck_assert_int_eq(grapnel_fleet_wait_any(job, 10000, &host, &error), 0);
    ck_assert_str_eq(host.error->name, "CANCELLED");
    ck_assert_int_eq(host.confirmed, 1);
    finish(f, job);
}
END_TEST

/* Of results that nobody takes, and of those that wait for the first one, no more is kept than the
 * budget; then all of them come. */
START_TEST(test_memory_is_bounded)
{
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){.memory = 1 << 20});
    struct numbers numbers = {.last = 1000};
    struct grapnel_map_options o = {.source =
                                        "function(n) if n == 1 then require 'time'.sleep(0.3) end\n"
                                        "return ('x'):rep(20000) end",
                                    .instances = 2,
                                    .ordered = _i};
    struct grapnel_fleet_job *job = start(f, o, &numbers);

    for (int i = 0; i < 1000 && numbers.n < 40; i++)
        grapnel_drive(g, 20);
    ck_assert_int_ge(numbers.n, 40);
    grapnel_drive(g, 100);
    ck_assert_int_le(numbers.n, 80);
    take_all(job);
    check_fine(1000, NOBODY);
    finish(f, job);
}
END_TEST

/* One task at a time: behind each there is none just now. */
static int next_late(void *arg, struct grapnel_value **args)
{
    static int late;

    late = !late;
    return late ? next_number(arg, args) : GRAPNEL_MAP_LATER;
}

START_TEST(test_a_source_may_have_nothing_just_now)
{
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){0});
    struct numbers numbers = {.last = 10};
    struct grapnel_map_options o = {.source = "function(n) return n end", .next = next_late};
    struct grapnel_fleet_job *job = start(f, o, &numbers);
    struct grapnel_map_result r;

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(grapnel_fleet_map_next(job, 10000, &r, &error), 0);
        note(&r);
        ck_assert_int_lt(grapnel_fleet_map_next(job, 20, &r, &error), 0);
        ck_assert_str_eq(error.name, "TIMEOUT");
        grapnel_fleet_map_more(job);
    }
    take_all(job);
    check_fine(10, NOBODY);
    ck_assert_str_eq(all.end.name, "CLOSED");
    finish(f, job);
}
END_TEST

static int next_failing(void *arg, struct grapnel_value **args)
{
    struct numbers *numbers = arg;

    if (numbers->n == 5)
        return -1;
    return next_number(arg, args);
}

START_TEST(test_a_source_that_fails)
{
    map_all(
        (struct grapnel_map_options){.source = "function(n) return n end", .next = next_failing},
        10);
    check_fine(5, NOBODY);
    ck_assert_str_eq(all.end.name, "ARGUMENT");
}
END_TEST

START_TEST(test_options_that_make_no_sense)
{
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){0});
    struct grapnel_map_options o = {.path = "a", .source = "b", .next = next_number};

    ck_assert_ptr_null(grapnel_fleet_map(f, &o, NULL, NULL, NULL, &error));
    ck_assert_str_eq(error.name, "ARGUMENT");
    o = (struct grapnel_map_options){.path = "a"};
    ck_assert_ptr_null(grapnel_fleet_map(f, &o, NULL, NULL, NULL, &error));
    ck_assert_str_eq(error.name, "ARGUMENT");
    grapnel_fleet_free(f);
}
END_TEST

/* ---- deaths ---- */

/* Those whose number is divisible by 50 kill their instance, the first time (_i 0), or always. */
START_TEST(test_what_dies_is_done_again)
{
    char source[600];
    struct grapnel_map_options o = {.source = source, .instances = 2, .ordered = 1};

    snprintf(source, sizeof source,
             "function(n) if n %% 50 == 0 then\n"
             "local mark = '%s/mark' .. n local file = io.open(mark)\n"
             "if not file or %s then io.open(mark, 'w'):close()\n"
             "local p = require 'proc' p.signal(p.pid(), 'KILL') end end\n"
             "return n end",
             sshtools_folder, _i ? "true" : "false");
    map_all(o, 500);
    ck_assert_str_eq(all.end.name, "CLOSED");
    ck_assert_uint_eq(all.n, 500);
    for (size_t i = 0; i < 500; i++) {
        struct told *t = &all.of[i];
        int kills = (i + 1) % 50 == 0;

        ck_assert_uint_eq(all.order[i], i);
        if (kills && _i) {
            ck_assert_code(t->code, "LOST");
            ck_assert_msg(strstr(t->text, "begun 3 times") && strstr(t->text, "signal KILL"), "%s",
                          t->text);
        } else {
            ck_assert_msg(t->code == 0, "task %zu: %s", i, t->text);
            ck_assert_int_eq(t->value, (int64_t)i + 1);
        }
        ck_assert_int_ge(t->begun, kills ? 2 : 1);
        ck_assert_int_le(t->begun, 3);
    }
}
END_TEST

START_TEST(test_what_must_not_be_done_twice)
{
    struct grapnel_map_options o = {.source =
                                        "function(n) if n == 20 then os.exit(3) end return n end",
                                    .instances = 2,
                                    .redo = -1};

    map_all(o, 100);
    check_fine(100, 19);
    ck_assert_code(all.of[19].code, "LOST");
    for (size_t i = 0; i < 100; i++)
        ck_assert_int_eq(all.of[i].begun, 1);
}
END_TEST

/* An instance that dies as soon as it begins. */
START_TEST(test_instances_that_never_work)
{
    map_all((struct grapnel_map_options){.source = "os.exit(3)", .instances = 2}, 10);
    ck_assert_code(all.end.code, "INSTANCE");
    ck_assert_msg(strstr(all.end.detail, "status 3") != NULL, "%s", all.end.detail);
    ck_assert_uint_eq(all.n, 0);
}
END_TEST

/* Code there that has put something else in the place of what tells outcomes: its host is out. */
START_TEST(test_answers_that_are_none)
{
    static const char *const answers[] = {"",
                                          "'x', 'y', 'z'",
                                          "chunk.number",
                                          "chunk.number, 5",
                                          "chunk.number, -1, true, 0",
                                          "chunk.number, 5, true",
                                          "chunk.number, 5, true, 99, 1",
                                          "chunk.number, 5, true, -1, 1",
                                          "chunk.number, 5, true, math.maxinteger, 1",
                                          "chunk.number, 5, table.unpack(('x'):rep(9000), 1, 9000)",
                                          "chunk.number, 5, table.unpack({}, 1, 9001)"};
    char source[1000];
    struct grapnel_map_options o = {.source = source, .instances = 1, .count = 20};

    snprintf(source, sizeof source,
             "function(n)\n"
             "for level = 1, n == 5 and 20 or 0 do\n"
             "local f, name, i = (debug.getinfo(level, 'f') or {}).func, true, 0\n"
             "while f and name do i = i + 1 name = debug.getupvalue(f, i)\n"
             "if name == 'told' then\n"
             "debug.setupvalue(f, i, function(chunk) return %s end) end end end\n"
             "return n end",
             answers[_i]);
    map_all(o, 20);
    ck_assert_code(all.end.code, "MALFORMED");
    ck_assert_uint_eq(all.n, 20);
    ck_assert_code(all.of[19].code, "MALFORMED");
}
END_TEST

/* The agents of the fleet, which keeps them. */
static void agents(struct grapnel_fleet *f, pid_t *pids)
{
    struct grapnel_fleet_job *job = grapnel_fleet_facts(f, NULL, NULL, &error);
    struct grapnel_fleet_result r;

    while (grapnel_fleet_wait_any(job, 10000, &r, &error) == 0)
        pids[r.host] = (pid_t)grapnel_value_int(grapnel_value_get(r.value, "pid"), 0);
    grapnel_fleet_job_free(job);
}

/* One host dies, and then the other one. */
START_TEST(test_hosts_that_die)
{
    struct grapnel_fleet *f = fleet(2, (struct grapnel_fleet_options){.keep = 1});
    struct numbers numbers = {.last = 400};
    struct grapnel_map_options o = {.source =
                                        "function(n) require 'time'.sleep(0.005) return n end",
                                    .instances = 2,
                                    .count = _i ? 400 : 0};
    pid_t pids[2] = {0};
    struct grapnel_fleet_job *job;
    struct grapnel_map_result r;
    struct grapnel_fleet_result host;
    int failed = 0;

    agents(f, pids);
    job = start(f, o, &numbers);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(grapnel_fleet_map_next(job, 10000, &r, &error), 0);
        note(&r);
        if (i == 20)
            ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    }
    if (_i)
        ck_assert_int_eq(kill(pids[1], SIGKILL), 0);
    take_all(job);
    while (grapnel_fleet_wait_any(job, 10000, &host, &error) == 0)
        failed += host.failed;
    if (_i) {
        ck_assert_int_eq(failed, 2);
        ck_assert_code(all.end.code, "LOST");
        ck_assert_uint_eq(all.n, 400);
        ck_assert_code(all.of[399].code, "LOST");
    } else {
        ck_assert_int_eq(failed, 1);
        ck_assert_str_eq(all.end.name, "CLOSED");
        check_fine(400, NOBODY);
    }
    finish(f, job);
}
END_TEST

/* A host that is stopped, and then all lines. */
START_TEST(test_a_host_is_stopped)
{
    struct grapnel_fleet *f = fleet(2, (struct grapnel_fleet_options){0});
    struct numbers numbers = {.last = 300};
    struct grapnel_map_options o = {.source =
                                        "function(n) require 'time'.sleep(0.005) return n end",
                                    .instances = 2,
                                    .count = 300};
    struct grapnel_fleet_job *job = start(f, o, &numbers);
    struct grapnel_fleet_result host;
    struct grapnel_map_result r;
    int failed = 0;

    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(grapnel_fleet_map_next(job, 10000, &r, &error), 0);
        note(&r);
        if (i == 10)
            grapnel_fleet_stop(job, 1);
    }
    if (_i)
        grapnel_abandon(g);
    take_all(job);
    ck_assert_uint_eq(all.n, 300);
    ck_assert_str_eq(all.end.name, _i ? "CANCELLED" : "CLOSED");
    ck_assert_int_eq(all.of[299].code, _i ? all.end.code : 0);
    while (grapnel_fleet_wait_any(job, 10000, &host, &error) == 0) {
        failed += host.failed;
        ck_assert_int_eq(host.failed, host.host == 1 || _i);
    }
    ck_assert_int_eq(failed, 1 + _i);
    finish(f, job);
}
END_TEST

static void spoil_first(void *arg, size_t host, struct grapnel_connect_options *o)
{
    (void)arg;
    o->transport = host == 0 ? "false" : "local";
}

/* Those that cannot be reached are told; those that are not needed any more are not connected to.
 */
START_TEST(test_hosts_that_are_not_needed_and_one_that_is_not_there)
{
    struct grapnel_fleet *f =
        fleet(4, (struct grapnel_fleet_options){.adjust = spoil_first, .fanout = 1});
    struct numbers numbers = {.last = 100};
    struct grapnel_fleet_job *job =
        start(f, (struct grapnel_map_options){.path = "tostring"}, &numbers);
    struct grapnel_fleet_result host;
    struct grapnel_fleet_counts counts;

    take_all(job);
    check_fine(100, NOBODY);
    while (grapnel_fleet_wait_any(job, 10000, &host, &error) == 0) {
        ck_assert_int_eq(host.failed, host.host == 0);
        ck_assert_int_eq(grapnel_value_int(host.value, -1), host.host == 1 ? 100 : 0);
        ck_assert_int_eq(host.began > 0., host.host < 2);
        ck_assert_int_eq(host.confirmed, 1);
    }
    grapnel_fleet_counts(job, &counts);
    ck_assert_uint_eq(counts.failed, 1);
    ck_assert_uint_eq(counts.done, 3);
    finish(f, job);
}
END_TEST

/* The connection is kept, the instances are not. */
START_TEST(test_instances_end_with_their_map)
{
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){.keep = 1});
    struct numbers numbers = {.last = 20};
    struct grapnel_fleet_job *job =
        start(f, (struct grapnel_map_options){.path = "proc.pid", .instances = 2}, &numbers);
    struct grapnel_fleet_result host;

    if (_i) {
        take_all(job);
        check_fine(20, NOBODY);
        ck_assert_int_eq(grapnel_fleet_wait_any(job, 10000, &host, &error), 0);
        ck_assert_int_eq(host.failed, 0);
    } else {
        struct grapnel_map_result r;

        for (int i = 0; i < 20; i++) {
            ck_assert_int_eq(grapnel_fleet_map_next(job, 10000, &r, &error), 0);
            note(&r);
        }
    }
    grapnel_fleet_job_free(job);
    for (size_t i = 0; i < 20; i++) {
        for (int tries = 0; kill((pid_t)all.of[i].value, 0) == 0; tries++) {
            ck_assert_int_lt(tries, 500);
            grapnel_drive(g, 10);
        }
    }
    grapnel_fleet_free(f);
}
END_TEST

/* ---- time ---- */

START_TEST(test_slow_tasks_are_shared_out)
{
    int done[5] = {0};

    map_all(
        (struct grapnel_map_options){.source = "function(n) require 'time'.sleep(0.2) return n end",
                                     .instances = 4},
        16);
    check_fine(16, NOBODY);
    for (size_t i = 0; i < 16; i++)
        done[all.of[i].instance]++;
    for (int i = 1; i <= 4; i++)
        ck_assert_int_eq(done[i], 4);
}
END_TEST

/* Most are quick, so they go many to a message; those that turn out slow hold up no other. */
START_TEST(test_a_slow_task_among_quick_ones)
{
    double began = grapnel_now();

    map_all(
        (struct grapnel_map_options){
            .source = "function(n) if n > 900 and n % 10 == 0 then require 'time'.sleep(0.2) end\n"
                      "return n end",
            .instances = 10},
        1000);
    check_fine(1000, NOBODY);
    ck_assert(grapnel_now() - began < 1.5);
}
END_TEST

/* One that takes long, among those that were sent together and before others, holds up none of
 * them; the second kind does not even wait. */
START_TEST(test_nothing_waits_for_what_takes_long)
{
    static const char *const how[] = {"require 'time'.sleep(3)",
                                      "local t = os.time() + 3 while os.time() < t do end"};
    char source[200];
    struct grapnel_map_options o = {.source = source, .instances = 2};

    snprintf(source, sizeof source, "function(n) if n == 1500 then %s end return n end", how[_i]);
    map_all(o, 2000);
    check_fine(2000, NOBODY);
    ck_assert_uint_eq(all.order[1999], 1499);
    for (size_t i = 0; i < 2000; i++)
        ck_assert_int_eq(all.of[i].begun, 1);
}
END_TEST

/* The second kind is reached by nothing but the end of its instance. */
START_TEST(test_a_task_has_a_time_limit)
{
    static const char *const sources[] = {
        "function(n) while n == 5 do end return n end",
        "function(n) if n == 5 then ('a'):rep(40):find(('a*'):rep(40) .. 'b') end return n end"};

    map_all((struct grapnel_map_options){.source = sources[_i], .instances = 2, .timeout = 300},
            20);
    check_fine(20, 4);
    ck_assert_code(all.of[4].code, "TIMEOUT");
    ck_assert_int_eq(all.of[4].begun, 1);
}
END_TEST

START_TEST(test_a_map_is_cancelled)
{
    struct grapnel_fleet *f =
        fleet(2, (struct grapnel_fleet_options){.total_timeout = _i ? 300 : 0});
    struct numbers numbers = {.last = 10};
    struct grapnel_map_options o = {
        .source = "function(n) require 'time'.sleep(1000) end", .instances = 2, .count = 10};
    struct grapnel_fleet_job *job = start(f, o, &numbers);
    struct grapnel_fleet_result host;
    struct grapnel_map_result r;
    double began = grapnel_now();

    for (int i = 0; i < 1000 && numbers.n < 4 && !_i; i++)
        ck_assert_int_lt(grapnel_fleet_map_next(job, 20, &r, &error), 0);
    if (!_i)
        grapnel_fleet_cancel(job);
    take_all(job);
    ck_assert_str_eq(all.end.name, _i ? "TIMEOUT" : "CANCELLED");
    ck_assert_uint_eq(all.n, 10);
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(all.of[i].code, all.end.code);
    while (grapnel_fleet_wait_any(job, 10000, &host, &error) == 0)
        ck_assert_int_eq(host.confirmed, 1);
    ck_assert(grapnel_now() - began < 5.);
    finish(f, job);
}
END_TEST

START_TEST(test_a_map_is_freed_while_it_runs)
{
    struct grapnel_fleet *f = fleet(2, (struct grapnel_fleet_options){.keep = _i});
    struct numbers numbers = {.last = INT64_MAX};
    struct grapnel_fleet_job *job =
        start(f, (struct grapnel_map_options){.source = "function(n) return n end", .ordered = 1},
              &numbers);
    struct grapnel_map_result r;

    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(grapnel_fleet_map_next(job, 10000, &r, &error), 0);
        ck_assert_uint_eq(r.index, (uint64_t)i);
    }
    finish(f, job);
    grapnel_drive(g, 20); /* nothing of it is left in the loop */
}
END_TEST

/* ---- callbacks ---- */

static void on_done(void *arg)
{
    ck_assert_uint_eq(all.n, 50);
    ++*(int *)arg;
}

START_TEST(test_results_are_called_back)
{
    static const struct grapnel_fleet_handler handler = {.done = on_done};
    struct grapnel_fleet *f = fleet(1, (struct grapnel_fleet_options){0});
    struct numbers numbers = {.last = 50};
    struct grapnel_map_options o = {
        .source = "function(n) print(n) return n end", .next = next_number, .arg = &numbers};
    struct grapnel_fleet_result host;
    struct grapnel_map_result r;
    int done = 0;
    struct grapnel_fleet_job *job;

    memset(&all, 0, sizeof all);
    job = grapnel_fleet_map(f, &o, on_result, &handler, &done, &error);
    ck_assert_ptr_nonnull(job);
    ck_assert_int_eq(grapnel_fleet_wait(job, 10000, &error), 0);
    check_fine(50, NOBODY);
    ck_assert_int_eq(done, 1);
    ck_assert_int_lt(grapnel_fleet_map_next(job, 0, &r, &error), 0);
    ck_assert_str_eq(error.name, "ARGUMENT");
    ck_assert_int_eq(grapnel_fleet_wait_any(job, 0, &host, &error), 0);
    ck_assert_uint_eq(host.out_length, 9 * 2 + 41 * 3);
    finish(f, job);
}
END_TEST

static Suite *fleet_map_suite(void)
{
    Suite *s = suite_create("fleet_map");
    TCase *c = tcase_create("local");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_each_task_is_told_once);
    tcase_add_loop_test(c, test_results_come_in_order_if_that_is_wanted, 0, 2);
    tcase_add_test(c, test_a_path_and_several_hosts);
    tcase_add_test(c, test_tasks_that_fail);
    tcase_add_loop_test(c, test_a_function_that_is_not_there, 0, 4);
    tcase_add_loop_test(c, test_an_endless_source_is_asked_when_there_is_room, 0, 2);
    tcase_add_loop_test(c, test_memory_is_bounded, 0, 2);
    tcase_add_test(c, test_a_source_may_have_nothing_just_now);
    tcase_add_test(c, test_a_source_that_fails);
    tcase_add_test(c, test_options_that_make_no_sense);
    tcase_add_loop_test(c, test_what_dies_is_done_again, 0, 2);
    tcase_add_test(c, test_what_must_not_be_done_twice);
    tcase_add_test(c, test_instances_that_never_work);
    tcase_add_loop_test(c, test_answers_that_are_none, 0, 11);
    tcase_add_loop_test(c, test_hosts_that_die, 0, 2);
    tcase_add_loop_test(c, test_a_host_is_stopped, 0, 2);
    tcase_add_test(c, test_hosts_that_are_not_needed_and_one_that_is_not_there);
    tcase_add_loop_test(c, test_instances_end_with_their_map, 0, 2);
    tcase_add_test(c, test_slow_tasks_are_shared_out);
    tcase_add_test(c, test_a_slow_task_among_quick_ones);
    tcase_add_loop_test(c, test_nothing_waits_for_what_takes_long, 0, 2);
    tcase_add_loop_test(c, test_a_task_has_a_time_limit, 0, 2);
    tcase_add_loop_test(c, test_a_map_is_cancelled, 0, 2);
    tcase_add_loop_test(c, test_a_map_is_freed_while_it_runs, 0, 2);
    tcase_add_test(c, test_results_are_called_back);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(fleet_map_suite)
