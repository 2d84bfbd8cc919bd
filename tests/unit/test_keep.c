/* Agents that are kept on the host (cache_agent), and their removal, with the real agent: over the
 * local transport and a real sshd.  What the start script makes of a bad copy is in
 * test_bootstrap. */
#include <pthread.h>

#include "launcher/grapnel.h"
#include "ssh2rig.h"
#include "sshtools.h"
#include "unit.h"

static struct grapnel *g;
static size_t descriptors_before;
static unsigned port; /* 0: there is no sshd on this machine */
static pid_t sshd;
static char traced[40000];

static void on_trace(void *arg, int level, const char *host, const char *text)
{
    size_t n = strlen(traced);

    (void)arg;
    (void)host;
    snprintf(traced + n, sizeof traced - n, "%d %s\n", level, text);
}

static struct grapnel_server *open_local(void)
{
    struct grapnel_connect_options o = {.transport = "local", .cache_agent = 1};
    struct grapnel_error e = {0};
    struct grapnel_server *s = grapnel_connect(g, "here", &o, &e);

    ck_assert_msg(s != NULL, "%s: %s", e.text, e.detail);
    return s;
}

static struct grapnel_server *open_ssh(int cache_agent)
{
    struct grapnel_server *s = rig_open(g, port, cache_agent);
    struct grapnel_error e = {0};

    ck_assert_msg(grapnel_wait_ready(s, -1, &e) == 0, "%s: %s", e.text, e.detail);
    return s;
}

static struct grapnel_server_info info(struct grapnel_server *s)
{
    struct grapnel_server_info i;

    grapnel_server_info(s, &i);
    return i;
}

static int64_t purge(struct grapnel_server *s)
{
    struct grapnel_error e = {0};
    int64_t count = -1;

    ck_assert_msg(grapnel_purge(s, 10000, &count, &e) == 0, "%s: %s", e.text, e.detail);
    return count;
}

/* A shell line in the folder that is HOME. */
static int line(const char *text)
{
    return sshtools_run(NULL, 0, text);
}

START_TEST(a_kept_agent_is_not_sent)
{
    struct grapnel_server_info sent, kept;
    struct grapnel_server *s;

    if (!port)
        return;
    s = open_ssh(0);
    sent = info(s);
    grapnel_server_free(s);
    s = open_ssh(1); /* asks in vain, sends, and keeps */
    ck_assert_int_eq(info(s).boot_attempts, 2);
    ck_assert_int_gt(info(s).agent_bytes, 50000);
    grapnel_server_free(s);
    s = open_ssh(1);
    kept = info(s);
    ck_assert_int_eq(kept.boot_attempts, 1);
    ck_assert_int_lt(kept.agent_bytes, 100);
    ck_assert_int_gt(sent.line_sent - kept.line_sent, sent.agent_bytes - 4096);
    ck_assert_int_lt(kept.line_sent, 12000);
    printf("# bytes sent until the agent answers: %lld, with a kept agent %lld\n",
           (long long)sent.line_sent, (long long)kept.line_sent);
    ck_assert_int_eq(purge(s), 1);
    ck_assert_int_eq(line("test ! -e .cache/grapnel"), 0);
    grapnel_server_free(s);
}
END_TEST

START_TEST(the_next_agent_on_a_connection_is_not_sent)
{
    struct grapnel_server *s;
    struct grapnel_error e = {0};

    if (!port)
        return;
    s = open_ssh(1);
    for (int n = 0; n < 2; n++) {
        ck_assert_int_eq(grapnel_undeploy(s, 0, &e), 0);
        ck_assert_int_eq(grapnel_deploy(s, &e), 0);
        ck_assert_msg(grapnel_wait_ready(s, -1, &e) == 0, "%s: %s", e.text, e.detail);
        ck_assert_int_lt(info(s).agent_bytes, 100);
        ck_assert_int_eq(info(s).boot_attempts, 1);
    }
    ck_assert_int_eq(purge(s), 1);
    ck_assert_int_eq(grapnel_undeploy(s, 0, &e), 0);
    ck_assert_int_eq(grapnel_deploy(s, &e), 0);
    ck_assert_int_eq(grapnel_wait_ready(s, -1, &e), 0);
    ck_assert_int_gt(info(s).agent_bytes, 50000);
    grapnel_server_free(s);
}
END_TEST

START_TEST(what_was_changed_is_told_and_replaced)
{
    struct grapnel_server *s = open_local();

    grapnel_server_free(s);
    ck_assert_int_eq(line("printf changed | dd of=$(echo .cache/grapnel/*) bs=1 seek=5000 "
                          "conv=notrunc 2>/dev/null"),
                     0);
    traced[0] = '\0';
    s = open_local();
    ck_assert_msg(strstr(traced, "0 the agent kept on the host was changed") != NULL, "%s", traced);
    ck_assert_msg(strstr(traced, "1 the agent is kept on the host") != NULL, "%s", traced);
    grapnel_server_free(s);
    traced[0] = '\0';
    s = open_local();
    ck_assert_msg(strstr(traced, "1 the agent kept on the host was checked") != NULL, "%s", traced);
    ck_assert_int_eq(info(s).boot_attempts, 1);
    grapnel_server_free(s);
}
END_TEST

START_TEST(purging_takes_what_was_kept_and_nothing_else)
{
    struct grapnel_server *s = open_local();
    struct grapnel_error e = {0};

    ck_assert_int_eq(
        line("cd .cache/grapnel && mkdir src $(printf %064d 7) && touch note .new-1 && "
             "touch $(printf %064d 8) && touch $(printf %063dg 9) -- '-rf' 'a b'"),
        0);
    ck_assert_int_eq(purge(s), 2);
    ck_assert_int_eq(line("test \"$(ls -A .cache/grapnel | wc -l)\" = 6 && "
                          "test ! -e .cache/grapnel/.new-1"),
                     0);
    ck_assert_int_eq(purge(s), 0);
    ck_assert_int_eq(line("rm -r .cache/grapnel && mkdir other && ln -s ../other .cache/grapnel && "
                          "touch other/$(printf %064d 8)"),
                     0);
    ck_assert_int_lt(grapnel_purge(s, 10000, NULL, &e), 0);
    ck_assert_str_eq(e.name, "IO");
    ck_assert_ptr_nonnull(strstr(e.detail, "not a folder of this account"));
    ck_assert_int_eq(line("test -e other/$(printf %064d 8)"), 0);
    ck_assert_int_eq(line("rm -r .cache"), 0);
    ck_assert_int_eq(purge(s), 0);
    grapnel_server_free(s);
}
END_TEST

static void *connect_in_thread(void *arg)
{
    (void)arg;
    for (int n = 0; n < 3; n++)
        grapnel_server_free(open_local());
    return NULL;
}

START_TEST(many_launchers_at_once)
{
    pthread_t threads[8];

    for (size_t n = 0; n < 8; n++)
        ck_assert_int_eq(pthread_create(&threads[n], NULL, connect_in_thread, NULL), 0);
    for (size_t n = 0; n < 8; n++)
        pthread_join(threads[n], NULL);
    ck_assert_msg(strstr(traced, "\n0 ") == NULL, "%s", traced); /* nobody found half a copy */
    ck_assert_int_eq(line("test \"$(ls -A .cache/grapnel | wc -l)\" = 1"), 0);
}
END_TEST

/* ---- the suite ---- */

static void begin(void)
{
    char extra[200];

    sshtools_enter();
    setenv("HOME", sshtools_folder, 1);
    snprintf(extra, sizeof extra, "SetEnv HOME=%s\n", sshtools_folder);
    port = rig_sshd(sshtools_folder, extra, &sshd);
}

static void finish(void)
{
    rig_stop(sshd);
    sshtools_leave();
}

static void setup(void)
{
    struct grapnel_options o = {.verbose = 1, .trace = on_trace};
    struct grapnel_error e = {0};

    descriptors_before = sshtools_open_files();
    traced[0] = '\0';
    g = grapnel_new(&o, &e);
    ck_assert_msg(g != NULL, "%s: %s", e.text, e.detail);
}

static void teardown(void)
{
    grapnel_free(g);
    ck_assert_uint_eq(sshtools_open_files(), descriptors_before);
    ck_assert_int_eq(line("rm -rf .cache other"), 0);
}

static Suite *keep_suite(void)
{
    Suite *s = suite_create("keep");
    TCase *t = tcase_create("keep");

    tcase_add_unchecked_fixture(t, begin, finish);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_kept_agent_is_not_sent);
    tcase_add_test(t, the_next_agent_on_a_connection_is_not_sent);
    tcase_add_test(t, what_was_changed_is_told_and_replaced);
    tcase_add_test(t, purging_takes_what_was_kept_and_nothing_else);
    tcase_add_test(t, many_launchers_at_once);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(keep_suite)
