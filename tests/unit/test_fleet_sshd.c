/* Fleets over a real sshd: what goes wrong on the way is each host's own, and told with its phase;
 * servers that refuse because there are too many get fewer at a time. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/ssh2rig.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#include "launcher/grapnel.h"

#define MANY 24

static struct grapnel *g;
static struct grapnel_error error;
static size_t descriptors_before;
static unsigned port;
static pid_t server;
static const char *names[MANY + 1];
static char name_texts[MANY][16], settings_text[6][320];
static const char *settings[8];
static struct grapnel_connect_options connect_options;

static size_t open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void setup(void)
{
    sshtools_enter();
    port = rig_sshd(sshtools_folder, "", &server);
    for (int i = 0; i < MANY; i++) {
        snprintf(name_texts[i], sizeof name_texts[i], "host%d", i);
        names[i] = name_texts[i];
    }
    snprintf(settings_text[0], sizeof settings_text[0], "UserKnownHostsFile=%s/known_hosts",
             sshtools_folder);
    snprintf(settings_text[1], sizeof settings_text[1], "IdentityFile=%s/id", sshtools_folder);
    settings[0] = "HostName=127.0.0.1";
    settings[1] = "GlobalKnownHostsFile=/dev/null";
    settings[2] = "IdentityAgent=none";
    settings[3] = settings_text[0];
    settings[4] = settings_text[1];
    settings[5] = NULL;
    connect_options = (struct grapnel_connect_options){.config_file = "none",
                                                       .user = getpwuid(getuid())->pw_name,
                                                       .ssh_options = settings,
                                                       .transport = "ssh2",
                                                       .port = port};
    descriptors_before = open_descriptors();
    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    grapnel_free(g);
    ck_assert_uint_eq(open_descriptors(), descriptors_before);
    rig_stop(server);
    sshtools_leave();
}

#define NEED_SSHD                                                                                  \
    if (!port)                                                                                     \
    return

struct results {
    struct grapnel_fleet_result of[MANY];
    struct grapnel_error error[MANY];
    size_t last;
    int attempts;
};

static struct grapnel_fleet *fleet(struct grapnel_fleet_options o)
{
    struct grapnel_fleet *f;

    o.connect = &connect_options;
    o.aliases = 1;
    f = grapnel_fleet_new(g, names, &o, &error);
    ck_assert_ptr_nonnull(f);
    return f;
}

static struct grapnel_fleet_job *run(struct grapnel_fleet *f, const char *line)
{
    struct grapnel_exec_options command = {.line = line, .shell = "/bin/sh"};
    struct grapnel_fleet_job *job = grapnel_fleet_run(f, &command, NULL, NULL, &error);

    ck_assert_msg(job != NULL, "%s", error.detail);
    return job;
}

static void take_all(struct grapnel_fleet_job *job, struct results *all)
{
    struct grapnel_fleet_result r;

    memset(all, 0, sizeof *all);
    while (grapnel_fleet_wait_any(job, 40000, &r, &error) == 0) {
        all->of[r.host] = r;
        all->last = r.host;
        all->attempts += r.attempts;
        if (r.error)
            all->error[r.host] = *r.error;
    }
    ck_assert_str_eq(error.name, "CLOSED");
}

static void finish(struct grapnel_fleet *f, struct grapnel_fleet_job *job)
{
    grapnel_fleet_job_free(job);
    grapnel_fleet_free(f);
}

static void expect_all_fine(const struct results *all)
{
    for (int i = 0; i < MANY; i++) {
        const struct grapnel_fleet_result *r = &all->of[i];

        ck_assert_msg(!r->failed, "%s: %s", all->error[i].name, all->error[i].detail);
        for (int p = 0; p < GRAPNEL_FLEET_PHASES; p++)
            ck_assert_int_ge(r->phase_us[p], 0);
    }
}

START_TEST(test_each_phase_is_timed)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;

    NEED_SSHD;
    f = fleet((struct grapnel_fleet_options){0});
    job = run(f, "true");
    take_all(job, &all);
    expect_all_fine(&all);
    ck_assert_int_eq(all.attempts, MANY);
    finish(f, job);
}
END_TEST

/* ---- a server that takes few at a time ---- */

static int connect_to(unsigned to)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)to),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

static _Noreturn void relay(int a, int b)
{
    struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    static char bytes[65536];

    while (poll(p, 2, -1) > 0) {
        for (int i = 0; i < 2; i++) {
            ssize_t n = p[i].revents ? read(p[i].fd, bytes, sizeof bytes) : -1;

            if (n == 0 || (n < 0 && p[i].revents))
                _exit(0);
            for (ssize_t at = 0; at < n;) {
                ssize_t put = write(p[1 - i].fd, bytes + at, (size_t)(n - at));

                if (put <= 0)
                    _exit(0);
                at += put;
            }
        }
    }
    _exit(0);
}

/* Relays to the server while not more than `most` are connected; closes the others at once. */
static unsigned crowded(int most, pid_t *pid)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), live = 0;

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *pid = fork();
    if (*pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (*pid == 0) {
        int one = accept(fd, NULL, NULL);

        while (live > 0 && waitpid(-1, NULL, WNOHANG) > 0)
            live--;
        if (live < most && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            relay(one, connect_to(port));
        }
        live += live < most;
        close(one);
    }
    close(fd);
    return ntohs(a.sin_port);
}

START_TEST(test_a_server_that_takes_few_at_a_time_gets_all_in_the_end)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    pid_t pid;

    NEED_SSHD;
    connect_options.port = crowded(5, &pid);
    f = fleet((struct grapnel_fleet_options){0});
    job = run(f, "true");
    take_all(job, &all);
    expect_all_fine(&all);
    ck_assert_int_gt(all.attempts, MANY);
    finish(f, job);
    rig_stop(pid);
}
END_TEST

/* ---- hosts that fail, each in its own way ---- */

enum { FINE, REFUSES, MUTE, NOT_SSH, CLOSES, CHANGED, STRANGER, UNRESOLVED, KINDS };

static unsigned bad_ports[KINDS];
static const char *bad_settings[KINDS][7];

static void adjust(void *arg, size_t host, struct grapnel_connect_options *o)
{
    size_t kind = host % KINDS;

    (void)arg;
    if (bad_ports[kind])
        o->port = bad_ports[kind];
    if (bad_settings[kind][0])
        o->ssh_options = bad_settings[kind];
    if (kind == MUTE)
        o->connect_timeout = 1000;
}

static void replace(int kind, int which, const char *text)
{
    for (int i = 0; i < 5; i++)
        bad_settings[kind][i] = i == which ? text : settings[i];
}

/* Nobody listens there. */
static unsigned closed_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    close(fd);
    return ntohs(a.sin_port);
}

START_TEST(test_every_failure_is_the_hosts_own)
{
    static const char *const codes[KINDS] = {NULL,           "REFUSED",         "MUTE", "NOT_SSH",
                                             "DISCONNECTED", "HOSTKEY_CHANGED", "AUTH", "RESOLVE"};
    static const char *const phases[KINDS] = {NULL,      "connect",  "kex",  "kex",
                                              "connect", "host key", "auth", "resolve"};
    static const int attempts[KINDS] = {1, 2, 2, 1, 8, 1, 1, 2};
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    pid_t mute, other, closing;
    char line[200];

    NEED_SSHD;
    names[16] = NULL;
    bad_ports[REFUSES] = closed_port();
    bad_ports[MUTE] = rig_fake("", 0, 1, &mute);
    bad_ports[NOT_SSH] = rig_fake("220 smtp.example.com ESMTP\r\n", 28, 0, &other);
    bad_ports[CLOSES] = rig_fake("", 0, 0, &closing);
    snprintf(line, sizeof line, "echo \"[127.0.0.1]:%u $(cut -d' ' -f1,2 id_stranger.pub)\" >other",
             port);
    ck_assert_int_eq(sshtools_run(NULL, 0, line), 0);
    snprintf(settings_text[2], sizeof settings_text[2], "UserKnownHostsFile=%s/other",
             sshtools_folder);
    snprintf(settings_text[3], sizeof settings_text[3], "IdentityFile=%s/id_stranger",
             sshtools_folder);
    replace(CHANGED, 3, settings_text[2]);
    replace(STRANGER, 4, settings_text[3]);
    replace(UNRESOLVED, 0, "HostName=no.such.host.invalid");
    f = fleet((struct grapnel_fleet_options){.adjust = adjust, .retry = 1, .back_off = 10});
    job = run(f, "true");
    take_all(job, &all);
    for (int i = 0; i < 16; i++) {
        int kind = i % KINDS;

        ck_assert_int_eq(all.of[i].failed, kind != FINE);
        ck_assert_int_eq(all.of[i].begun, kind == FINE);
        if (kind == FINE)
            continue;
        ck_assert_msg(strcmp(all.error[i].name, codes[kind]) == 0, "%s: %s: %s", codes[kind],
                      all.error[i].name, all.error[i].detail);
        ck_assert_str_eq(all.error[i].phase, phases[kind]);
        ck_assert_msg(all.of[i].attempts == attempts[kind], "%s: %d", codes[kind],
                      all.of[i].attempts);
    }
    ck_assert_uint_eq(all.last % KINDS, CLOSES);
    finish(f, job);
    rig_stop(mute);
    rig_stop(other);
    rig_stop(closing);
}
END_TEST

static unsigned mute_port;

/* The first hosts, more than are connected to at first, say nothing. */
static void most_are_mute(void *arg, size_t host, struct grapnel_connect_options *o)
{
    (void)arg;
    if (host < MANY - 4)
        o->port = mute_port;
}

START_TEST(test_hosts_that_are_stuck_do_not_hold_up_the_others)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct grapnel_fleet_result r;
    pid_t mute;

    NEED_SSHD;
    mute_port = rig_fake("", 0, 1, &mute);
    f = fleet((struct grapnel_fleet_options){.adjust = most_are_mute});
    job = run(f, "true");
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(grapnel_fleet_wait_any(job, 20000, &r, &error), 0);
        ck_assert_int_eq(r.failed, 0);
        ck_assert_uint_ge(r.host, MANY - 4);
    }
    finish(f, job);
    rig_stop(mute);
}
END_TEST

START_TEST(test_what_the_openssh_client_did_not_reach_never_began)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;

    NEED_SSHD;
    if (!sshtools_have("ssh"))
        return;
    names[2] = NULL;
    connect_options.transport = "openssh";
    connect_options.port = closed_port();
    f = fleet((struct grapnel_fleet_options){.retry = 1, .back_off = 10});
    job = run(f, "true");
    take_all(job, &all);
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(all.error[i].name, "REFUSED");
        ck_assert_int_eq(all.of[i].begun, 0);
        ck_assert_int_eq(all.of[i].attempts, 2);
    }
    finish(f, job);
}
END_TEST

START_TEST(test_what_does_not_answer_is_cancelled_at_once)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    double began;
    pid_t mute;

    NEED_SSHD;
    connect_options.port = rig_fake("", 0, 1, &mute);
    f = fleet((struct grapnel_fleet_options){0});
    job = run(f, "true");
    ck_assert_int_lt(grapnel_fleet_wait(job, 200, &error), 0);
    began = grapnel_now();
    grapnel_fleet_cancel(job);
    take_all(job, &all);
    ck_assert(grapnel_now() - began < 2.);
    for (int i = 0; i < MANY; i++) {
        ck_assert_str_eq(all.error[i].name, "CANCELLED");
        ck_assert_int_eq(all.of[i].begun, 0);
        ck_assert_int_eq(all.of[i].confirmed, 1);
    }
    finish(f, job);
    rig_stop(mute);
}
END_TEST

/* ---- an agent that is too busy ---- */

/* Fills the queue of the stopped ssh-agent; how many connections that took. */
static size_t fill_queue(int *fds, size_t most)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = 0;

    snprintf(a.sun_path, sizeof a.sun_path, "%s", sshtools_path("agent"));
    while (n < most) {
        fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fds[n++], (struct sockaddr *)&a, sizeof a) < 0)
            return n;
    }
    ck_abort_msg("the queue does not fill");
    return n;
}

START_TEST(test_a_busy_ssh_agent_is_waited_for)
{
    static int fds[5000];
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    char text[20] = "";
    size_t n, length;
    pid_t agent;

    NEED_SSHD;
    if (!sshtools_have("ssh-agent"))
        return;
    ck_assert_int_eq(sshtools_run(NULL, 0,
                                  "ssh-agent -a $PWD/agent >agent.env && . ./agent.env >/dev/null "
                                  "&& ssh-add -q id 2>/dev/null && echo $SSH_AGENT_PID >pid"),
                     0);
    {
        char *pid_text = sshtools_read(sshtools_path("pid"), &length);

        snprintf(text, sizeof text, "%s", pid_text);
        free(pid_text);
    }
    agent = (pid_t)strtol(text, NULL, 10);
    ck_assert_int_gt(agent, 1);
    snprintf(settings_text[2], sizeof settings_text[2], "IdentityAgent=%s", sshtools_path("agent"));
    settings[2] = settings_text[2];
    settings[4] = "IdentityFile=/nonexistent";
    kill(agent, SIGSTOP);
    n = fill_queue(fds, sizeof fds / sizeof fds[0]);
    f = fleet((struct grapnel_fleet_options){0});
    job = run(f, "true");
    ck_assert_int_lt(grapnel_fleet_wait(job, 500, &error), 0);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    kill(agent, SIGCONT);
    take_all(job, &all);
    expect_all_fine(&all);
    finish(f, job);
    kill(agent, SIGTERM);
}
END_TEST

/* ---- maps ---- */

struct counted {
    int n, last;
};

static int next_number(void *arg, struct grapnel_value **args)
{
    struct counted *c = arg;

    if (c->n == c->last)
        return GRAPNEL_MAP_END;
    *args = grapnel_value_new_array();
    ck_assert_int_eq(grapnel_value_append(*args, grapnel_value_new_int(c->n++)), 0);
    return GRAPNEL_MAP_TASK;
}

/* One of them is this machine without SSH. */
static void make_local(void *arg, size_t host, struct grapnel_connect_options *o)
{
    (void)arg;
    if (host == 3)
        o->transport = "local";
}

/* Ends the process that serves one of the connections. */
static void kill_one(void)
{
    char path[64], text[32] = "";
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)server, (int)server);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    fclose(f);
    ck_assert_int_eq(kill((pid_t)strtol(text, NULL, 10), SIGKILL), 0);
}

START_TEST(test_a_map_goes_on_when_a_connection_is_lost)
{
    const char *hosts[] = {"host0", "host1", "host2", "here", NULL};
    struct grapnel_fleet_options o = {
        .connect = &connect_options, .aliases = 1, .adjust = make_local};
    struct grapnel_map_options map = {.source =
                                          "function(n) require 'time'.sleep(0.01) return n end",
                                      .next = next_number,
                                      .instances = 2,
                                      .ordered = 1};
    struct grapnel_fleet_job *job;
    struct grapnel_fleet *f;
    struct grapnel_map_result r;
    struct grapnel_fleet_result host;
    struct counted tasks = {.last = INT_MAX}; /* until all hosts have done some */
    int again = 0, failed = 0, there[4] = {0}, told = 0;

    NEED_SSHD;
    map.arg = &tasks;
    f = grapnel_fleet_new(g, hosts, &o, &error);
    job = grapnel_fleet_map(f, &map, NULL, NULL, NULL, &error);
    ck_assert_msg(job != NULL, "%s", error.detail);
    for (; grapnel_fleet_map_next(job, 30000, &r, &error) == 0; told++) {
        ck_assert_msg(r.error == NULL, "%s", r.error ? r.error->detail : "");
        ck_assert_uint_eq(r.index, (uint64_t)told);
        ck_assert_int_eq(grapnel_value_int(r.value, -1), told);
        there[r.host]++;
        again += r.begun > 1;
        if (!failed && there[0] && there[1] && there[2] && there[3]) {
            kill_one();
            failed = 1;
            tasks.last = tasks.n + 200;
        }
    }
    ck_assert_msg(strcmp(error.name, "CLOSED") == 0, "%s: %s", error.name, error.detail);
    ck_assert_int_eq(told, tasks.last);
    ck_assert_int_eq(failed, 1);
    ck_assert_int_ge(again, 1);
    while (grapnel_fleet_wait_any(job, 10000, &host, &error) == 0) {
        failed -= host.failed;
        ck_assert_int_gt(grapnel_value_int(host.value, 0), 0);
    }
    ck_assert_int_eq(failed, 0);
    finish(f, job);
}
END_TEST

/* ---- keys ---- */

static struct grapnel_fleet_job *ask_keys(struct grapnel_fleet *f, const char *wanted)
{
    struct grapnel_fleet_job *job = grapnel_fleet_keys(f, wanted, NULL, NULL, &error);

    ck_assert_msg(job != NULL, "%s", error.detail);
    return job;
}

static const char *text_of(const struct grapnel_value *map, const char *key)
{
    const char *text = grapnel_value_string(grapnel_value_get(map, key), NULL);

    return text ? text : "";
}

START_TEST(test_keys_need_no_login)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct grapnel_fleet_result r;
    struct results all;
    char name[40];

    NEED_SSHD;
    snprintf(name, sizeof name, "[127.0.0.1]:%u", port);
    connect_options.user = "nobody-at-all";
    f = fleet((struct grapnel_fleet_options){0});
    for (int round = 0; round < 2; round++) {
        job = ask_keys(f, round ? "ed25519,rsa" : NULL);
        for (int i = 0; i < MANY; i++) {
            const struct grapnel_value *keys, *key;

            ck_assert_int_eq(grapnel_fleet_wait_any(job, 40000, &r, &error), 0);
            ck_assert_msg(!r.failed, "%s", r.error ? r.error->detail : "");
            ck_assert_int_eq(r.begun, 0);
            ck_assert_int_ge(r.phase_us[GRAPNEL_FLEET_KEX], 0);
            ck_assert_int_lt(r.phase_us[GRAPNEL_FLEET_AUTH], 0);
            ck_assert_ptr_null(r.out);
            ck_assert_str_eq(text_of(r.value, "name"), name);
            keys = grapnel_value_get(r.value, "keys");
            ck_assert_uint_eq(grapnel_value_count(keys), 1);
            key = grapnel_value_at(keys, 0);
            ck_assert_str_eq(text_of(key, "type"), "ssh-ed25519");
            ck_assert_str_eq(text_of(key, "state"), "known");
            ck_assert_ptr_nonnull(strstr(text_of(key, "file"), "/known_hosts"));
            ck_assert_int_eq(grapnel_value_bool(grapnel_value_get(key, "own"), 0), 1);
        }
        grapnel_fleet_job_free(job);
    }
    ck_assert_ptr_null(grapnel_fleet_keys(f, "ed25519,x", NULL, NULL, &error));
    ck_assert_str_eq(error.name, "ARGUMENT");
    job = run(f, "true"); /* that one logs in */
    take_all(job, &all);
    ck_assert_str_eq(all.error[0].name, "AUTH");
    finish(f, job);
}
END_TEST

START_TEST(test_keys_of_aliases_are_asked_for_once)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    struct grapnel_fleet_options o = {.connect = &connect_options};
    int aliases = 0;

    NEED_SSHD;
    f = grapnel_fleet_new(g, names, &o, &error);
    job = ask_keys(f, NULL);
    take_all(job, &all);
    for (int i = 0; i < MANY; i++)
        aliases += all.of[i].alias;
    ck_assert_int_eq(aliases, MANY - 1);
    ck_assert_int_eq(all.attempts, 1);
    finish(f, job);
}
END_TEST

START_TEST(test_keys_of_a_server_that_takes_few_at_a_time)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    pid_t pid;

    NEED_SSHD;
    connect_options.port = crowded(5, &pid);
    f = fleet((struct grapnel_fleet_options){0});
    job = ask_keys(f, NULL);
    take_all(job, &all);
    for (int i = 0; i < MANY; i++)
        ck_assert_msg(!all.of[i].failed, "%s: %s", all.error[i].name, all.error[i].detail);
    ck_assert_int_gt(all.attempts, MANY);
    finish(f, job);
    rig_stop(pid);
}
END_TEST

START_TEST(test_keys_that_do_not_come)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    pid_t mute;

    NEED_SSHD;
    connect_options.port = rig_fake("SSH-2.0-x\r\n", 11, 1, &mute);
    f = fleet((struct grapnel_fleet_options){.total_timeout = 300});
    job = ask_keys(f, "all");
    take_all(job, &all);
    for (int i = 0; i < MANY; i++)
        ck_assert_str_eq(all.error[i].name, "TIMEOUT");
    grapnel_fleet_job_free(job);
    job = ask_keys(f, "all"); /* cut where it is */
    ck_assert_int_lt(grapnel_fleet_wait(job, 100, &error), 0);
    finish(f, job);
    connect_options.connect_timeout = 300;
    f = fleet((struct grapnel_fleet_options){.retry = 1, .back_off = 10});
    job = ask_keys(f, NULL);
    take_all(job, &all);
    for (int i = 0; i < MANY; i++) {
        ck_assert_str_eq(all.error[i].name, "KEX_TIMEOUT");
        ck_assert_int_eq(all.of[i].attempts, 2);
    }
    finish(f, job);
    rig_stop(mute);
}
END_TEST

/* 0: it is not there yet. */
static pid_t read_pid(const char *path)
{
    char text[32] = "";
    FILE *f = fopen(path, "re");

    if (!f)
        return 0;
    if (!fgets(text, sizeof text, f) || !strchr(text, '\n'))
        text[0] = '\0';
    fclose(f);
    return (pid_t)strtol(text, NULL, 10);
}

/* The program that leads there is ended with the job, wherever that is. */
START_TEST(test_keys_by_a_program)
{
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct results all;
    pid_t pid = 0;

    NEED_SSHD;
    names[4] = NULL;
    settings[5] = "ProxyCommand=echo it fails >&2; exit 1";
    f = fleet((struct grapnel_fleet_options){0});
    job = ask_keys(f, NULL);
    take_all(job, &all);
    for (int i = 0; i < 4; i++) {
        ck_assert_str_eq(all.error[i].name, "PROXY");
        ck_assert_ptr_nonnull(strstr(all.error[i].detail, "it fails"));
    }
    finish(f, job);
    names[1] = NULL;
    snprintf(settings_text[2], sizeof settings_text[2],
             "ProxyCommand=sh -c 'echo $$ >%s; exec sleep 100'", sshtools_path("pid"));
    settings[5] = settings_text[2];
    f = fleet((struct grapnel_fleet_options){0});
    job = ask_keys(f, NULL);
    for (double until = grapnel_now() + 10.; pid <= 1 && grapnel_now() < until;) {
        ck_assert_int_lt(grapnel_fleet_wait(job, 10, &error), 0);
        pid = read_pid(sshtools_path("pid"));
    }
    ck_assert_int_gt(pid, 1);
    finish(f, job);
    for (double until = grapnel_now() + 5.; kill(pid, 0) == 0 && grapnel_now() < until;)
        poll(NULL, 0, 1); /* a thread collects it, and nothing tells */
    ck_assert_int_lt(kill(pid, 0), 0);
}
END_TEST

static Suite *fleet_sshd_suite(void)
{
    Suite *s = suite_create("fleet_sshd");
    TCase *c = tcase_create("sshd");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 90);
    tcase_add_test(c, test_each_phase_is_timed);
    tcase_add_test(c, test_a_server_that_takes_few_at_a_time_gets_all_in_the_end);
    tcase_add_test(c, test_every_failure_is_the_hosts_own);
    tcase_add_test(c, test_hosts_that_are_stuck_do_not_hold_up_the_others);
    tcase_add_test(c, test_what_the_openssh_client_did_not_reach_never_began);
    tcase_add_test(c, test_what_does_not_answer_is_cancelled_at_once);
    tcase_add_test(c, test_a_busy_ssh_agent_is_waited_for);
    tcase_add_test(c, test_a_map_goes_on_when_a_connection_is_lost);
    tcase_add_test(c, test_keys_need_no_login);
    tcase_add_test(c, test_keys_of_aliases_are_asked_for_once);
    tcase_add_test(c, test_keys_of_a_server_that_takes_few_at_a_time);
    tcase_add_test(c, test_keys_that_do_not_come);
    tcase_add_test(c, test_keys_by_a_program);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(fleet_sshd_suite)
