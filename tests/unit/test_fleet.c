/* Fleets over the local transport: one job on many hosts, each told once, and nothing left. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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

/* Starts a command on all of f; `line` is for the shell. */
static struct grapnel_fleet_job *run_line(struct grapnel_fleet *f, const char *line,
                                          const struct grapnel_fleet_handler *h, void *arg)
{
    struct grapnel_exec_options command = {.line = line, .shell = "/bin/sh"};
    struct grapnel_fleet_job *job = grapnel_fleet_run(f, &command, h, arg, &error);

    ck_assert_msg(job != NULL, "%s", error.detail);
    return job;
}

/* The result of every host, by host; what they point to is gone. */
struct results {
    struct grapnel_fleet_result of[HOSTS];
    struct grapnel_exec_status status[HOSTS];
    struct grapnel_error error[HOSTS];
    char out[HOSTS][200];
    size_t order[HOSTS];
};

static void take_all(struct grapnel_fleet_job *job, struct results *all)
{
    struct grapnel_fleet_result r;
    size_t n = 0;

    memset(all, 0, sizeof *all);
    while (grapnel_fleet_wait_any(job, 30000, &r, &error) == 0) {
        ck_assert_uint_lt(n, HOSTS);
        ck_assert_ptr_null(all->of[r.host].status);
        all->order[n++] = r.host;
        all->of[r.host] = r;
        if (r.status)
            all->status[r.host] = *r.status;
        if (r.error)
            all->error[r.host] = *r.error;
        if (r.out)
            snprintf(all->out[r.host], sizeof all->out[r.host], "%s", r.out);
    }
    ck_assert_msg(strcmp(error.name, "CLOSED") == 0, "%s: %s", error.name, error.detail);
    ck_assert_uint_eq(n, HOSTS);
}

static void finish(struct grapnel_fleet *f, struct grapnel_fleet_job *job)
{
    grapnel_fleet_job_free(job);
    grapnel_fleet_free(f);
}

static struct grapnel_fleet_counts counts_of(struct grapnel_fleet_job *job)
{
    struct grapnel_fleet_counts c;

    grapnel_fleet_counts(job, &c);
    ck_assert_uint_eq(c.queued + c.connecting + c.running + c.done + c.failed + c.skipped, c.hosts);
    return c;
}

START_TEST(test_results_are_taken_as_they_come)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){0});
    struct grapnel_fleet_job *job = run_line(f, "echo out; echo err >&2; exit 3", NULL, NULL);
    struct grapnel_fleet_result r;

    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
        ck_assert_int_eq(r.failed, 1);
        ck_assert_int_eq(r.status->exit_status, 3);
        ck_assert_str_eq(r.out, "out\n");
        ck_assert_str_eq(r.err, "err\n");
        ck_assert_uint_eq(r.out_length, 4);
        ck_assert_ptr_null(r.error);
    }
    ck_assert_int_lt(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
    ck_assert_str_eq(error.name, "CLOSED");
    ck_assert_uint_eq(counts_of(job).failed, HOSTS);
    finish(f, job);
}
END_TEST

static int prepare(void *arg, size_t host, struct grapnel_exec_options *command)
{
    static const char *argv[3] = {"echo"};

    (void)arg;
    argv[1] = names[host];
    command->line = NULL;
    command->argv = argv;
    return host == 5 ? -1 : 0;
}

START_TEST(test_each_host_has_a_command_of_its_own)
{
    static const struct grapnel_fleet_handler own = {.prepare = prepare};
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 3});
    struct grapnel_fleet_job *job = run_line(f, "exit 1", &own, NULL);
    struct results all;
    char expected[40];

    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        snprintf(expected, sizeof expected, "%s\n", names[i]);
        if (i == 5) {
            ck_assert_str_eq(all.error[i].name, "ARGUMENT");
            ck_assert_int_eq(all.of[i].begun, 0);
        } else {
            ck_assert_str_eq(all.out[i], expected);
        }
    }
    finish(f, job);
}
END_TEST

/* Feeds "one\ntwo\n" in two pieces through a pipe, or as a file that stands behind its first byte.
 */
static void check_input(int through_pipe)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 5});
    const char *argv[] = {"cat", NULL};
    struct grapnel_exec_options command = {.argv = argv, .use_fds = 1};
    struct grapnel_fleet_job *job;
    struct results all;
    int ends[2] = {-1, -1};

    if (through_pipe) {
        ck_assert_int_eq(pipe(ends), 0);
        ck_assert_int_eq(write(ends[1], "one\n", 4), 4);
    } else {
        sshtools_write(sshtools_path("input"), "xone\ntwo\n");
        ends[0] = open(sshtools_path("input"), O_RDONLY);
        ck_assert_int_eq(lseek(ends[0], 1, SEEK_SET), 1);
    }
    command.in = ends[0];
    job = grapnel_fleet_run(f, &command, NULL, NULL, &error);
    ck_assert_msg(job != NULL, "%s", error.detail);
    close(ends[0]);
    if (through_pipe) {
        ck_assert_int_eq(grapnel_fleet_wait(job, 300, &error), error.code);
        ck_assert_str_eq(error.name, "TIMEOUT");
        ck_assert_int_eq(write(ends[1], "two\n", 4), 4);
        close(ends[1]);
    }
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++)
        ck_assert_str_eq(all.out[i], "one\ntwo\n");
    finish(f, job);
}

START_TEST(test_input_goes_to_every_host)
{
    check_input(_i);
}
END_TEST

START_TEST(test_large_input_goes_to_every_host)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 4});
    const char *argv[] = {"sh", "-c", "cksum | cut -d' ' -f2", NULL};
    struct grapnel_exec_options command = {.argv = argv, .use_fds = 1};
    struct grapnel_fleet_job *job;
    struct results all;
    int ends[2];
    pid_t writer;

    ck_assert_int_eq(pipe(ends), 0);
    writer = fork();
    if (writer == 0) {
        static char block[65536];

        close(ends[0]);
        for (int i = 0; i < 384; i++) { /* more than is read ahead */
            for (size_t at = 0; at < sizeof block;)
                at += (size_t)write(ends[1], block + at, sizeof block - at);
        }
        _exit(0);
    }
    close(ends[1]);
    command.in = ends[0];
    job = grapnel_fleet_run(f, &command, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    close(ends[0]);
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++)
        ck_assert_str_eq(all.out[i], "25165824\n");
    finish(f, job);
    ck_assert_int_eq(waitpid(writer, NULL, 0), writer);
}
END_TEST

/* Input that nobody takes is not read for ever. */
START_TEST(test_input_waits_for_the_hosts)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 4});
    struct grapnel_exec_options command = {.line = "sleep 1000", .shell = "/bin/sh", .use_fds = 1};
    struct grapnel_fleet_job *job;
    static char block[65536];
    size_t taken = 0;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    command.in = ends[0];
    job = grapnel_fleet_run(f, &command, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    for (int full = 0; full < 20;) { /* it is full, and stays so */
        ssize_t n = write(ends[1], block, sizeof block);

        taken += n > 0 ? (size_t)n : 0;
        full = n > 0 ? 0 : full + 1;
        ck_assert_uint_lt(taken, 64u << 20);
        grapnel_drive(g, n > 0 ? 0 : 10);
    }
    ck_assert_uint_ge(taken, 16u << 20);
    finish(f, job);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

static int fail_from_3(void *arg, size_t host, struct grapnel_exec_options *command)
{
    (void)arg;
    if (host == 3 || host == 4)
        command->line = "exit 1";
    return 0;
}

START_TEST(test_nothing_begins_after_too_many_failures)
{
    static const struct grapnel_fleet_handler own = {.prepare = fail_from_3};
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 1, .max_fail = 2});
    struct grapnel_fleet_job *job = run_line(f, "true", &own, NULL);
    struct results all;

    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(all.of[i].failed, i >= 3);
        ck_assert_int_eq(all.of[i].begun, i <= 4);
        ck_assert_int_eq(all.of[i].attempts, i <= 4);
        if (i <= 4)
            continue;
        ck_assert_str_eq(all.error[i].name, "CANCELLED");
        ck_assert_ptr_nonnull(strstr(all.error[i].detail, "not begun"));
        ck_assert_int_eq(all.of[i].confirmed, 1);
    }
    ck_assert_uint_eq(counts_of(job).failed, 2);
    ck_assert_uint_eq(counts_of(job).skipped, HOSTS - 5);
    finish(f, job);
}
END_TEST

static size_t at_work, most_at_work;

static void note_begin(void *arg, size_t host)
{
    size_t batch = *(size_t *)arg;

    if (batch && host % batch == 0)
        ck_assert_uint_eq(at_work, 0);
    if (++at_work > most_at_work)
        most_at_work = at_work;
}

static void note_end(void *arg, const struct grapnel_fleet_result *r)
{
    (void)arg;
    ck_assert_int_eq(r->failed, 0);
    at_work--;
}

START_TEST(test_batches_and_fanout_bound_what_is_at_work)
{
    static const struct grapnel_fleet_handler own = {.began = note_begin, .ended = note_end};
    size_t batch = _i == 0 ? 5 : 0;
    struct grapnel_fleet *f =
        fleet((struct grapnel_fleet_options){.batch = batch, .fanout = _i == 0 ? 0 : 2});
    struct grapnel_fleet_job *job;

    at_work = most_at_work = 0;
    job = run_line(f, "true", &own, &batch);
    for (int i = 0; grapnel_fleet_wait(job, 2, &error) < 0; i++) {
        counts_of(job);
        ck_assert_int_lt(i, 10000);
    }
    ck_assert_uint_eq(most_at_work, _i == 0 ? 5 : 2);
    finish(f, job);
}
END_TEST

/* Waits until so many files "begun.*" are there. */
static void await_begun(size_t n)
{
    for (int i = 0; i < 2000; i++) {
        size_t there = entries(sshtools_folder) - 2;

        if (there >= n)
            return;
        grapnel_drive(g, 10);
    }
    ck_abort_msg("they do not begin");
}

static const char *sleeper(void)
{
    static char line[300];

    snprintf(line, sizeof line, "trap '' HUP; echo up; : >%s/begun.$$; sleep 100 & wait",
             sshtools_folder);
    return line;
}

START_TEST(test_cancelled_work_is_stopped_and_confirmed)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 4});
    struct grapnel_fleet_job *job = run_line(f, sleeper(), NULL, NULL);
    struct results all;
    int stopped = 0;

    await_begun(4);
    grapnel_fleet_cancel(job);
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_str_eq(all.error[i].name, "CANCELLED");
        ck_assert_int_eq(all.of[i].confirmed, 1);
        ck_assert_int_eq(all.of[i].begun, i < 4);
        if (i >= 4)
            continue;
        stopped++;
        ck_assert_ptr_nonnull(all.of[i].status);
        ck_assert_str_eq(all.status[i].reason, "cancelled");
        ck_assert_str_eq(all.out[i], "up\n");
    }
    ck_assert_int_eq(stopped, 4);
    finish(f, job);
}
END_TEST

START_TEST(test_the_whole_job_has_a_time_limit)
{
    struct grapnel_fleet *f =
        fleet((struct grapnel_fleet_options){.fanout = 2, .total_timeout = 1500});
    struct grapnel_fleet_job *job = run_line(f, sleeper(), NULL, NULL);
    struct results all;

    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_str_eq(all.error[i].name, "TIMEOUT");
        ck_assert_int_eq(all.of[i].confirmed, 1);
        if (i < 2)
            ck_assert_str_eq(all.status[i].reason, "cancelled");
    }
    finish(f, job);
}
END_TEST

static void reach_nobody(void *arg, size_t host, struct grapnel_connect_options *o)
{
    (void)arg;
    (void)host;
    o->transport = "sleep 1000 #";
}

/* Those that connect are freed beside those that wait; nothing of it stays in the loop. */
START_TEST(test_a_job_is_freed_while_it_connects)
{
    struct grapnel_fleet *f =
        fleet((struct grapnel_fleet_options){.adjust = reach_nobody, .fanout = 4});
    struct grapnel_fleet_job *job = run_line(f, "true", NULL, NULL);

    ck_assert_int_lt(grapnel_fleet_wait(job, 100, &error), 0);
    ck_assert_uint_eq(counts_of(job).connecting, 4);
    grapnel_fleet_job_free(job);
    grapnel_drive(g, 50);
    job = run_line(f, "true", NULL, NULL);
    grapnel_drive(g, 50);
    finish(f, job);
}
END_TEST

/* What a program that looks at no error passes on. */
START_TEST(test_what_could_not_be_made_is_refused)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){0});
    struct grapnel_fleet_counts counts;
    struct grapnel_fleet_result r;

    ck_assert_ptr_null(grapnel_fleet_new(g, NULL, NULL, &error));
    ck_assert_ptr_null(grapnel_fleet_run(f, NULL, NULL, NULL, &error));
    ck_assert_str_eq(error.name, "ARGUMENT");
    ck_assert_ptr_null(grapnel_fleet_run(NULL, NULL, NULL, NULL, &error));
    ck_assert_ptr_null(grapnel_fleet_call(f, NULL, NULL, NULL, NULL, &error));
    ck_assert_ptr_null(grapnel_fleet_ping(NULL, NULL, NULL, &error));
    ck_assert_ptr_null(grapnel_fleet_map(f, NULL, NULL, NULL, NULL, &error));
    ck_assert_ptr_null(grapnel_fleet_script(f, NULL, NULL, NULL, NULL, &error));
    ck_assert_int_lt(grapnel_fleet_wait(NULL, -1, &error), 0);
    ck_assert_int_lt(grapnel_fleet_wait_any(NULL, -1, &r, &error), 0);
    ck_assert_str_eq(error.name, "ARGUMENT");
    ck_assert_int_lt(grapnel_fleet_close(NULL, 0, &error), 0);
    grapnel_fleet_counts(NULL, &counts);
    ck_assert_uint_eq(counts.hosts, 0);
    ck_assert_uint_eq(grapnel_fleet_count(NULL), 0);
    grapnel_fleet_free(f);
}
END_TEST

START_TEST(test_a_job_is_freed_while_it_runs)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){0});
    struct grapnel_fleet_job *job = run_line(f, sleeper(), NULL, NULL);

    await_begun(_i == 0 ? 0 : HOSTS);
    finish(f, job);
    grapnel_drive(g, 20); /* nothing of it is left in the loop */
}
END_TEST

START_TEST(test_kept_connections_serve_the_next_job)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.keep = 1});
    struct grapnel_fleet_job *job;
    struct results all[2];

    for (int round = 0; round < 2; round++) {
        job = run_line(f, "echo $PPID", NULL, NULL);
        take_all(job, &all[round]);
        for (int i = 0; i < HOSTS; i++) {
            ck_assert_int_eq(all[round].of[i].failed, 0);
            ck_assert_int_eq(all[round].of[i].attempts, round == 0);
        }
        if (round == 0) {
            struct grapnel_exec_options command = {.line = "true"};

            ck_assert_ptr_null(grapnel_fleet_run(f, &command, NULL, NULL, &error));
            ck_assert_str_eq(error.name, "CLOSED");
        }
        grapnel_fleet_job_free(job);
    }
    ck_assert_int_eq(grapnel_fleet_close(f, 10000, &error), 0);
    job = run_line(f, "true", NULL, NULL);
    take_all(job, &all[0]);
    ck_assert_int_eq(all[0].of[7].attempts, 1);
    finish(f, job);
}
END_TEST

START_TEST(test_connections_outlive_what_is_cancelled_on_them)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.keep = 1});
    struct grapnel_value *args = grapnel_value_new_array();
    struct grapnel_call_options call = {.path = "time.sleep", .args = args};
    struct grapnel_fleet_job *job = run_line(f, sleeper(), NULL, NULL);
    struct results all;

    await_begun(HOSTS);
    grapnel_fleet_cancel(job);
    take_all(job, &all);
    grapnel_fleet_job_free(job);
    /* But not when it is not known what became of it. */
    grapnel_value_append(args, grapnel_value_new_int(1000));
    job = grapnel_fleet_call(f, NULL, &call, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    grapnel_value_free(args);
    ck_assert_int_lt(grapnel_fleet_wait(job, 500, &error), 0);
    ck_assert_uint_eq(counts_of(job).running, HOSTS);
    grapnel_fleet_cancel(job);
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(all.of[i].attempts, 0);
        ck_assert_int_eq(all.of[i].confirmed, 1);
    }
    grapnel_fleet_job_free(job);
    job = run_line(f, "true", NULL, NULL);
    take_all(job, &all);
    ck_assert_int_eq(all.of[3].attempts, 1);
    finish(f, job);
}
END_TEST

START_TEST(test_signs_of_life_and_facts)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.keep = _i});
    struct grapnel_fleet_job *job = grapnel_fleet_ping(f, NULL, NULL, &error);
    struct grapnel_fleet_result r;

    ck_assert_ptr_nonnull(job);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
        ck_assert_msg(!r.failed, "%s", r.error ? r.error->detail : "");
        ck_assert_int_ge(grapnel_value_int(r.value, -1), 0);
    }
    grapnel_fleet_job_free(job);
    job = grapnel_fleet_facts(f, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
        ck_assert_int_eq(r.failed, 0);
        ck_assert_int_gt(grapnel_value_int(grapnel_value_get(r.value, "pid"), -1), 0);
    }
    finish(f, job);
}
END_TEST

START_TEST(test_code_is_called)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 6, .keep = _i});
    struct grapnel_value *args = grapnel_value_new_array();
    struct grapnel_call_options call = {.path = "eval", .args = args};
    struct grapnel_fleet_job *job;
    struct grapnel_fleet_result r;

    grapnel_value_append(args, grapnel_value_new_string("print('said') or 6 * 7", 22));
    job = grapnel_fleet_call(f, NULL, &call, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    grapnel_value_free(args);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
        ck_assert_msg(!r.failed, "%s", r.error ? r.error->detail : "");
        ck_assert_int_eq(grapnel_value_int(r.value, -1), 42);
        ck_assert_str_eq(r.out, "said\n");
        ck_assert_int_eq(r.confirmed, 1);
    }
    grapnel_fleet_job_free(job);
    args = grapnel_value_new_array();
    grapnel_value_append(args, grapnel_value_new_string("error('no')", 11));
    call.args = args;
    job = grapnel_fleet_call(f, NULL, &call, NULL, NULL, &error);
    ck_assert_ptr_nonnull(job);
    grapnel_value_free(args);
    ck_assert_int_eq(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
    ck_assert_int_eq(r.failed, 1);
    ck_assert_str_eq(r.error->name, "REMOTE");
    finish(f, job);
}
END_TEST

START_TEST(test_aliases_are_done_once)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;

    names[7] = names[2];
    f = fleet((struct grapnel_fleet_options){.aliases = _i});
    job = run_line(f, "echo x", NULL, NULL);
    take_all(job, &all);
    ck_assert_int_eq(all.of[7].alias, !_i);
    ck_assert_uint_eq(all.of[7].same, _i ? 7 : 2);
    ck_assert_int_eq(all.of[7].failed, 0);
    ck_assert_str_eq(all.out[7], _i ? "x\n" : "");
    ck_assert_uint_eq(counts_of(job).skipped, _i ? 0 : 1);
    finish(f, job);
}
END_TEST

/* A line that notes each attempt and ends before the shell runs. */
static const char *broken(void)
{
    static char line[300];

    snprintf(line, sizeof line, "echo >>%s/attempts.%%; exit 3", sshtools_folder);
    return line;
}

START_TEST(test_a_host_that_fails_to_connect_is_tried_again)
{
    struct grapnel_connect_options connect = {.transport = broken()};
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){
        .connect = &connect, .retry = 2, .back_off = 10, .back_off_most = 20});
    struct grapnel_fleet_job *job = run_line(f, "true", NULL, NULL);
    struct results all;
    size_t n;

    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_msg(all.of[i].attempts == 3, "%d: %s %s", all.of[i].attempts, all.error[i].name,
                      all.error[i].detail);
        ck_assert_int_eq(all.of[i].begun, 0);
        ck_assert_int_eq(all.of[i].failed, 1);
    }
    free(sshtools_read(sshtools_path("attempts.%%"), &n));
    ck_assert_uint_eq(n, 3 * HOSTS);
    finish(f, job);
}
END_TEST

START_TEST(test_gathered_output_has_a_limit)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.memory = 100000});
    struct grapnel_fleet_job *job = run_line(f, "head -c 30000 /dev/zero; echo", NULL, NULL);
    struct results all;
    size_t gathered = 0;
    int stopped = 0;

    ck_assert_int_eq(grapnel_fleet_wait(job, 20000, &error), 0);
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        stopped += all.of[i].failed && strcmp(all.error[i].name, "OUTPUT_LIMIT") == 0;
        gathered += all.of[i].out_length;
    }
    ck_assert_int_gt(stopped, 0);
    ck_assert_uint_le(gathered, 100000);
    ck_assert_uint_gt(gathered, 50000);
    finish(f, job);
}
END_TEST

/* What the handler has not done with, and the most of it. */
static atomic_size_t kept[HOSTS], kept_all;
static size_t kept_most;

static size_t keep_all(void *arg, size_t host, int which, const uint8_t *bytes, size_t n)
{
    (void)arg;
    (void)bytes;
    ck_assert_int_eq(which, 1);
    atomic_fetch_add(&kept[host], n);
    if (atomic_fetch_add(&kept_all, n) + n > kept_most)
        kept_most = atomic_load(&kept_all);
    return 0;
}

START_TEST(test_slow_readers_keep_no_more_than_the_budget)
{
    static const struct grapnel_fleet_handler slow = {.output = keep_all};
    size_t memory = 600000, total = 0;
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.memory = memory});
    struct grapnel_fleet_job *job = run_line(f, "head -c 200000 /dev/zero", &slow, NULL);
    struct grapnel_fleet_result r;
    int ended = 0;

    while (ended < HOSTS) {
        if (grapnel_fleet_wait(job, 100, &error) < 0)
            ck_assert_str_eq(error.name, "TIMEOUT");
        for (size_t i = 0; i < HOSTS; i++) {
            size_t n = atomic_exchange(&kept[i], 0);

            atomic_fetch_sub(&kept_all, n);
            grapnel_fleet_consumed(job, i, 1, n);
            total += n;
        }
        while (grapnel_fleet_wait_any(job, 0, &r, &error) == 0) {
            ck_assert_int_eq(r.failed, 0);
            ended++;
        }
    }
    ck_assert_uint_eq(total, 200000 * HOSTS);
    ck_assert_uint_le(kept_most, memory);
    ck_assert_uint_gt(kept_most, memory / 4);
    finish(f, job);
}
END_TEST

START_TEST(test_hosts_wait_for_descriptors)
{
    static const struct grapnel_fleet_handler own = {.began = note_begin, .ended = note_end};
    rlim_t some = 64 + 20 + descriptors_before;
    struct rlimit few = {.rlim_cur = some, .rlim_max = some};
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    size_t batch = 0;

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0); /* of this test's own process */
    f = fleet((struct grapnel_fleet_options){0});
    job = run_line(f, "true", NULL, NULL);
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++)
        ck_assert_msg(!all.of[i].failed, "%s: %s", all.error[i].name, all.error[i].detail);
    grapnel_fleet_job_free(job);
    at_work = most_at_work = 0;
    job = run_line(f, "true", &own, &batch);
    ck_assert_int_eq(grapnel_fleet_wait(job, 20000, &error), 0);
    ck_assert_uint_le(most_at_work, 5);
    finish(f, job);
}
END_TEST

/* Host 1 is reached through a program that stops passing on what is said to it. */
static void reach_through_a_program(void *arg, size_t host, struct grapnel_connect_options *o)
{
    if (host == 1)
        o->transport = arg;
}

START_TEST(test_a_host_that_does_not_confirm_holds_up_nobody)
{
    char line[400], text[40];
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    size_t n;
    char *pid;

    snprintf(line, sizeof line, "sh -c 'echo $$ >%s/pid; exec cat' | sh", sshtools_folder);
    local.lease = 2000;
    f = fleet((struct grapnel_fleet_options){
        .adjust = reach_through_a_program, .adjust_arg = line, .fanout = 4});
    job = run_line(f, sleeper(), NULL, NULL);
    await_begun(5);
    pid = sshtools_read(sshtools_path("pid"), &n);
    snprintf(text, sizeof text, "%s", pid);
    free(pid);
    kill((pid_t)strtol(text, NULL, 10), SIGSTOP);
    grapnel_fleet_cancel(job);
    take_all(job, &all);
    kill((pid_t)strtol(text, NULL, 10), SIGCONT);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(all.of[i].confirmed, i != 1);
        ck_assert_str_eq(all.error[i].name, "CANCELLED");
    }
    ck_assert_uint_eq(all.order[HOSTS - 1], 1);
    finish(f, job);
}
END_TEST

static int host_1_sleeps(void *arg, size_t host, struct grapnel_exec_options *command)
{
    (void)arg;
    command->line = host == 1 ? sleeper() : "true";
    return 0;
}

/* The host that is to stop it stands still, and its lease is long. */
START_TEST(test_a_time_limit_holds_where_the_host_stands_still)
{
    static const struct grapnel_fleet_handler own = {.prepare = host_1_sleeps};
    struct grapnel_exec_options command = {.shell = "/bin/sh", .timeout = 1500, .grace = 100};
    char line[400];
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    size_t n;
    char *pid;

    snprintf(line, sizeof line, "sh | sh -c 'echo $$ >%s/pid; exec cat'", sshtools_folder);
    f = fleet(
        (struct grapnel_fleet_options){.adjust = reach_through_a_program, .adjust_arg = line});
    job = grapnel_fleet_run(f, &command, &own, NULL, &error);
    await_begun(2); /* and the file with the pid */
    pid = sshtools_read(sshtools_path("pid"), &n);
    kill((pid_t)strtol(pid, NULL, 10), SIGSTOP);
    take_all(job, &all);
    kill((pid_t)strtol(pid, NULL, 10), SIGCONT);
    free(pid);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_int_eq(all.of[i].failed, i == 1);
        ck_assert_int_eq(all.of[i].confirmed, i != 1);
    }
    ck_assert_str_eq(all.error[1].name, "EXEC_TIMEOUT");
    finish(f, job);
}
END_TEST

START_TEST(test_when_all_lines_are_cut_all_hosts_are_told)
{
    struct grapnel_fleet *f = fleet((struct grapnel_fleet_options){.fanout = 5, .retry = 3});
    struct grapnel_fleet_job *job = run_line(f, sleeper(), NULL, NULL);
    struct results all;

    await_begun(5);
    grapnel_abandon(g);
    take_all(job, &all);
    for (int i = 0; i < HOSTS; i++) {
        ck_assert_str_eq(all.error[i].name, "CANCELLED");
        ck_assert_str_eq(all.error[i].phase, i < 5 ? "exec" : "local");
        ck_assert_int_eq(all.of[i].begun, i < 5);
        ck_assert_int_eq(all.of[i].confirmed, i >= 5);
    }
    finish(f, job);
}
END_TEST

START_TEST(test_a_fleet_of_nobody)
{
    struct grapnel_fleet *f = grapnel_fleet_new(g, names + HOSTS, NULL, &error);
    struct grapnel_fleet_job *job = grapnel_fleet_ping(f, NULL, NULL, &error);
    struct grapnel_fleet_result r;

    ck_assert_int_eq(grapnel_fleet_wait(job, 1000, &error), 0);
    ck_assert_int_lt(grapnel_fleet_wait_any(job, 1000, &r, &error), 0);
    ck_assert_str_eq(error.name, "CLOSED");
    finish(f, job);
}
END_TEST

static Suite *fleet_suite(void)
{
    Suite *s = suite_create("fleet");
    TCase *c = tcase_create("local");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_each_host_is_told_once);
    tcase_add_test(c, test_results_are_taken_as_they_come);
    tcase_add_test(c, test_each_host_has_a_command_of_its_own);
    tcase_add_loop_test(c, test_input_goes_to_every_host, 0, 2);
    tcase_add_test(c, test_large_input_goes_to_every_host);
    tcase_add_test(c, test_input_waits_for_the_hosts);
    tcase_add_test(c, test_nothing_begins_after_too_many_failures);
    tcase_add_loop_test(c, test_batches_and_fanout_bound_what_is_at_work, 0, 2);
    tcase_add_test(c, test_cancelled_work_is_stopped_and_confirmed);
    tcase_add_test(c, test_the_whole_job_has_a_time_limit);
    tcase_add_loop_test(c, test_a_job_is_freed_while_it_runs, 0, 2);
    tcase_add_test(c, test_a_job_is_freed_while_it_connects);
    tcase_add_test(c, test_what_could_not_be_made_is_refused);
    tcase_add_test(c, test_kept_connections_serve_the_next_job);
    tcase_add_test(c, test_connections_outlive_what_is_cancelled_on_them);
    tcase_add_loop_test(c, test_signs_of_life_and_facts, 0, 2);
    tcase_add_loop_test(c, test_code_is_called, 0, 2);
    tcase_add_loop_test(c, test_aliases_are_done_once, 0, 2);
    tcase_add_test(c, test_a_host_that_fails_to_connect_is_tried_again);
    tcase_add_test(c, test_gathered_output_has_a_limit);
    tcase_add_test(c, test_slow_readers_keep_no_more_than_the_budget);
    tcase_add_test(c, test_hosts_wait_for_descriptors);
    tcase_add_test(c, test_when_all_lines_are_cut_all_hosts_are_told);
    tcase_add_test(c, test_a_fleet_of_nobody);
    tcase_add_test(c, test_a_host_that_does_not_confirm_holds_up_nobody);
    tcase_add_test(c, test_a_time_limit_holds_where_the_host_stands_still);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(fleet_suite)
