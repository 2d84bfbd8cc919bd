/* Agents that come and go on one connection: undeploying, deploying, what state a server is in, and
 * signs of life.  Over the local transport, which keeps nothing, and over a real sshd. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "launcher/connection.h"
#include "launcher/grapnel.h"
#include "ssh2rig.h"
#include "sshtools.h"
#include "tests/agent/harness.h"
#include "unit.h"

static struct grapnel *g;
static size_t descriptors_before;
static unsigned port; /* 0: there is no sshd on this machine */
static pid_t sshd;

#define NEED_SSHD                                                                                  \
    if (!port)                                                                                     \
    return

/* ---- helpers ---- */

static struct grapnel_server *open_local(void)
{
    struct grapnel_connect_options o = {.transport = "local"};
    struct grapnel_error e = {0};
    struct grapnel_server *s = grapnel_open(g, "here", &o, &e);

    ck_assert_msg(s != NULL, "%s: %s", e.text, e.detail);
    return s;
}

static struct grapnel_server *open_ssh(void)
{
    return rig_open(g, port, 0);
}

static void ready(struct grapnel_server *s)
{
    struct grapnel_error e = {0};

    ck_assert_msg(grapnel_wait_ready(s, 20000, &e) == 0, "%s: %s", e.text, e.detail);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_DEPLOYED);
}

static void undeploy(struct grapnel_server *s)
{
    struct grapnel_error e = {0};

    ck_assert_msg(grapnel_undeploy(s, 10000, &e) == 0, "%s: %s", e.text, e.detail);
}

static void deploy(struct grapnel_server *s)
{
    struct grapnel_error e = {0};

    ck_assert_msg(grapnel_deploy(s, &e) == 0, "%s: %s", e.text, e.detail);
}

/* What a line prints, without its end; to be freed. */
static char *output(struct grapnel_server *s, const char *line)
{
    struct grapnel_exec_options o = {.line = line};
    struct grapnel_result r;
    struct grapnel_error e = {0};
    char *text;

    ck_assert_msg(grapnel_run(s, &o, &r, &e) == 0, "%s: %s", e.text, e.detail);
    text = r.out;
    r.out = NULL;
    grapnel_result_clear(&r);
    text[strcspn(text, "\n")] = '\0';
    return text;
}

static void expect_output(struct grapnel_server *s, const char *line, const char *expected)
{
    char *text = output(s, line);

    ck_assert_str_eq(text, expected);
    free(text);
}

static pid_t agent_pid(struct grapnel_server *s)
{
    char *facts = grapnel_facts_json(s, 0, 0, NULL), *at;
    long pid;

    ck_assert_ptr_nonnull(facts);
    at = strstr(facts, "\"pid\":");
    ck_assert_ptr_nonnull(at);
    pid = strtol(at + 6, NULL, 10);
    grapnel_string_free(facts);
    ck_assert_int_gt(pid, 1);
    return (pid_t)pid;
}

static pid_t parent_of(pid_t pid)
{
    char path[40], text[400] = "", *at;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_gt(fread(text, 1, sizeof text - 1, f), 0);
    fclose(f);
    at = strrchr(text, ')');
    ck_assert_ptr_nonnull(at);
    return (pid_t)strtol(at + 4, NULL, 10);
}

/* The process of sshd that serves this connection. */
static pid_t session_of(struct grapnel_server *s)
{
    pid_t pid = agent_pid(s);
    char path[40], name[40] = "";
    FILE *f;

    for (;;) {
        pid = parent_of(pid);
        ck_assert_int_gt(pid, 1);
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        f = fopen(path, "re");
        ck_assert_ptr_nonnull(f);
        ck_assert_ptr_nonnull(fgets(name, sizeof name, f));
        fclose(f);
        if (strncmp(name, "sshd", 4) == 0)
            return pid;
    }
}

/* Drives the context until the server is in that state. */
static void until_state(struct grapnel_server *s, enum grapnel_server_state state)
{
    for (int turns = 0; grapnel_server_state(s) != state; turns++) {
        ck_assert_int_lt(turns, 2000);
        grapnel_drive(g, 10);
    }
}

/* ---- local: nothing is kept ---- */

START_TEST(local_is_gone_after_undeploy)
{
    struct grapnel_server *s = open_local();
    struct grapnel_error e = {0};
    pid_t pid;

    ready(s);
    pid = agent_pid(s);
    undeploy(s);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_GONE);
    harness_wait_process(pid);
    ck_assert_int_lt(grapnel_deploy(s, &e), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    ck_assert_ptr_nonnull(strstr(e.detail, "undeployed"));
    ck_assert_int_lt(grapnel_wait_ready(s, 0, &e), 0);
    undeploy(s); /* again: there is nothing to do */
    grapnel_server_free(s);
}
END_TEST

START_TEST(ping_takes_a_round_trip)
{
    struct grapnel_server *s = open_local();
    struct grapnel_error e = {0};
    int64_t us = -1;

    ck_assert_int_eq(grapnel_server_silence(s), -1);
    /* Also before the agent has answered anything. */
    ck_assert_msg(grapnel_ping(s, 20000, &us, &e) == 0, "%s", e.detail);
    ck_assert_int_gt(us, 0);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_DEPLOYED);
    ck_assert_int_eq(grapnel_ping(s, -1, NULL, &e), 0);
    ck_assert_int_ge(grapnel_server_silence(s), 0);
    ck_assert_int_lt(grapnel_server_silence(s), 10000);
    undeploy(s);
    ck_assert_int_lt(grapnel_ping(s, 1000, &us, &e), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    ck_assert_int_eq(grapnel_server_silence(s), -1);
    grapnel_server_free(s);
}
END_TEST

START_TEST(a_stopped_agent_does_not_answer)
{
    struct grapnel_server *s = open_local();
    struct grapnel_error e = {0};
    pid_t pid;

    ready(s);
    pid = agent_pid(s);
    kill(pid, SIGSTOP);
    ck_assert_int_lt(grapnel_ping(s, 50, NULL, &e), 0);
    ck_assert_str_eq(e.name, "TIMEOUT");
    kill(pid, SIGCONT);
    ck_assert_int_eq(grapnel_ping(s, 10000, NULL, &e), 0);
    /* Nor does it leave: it is left alone. */
    kill(pid, SIGSTOP);
    ck_assert_int_lt(grapnel_undeploy(s, 50, &e), 0);
    ck_assert_str_eq(e.name, "TIMEOUT");
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_GONE);
    kill(pid, SIGCONT);
    harness_wait_process(pid);
    grapnel_server_free(s);
}
END_TEST

static void *ping_a_stopped_one(void *arg)
{
    struct grapnel_error e = {0};

    ck_assert_int_lt(grapnel_ping(arg, -1, NULL, &e), 0);
    ck_assert_msg(strcmp(e.name, "LOST") == 0 || strcmp(e.name, "CLOSED") == 0, "%s", e.name);
    return NULL;
}

START_TEST(a_ping_ends_with_its_server)
{
    struct grapnel_server *s = open_local();
    pthread_t thread;
    pid_t pid;

    ready(s);
    pid = agent_pid(s);
    kill(pid, SIGSTOP);
    ck_assert_int_eq(pthread_create(&thread, NULL, ping_a_stopped_one, s), 0);
    kill(pid, SIGKILL);
    pthread_join(thread, NULL);
    grapnel_server_free(s);
}
END_TEST

START_TEST(undeploy_while_connecting)
{
    struct grapnel_server *s = open_local();

    undeploy(s);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_GONE);
    grapnel_server_free(s);
    NEED_SSHD;
    s = open_ssh();
    undeploy(s);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_UNDEPLOYED);
    deploy(s);
    undeploy(s);
    deploy(s);
    expect_output(s, "echo here", "here");
    grapnel_server_free(s);
}
END_TEST

/* ---- a real sshd ---- */

START_TEST(the_next_agent_is_on_the_same_connection)
{
    struct grapnel_server *s;
    pid_t session, first;
    char *connection;

    NEED_SSHD;
    s = open_ssh();
    ready(s);
    session = session_of(s);
    first = agent_pid(s);
    connection = output(s, "echo $SSH_CONNECTION");
    for (int i = 0; i < 3; i++) {
        pid_t before = agent_pid(s);
        undeploy(s);
        ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_UNDEPLOYED);
        harness_wait_process(before);
        ck_assert(harness_process_runs(session));
        deploy(s);
        ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_CONNECTING);
        deploy(s); /* nothing happens */
        expect_output(s, "echo $SSH_CONNECTION", connection);
        deploy(s);
        ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_DEPLOYED);
        ck_assert_int_eq(session_of(s), session);
        ck_assert_int_ne(agent_pid(s), first);
    }
    free(connection);
    grapnel_server_free(s);
    harness_wait_process(session);
}
END_TEST

START_TEST(instances_end_and_new_ones_come)
{
    struct grapnel_server *s;
    struct grapnel_instance *i, *j;
    struct grapnel_future *f;
    struct grapnel_value *v;
    struct grapnel_error e = {0};

    NEED_SSHD;
    s = open_ssh();
    i = grapnel_instance_open(s, NULL, &e);
    ck_assert_ptr_nonnull(i);
    ck_assert_msg(grapnel_call(i, "sys.uname", &v, &e, "") == 0, "%s: %s", e.text, e.detail);
    grapnel_value_free(v);
    f = grapnel_call_start(i, "time.sleep", &e, "i", 1000);
    ck_assert_ptr_nonnull(f);
    undeploy(s);
    /* At once, and with the cause. */
    ck_assert(grapnel_future_ready(f));
    ck_assert_int_lt(grapnel_future_error(f, &e), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    ck_assert_ptr_nonnull(strstr(e.detail, "undeployed"));
    grapnel_future_free(f);
    ck_assert_int_lt(grapnel_call(i, "sys.uname", &v, &e, ""), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    ck_assert_ptr_nonnull(strstr(e.detail, "undeployed"));
    ck_assert_ptr_null(grapnel_instance_open(s, NULL, &e));
    ck_assert_str_eq(e.name, "CLOSED");
    deploy(s);
    j = grapnel_instance_open(s, NULL, &e);
    ck_assert_ptr_nonnull(j);
    ck_assert_msg(grapnel_call(j, "sys.uname", &v, &e, "") == 0, "%s: %s", e.text, e.detail);
    grapnel_value_free(v);
    /* The old one can be opened again, as after any other end. */
    ck_assert_int_eq(grapnel_instance_reopen(i, &e), 0);
    ck_assert_msg(grapnel_call(i, "sys.uname", &v, &e, "") == 0, "%s: %s", e.text, e.detail);
    grapnel_value_free(v);
    grapnel_instance_free(i);
    grapnel_instance_free(j);
    grapnel_server_free(s);
}
END_TEST

START_TEST(commands_are_stopped)
{
    struct grapnel_server *s;
    struct grapnel_exec_options o = {.line = "exec sleep 98765", .no_input = 1};
    struct grapnel_exec_status status = {0};
    struct grapnel_exec *x;

    NEED_SSHD;
    s = open_ssh();
    x = grapnel_exec_start(s, &o, NULL, NULL, NULL);
    ck_assert_ptr_nonnull(x);
    ready(s);
    undeploy(s);
    ck_assert_int_eq(grapnel_exec_wait(x, 0, &status, NULL), 0);
    ck_assert_str_eq(status.reason, "cancelled");
    if (status.pid > 0)
        ck_assert(!harness_process_runs((pid_t)status.pid));
    grapnel_exec_free(x);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_UNDEPLOYED);
    grapnel_server_free(s);
}
END_TEST

START_TEST(a_lost_agent_leaves_the_connection)
{
    struct grapnel_server *s;
    struct grapnel_error e = {0};
    char *connection;
    pid_t pid;

    NEED_SSHD;
    s = open_ssh();
    connection = output(s, "echo $SSH_CONNECTION");
    pid = agent_pid(s);
    kill(pid, SIGKILL);
    until_state(s, GRAPNEL_UNDEPLOYED);
    ck_assert_int_lt(grapnel_wait_ready(s, 0, &e), 0);
    ck_assert_str_eq(e.name, "LOST");
    deploy(s);
    expect_output(s, "echo $SSH_CONNECTION", connection);
    free(connection);
    grapnel_server_free(s);
}
END_TEST

START_TEST(a_disconnect_is_noticed_while_undeployed)
{
    struct grapnel_server *s;
    struct grapnel_error e = {0};
    pid_t session;

    NEED_SSHD;
    s = open_ssh();
    ready(s);
    session = session_of(s);
    undeploy(s);
    kill(session, SIGTERM);
    until_state(s, GRAPNEL_GONE);
    ck_assert_int_lt(grapnel_deploy(s, &e), 0);
    ck_assert_str_eq(e.name, "DISCONNECTED");
    ck_assert_ptr_null(
        grapnel_exec_start(s, &(struct grapnel_exec_options){.line = "true"}, NULL, NULL, &e));
    ck_assert_str_eq(e.name, "DISCONNECTED");
    undeploy(s);
    grapnel_server_free(s);
}
END_TEST

static int times_logged(const char *words)
{
    char *text = sshtools_read(sshtools_path("sshd.log"), NULL);
    int n = 0;

    for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
        n++;
    free(text);
    return n;
}

/* What sshd asks of a connection by itself, with such settings, is answered while no agent is
 * there: it notes that with these words. */
static const struct {
    const char *settings, *words;
} asking[] = {{"ClientAliveInterval 1\nLogLevel DEBUG1\n", "for keepalive"},
              {"RekeyLimit default 1\nClientAliveInterval 1\nLogLevel DEBUG1\n",
               "SSH2_MSG_NEWKEYS received"}};

START_TEST(what_the_server_asks_is_answered_while_undeployed)
{
    pid_t other;
    unsigned before = port;
    struct grapnel_server *s;
    char *connection;
    int answered;

    NEED_SSHD;
    port = rig_sshd(sshtools_folder, asking[_i].settings, &other);
    s = open_ssh();
    connection = output(s, "echo $SSH_CONNECTION");
    undeploy(s);
    answered = times_logged(asking[_i].words);
    for (int turns = 0; times_logged(asking[_i].words) < answered + 2; turns++) {
        ck_assert_int_lt(turns, 1000);
        grapnel_drive(g, 20);
    }
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_UNDEPLOYED);
    deploy(s);
    expect_output(s, "echo $SSH_CONNECTION", connection);
    free(connection);
    grapnel_server_free(s);
    rig_stop(other);
    port = before;
}
END_TEST

START_TEST(freed_in_each_state)
{
    struct grapnel_server *s;
    pid_t session;

    NEED_SSHD;
    s = open_ssh();
    grapnel_server_free(s); /* connecting */
    s = open_ssh();
    ready(s);
    session = session_of(s);
    undeploy(s);
    grapnel_server_free(s); /* undeployed */
    harness_wait_process(session);
    s = open_ssh();
    ready(s);
    session = session_of(s);
    undeploy(s);
    deploy(s);
    grapnel_server_free(s); /* coming again */
    harness_wait_process(session);
    s = open_ssh();
    ready(s);
    session = session_of(s);
    undeploy(s);
    ck_assert_int_eq(grapnel_close(s, 0, NULL), 0);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_GONE);
    harness_wait_process(session); /* without being freed */
    grapnel_server_free(s);
    s = open_ssh();
    ready(s);
    undeploy(s);
    deploy(s);
    ck_assert_int_eq(grapnel_close(s, 0, NULL), 0);
    ck_assert_int_eq(grapnel_server_state(s), GRAPNEL_GONE);
    ck_assert_int_lt(grapnel_deploy(s, NULL), 0);
    grapnel_server_free(s);
}
END_TEST

/* ---- who watches ---- */

struct watch {
    char states[100];
    int redeploys; /* how often to deploy again when it is undeployed */
    int free_at;   /* the state in which it is freed; -1: none */
    int freed;
};

static void on_changed(void *arg, struct grapnel_server *s)
{
    static const char letters[] = "cdug";
    struct watch *w = arg;
    enum grapnel_server_state state = grapnel_server_state(s);
    size_t n = strlen(w->states);

    ck_assert_uint_lt(n, sizeof w->states - 1);
    w->states[n] = letters[state];
    w->states[n + 1] = '\0';
    if (state == GRAPNEL_UNDEPLOYED && w->redeploys > 0) {
        w->redeploys--;
        deploy(s);
    }
    if ((int)state == w->free_at) {
        w->freed = 1;
        grapnel_server_free(s);
    }
}

static void watch(struct grapnel_server *s, struct watch *w)
{
    context_lock(g);
    connection_watch(s, on_changed, w);
    context_unlock(g);
}

START_TEST(who_watches_learns_of_changes)
{
    struct watch w = {.free_at = -1, .redeploys = 2};
    struct grapnel_server *s = open_local();

    watch(s, &w);
    ready(s);
    undeploy(s);
    until_state(s, GRAPNEL_GONE);
    grapnel_drive(g, 1);
    ck_assert_str_eq(w.states, "dg");
    grapnel_server_free(s);
    NEED_SSHD;
    w.states[0] = '\0';
    s = open_ssh();
    watch(s, &w);
    for (int i = 0; i < 2; i++) {
        until_state(s, GRAPNEL_DEPLOYED);
        undeploy(s); /* and the one who watches deploys */
        until_state(s, GRAPNEL_CONNECTING);
    }
    until_state(s, GRAPNEL_DEPLOYED);
    undeploy(s);
    grapnel_drive(g, 1);
    ck_assert_str_eq(w.states, "ducducdu");
    grapnel_server_free(s);
}
END_TEST

START_TEST(who_watches_may_free_the_server)
{
    NEED_SSHD;
    for (int state = GRAPNEL_DEPLOYED; state <= GRAPNEL_GONE; state++) {
        struct watch w = {.free_at = state};
        struct grapnel_server *s = state == GRAPNEL_UNDEPLOYED ? open_ssh() : open_local();

        watch(s, &w);
        context_lock(g);
        connection_undeploy(s, 10000);
        context_unlock(g);
        for (int turns = 0; !w.freed; turns++) {
            ck_assert_int_lt(turns, 2000);
            grapnel_drive(g, 10);
        }
    }
}
END_TEST

/* What runs when a command ends may deploy: the end of the others is still under way then. */
static void deploy_again(void *arg, struct grapnel_exec *x,
                         const struct grapnel_exec_status *status, const struct grapnel_error *e)
{
    struct grapnel_server *s = arg;

    (void)x;
    (void)status;
    if (e && grapnel_server_state(s) == GRAPNEL_UNDEPLOYED)
        deploy(s);
}

START_TEST(a_command_that_is_lost_may_deploy_again)
{
    static const struct grapnel_exec_handler handler = {.done = deploy_again};
    struct grapnel_exec_options o = {.line = "exec sleep 98765", .no_input = 1};
    struct grapnel_instance *i[2];
    struct grapnel_exec *x[2];
    struct grapnel_server *s;
    struct grapnel_value *v;

    NEED_SSHD;
    s = open_ssh();
    for (int n = 0; n < 2; n++) { /* one is ended before the instances, one after them */
        x[n] = grapnel_exec_start(s, &o, &handler, s, NULL);
        i[n] = grapnel_instance_open(s, NULL, NULL);
        ck_assert_ptr_nonnull(x[n]);
        ck_assert_ptr_nonnull(i[n]);
        ck_assert_int_eq(grapnel_call(i[n], "sys.uname", &v, NULL, ""), 0);
        grapnel_value_free(v);
    }
    kill(agent_pid(s), SIGKILL);
    for (int n = 0; n < 2; n++)
        ck_assert_int_lt(grapnel_exec_wait(x[n], 10000, NULL, NULL), 0);
    ready(s);
    expect_output(s, "echo new", "new");
    for (int n = 0; n < 2; n++) {
        ck_assert_int_lt(grapnel_instance_error(i[n], NULL), 0);
        grapnel_instance_free(i[n]);
        grapnel_exec_free(x[n]);
    }
    grapnel_server_free(s);
}
END_TEST

/* ---- threads ---- */

static void *many_turns(void *arg)
{
    struct grapnel_server *s = arg;

    for (int n = 0; n < 5; n++) {
        grapnel_deploy(s, NULL);
        grapnel_wait_ready(s, 20000, NULL);
        grapnel_ping(s, 20000, NULL, NULL);
        grapnel_undeploy(s, 10000, NULL);
    }
    return NULL;
}

START_TEST(threads_that_all_deploy_and_undeploy)
{
    pthread_t threads[4];
    struct grapnel_server *s;

    NEED_SSHD;
    s = open_ssh();
    for (int n = 0; n < 4; n++)
        ck_assert_int_eq(pthread_create(&threads[n], NULL, many_turns, s), 0);
    for (int n = 0; n < 4; n++)
        pthread_join(threads[n], NULL);
    undeploy(s);
    deploy(s);
    expect_output(s, "echo alive", "alive");
    grapnel_server_free(s);
}
END_TEST

/* ---- the suite ---- */

static void begin(void)
{
    sshtools_enter();
    port = rig_sshd(sshtools_folder, "", &sshd);
}

static void finish(void)
{
    rig_stop(sshd);
    sshtools_leave();
}

static void setup(void)
{
    struct grapnel_error e = {0};

    descriptors_before = sshtools_open_files();
    g = grapnel_new(NULL, &e);
    ck_assert_msg(g != NULL, "%s: %s", e.text, e.detail);
}

static void teardown(void)
{
    grapnel_free(g);
    ck_assert_uint_eq(sshtools_open_files(), descriptors_before);
}

static Suite *deploy_suite(void)
{
    Suite *s = suite_create("deploy");
    TCase *t = tcase_create("deploy");

    tcase_add_unchecked_fixture(t, begin, finish);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, local_is_gone_after_undeploy);
    tcase_add_test(t, ping_takes_a_round_trip);
    tcase_add_test(t, a_stopped_agent_does_not_answer);
    tcase_add_test(t, a_ping_ends_with_its_server);
    tcase_add_test(t, undeploy_while_connecting);
    tcase_add_test(t, the_next_agent_is_on_the_same_connection);
    tcase_add_test(t, instances_end_and_new_ones_come);
    tcase_add_test(t, commands_are_stopped);
    tcase_add_test(t, a_lost_agent_leaves_the_connection);
    tcase_add_test(t, a_disconnect_is_noticed_while_undeployed);
    tcase_add_loop_test(t, what_the_server_asks_is_answered_while_undeployed, 0, 2);
    tcase_add_test(t, freed_in_each_state);
    tcase_add_test(t, who_watches_learns_of_changes);
    tcase_add_test(t, who_watches_may_free_the_server);
    tcase_add_test(t, a_command_that_is_lost_may_deploy_again);
    tcase_add_test(t, threads_that_all_deploy_and_undeploy);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(deploy_suite)
