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

#define TASKS 2000

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

static Suite *fleet_map_suite(void)
{
    Suite *s = suite_create("fleet_map");
    TCase *c = tcase_create("local");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_each_task_is_told_once);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(fleet_map_suite)
