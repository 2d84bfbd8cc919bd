/* The public library over the local transport: threads, callbacks, ends in every order. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static struct grapnel *g;
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

static struct grapnel_server *connect_local(int64_t lease)
{
    struct grapnel_connect_options o = {.transport = "local", .lease = lease};
    struct grapnel_error e = {0};
    struct grapnel_server *s = grapnel_connect(g, "here", &o, &e);

    ck_assert_msg(s != NULL, "%s: %s", e.text, e.detail);
    return s;
}

static void run_line(struct grapnel_server *s, const char *line, struct grapnel_result *r)
{
    struct grapnel_exec_options o = {.line = line};
    struct grapnel_error e = {0};

    ck_assert_msg(grapnel_run(s, &o, r, &e) == 0, "%s: %s", e.text, e.detail);
}

START_TEST(gathers_output_status_and_usage)
{
    struct grapnel_server *s = connect_local(0);
    struct grapnel_result r;

    run_line(s, "echo out; echo err >&2; exit 5", &r);
    ck_assert_str_eq(r.out, "out\n");
    ck_assert_str_eq(r.err, "err\n");
    ck_assert_int_eq(r.status.exited, 1);
    ck_assert_int_eq(r.status.exit_status, 5);
    ck_assert_int_gt(r.status.pid, 1);
    ck_assert_int_gt(r.status.wall_us, 0);
    ck_assert_int_gt(r.status.max_rss, 0);
    grapnel_result_clear(&r);
    run_line(s, "kill -TERM $$", &r);
    ck_assert_int_eq(r.status.exited, 0);
    ck_assert_str_eq(r.status.signal, "TERM");
    grapnel_result_clear(&r);
    grapnel_server_free(s);
}
END_TEST

START_TEST(input_larger_than_every_window_comes_back)
{
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.argv = (const char *const[]){"cat", NULL}};
    struct grapnel_result r;
    struct grapnel_error e = {0};
    size_t n = 20 * 1024 * 1024 + 7;
    unsigned char *bytes = malloc(n);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    ck_assert_int_eq(grapnel_run_input(s, &o, bytes, n, &r, &e), 0);
    ck_assert_uint_eq(r.out_length, n);
    ck_assert_int_eq(memcmp(r.out, bytes, n), 0);
    grapnel_result_clear(&r);
    free(bytes);
    grapnel_server_free(s);
}
END_TEST

/* ---- threads ---- */

#define THREADS 8
#define RUNS    25

static void *many_runs(void *arg)
{
    struct grapnel_server *s = arg;
    char line[60], expected[40];

    for (int i = 0; i < RUNS; i++) {
        struct grapnel_result r;
        snprintf(expected, sizeof expected, "%lx-%d\n", (unsigned long)pthread_self(), i);
        snprintf(line, sizeof line, "echo %s", expected);
        run_line(s, line, &r);
        ck_assert_str_eq(r.out, expected);
        grapnel_result_clear(&r);
    }
    return NULL;
}

START_TEST(threads_share_one_server)
{
    struct grapnel_server *s = connect_local(0);
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, many_runs, s), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    grapnel_server_free(s);
}
END_TEST

static void *own_server(void *arg)
{
    struct grapnel_server *s = connect_local(0);

    (void)arg;
    many_runs(s);
    grapnel_server_free(s);
    return NULL;
}

START_TEST(threads_open_servers_of_their_own)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, own_server, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

/* The application does not call us for longer than the lease, yet the server lives. */
START_TEST(lease_is_kept_while_the_application_is_busy)
{
    struct grapnel_server *s = connect_local(1000);
    struct grapnel_result r;

    poll(NULL, 0, 2500); /* busy elsewhere: what is tested is that time passes without us */
    run_line(s, "echo alive", &r);
    ck_assert_str_eq(r.out, "alive\n");
    grapnel_result_clear(&r);
    grapnel_server_free(s);
}
END_TEST

/* ---- asynchronous ---- */

struct record {
    int done, failed;
    size_t bytes;
    struct grapnel_exec_status status;
};

static size_t count_bytes(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    struct record *r = arg;

    (void)x;
    (void)bytes;
    r->bytes += n;
    return n;
}

static void note_done(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                      const struct grapnel_error *error)
{
    struct record *r = arg;

    (void)x;
    r->done++;
    r->failed = error ? error->code : 0;
    if (status)
        r->status = *status;
    grapnel_stop(g);
}

static const struct grapnel_exec_handler recorder = {.out = count_bytes, .done = note_done};

START_TEST(callbacks_run_while_the_context_is_driven)
{
    struct grapnel_server *s = connect_local(0);
    struct record r = {0};
    struct grapnel_exec_options o = {.line = "head -c 1000000 /dev/zero"};
    struct grapnel_error e = {0};
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &recorder, &r, &e);

    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(grapnel_drive(g, 10000), 0);
    ck_assert_int_eq(r.done, 1);
    ck_assert_uint_eq(r.bytes, 1000000);
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

static void *read_all(void *arg)
{
    char bytes[4096];

    while (read(*(int *)arg, bytes, sizeof bytes) > 0)
        ;
    return NULL;
}

static void stop_now(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                     const struct grapnel_error *error)
{
    (void)x;
    (void)status;
    (void)error;
    grapnel_stop(arg);
}

START_TEST(a_context_is_driven_until_output_can_go_on)
{
    static const char block[4096];
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.line = "exit 3"};
    struct grapnel_exec_handler handler = {.done = stop_now};
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &handler, g, NULL);
    pthread_t reader;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    ck_assert_int_eq(grapnel_drive_writable(g, ends[1], 20000), 1);
    while (write(ends[1], block, sizeof block) > 0)
        ;
    ck_assert_int_eq(grapnel_drive(g, 20000), 0); /* also if it was over before */
    ck_assert_int_eq(grapnel_drive_writable(g, ends[1], 20), -6);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, 0), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_all, &ends[0]), 0);
    ck_assert_int_eq(grapnel_drive_writable(g, ends[1], 20000), 1);
    close(ends[1]);
    pthread_join(reader, NULL);
    close(ends[0]);
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

START_TEST(commands_started_before_the_agent_runs_go_along)
{
    struct grapnel_connect_options co = {.transport = "local", .one_shot = 1};
    struct grapnel_exec_options o = {.line = "echo early"};
    struct grapnel_error e = {0};
    struct grapnel_server *s = grapnel_open(g, "here", &co, &e);
    struct record r = {0};
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &recorder, &r, &e);

    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(grapnel_exec_wait(x, 10000, NULL, &e), 0);
    ck_assert_uint_eq(r.bytes, 6);
    /* One-shot: the agent leaves by itself, and nothing else can be started. */
    ck_assert_int_eq(grapnel_close(s, 5000, &e), 0);
    ck_assert_ptr_null(grapnel_exec_start(s, &o, NULL, NULL, &e));
    ck_assert_str_eq(e.name, "CLOSED");
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

/* Starts a command that tells its pid and then ignores TERM for ever. */
static struct grapnel_exec *stubborn(struct grapnel_server *s, struct record *r, long *pid)
{
    struct grapnel_exec_options o = {.grace = 100, .use_fds = 1, .in = -1, .err = -1};
    struct grapnel_error e = {0};
    struct grapnel_exec *x;
    char text[40] = "";
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    o.out = ends[1];
    o.line = "trap '' TERM; echo $$; while :; do sleep 1; done";
    x = grapnel_exec_start(s, &o, &recorder, r, &e);
    ck_assert_msg(x != NULL, "%s", e.detail);
    close(ends[1]);
    while (!strchr(text, '\n')) {
        struct pollfd p = {.fd = ends[0], .events = POLLIN};
        if (poll(&p, 1, 0) == 0) {
            ck_assert_int_eq(grapnel_drive(g, 10), -6);
            continue;
        }
        ck_assert_int_gt(read(ends[0], text + strlen(text), sizeof text - 1 - strlen(text)), 0);
    }
    close(ends[0]);
    *pid = strtol(text, NULL, 10);
    ck_assert(harness_process_runs((pid_t)*pid));
    return x;
}

START_TEST(cancel_is_confirmed_and_the_work_has_stopped)
{
    struct grapnel_server *s = connect_local(0);
    struct record r = {0};
    long pid;
    struct grapnel_exec *x = stubborn(s, &r, &pid);

    grapnel_exec_cancel(x);
    ck_assert_int_eq(grapnel_exec_wait(x, 10000, NULL, NULL), 0);
    ck_assert(!harness_process_runs((pid_t)pid));
    ck_assert_int_eq(r.done, 1);
    ck_assert_str_eq(r.status.reason, "cancelled");
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

static size_t keep_all(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    (void)arg;
    (void)x;
    (void)bytes;
    (void)n;
    return 0;
}

/* A reader that takes nothing does not hold up the end of what was stopped. */
START_TEST(what_was_stopped_ends_without_its_reader)
{
    static const struct grapnel_exec_handler keeper = {.out = keep_all};
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.argv = (const char *const[]){"yes", NULL}};
    struct grapnel_exec_status status;
    struct grapnel_exec *x;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    o.out = ends[1];
    o.in = o.err = -1;
    for (int i = 0; i < 4; i++) {
        o.use_fds = i < 2;
        o.timeout = i % 2 ? 300 : 0;
        x = grapnel_exec_start(s, &o, &keeper, NULL, NULL);
        ck_assert_ptr_nonnull(x);
        ck_assert_int_eq(grapnel_exec_wait(x, 200, NULL, NULL), -6);
        if (!o.timeout)
            grapnel_exec_cancel(x);
        ck_assert_int_eq(grapnel_exec_wait(x, 5000, &status, NULL), 0);
        ck_assert_str_eq(status.reason, o.timeout ? "timeout" : "cancelled");
        grapnel_exec_free(x);
    }
    /* Nor what ended by itself and was then given up. */
    o = (struct grapnel_exec_options){.use_fds = 1, .in = -1, .out = ends[1], .err = -1};
    o.line = "head -c 200000 /dev/zero";
    x = grapnel_exec_start(s, &o, NULL, NULL, NULL);
    ck_assert_int_eq(grapnel_exec_wait(x, 1000, NULL, NULL), -6);
    grapnel_exec_cancel(x);
    ck_assert_int_eq(grapnel_exec_wait(x, 5000, &status, NULL), 0);
    ck_assert_int_eq(status.exited, 1);
    grapnel_exec_free(x);
    close(ends[0]);
    close(ends[1]);
    grapnel_server_free(s);
}
END_TEST

/* As at a terminal: INT ends what nobody reads, too. */
START_TEST(what_dies_of_a_signal_ends_without_its_reader)
{
    static const struct grapnel_exec_handler keeper = {.out = keep_all};
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.argv = (const char *const[]){"yes", NULL}};
    struct grapnel_exec_status status;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    o.out = ends[1];
    o.in = o.err = -1;
    for (int i = 0; i < 2; i++) {
        struct grapnel_exec *x;
        o.use_fds = i;
        x = grapnel_exec_start(s, &o, &keeper, NULL, NULL);
        ck_assert_ptr_nonnull(x);
        ck_assert_int_eq(grapnel_exec_wait(x, 200, NULL, NULL), -6);
        ck_assert_int_eq(grapnel_exec_signal(x, "INT", NULL), 0);
        ck_assert_int_eq(grapnel_exec_wait(x, 5000, &status, NULL), 0);
        ck_assert_str_eq(status.signal, "INT");
        ck_assert_ptr_null(status.reason);
        grapnel_exec_free(x);
    }
    close(ends[0]);
    close(ends[1]);
    grapnel_server_free(s);
}
END_TEST

/* A command that is given up with its output unread leaves nothing that a close would wait for. */
START_TEST(closes_after_an_unread_command_was_freed)
{
    static const struct grapnel_exec_handler keeper = {.out = keep_all};
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.argv = (const char *const[]){"yes", NULL}};
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &keeper, NULL, NULL);

    ck_assert_ptr_nonnull(x);
    ck_assert_int_eq(grapnel_exec_wait(x, 200, NULL, NULL), -6);
    grapnel_exec_free(x);
    ck_assert_int_eq(grapnel_close(s, 4000, NULL), 0);
    grapnel_server_free(s);
}
END_TEST

static void *read_slowly(void *arg)
{
    size_t *total = arg;
    int fd = (int)*total;
    char piece[20000];
    ssize_t n;

    *total = 0;
    while ((n = read(fd, piece, sizeof piece)) > 0) {
        *total += (size_t)n;
        poll(NULL, 0, 20); /* slow: that is what is tested */
    }
    return NULL;
}

/* One that does read gets all up to a limit, however slowly. */
START_TEST(a_slow_reader_gets_all_up_to_the_output_limit)
{
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.argv = (const char *const[]){"yes", NULL},
                                     .use_fds = 1,
                                     .in = -1,
                                     .err = -1,
                                     .output_limit = 1000001};
    struct grapnel_exec_status status;
    struct grapnel_exec *x;
    pthread_t thread;
    size_t total;
    int ends[2];

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    total = (size_t)ends[0];
    o.out = ends[1];
    x = grapnel_exec_start(s, &o, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(x);
    close(ends[1]);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_slowly, &total), 0);
    ck_assert_int_eq(grapnel_exec_wait(x, 30000, &status, NULL), 0);
    ck_assert_str_eq(status.reason, "output-limit");
    grapnel_exec_free(x);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(total, 1000001);
    close(ends[0]);
    grapnel_server_free(s);
}
END_TEST

START_TEST(signals_that_cannot_be_passed_on_are_refused)
{
    static const char *const bad[] = {"BOGUS", "", "SIGTERM", "SEGV", NULL};
    struct grapnel_server *s = connect_local(0);
    struct record r = {0};
    struct grapnel_error e = {0};
    long pid;
    struct grapnel_exec *x = stubborn(s, &r, &pid);

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_lt(grapnel_exec_signal(x, bad[i], &e), 0);
        ck_assert_str_eq(e.name, "ARGUMENT");
    }
    ck_assert_int_eq(grapnel_exec_signal(x, "KILL", &e), 0);
    ck_assert_int_eq(grapnel_exec_wait(x, 10000, NULL, NULL), 0);
    ck_assert_str_eq(r.status.signal, "KILL");
    ck_assert_int_eq(r.status.signal_number, SIGKILL);
    ck_assert_int_lt(grapnel_exec_signal(x, "KILL", &e), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

START_TEST(closing_stops_what_runs_and_waits_for_that)
{
    struct grapnel_server *s = connect_local(0);
    struct record r = {0}, first = {0};
    struct grapnel_exec_options o = {.line = "sleep 98765"};
    struct grapnel_error e = {0};
    struct grapnel_exec *y = grapnel_exec_start(s, &o, &recorder, &first, &e);
    long pid;
    struct grapnel_exec *x = stubborn(s, &r, &pid);

    ck_assert_msg(grapnel_close(s, 5000, &e) == 0, "%s: %s", e.text, e.detail);
    ck_assert(!harness_process_runs((pid_t)pid));
    ck_assert_int_eq(grapnel_exec_wait(x, 1000, NULL, NULL), 0);
    ck_assert_int_eq(grapnel_exec_wait(y, 1000, NULL, NULL), 0);
    ck_assert_int_eq(r.done, 1);
    ck_assert_int_eq(first.done, 1);
    ck_assert_str_eq(r.status.reason, "cancelled");
    ck_assert_str_eq(first.status.signal, "TERM");
    ck_assert_int_eq(grapnel_close(s, 5000, &e), 0);
    grapnel_exec_free(x);
    grapnel_exec_free(y);
    grapnel_server_free(s);
}
END_TEST

/* A handler that closes its server is refused before anything is done. */
static size_t close_inside(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    struct grapnel_server *s = *(struct grapnel_server **)arg;

    (void)x;
    (void)bytes;
    ck_assert_str_eq(grapnel_error_name(grapnel_close(s, 1000, NULL)), "ARGUMENT");
    return n;
}

START_TEST(closing_within_a_callback_is_refused)
{
    static const struct grapnel_exec_handler handler = {.out = close_inside};
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.line = "echo something; sleep 0.1"};
    struct grapnel_exec_status status;
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &handler, &s, NULL);

    ck_assert_int_eq(grapnel_exec_wait(x, 10000, &status, NULL), 0);
    ck_assert_int_eq(status.exited, 1);
    grapnel_exec_free(x);
    x = grapnel_exec_start(s, &o, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(x);
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

START_TEST(freeing_everything_in_the_wrong_order_is_safe)
{
    struct grapnel_server *s = connect_local(0);
    struct record r = {0};
    struct grapnel_error e = {0};
    long pid;
    struct grapnel_exec *x = stubborn(s, &r, &pid);

    grapnel_server_free(s);
    ck_assert_int_lt(grapnel_exec_wait(x, 10000, NULL, &e), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    ck_assert_int_eq(r.done, 1);
    ck_assert_int_lt(r.failed, 0);
    grapnel_exec_free(x);
    harness_wait_process((pid_t)pid);
}
END_TEST

START_TEST(freeing_a_running_command_stops_it)
{
    struct grapnel_server *s = connect_local(0);
    struct record r = {0};
    long pid;
    struct grapnel_exec *x = stubborn(s, &r, &pid);

    grapnel_exec_free(x);
    harness_wait_process((pid_t)pid);
    ck_assert_int_eq(r.done, 0);
    grapnel_server_free(s);
}
END_TEST

static void free_the_server(void *arg, struct grapnel_exec *x,
                            const struct grapnel_exec_status *status,
                            const struct grapnel_error *error)
{
    struct grapnel_server **s = arg;

    (void)x;
    (void)status;
    (void)error;
    grapnel_server_free(*s);
    *s = NULL;
    grapnel_stop(g);
}

START_TEST(a_server_may_be_freed_by_its_commands_last_callback)
{
    static const struct grapnel_exec_handler handler = {.done = free_the_server};
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.line = "echo something"};
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &handler, &s, NULL);

    ck_assert_int_eq(grapnel_drive(g, 10000), 0);
    ck_assert_ptr_null(s);
    grapnel_exec_free(x);
}
END_TEST

/* A handler that waits gets an answer instead of a hang. */
static size_t wait_inside(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    (void)bytes;
    *(int *)arg = grapnel_exec_wait(x, -1, NULL, NULL);
    return n;
}

START_TEST(waiting_within_a_callback_is_refused)
{
    static const struct grapnel_exec_handler handler = {.out = wait_inside};
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.line = "echo something"};
    int answer = 0;
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &handler, &answer, NULL);

    ck_assert_int_eq(grapnel_exec_wait(x, 10000, NULL, NULL), 0);
    ck_assert_str_eq(grapnel_error_name(answer), "ARGUMENT");
    grapnel_exec_free(x);
    grapnel_server_free(s);
}
END_TEST

START_TEST(what_is_wrong_at_once_is_said_at_once)
{
    struct grapnel_connect_options o = {.transport = "local", .lease = 5};
    struct grapnel_error e = {0};
    char text[2000];

    ck_assert_ptr_null(grapnel_open(g, "here", &o, &e));
    ck_assert_str_eq(e.name, "ARGUMENT");
    grapnel_error_format(&e, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "here"));
    o.lease = 0;
    o.sudo_user = "no such; user";
    ck_assert_ptr_null(grapnel_open(g, "here", &o, &e));
    ck_assert_str_eq(e.name, "ARGUMENT");
    o.sudo_user = NULL;
    o.transport = "false";
    ck_assert_ptr_null(grapnel_connect(g, "here", &o, &e));
    ck_assert_str_eq(e.name, "TRANSPORT");
    o.transport = "/nonexistent/program";
    ck_assert_ptr_null(grapnel_connect(g, "here", &o, &e));
    ck_assert_str_eq(e.name, "TRANSPORT");
}
END_TEST

START_TEST(a_command_needs_words)
{
    struct grapnel_server *s = connect_local(0);
    const char *const nothing[] = {NULL};
    const char *const bad_env[] = {"NOVALUE", NULL};
    struct grapnel_exec_options none = {0}, empty = {.argv = nothing},
                                env = {.line = "true", .env = bad_env};
    struct grapnel_error e = {0};

    ck_assert_ptr_null(grapnel_exec_start(s, &none, NULL, NULL, &e));
    ck_assert_ptr_null(grapnel_exec_start(s, &empty, NULL, NULL, &e));
    ck_assert_ptr_null(grapnel_exec_start(s, &env, NULL, NULL, &e));
    ck_assert_str_eq(e.name, "ARGUMENT");
    ck_assert_ptr_nonnull(strstr(e.detail, "NOVALUE"));
    grapnel_server_free(s);
}
END_TEST

START_TEST(a_refused_command_with_a_stderr_of_its_own_ends_at_once)
{
    struct grapnel_server *s = connect_local(0);
    struct grapnel_exec_options o = {.line = "true", .grace = 600001};
    struct grapnel_result r;
    struct grapnel_error e = {0};

    ck_assert_int_lt(grapnel_run(s, &o, &r, &e), 0);
    ck_assert_str_eq(e.name, "ARGUMENT");
    grapnel_server_free(s);
}
END_TEST

/* A transport's program is told to go, also when nobody may be asked. */
START_TEST(a_transport_ends_with_its_server)
{
    int ends[2];
    char line[300], text[20] = "";
    struct grapnel_connect_options o = {.transport = line};
    struct grapnel_server *s;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    snprintf(line, sizeof line,
             "exec 3>/proc/%ld/fd/%d 2>/dev/null; trap 'echo told >&3; exit' TERM; echo up >&3; "
             "while :; do sleep 0.01; done",
             (long)getpid(), ends[1]);
    s = grapnel_open(g, "x", &o, NULL);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(read(ends[0], text, sizeof text), 3);
    grapnel_server_free(s);
    ck_assert_int_eq(read(ends[0], text, sizeof text), 5);
    ck_assert_int_eq(memcmp(text, "told\n", 5), 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- abandoning ---- */

static void *connect_in_vain(void *arg)
{
    struct grapnel_connect_options o = {.transport = "cat", .connect_timeout = 50000};
    struct grapnel_error *e = arg;

    ck_assert_ptr_null(grapnel_connect(g, "silent", &o, e));
    return NULL;
}

/* Frees its server while that is being ended. */
static const struct grapnel_exec_handler freeing = {.done = free_the_server};

START_TEST(abandoning_ends_all_waiting_and_all_that_runs)
{
    struct grapnel_server *s = connect_local(0), *other = connect_local(0);
    struct grapnel_exec_options o = {.line = "sleep 98765"};
    struct grapnel_error e = {0}, silent = {0};
    struct record r = {0};
    pthread_t thread;
    long pid;
    struct grapnel_exec *x = stubborn(s, &r, &pid);
    struct grapnel_exec *y = grapnel_exec_start(other, &o, &freeing, &other, NULL);

    ck_assert_int_eq(pthread_create(&thread, NULL, connect_in_vain, &silent), 0);
    grapnel_abandon(g);
    ck_assert_int_lt(grapnel_exec_wait(x, 10000, NULL, &e), 0);
    ck_assert_str_eq(e.name, "CANCELLED");
    ck_assert_int_lt(grapnel_exec_wait(y, 10000, NULL, NULL), 0);
    ck_assert_ptr_null(other);
    pthread_join(thread, NULL);
    ck_assert_str_eq(silent.name, "CANCELLED");
    ck_assert_int_eq(r.done, 1);
    ck_assert_ptr_null(grapnel_connect(g, "here", NULL, &e));
    ck_assert_str_eq(e.name, "CANCELLED");
    ck_assert_ptr_null(grapnel_exec_start(s, &o, NULL, NULL, &e));
    grapnel_exec_free(x);
    grapnel_exec_free(y);
    grapnel_server_free(s);
    harness_wait_process((pid_t)pid);
}
END_TEST

static void setup(void)
{
    struct grapnel_error e = {0};

    descriptors_before = entries("/proc/self/fd");
    threads_before = entries("/proc/self/task");
    g = grapnel_new(NULL, &e);
    ck_assert_msg(g != NULL, "%s: %s", e.text, e.detail);
}

static void teardown(void)
{
    grapnel_free(g);
    ck_assert_uint_eq(entries("/proc/self/fd"), descriptors_before);
    ck_assert_uint_eq(entries("/proc/self/task"), threads_before);
}

static Suite *library_suite(void)
{
    Suite *s = suite_create("library");
    TCase *t = tcase_create("local");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, gathers_output_status_and_usage);
    tcase_add_test(t, input_larger_than_every_window_comes_back);
    tcase_add_test(t, threads_share_one_server);
    tcase_add_test(t, threads_open_servers_of_their_own);
    tcase_add_test(t, lease_is_kept_while_the_application_is_busy);
    tcase_add_test(t, callbacks_run_while_the_context_is_driven);
    tcase_add_test(t, a_context_is_driven_until_output_can_go_on);
    tcase_add_test(t, commands_started_before_the_agent_runs_go_along);
    tcase_add_test(t, cancel_is_confirmed_and_the_work_has_stopped);
    tcase_add_test(t, what_was_stopped_ends_without_its_reader);
    tcase_add_test(t, what_dies_of_a_signal_ends_without_its_reader);
    tcase_add_test(t, closes_after_an_unread_command_was_freed);
    tcase_add_test(t, a_slow_reader_gets_all_up_to_the_output_limit);
    tcase_add_test(t, signals_that_cannot_be_passed_on_are_refused);
    tcase_add_test(t, closing_stops_what_runs_and_waits_for_that);
    tcase_add_test(t, closing_within_a_callback_is_refused);
    tcase_add_test(t, freeing_everything_in_the_wrong_order_is_safe);
    tcase_add_test(t, freeing_a_running_command_stops_it);
    tcase_add_test(t, waiting_within_a_callback_is_refused);
    tcase_add_test(t, a_server_may_be_freed_by_its_commands_last_callback);
    tcase_add_test(t, a_transport_ends_with_its_server);
    tcase_add_test(t, abandoning_ends_all_waiting_and_all_that_runs);
    tcase_add_test(t, what_is_wrong_at_once_is_said_at_once);
    tcase_add_test(t, a_command_needs_words);
    tcase_add_test(t, a_refused_command_with_a_stderr_of_its_own_ends_at_once);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(library_suite)
