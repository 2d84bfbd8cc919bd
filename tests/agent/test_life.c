/* Life and death: whatever ends, nothing is left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static char directory[64];
static char copy[128];

/* An agent with a command that has left stubborn processes behind. */
struct scene {
    struct harness *h;
    struct run r;
    pid_t agent; /* the agent proper */
    pid_t pids[HARNESS_STUBBORN_COUNT];
};

static void begin(struct scene *c, const struct harness_options *options)
{
    memset(c, 0, sizeof *c);
    c->h = harness_start(options);
    harness_run(c->h, &c->r, harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 0);
    harness_stubborn(&c->r, c->pids);
    c->agent = (pid_t)values_as_int(values_get(c->h->facts, "pid"), 0);
    ck_assert_int_gt(c->agent, 1);
    ck_assert_int_ne(c->agent, c->h->guardian);
}

/* The processes are gone when the guardian is, not some time later. */
static void assert_gone(struct scene *c)
{
    for (int i = 0; i < HARNESS_STUBBORN_COUNT; i++) {
        ck_assert_msg(!harness_process_runs(c->pids[i]), "process %d lives", i);
    }
    ck_assert_int_eq(harness_process_runs(c->agent), 0);
}

static void finish(struct scene *c)
{
    link_end(c->h->link, -E_CLOSED, "");
    harness_free(&c->r);
    harness_gone(c->h);
}

static int line_over(void *arg)
{
    const struct harness *h = arg;

    return h->line_ended;
}

START_TEST(line_closed)
{
    struct scene c;

    begin(&c, NULL);
    harness_close(c.h);
    harness_wait(c.h);
    assert_gone(&c);
    finish(&c);
}
END_TEST

/* Input that was cut off with the line must not be taken for whole. */
START_TEST(line_closed_is_no_end_of_input)
{
    char path[] = "/tmp/grapnel-test-XXXXXX", line[200];
    struct stat st;
    int fd = mkostemp(path, O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    snprintf(line, sizeof line,
             "echo up; while read -r x; do :; done; echo whole >>/proc/%ld/fd/%d", (long)getpid(),
             fd);
    for (int i = 0; i < 10; i++) {
        struct run r = {.input = (const uint8_t *)"", .input_left = 1}; /* not sent */
        struct harness *h = harness_start(NULL);

        harness_run(h, &r, harness_line(line), HARNESS_NO_INPUT);
        harness_output(&r, 3);
        harness_close(h);
        harness_wait(h);
        link_end(h->link, -E_CLOSED, "");
        harness_free(&r);
        harness_gone(h);
    }
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    close(fd);
}
END_TEST

/* Only our direction is closed: the agent must not wait for the other one. */
START_TEST(line_half_closed)
{
    struct scene c;

    begin(&c, NULL);
    shutdown(c.h->fd, SHUT_WR);
    harness_until(c.h, line_over, c.h);
    harness_wait(c.h);
    assert_gone(&c);
    finish(&c);
}
END_TEST

START_TEST(agent_is_killed)
{
    static const int signals[] = {SIGKILL, SIGABRT, SIGQUIT};
    struct scene c;

    begin(&c, NULL);
    kill(c.agent, signals[_i]);
    harness_until(c.h, line_over, c.h);
    ck_assert_int_eq(harness_wait(c.h), 128 + signals[_i]);
    assert_gone(&c);
    finish(&c);
}
END_TEST

START_TEST(guardian_is_killed)
{
    struct scene c;

    begin(&c, NULL);
    kill(c.h->guardian, SIGKILL);
    ck_assert_int_eq(harness_wait(c.h), 128 + SIGKILL);
    harness_until(c.h, line_over, c.h);
    ck_assert_int_eq(link_error(c.h->link)->code, -E_CANCELLED);
    harness_wait_process(c.agent);
    assert_gone(&c);
    /* the agent was adopted by the test */
    ck_assert_int_eq(waitpid(c.agent, NULL, 0), c.agent);
    finish(&c);
}
END_TEST

START_TEST(told_by_a_signal)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT};
    struct scene c;

    begin(&c, NULL);
    kill(_i < 3 ? c.h->guardian : c.agent, signals[_i % 3]);
    harness_until(c.h, line_over, c.h);
    ck_assert_int_eq(link_error(c.h->link)->code, -E_CANCELLED);
    ck_assert_int_eq(harness_wait(c.h), 255);
    assert_gone(&c);
    finish(&c);
}
END_TEST

/* The line stands but nothing comes through it any more. */
START_TEST(lease_lapses)
{
    static const char *const env[] = {"GRAPNEL_LEASE_MS=300", NULL};
    struct harness_options options = {.env = env};
    struct scene c;
    char errors[512];

    begin(&c, &options);
    c.h->mute = 1;
    ck_assert_int_eq(harness_wait(c.h), 255);
    assert_gone(&c);
    harness_errors(c.h, errors, sizeof errors);
    ck_assert_msg(strstr(errors, "stopped answering") != NULL, "%s", errors);
    finish(&c);
}
END_TEST

/* A launcher that never says a word is given up, too. */
START_TEST(lease_lapses_before_hello)
{
    static const char *const env[] = {"GRAPNEL_LEASE_MS=200", NULL};
    struct harness_options options = {.env = env, .bare = 1};
    struct harness *h = harness_start(&options);

    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}
END_TEST

static int command_over(void *arg)
{
    const struct run *r = arg;

    return r->closed;
}

/* A launcher that is heard keeps its agent for much longer than the lease. */
START_TEST(lease_is_kept)
{
    static const char *const env[] = {"GRAPNEL_LEASE_MS=200", NULL};
    struct harness_options options = {.env = env, .lease_ms = 200};
    struct harness *h = harness_start(&options);
    struct run r = {0};

    harness_run(h, &r, harness_argv("sleep", "1", NULL), 0);
    harness_until(h, command_over, &r);
    ck_assert_int_eq(r.code, 0);
    harness_free(&r);
    harness_end(h);
}
END_TEST

/* A launcher that does not read cannot hold the agent when the line is frozen. */
START_TEST(lease_lapses_with_output_waiting)
{
    static const char *const env[] = {"GRAPNEL_LEASE_MS=300", NULL};
    struct harness_options options = {.env = env};
    struct harness *h = harness_start(&options);
    struct run r = {0};

    r.count_only = 1;
    harness_run(h, &r, harness_argv("cat", "/dev/zero", NULL), 0);
    harness_until_greeted(h);
    h->mute = 1;
    ck_assert_int_eq(harness_wait(h), 255);
    link_end(h->link, -E_CLOSED, "");
    harness_free(&r);
    harness_gone(h);
}
END_TEST

START_TEST(goodbye_lets_commands_run_out)
{
    struct harness *h = harness_start(NULL);
    struct run r = {0};

    harness_run(h, &r, harness_line("sleep 0.2; echo done; sleep 1000 >/dev/null &"), 0);
    harness_until_greeted(h);
    ck_assert_int_eq(link_goodbye(h->link, 0, ""), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_text(&r), "done\n");
    ck_assert_int_eq(harness_int(&r, "status", -1), 0);
    harness_free(&r);
    harness_until(h, line_over, h);
    ck_assert_int_eq(h->said_goodbye, 1);
    ck_assert_int_eq(h->goodbye_code, 0);
    ck_assert_int_eq(harness_wait(h), 0);
    harness_gone(h);
}
END_TEST

START_TEST(bad_goodbye_ends_at_once)
{
    struct scene c;

    begin(&c, NULL);
    link_end(c.h->link, -E_CANCELLED, "enough");
    harness_until(c.h, line_over, c.h);
    harness_wait(c.h);
    assert_gone(&c);
    finish(&c);
}
END_TEST

/* Descriptors 0 to 2 may be closed when the agent is started: it must not take a file that it
 * opens for the line, and leaves. */
START_TEST(closed_descriptors)
{
    char line[512];
    const char *agent = harness_agent();
    int status;

    snprintf(line, sizeof line, "timeout 20 %s stdio %s", agent,
             _i == 0   ? "<&- >&- 2>&-"
             : _i == 1 ? "<&- | cat >/dev/null"
             : _i == 2 ? "</dev/null >&-"
                       : "2>&- </dev/null >/dev/null");
    status = system(line);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) != 124, "%d", status); /* timeout */
}
END_TEST

START_TEST(closed_stderr_is_not_taken_by_others)
{
    struct harness_options options = {.closed_errors = 1};
    struct harness *h = harness_start(&options);
    struct run r = {0};
    char path[64];
    char target[64] = "";

    if (harness_valgrind()) {
        harness_end(h);
        return;
    }
    harness_until_greeted(h);
    snprintf(path, sizeof path, "/proc/%ld/fd/2",
             (long)values_as_int(values_get(h->facts, "pid"), 0));
    ck_assert_int_gt(readlink(path, target, sizeof target - 1), 0);
    ck_assert_str_eq(target, "/dev/null");
    harness_do(h, &r, harness_argv("true", NULL), 0);
    ck_assert_int_eq(r.code, 0);
    harness_free(&r);
    harness_end(h);
}
END_TEST

/* What the agent inherits by mistake it closes, so that neither it nor its commands hold it. */
START_TEST(inherited_descriptors_are_closed)
{
    struct harness *h;
    struct run r = {0};
    int ends[2];
    char byte;

    ck_assert_int_eq(pipe(ends), 0);
    h = harness_start(NULL);
    close(ends[1]);
    h->descriptors--;
    harness_run(h, &r, harness_argv("sleep", "1000", NULL), 0);
    harness_until_greeted(h);
    /* Sooner than the lease, whose end would close it in any case. */
    ck_assert_int_eq(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 5000), 1);
    ck_assert_int_eq(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    h->descriptors--;
    stream_close(r.s, 0, NULL, NULL);
    harness_finish(&r);
    harness_free(&r);
    harness_end(h);
}
END_TEST

/* A copy of this very program, made setuid, becomes what the agent may not signal. */
__attribute__((constructor)) static void be_out_of_reach(void)
{
    if (getenv("HARNESS_OUT_OF_REACH") != NULL) {
        if (setresgid(0, 0, 0) != 0 || setresuid(0, 0, 0) != 0) {
            _exit(1);
        }
        dprintf(1, "%ld\n", (long)getpid());
        for (;;) {
            pause();
        }
    }
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
    char line[512];

    snprintf(line, sizeof line, "cp '%s' '%s'", from, to);
    ck_assert_int_eq(system(line), 0);
    ck_assert_int_eq(chmod(to, mode), 0);
}

/* A process of another user cannot be ended: it is counted, and not waited for beyond the grace;
 * also one that got away from its parents, and with another command beside it. */
START_TEST(process_out_of_reach)
{
    static const char *const argv[] = {
        "--reuid=65534", "--regid=65534", "--clear-groups", copy, "stdio", NULL};
    struct harness_options options = {.argv = argv, .program = "/usr/bin/setpriv"};
    struct value *args;
    struct value *command;
    struct harness *h;
    struct run r = {0};
    struct run other = {0};
    char self[256] = "";
    char errors[512];
    char path[128];
    size_t from = 0;
    pid_t pid;

    if (harness_valgrind() || geteuid() != 0 || access(options.program, X_OK) != 0) {
        return; /* it takes root to make somebody else's process */
    }
    ck_assert_int_gt(readlink("/proc/self/exe", self, sizeof self - 1), 0);
    snprintf(directory, sizeof directory, "/tmp/grapnel-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(chmod(directory, 0755), 0);
    snprintf(copy, sizeof copy, "%s/agent", directory);
    snprintf(path, sizeof path, "%s/other", directory);
    copy_file(harness_agent(), copy, 0755);
    copy_file(self, path, 04755);
    h = harness_start(&options);
    harness_run(h, &other, harness_argv("sleep", "1000", NULL), 0);
    command = harness_argv("env", "HARNESS_OUT_OF_REACH=1", "sh", "-c",
                           _i == 0 ? "exec $0" : "(setsid $0 &); exec sleep 1000", path, NULL);
    values_set(command, "grace_ms", values_int(100));
    harness_run(h, &r, command, 0);
    pid = (pid_t)harness_number(&r, &from);
    args = values_array();
    values_append(args, values_int(stream_id(r.s)));
    ck_assert_int_eq(harness_call(h, "cancel", args, NULL), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_string(&r, "reason"), "cancelled");
    ck_assert_int_eq(harness_int(&r, "left", 0), 1);
    harness_free(&r);
    ck_assert_int_eq(other.closed, 0);
    stream_close(other.s, 0, NULL, NULL);
    harness_finish(&other);
    harness_free(&other);
    harness_close(h);
    harness_wait(h);
    ck_assert_int_eq(harness_process_runs(pid), 1);
    harness_errors(h, errors, sizeof errors);
    ck_assert_msg(strstr(errors, "could not be ended") != NULL, "%s", errors);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    unlink(copy);
    unlink(path);
    rmdir(directory);
    harness_gone(h);
}
END_TEST

/* Few descriptors: commands that find none are refused, and everything else goes on. */
START_TEST(few_descriptors)
{
    static const char *const argv[] = {"-c", "ulimit -n 24; exec \"$GRAPNEL_AGENT\" stdio", NULL};
    struct harness_options options = {.argv = argv, .program = "/bin/sh"};
    struct harness *h;
    struct run r[8];
    struct run last = {0};
    int refused = 0;

    if (harness_valgrind()) {
        return;
    }
    setenv("GRAPNEL_AGENT", harness_agent(), 1);
    h = harness_start(&options);
    memset(r, 0, sizeof r);
    for (int i = 0; i < 8; i++) {
        r[i].input = (const uint8_t *)"";
        r[i].input_left = 1; /* not sent: the commands wait for it */
        harness_run(h, &r[i], harness_argv("cat", NULL), HARNESS_STDERR | HARNESS_NO_INPUT);
    }
    ck_assert_int_eq(harness_usage(h, "streams") > 0, 1);
    for (int i = 0; i < 8; i++) {
        if (r[i].closed) {
            ck_assert_int_eq(r[i].code, -E_DESCRIPTORS);
            refused++;
        } else {
            stream_close(r[i].s, 0, NULL, NULL);
        }
        harness_finish(&r[i]);
        harness_free(&r[i]);
    }
    ck_assert_int_gt(refused, 0);
    ck_assert_int_lt(refused, 8);
    while (harness_usage(h, "processes") > 0) {
    }
    harness_do(h, &last, harness_argv("true", NULL), HARNESS_STDERR);
    ck_assert_int_eq(last.code, 0);
    harness_free(&last);
    harness_end(h);
}
END_TEST

/* ---- command line ---- */

/* Too few to begin with are told, not crashed upon.  255 is also for the line's end. */
START_TEST(hardly_any_descriptors)
{
    if (harness_valgrind()) {
        return;
    }
    for (int n = 4; n < 12; n++) {
        char line[512], text[512];
        size_t length;
        int status;
        FILE *f;

        snprintf(line, sizeof line,
                 "sh -c 'ulimit -n %d; exec %s stdio' 2>&1 >/dev/null </dev/null", n,
                 harness_agent());
        f = popen(line, "r");
        ck_assert_ptr_nonnull(f);
        length = fread(text, 1, sizeof text - 1, f);
        text[length] = '\0';
        status = pclose(f);
        if (strstr(text, "shared libraries")) {
            continue; /* an agent for the sanitizers, which did not even start */
        }
        ck_assert_int_eq(WEXITSTATUS(status), 255);
        ck_assert_msg(length == 0 || strstr(text, "file descriptors"), "%d: %s", n, text);
        ck_assert_ptr_null(strstr(text, "libev"));
    }
}
END_TEST

static int run_agent(const char *arguments, char *errors, size_t size)
{
    char line[512];
    FILE *f;
    size_t n;
    int status;

    snprintf(line, sizeof line, "timeout 20 %s %s 2>&1 >/dev/null </dev/null", harness_agent(),
             arguments);
    f = popen(line, "r");
    ck_assert_ptr_nonnull(f);
    n = fread(errors, 1, size - 1, f);
    errors[n] = '\0';
    status = pclose(f);
    return WEXITSTATUS(status);
}

START_TEST(command_line)
{
    char errors[512];

    ck_assert_int_eq(run_agent("probe", errors, sizeof errors), 0);
    ck_assert_str_eq(errors, "");
    ck_assert_int_eq(run_agent("", errors, sizeof errors), 2);
    ck_assert_ptr_nonnull(strstr(errors, "usage: "));
    ck_assert_int_eq(run_agent("boot", errors, sizeof errors), 2);
    ck_assert_int_eq(run_agent("stdio more", errors, sizeof errors), 2);
    ck_assert_int_eq(run_agent("nonsense", errors, sizeof errors), 2);
}
END_TEST

/* ---- boot ---- */

static void copy_agent(const char *template, int spoil)
{
    char line[512];

    snprintf(directory, sizeof directory, "%s", template);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(copy, sizeof copy, "%s/agent", directory);
    snprintf(line, sizeof line, "cp '%s' '%s' && %s", harness_agent(), copy,
             spoil ? "echo spoilt >>" : ":");
    snprintf(line + strlen(line), sizeof line - strlen(line), " '%s'", spoil ? copy : "");
    ck_assert_int_eq(system(line), 0);
}

static void own_hash(char *hex, size_t size)
{
    char line[512];
    FILE *f;

    snprintf(line, sizeof line, "b2sum -l 256 <'%s'", harness_agent());
    f = popen(line, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(hex, (int)size, f));
    pclose(f);
    hex[64] = '\0';
}

START_TEST(boot_deletes_itself_and_serves)
{
    char hex[128];
    const char *argv[] = {"boot", hex, NULL};
    struct harness_options options = {.argv = argv, .program = copy};
    struct harness *h;
    struct run r = {0};

    copy_agent("/tmp/.grapnel-test-XXXXXX", 0);
    own_hash(hex, sizeof hex);
    h = harness_start(&options);
    harness_until_greeted(h);
    ck_assert_int_eq(access(copy, F_OK), -1);
    ck_assert_int_eq(access(directory, F_OK), -1);
    harness_do(h, &r, harness_argv("echo", "served", NULL), 0);
    ck_assert_str_eq(harness_text(&r), "served\n");
    harness_free(&r);
    harness_end(h);
}
END_TEST

/* A directory that was not made for the agent stays. */
START_TEST(boot_spares_other_directories)
{
    char hex[128];
    const char *argv[] = {"boot", hex, NULL};
    struct harness_options options = {.argv = argv, .program = copy};
    struct harness *h;

    copy_agent("/tmp/grapnel-test-XXXXXX", 0);
    own_hash(hex, sizeof hex);
    h = harness_start(&options);
    harness_until_greeted(h);
    ck_assert_int_eq(access(copy, F_OK), -1);
    ck_assert_int_eq(rmdir(directory), 0);
    harness_end(h);
}
END_TEST

START_TEST(boot_refuses_what_was_changed)
{
    char hex[128];
    const char *argv[] = {"boot", hex, NULL};
    struct harness_options options = {.argv = argv, .program = copy, .bare = 1};
    struct harness *h;
    char errors[512];
    char byte;

    copy_agent("/tmp/.grapnel-test-XXXXXX", 1);
    own_hash(hex, sizeof hex);
    h = harness_start(&options);
    ck_assert_int_eq(harness_wait(h), 87);
    harness_errors(h, errors, sizeof errors);
    ck_assert_str_eq(errors, "grapnel: agent tampered\n");
    /* not a byte was said on the line */
    ck_assert_int_eq(read(h->fd, &byte, 1), 0);
    ck_assert_int_eq(access(directory, F_OK), -1);
    harness_gone(h);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("life");
    TCase *t = tcase_create("life");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, line_closed);
    tcase_add_test(t, line_closed_is_no_end_of_input);
    tcase_add_test(t, line_half_closed);
    tcase_add_loop_test(t, agent_is_killed, 0, 3);
    tcase_add_test(t, guardian_is_killed);
    tcase_add_loop_test(t, told_by_a_signal, 0, 6);
    tcase_add_test(t, lease_lapses);
    tcase_add_test(t, lease_lapses_before_hello);
    tcase_add_test(t, lease_is_kept);
    tcase_add_test(t, lease_lapses_with_output_waiting);
    tcase_add_test(t, goodbye_lets_commands_run_out);
    tcase_add_test(t, bad_goodbye_ends_at_once);
    tcase_add_loop_test(t, closed_descriptors, 0, 4);
    tcase_add_test(t, closed_stderr_is_not_taken_by_others);
    tcase_add_test(t, inherited_descriptors_are_closed);
    tcase_add_loop_test(t, process_out_of_reach, 0, 2);
    tcase_add_test(t, few_descriptors);
    tcase_add_test(t, hardly_any_descriptors);
    tcase_add_test(t, command_line);
    tcase_add_test(t, boot_deletes_itself_and_serves);
    tcase_add_test(t, boot_spares_other_directories);
    tcase_add_test(t, boot_refuses_what_was_changed);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
