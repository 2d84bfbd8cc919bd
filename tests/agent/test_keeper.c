/* Whose a process is: each command's descendants end with it and with nobody else, whatever they
 * do to get away, and whoever is killed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/tree.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

/* A daemon that does not want to go: forked twice, in a session of its own, deaf to TERM and HUP.
 * It says its number, and closes all that it has. */
#define DAEMON "(setsid sh -c 'trap \"\" TERM HUP INT; echo $$; exec sleep 1000 <&- >&- 2>&-' &) & "

/* A command that runs on beside its daemon. */
struct pair {
    struct run r;
    pid_t leader, keeper, daemon;
};

static pid_t parent_of(pid_t pid)
{
    struct tree_process p;

    ck_assert_int_eq(tree_look(pid, &p), 0);
    return p.parent;
}

/* Waits until the daemon has lost its parents and let go of everything. */
static void wait_for_daemon(pid_t pid, pid_t keeper)
{
    char path[64];
    char name[32] = "";

    snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    while (strcmp(name, "sleep\n") != 0 || parent_of(pid) != keeper) {
        FILE *f = fopen(path, "r");
        ck_assert_msg(f != NULL, "the daemon has ended");
        (void)!fgets(name, sizeof name, f);
        fclose(f);
    }
}

static void begin(struct harness *h, struct pair *c, struct value *more)
{
    struct value *args = harness_line("echo $$; " DAEMON "wait; exec sleep 1000");
    const struct value *key;
    const struct value *item;
    size_t from = 0;

    memset(c, 0, sizeof *c);
    for (size_t i = 0; values_pair(more, i, &key, &item); i++) {
        values_set(args, values_as_string(key, NULL), values_int(values_as_int(item, 0)));
    }
    values_free(more);
    harness_run(h, &c->r, args, HARNESS_STDERR);
    c->leader = (pid_t)harness_number(&c->r, &from);
    c->daemon = (pid_t)harness_number(&c->r, &from);
    c->keeper = parent_of(c->leader);
    wait_for_daemon(c->daemon, c->keeper);
}

static struct value *option(const char *name, int number)
{
    struct value *map = values_map();

    values_set(map, name, values_int(number));
    return map;
}

static void cancel(struct harness *h, struct pair *c)
{
    struct value *args = values_array();

    values_append(args, values_int(stream_id(c->r.s)));
    ck_assert_int_eq(harness_call(h, "cancel", args, NULL), 0);
}

static void assert_runs(const struct pair *c)
{
    ck_assert_int_eq(c->r.closed, 0);
    ck_assert_msg(harness_process_runs(c->leader), "the other command has ended");
    ck_assert_msg(harness_process_runs(c->daemon), "the other command's daemon has ended");
}

static void assert_over(const struct pair *c)
{
    ck_assert_msg(!harness_process_runs(c->leader), "the command lives");
    ck_assert_msg(!harness_process_runs(c->daemon), "its daemon lives");
}

/* The agent leaves, and takes everything with it. */
static void finish(struct harness *h, struct pair *c, size_t n)
{
    harness_close(h);
    (void)harness_wait(h);
    link_end(h->link, -E_CLOSED, "");
    for (size_t i = 0; i < n; i++) {
        assert_over(&c[i]);
        harness_free(&c[i].r);
    }
    harness_gone(h);
}

/* ---- side by side ---- */

enum { EARLIER, ENDED, LATER, COUNT };

/* One of three is ended, and with it its daemon, by the time that this is told: the earlier one's
 * and the later one's live. */
START_TEST(a_daemon_ends_with_its_own_command)
{
    static const char *const reasons[] = {"cancelled", "timeout"};
    struct harness *h = harness_start(NULL);
    struct pair c[COUNT];
    struct value *options = option("grace_ms", 100);

    if (_i == 1) {
        values_set(options, "timeout_ms", values_int(1000));
    }
    begin(h, &c[EARLIER], NULL);
    begin(h, &c[ENDED], options);
    begin(h, &c[LATER], NULL);
    if (_i == 0) {
        cancel(h, &c[ENDED]);
    }
    harness_finish(&c[ENDED].r);
    assert_over(&c[ENDED]);
    ck_assert_int_eq(c[ENDED].r.code, 0);
    ck_assert_str_eq(harness_string(&c[ENDED].r, "reason"), reasons[_i]);
    ck_assert_int_eq(harness_int(&c[ENDED].r, "left", 0), 0);
    assert_runs(&c[EARLIER]);
    assert_runs(&c[LATER]);
    finish(h, c, COUNT);
}
END_TEST

START_TEST(a_daemon_ends_when_the_stream_is_closed)
{
    struct harness *h = harness_start(NULL);
    struct pair c[2];

    begin(h, &c[0], option("grace_ms", 100));
    begin(h, &c[1], NULL);
    stream_close(c[0].r.s, -E_CANCELLED, NULL, "no more");
    harness_finish(&c[0].r);
    harness_wait_process(c[0].daemon);
    harness_wait_process(c[0].leader);
    assert_runs(&c[1]);
    finish(h, c, 2);
}
END_TEST

/* What a command that is over has left goes on when another is cancelled. */
START_TEST(a_daemon_outlives_its_command)
{
    struct harness *h = harness_start(NULL);
    struct run r = {0};
    struct pair c;
    size_t from = 0;
    pid_t daemon;

    harness_do(h, &r, harness_line(DAEMON "exit 0"), 0);
    ck_assert_int_eq(harness_int(&r, "status", -1), 0);
    daemon = (pid_t)harness_number(&r, &from);
    begin(h, &c, option("grace_ms", 100));
    cancel(h, &c);
    harness_finish(&c.r);
    assert_over(&c);
    ck_assert_int_eq(harness_process_runs(daemon), 1);
    ck_assert_int_eq(harness_usage(h, "processes"), 1);
    harness_free(&c.r);
    harness_free(&r);
    harness_end(h);
    ck_assert_int_eq(harness_process_runs(daemon), 0);
}
END_TEST

/* The group is reached also when its leader is dead. */
START_TEST(a_signal_reaches_the_group_without_its_leader)
{
    struct harness *h = harness_start(NULL);
    struct value *args = values_array();
    struct run r = {0};
    size_t from = 0;
    pid_t leader;

    harness_run(h, &r,
                harness_line("echo $$; sh -c 'trap \"echo got; exit\" USR1; echo 1; while :; do :; "
                             "done' & exit 3"),
                0);
    leader = (pid_t)harness_number(&r, &from);
    ck_assert_int_eq(harness_number(&r, &from), 1);
    harness_wait_process(leader);
    values_append(args, values_int(stream_id(r.s)));
    values_append(args, values_text("USR1"));
    ck_assert_int_eq(harness_call(h, "signal", args, NULL), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_text(&r) + from, "got\n");
    ck_assert_int_eq(harness_int(&r, "status", -1), 3);
    harness_free(&r);
    harness_end(h);
}
END_TEST

/* ---- keepers that are killed ---- */

/* What it kept is not left to the end of the line, and nobody else's is touched. */
START_TEST(keeper_is_killed)
{
    struct harness *h = harness_start(NULL);
    struct pair c[2];

    begin(h, &c[0], NULL);
    begin(h, &c[1], NULL);
    kill(c[0].keeper, SIGKILL);
    harness_finish(&c[0].r);
    ck_assert_int_eq(c[0].r.code, 0);
    ck_assert_str_eq(harness_string(&c[0].r, "signal"), "KILL");
    harness_wait_process(c[0].leader);
    harness_wait_process(c[0].daemon);
    assert_runs(&c[1]);
    finish(h, c, 2);
}
END_TEST

/* Even then a cancelled command is over only when nothing is left of it. */
START_TEST(keeper_is_killed_while_its_command_is_ended)
{
    struct harness *h = harness_start(NULL);
    struct pair c[2];

    begin(h, &c[0], option("grace_ms", 500));
    begin(h, &c[1], NULL);
    cancel(h, &c[0]);
    kill(c[0].keeper, SIGKILL);
    harness_finish(&c[0].r);
    assert_over(&c[0]);
    ck_assert_str_eq(harness_string(&c[0].r, "reason"), "cancelled");
    assert_runs(&c[1]);
    finish(h, c, 2);
}
END_TEST

/* A signal that was meant for all, as pkill's, does not take a keeper away. */
START_TEST(keeper_is_told_to_end)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT, SIGUSR1, SIGPIPE};
    struct harness *h = harness_start(NULL);
    struct pair c;

    begin(h, &c, option("grace_ms", 100));
    kill(c.keeper, signals[_i]);
    ck_assert_int_eq(harness_usage(h, "processes"), 2);
    assert_runs(&c);
    ck_assert_int_eq(harness_process_runs(c.keeper), 1);
    cancel(h, &c);
    harness_finish(&c.r);
    assert_over(&c);
    harness_free(&c.r);
    harness_end(h);
}
END_TEST

/* ---- agent and guardian ---- */

static int line_over(void *arg)
{
    const struct harness *h = arg;

    return h->line_ended;
}

/* Agent and guardian die in the same moment, so that neither can look after anything. */
static void kill_both(struct harness *h)
{
    pid_t agent = (pid_t)values_as_int(values_get(h->facts, "pid"), 0);

    ck_assert_int_gt(agent, 1);
    kill(h->guardian, SIGSTOP);
    kill(agent, SIGKILL);
    kill(h->guardian, SIGKILL);
    harness_until(h, line_over, h);
    ck_assert_int_eq(harness_wait(h), 128 + SIGKILL);
    ck_assert_int_eq(waitpid(agent, NULL, 0), agent);
}

/* Takes the ends of what the test has inherited. */
static void take_orphans(void)
{
    while (waitpid(-1, NULL, 0) > 0) {
    }
    ck_assert_int_eq(errno, ECHILD);
}

/* Then each keeper ends what it keeps. */
START_TEST(agent_and_guardian_are_killed)
{
    struct harness *h = harness_start(NULL);
    pid_t pids[HARNESS_STUBBORN_COUNT];
    struct run stubborn = {0};
    struct pair c;

    begin(h, &c, NULL);
    harness_run(h, &stubborn, harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 0);
    harness_stubborn(&stubborn, pids);
    kill_both(h);
    harness_wait_process(c.leader);
    harness_wait_process(c.daemon);
    for (int i = 0; i < HARNESS_STUBBORN_COUNT; i++) {
        harness_wait_process(pids[i]);
    }
    take_orphans();
    harness_free(&stubborn);
    harness_free(&c.r);
    harness_gone(h);
}
END_TEST

/* The agent's end is the end of the command's input: it must not go on as if that were whole. */
START_TEST(agent_is_killed_in_the_middle_of_input)
{
    char path[] = "/tmp/grapnel-test-XXXXXX", line[200];
    struct stat st;
    int fd = mkostemp(path, O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    snprintf(line, sizeof line, "echo up; %s; echo whole >>%s",
             _i % 2 == 0 ? "while read -r x; do :; done" : "cat", path);
    for (int i = 0; i < 10; i++) {
        struct run r = {.input = (const uint8_t *)"", .input_left = 1}; /* not sent */
        struct harness *h = harness_start(NULL);

        harness_run(h, &r, harness_line(line), HARNESS_NO_INPUT);
        harness_output(&r, 3);
        if (_i < 2) {
            kill((pid_t)values_as_int(values_get(h->facts, "pid"), 0), SIGKILL);
            harness_until(h, line_over, h);
            (void)harness_wait(h);
        } else {
            kill_both(h);
            take_orphans();
        }
        harness_free(&r);
        harness_gone(h);
    }
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, 0);
    close(fd);
    unlink(path);
}
END_TEST

/* With the keepers killed as well, nobody is left to look after daemons, but the command itself
 * does not go on. */
START_TEST(agent_guardian_and_keeper_are_killed)
{
    struct harness *h = harness_start(NULL);
    struct pair c;

    begin(h, &c, NULL);
    kill(c.keeper, SIGSTOP);
    kill_both(h);
    kill(c.keeper, SIGKILL);
    harness_wait_process(c.leader);
    kill(c.daemon, SIGKILL);
    take_orphans();
    harness_free(&c.r);
    harness_gone(h);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("keeper");
    TCase *t = tcase_create("keeper");

    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_daemon_ends_with_its_own_command, 0, 2);
    tcase_add_test(t, a_daemon_ends_when_the_stream_is_closed);
    tcase_add_test(t, a_daemon_outlives_its_command);
    tcase_add_test(t, a_signal_reaches_the_group_without_its_leader);
    tcase_add_test(t, keeper_is_killed);
    tcase_add_test(t, keeper_is_killed_while_its_command_is_ended);
    tcase_add_loop_test(t, keeper_is_told_to_end, 0, 5);
    tcase_add_test(t, agent_and_guardian_are_killed);
    tcase_add_loop_test(t, agent_is_killed_in_the_middle_of_input, 0, 4);
    tcase_add_test(t, agent_guardian_and_keeper_are_killed);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
