/* Scripts over many hosts, which are this machine; and single hosts that are stopped. */
#include <check.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#include "launcher/grapnel.h"

#define HOSTS 3

static struct grapnel_connect_options local = {.transport = "local"};
static const char *const names[] = {"host0", "host1", "host2", NULL};
static struct grapnel *g;
static struct grapnel_fleet *f;
static struct grapnel_error error;
static size_t descriptors_before;
static atomic_size_t kept[HOSTS];

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

static void setup(void)
{
    struct grapnel_fleet_options o = {.connect = &local, .memory = 1 << 20};

    sshtools_enter();
    descriptors_before = descriptors();
    for (int i = 0; i < HOSTS; i++)
        atomic_store(&kept[i], 0);
    g = grapnel_new(NULL, &error);
    f = g ? grapnel_fleet_new(g, names, &o, &error) : NULL;
    ck_assert_ptr_nonnull(f);
}

static void teardown(void)
{
    grapnel_fleet_free(f);
    grapnel_free(g);
    ck_assert_uint_eq(descriptors(), descriptors_before);
    sshtools_leave();
}

/* Nothing is done with until somebody says so. */
static size_t keep_all(void *arg, size_t host, int which, const uint8_t *bytes, size_t n)
{
    (void)arg;
    (void)which;
    (void)bytes;
    atomic_fetch_add(&kept[host], n);
    return 0;
}

static const struct grapnel_fleet_handler keeper = {.output = keep_all};

static struct grapnel_fleet_job *start(const char *source, const struct grapnel_fleet_handler *h)
{
    static const char *const args[] = {"one", "two", NULL};
    struct grapnel_fleet_script script = {
        .name = "test.lua", .source = source, .length = strlen(source), .args = args};
    struct grapnel_fleet_job *job = grapnel_fleet_script(f, NULL, &script, h, NULL, &error);

    ck_assert_msg(job != NULL, "%s", error.detail);
    return job;
}

static void next(struct grapnel_fleet_job *job, struct grapnel_fleet_result *r)
{
    ck_assert_int_eq(grapnel_fleet_wait_any(job, 30000, r, &error), 0);
}

START_TEST(test_what_a_script_says_is_gathered)
{
    struct grapnel_fleet_job *job =
        start("print(arg[0], ...) io.stderr:write('err') channel:send{b = 1, a = 2} "
              "print(pcall(channel.receive, channel)) os.exit(7)",
              NULL);
    struct grapnel_fleet_result r;

    for (int i = 0; i < HOSTS; i++) {
        next(job, &r);
        ck_assert_ptr_null(r.error);
        ck_assert_str_eq(r.out, "test.lua\tone\ttwo\n{\"a\":2,\"b\":1}\n"
                                "false\tEOF: the channel has ended\n");
        ck_assert_str_eq(r.err, "err");
        ck_assert_int_eq(r.status->exited, 1);
        ck_assert_int_eq(r.status->exit_status, 7);
        ck_assert_int_eq(r.failed, 1);
        ck_assert_int_eq(r.confirmed, 1);
    }
    grapnel_fleet_job_free(job);
}
END_TEST

/* It is given no more than its wrapper has under way, and goes on when that is done with. */
START_TEST(test_a_script_waits_until_it_is_heard)
{
    struct grapnel_fleet_job *job =
        start("for i = 1, 1000 do io.write(('x'):rep(1000)) end", &keeper);
    struct grapnel_fleet_result r;
    size_t all[HOSTS] = {0};

    for (int ended = 0; ended < HOSTS;) {
        int rc = grapnel_fleet_wait_any(job, 20, &r, &error);

        ended += rc == 0;
        ck_assert(rc < 0 || !r.failed);
        for (size_t i = 0; i < HOSTS; i++) {
            size_t n = atomic_exchange(&kept[i], 0);

            ck_assert_uint_le(n, 300000);
            all[i] += n;
            grapnel_fleet_consumed(job, i, 1, n);
        }
    }
    for (size_t i = 0; i < HOSTS; i++)
        ck_assert_uint_eq(all[i], 1000000);
    grapnel_fleet_job_free(job);
}
END_TEST

/* A host can be made to do without the wrapper's manners. */
START_TEST(test_a_script_that_does_not_wait_is_stopped)
{
    struct grapnel_fleet_job *job =
        start("local _, real = debug.getupvalue(channel.send, 1) "
              "for i = 1, 20 do local name, say = debug.getupvalue(real.send, i) "
              "if name == 'send' then for _ = 1, 5000 do "
              "say(require('grapnel').copy{1, 'x'}) end end end "
              "require('time').sleep(60)",
              &keeper);
    struct grapnel_fleet_result r;

    for (int i = 0; i < HOSTS; i++) {
        next(job, &r);
        ck_assert_ptr_nonnull(r.error);
        ck_assert_str_eq(r.error->name, "PROTOCOL");
        ck_assert_uint_le(atomic_load(&kept[r.host]), 1000);
    }
    grapnel_fleet_job_free(job);
}
END_TEST

START_TEST(test_a_job_is_freed_while_scripts_are_not_heard)
{
    struct grapnel_fleet_job *job = start("while true do print(1) end", &keeper);

    for (size_t i = 0; i < HOSTS; i++) {
        while (atomic_load(&kept[i]) == 0)
            ck_assert_int_lt(grapnel_fleet_wait(job, 5, &error), 0);
    }
    grapnel_fleet_job_free(job);
}
END_TEST

START_TEST(test_a_script_has_its_time)
{
    static const char source[] = "print(1) while true do end";
    struct grapnel_fleet_script script = {
        .name = "loop", .source = source, .length = sizeof source - 1, .timeout = 300};
    struct grapnel_fleet_job *job = grapnel_fleet_script(f, NULL, &script, NULL, NULL, &error);
    struct grapnel_fleet_result r;

    for (int i = 0; i < HOSTS; i++) {
        next(job, &r);
        ck_assert_str_eq(r.error->name, "EXEC_TIMEOUT");
        ck_assert_str_eq(r.out, "1\n");
    }
    grapnel_fleet_job_free(job);
}
END_TEST

static void await(const char *path)
{
    for (int i = 0; i < 2000 && access(path, F_OK) < 0; i++)
        ck_assert_int_lt(grapnel_drive(g, 10), 0);
    ck_assert_int_eq(access(path, F_OK), 0);
}

START_TEST(test_one_host_is_stopped_and_no_other)
{
    char line[300];
    struct grapnel_exec_options command = {.line = line};
    struct grapnel_fleet_job *job;
    struct grapnel_fleet_result r;

    snprintf(line, sizeof line, ": >'%s'; exec sleep 30", sshtools_path("there"));
    job = grapnel_fleet_run(f, &command, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    await(sshtools_path("there"));
    grapnel_fleet_stop(job, HOSTS); /* there is none */
    grapnel_fleet_stop(job, 1);
    grapnel_fleet_stop(job, 1);
    next(job, &r);
    ck_assert_uint_eq(r.host, 1);
    ck_assert_str_eq(r.error->name, "CANCELLED");
    ck_assert_int_eq(r.confirmed, 1);
    ck_assert_int_eq(grapnel_fleet_wait_any(job, 100, &r, &error), -6);
    grapnel_fleet_stop(job, 1); /* it was told */
    grapnel_fleet_cancel(job);
    ck_assert_int_eq(grapnel_fleet_wait(job, 20000, &error), 0);
    grapnel_fleet_job_free(job);
}
END_TEST

static Suite *fleet_script_suite(void)
{
    Suite *s = suite_create("fleet_script");
    TCase *c = tcase_create("local");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_what_a_script_says_is_gathered);
    tcase_add_test(c, test_a_script_waits_until_it_is_heard);
    tcase_add_test(c, test_a_script_that_does_not_wait_is_stopped);
    tcase_add_test(c, test_a_job_is_freed_while_scripts_are_not_heard);
    tcase_add_test(c, test_a_script_has_its_time);
    tcase_add_test(c, test_one_host_is_stopped_and_no_other);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(fleet_script_suite)
