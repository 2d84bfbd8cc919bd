/* Fleets over the local transport: one job on many hosts, each told once, and nothing left. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/agent/harness.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#include "launcher/grapnel.h"

#define HOSTS 12

static struct grapnel_connect_options local = {.transport = "local"};
static const char *names[HOSTS + 1];
static char name_texts[HOSTS][16];
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
    for (int i = 0; i < HOSTS; i++) {
        snprintf(name_texts[i], sizeof name_texts[i], "host%d", i);
        names[i] = name_texts[i];
    }
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

/* What the callbacks were told. */
struct heard {
    int began[HOSTS], ended[HOSTS], failed[HOSTS];
    char text[HOSTS][200];
    int done;
};

static void on_began(void *arg, size_t host)
{
    struct heard *h = arg;

    ck_assert_uint_lt(host, HOSTS);
    h->began[host]++;
}

static size_t on_output(void *arg, size_t host, int which, const uint8_t *bytes, size_t n)
{
    struct heard *h = arg;
    size_t used = strlen(h->text[host]);

    ck_assert_int_eq(which, 1);
    ck_assert_uint_lt(used + n, sizeof h->text[host]);
    memcpy(h->text[host] + used, bytes, n);
    return n;
}

static void on_ended(void *arg, const struct grapnel_fleet_result *r)
{
    struct heard *h = arg;

    ck_assert_int_eq(h->began[r->host], 1);
    h->ended[r->host]++;
    h->failed[r->host] = r->failed;
    ck_assert_msg(r->error == NULL, "%s", r->error ? r->error->detail : "");
    ck_assert_ptr_nonnull(r->status);
    ck_assert_ptr_null(r->out);
    ck_assert_int_eq(r->attempts, 1);
    ck_assert_int_eq(r->begun, 1);
    ck_assert_int_eq(r->confirmed, 1);
    ck_assert_int_ge(r->phase_us[GRAPNEL_FLEET_DEPLOY], 0);
    ck_assert_int_ge(r->phase_us[GRAPNEL_FLEET_EXEC], 0);
    ck_assert_int_eq(r->phase_us[GRAPNEL_FLEET_AUTH], -1);
    ck_assert(r->ended >= r->began);
}

static void on_done(void *arg)
{
    ((struct heard *)arg)->done++;
}

static const struct grapnel_fleet_handler handler = {
    .began = on_began, .output = on_output, .ended = on_ended, .done = on_done};

static struct grapnel_fleet *fleet(struct grapnel_fleet_options o)
{
    struct grapnel_fleet *f;

    if (!o.connect)
        o.connect = &local;
    f = grapnel_fleet_new(g, names, &o, &error);
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(grapnel_fleet_count(f), HOSTS);
    return f;
}

START_TEST(test_each_host_is_told_once)
{
    const char *argv[] = {"echo", "here", NULL};
    struct grapnel_exec_options command = {.argv = argv};
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){0});
    struct heard h = {0};
    struct grapnel_fleet_counts counts;
    struct grapnel_fleet_job *job = grapnel_fleet_run(f, &command, &handler, &h, &error);

    ck_assert_ptr_nonnull(job);
    ck_assert_int_eq(grapnel_fleet_wait(job, 20000, &error), 0);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(h.began[i], 1);
        ck_assert_int_eq(h.ended[i], 1);
        ck_assert_int_eq(h.failed[i], 0);
        ck_assert_str_eq(h.text[i], "here\n");
    }
    ck_assert_int_eq(h.done, 1);
    grapnel_fleet_counts(job, &counts);
    ck_assert_uint_eq(counts.hosts, HOSTS);
    ck_assert_uint_eq(counts.done, HOSTS);
    ck_assert_uint_eq(
        counts.queued + counts.connecting + counts.running + counts.failed + counts.skipped, 0);
    grapnel_fleet_job_free(job);
    grapnel_fleet_free(f);
}
END_TEST

static Suite *fleet_suite(void)
{
    Suite *s = suite_create("fleet");
    TCase *c = tcase_create("local");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_each_host_is_told_once);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(fleet_suite)
