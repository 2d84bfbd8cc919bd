/* The connection cache over the local transport: one for all who ask, remade when dead, closed when
 * told or unused, and nothing left. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/cache/cache_impl.h"
#include "tests/agent/harness.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#define THREADS 16

#ifdef __SANITIZE_ADDRESS__
#define MANY 200 /* it sees more in each */
#else
#define MANY 1000
#endif

static const struct grapnel_connect_options local = {.transport = "local"};
/* Notes each attempt; fails while there is a file "closed"; waits while "gate" is not open. */
static struct grapnel_connect_options counted = {.transport = NULL};
static char counted_line[1000];
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
    snprintf(counted_line, sizeof counted_line,
             "cd %s; echo >>attempts; [ ! -p gate ] || read -r x <gate; [ ! -e closed ] || exit 3; "
             "exec sh",
             sshtools_folder);
    counted.transport = counted_line;
    descriptors_before = entries("/proc/self/fd");
    threads_before = entries("/proc/self/task");
    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    grapnel_close_ssh_connections(g, NULL);
    grapnel_free(g);
    ck_assert_uint_eq(entries("/proc/self/fd"), descriptors_before);
    ck_assert_uint_eq(entries("/proc/self/task"), threads_before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    sshtools_leave();
}

static struct grapnel_connection *get_by(const struct grapnel_connect_options *o, const char *host,
                                         int instance)
{
    struct grapnel_connection *c = grapnel_get_connection(g, host, o, instance, &error);

    ck_assert_msg(c != NULL, "%s: %s", error.name, error.detail);
    return c;
}

static struct grapnel_connection *get(const char *host, int instance)
{
    return get_by(&local, host, instance);
}

/* Gets one, and gives it back. */
static void visit(const char *host, int instance)
{
    grapnel_connection_release(get(host, instance));
}

static void check_failure(const char *name, const char *detail)
{
    ck_assert_msg(strcmp(error.name, name) == 0, "%s: %s", error.name, error.detail);
    ck_assert_msg(strstr(error.detail, detail) != NULL, "%s", error.detail);
}

static size_t attempts(void)
{
    size_t n;

    free(sshtools_read(sshtools_path("attempts"), &n));
    return n;
}

static pid_t agent_pid(struct grapnel_connection *c)
{
    char *facts = grapnel_facts_json(grapnel_connection_server(c), 0, 0, NULL), *at;
    long pid;

    ck_assert_ptr_nonnull(facts);
    at = strstr(facts, "\"pid\":");
    ck_assert_ptr_nonnull(at);
    pid = strtol(at + 6, NULL, 10);
    grapnel_string_free(facts);
    ck_assert_int_gt(pid, 1);
    return (pid_t)pid;
}

/* Kills the agent, and waits until that is known here, too. */
static void kill_agent(struct grapnel_connection *c)
{
    pid_t pid = agent_pid(c);

    kill(pid, SIGKILL);
    harness_wait_process(pid);
    while (grapnel_server_state(grapnel_connection_server(c)) == GRAPNEL_DEPLOYED)
        grapnel_drive(g, 1);
}

static void set_limits(struct grapnel_cache_limits limits)
{
    ck_assert_int_eq(grapnel_cache_limits(g, &limits, &error), 0);
}

#define LIMITS(...) set_limits((struct grapnel_cache_limits){__VA_ARGS__})

static int64_t number(struct grapnel_connection *c, const char *source)
{
    struct grapnel_value *v;
    int64_t n;

    ck_assert_msg(
        grapnel_call(grapnel_connection_instance(c), "execute", &v, &error, "s", source) == 0,
        "%s: %s", error.name, error.detail);
    n = grapnel_value_int(v, -1);
    grapnel_value_free(v);
    return n;
}

/* The list as one text: "a b c". */
static const char *list(char **(*lists)(struct grapnel *, struct grapnel_error *))
{
    static char text[4000];
    char **names = lists(g, &error);

    ck_assert_ptr_nonnull(names);
    text[0] = '\0';
    for (size_t i = 0; names[i]; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, names[i]);
    }
    grapnel_strings_free(names);
    return text;
}

#define CONNECTIONS list(grapnel_list_connections)
#define SERVERS     list(grapnel_list_deployed_servers)
#define LINES       list(grapnel_list_ssh_connections)

/* ---- getting ---- */

START_TEST(who_asks_again_gets_the_same)
{
    struct grapnel_connection *a = get("here", 1), *b = get("here", 1), *c = get("here", 2);

    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    ck_assert_str_eq(grapnel_connection_name(a), "root@here:1");
    ck_assert_ptr_eq(grapnel_connection_server(a), grapnel_connection_server(c));
    ck_assert_int_eq(number(a, "x = 5 return x"), 5);
    ck_assert_int_eq(number(b, "return x"), 5);
    ck_assert_int_eq(number(c, "return x or 0"), 0);
    ck_assert_int_eq(grapnel_connection_generation(a), 1);
    ck_assert_str_eq(CONNECTIONS, "root@here:2 root@here:1");
    ck_assert_str_eq(SERVERS, "root@here");
    grapnel_connection_release(a);
    grapnel_connection_release(b);
    grapnel_connection_release(c);
    ck_assert_str_eq(CONNECTIONS, "root@here:2 root@here:1");
}
END_TEST

START_TEST(users_have_servers_of_their_own)
{
    struct grapnel_connect_options george = {.transport = "local", .user = "george"};
    struct grapnel_connection *a = get("here", 1), *b = get("george@here", 1),
                              *c = get_by(&george, "here", 1), *d = get("there", 1);

    ck_assert_ptr_eq(b, c);
    ck_assert_ptr_ne(grapnel_connection_server(a), grapnel_connection_server(b));
    ck_assert_ptr_ne(grapnel_connection_server(a), grapnel_connection_server(d));
    ck_assert_str_eq(CONNECTIONS, "root@there:1 george@here:1 root@here:1");
    ck_assert_str_eq(SERVERS, "root@there george@here root@here");
    ck_assert_str_eq(LINES, "root@there george@here root@here");
    grapnel_connection_release(a);
    grapnel_connection_release(b);
    grapnel_connection_release(c);
    grapnel_connection_release(d);
}
END_TEST

START_TEST(wrong_numbers_make_nothing)
{
    static const int wrong[] = {0, -1, 65536, INT_MAX, INT_MIN};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_ptr_null(grapnel_get_connection(g, "here", &local, wrong[i], &error));
        check_failure("ARGUMENT", "1 to 65535");
        ck_assert_int_lt(grapnel_check_connection(g, "here", &local, wrong[i], 1000, NULL, &error),
                         0);
        check_failure("ARGUMENT", "1 to 65535");
    }
    ck_assert_int_lt(grapnel_close_connection(g, "here", &local, -1, &error), 0);
    check_failure("ARGUMENT", "1 to 65535");
    ck_assert_int_lt(grapnel_close_connection(g, "here", &local, 65536, &error), 0);
    ck_assert_int_lt(
        grapnel_create_connections(g, (const char *[]){"here", NULL}, &local, 0, &error), 0);
    check_failure("ARGUMENT", "1 to 65535");
    ck_assert_str_eq(LINES, "");
    grapnel_connection_release(get("here", 65535));
    ck_assert_str_eq(CONNECTIONS, "root@here:65535");
}
END_TEST

START_TEST(bad_targets_make_nothing)
{
    struct grapnel_connect_options o = {.config_file = "none"};

    ck_assert_ptr_null(grapnel_get_connection(g, "", &o, 1, &error));
    check_failure("ARGUMENT", "");
    ck_assert_ptr_null(grapnel_get_connection(g, "host:70000", &o, 1, &error));
    check_failure("ARGUMENT", "70000");
    o.config_file = "/no/such/file";
    ck_assert_ptr_null(grapnel_get_connection(g, "host", &o, 1, &error));
    check_failure("CONFIG", "");
    ck_assert_int_lt(grapnel_close_connection(g, "host", &o, 1, &error), 0);
    check_failure("CONFIG", "");
    ck_assert_str_eq(LINES, "");
}
END_TEST

/* ---- looking makes nothing ---- */

START_TEST(questions_make_nothing)
{
    ck_assert_str_eq(CONNECTIONS, "");
    ck_assert_str_eq(SERVERS, "");
    ck_assert_int_eq(grapnel_check_connection(g, "here", &local, 1, 1000, NULL, &error), -15);
    check_failure("NOT_HELD", "here:1");
    ck_assert_int_eq(grapnel_close_connection(g, "here", &local, 1, &error), 0);
    ck_assert_int_eq(grapnel_close_deployed_server(g, "here", &local, &error), 0);
    ck_assert_int_eq(grapnel_close_ssh_connection(g, "here", &local, &error), 0);
    visit("here", 1);
    ck_assert_int_eq(grapnel_check_connection(g, "here", &local, 2, 1000, NULL, &error), -15);
    /* Part of a name is another name. */
    ck_assert_int_eq(grapnel_close_connection(g, "her", &local, 0, &error), 0);
    ck_assert_int_eq(grapnel_close_connection(g, "heree", &local, 0, &error), 0);
    ck_assert_int_eq(grapnel_close_connection(g, "r@here", &local, 0, &error), 0);
    ck_assert_str_eq(CONNECTIONS, "root@here:1");
}
END_TEST

START_TEST(who_is_asked_answers)
{
    struct grapnel_connection *c = get("here", 1);
    int64_t us = -1;
    char **silent;

    ck_assert_int_eq(grapnel_check_connection(g, "here", &local, 1, 10000, &us, &error), 0);
    ck_assert_int_gt(us, 0);
    visit("here", 2);
    silent = grapnel_check_connections(g, 10000, &error);
    ck_assert_ptr_null(silent[0]);
    grapnel_strings_free(silent);
    /* One that is stopped does not. */
    kill((pid_t)number(c, "return require('proc').pid()"), SIGSTOP);
    ck_assert_int_eq(grapnel_check_connection(g, "here", &local, 1, 50, NULL, &error), -6);
    silent = grapnel_check_connections(g, 50, &error);
    ck_assert_str_eq(silent[0], "root@here:1");
    ck_assert_ptr_null(silent[1]);
    grapnel_strings_free(silent);
    grapnel_connection_release(c);
}
END_TEST

/* ---- options of instances ---- */

/* What a Lua source gives there, as text; to be freed. */
static char *said(struct grapnel_connection *c, const char *source)
{
    struct grapnel_value *v = NULL;
    char *text;

    ck_assert_msg(
        grapnel_call(grapnel_connection_instance(c), "execute", &v, &error, "s", source) == 0,
        "%s: %s", error.name, error.detail);
    text = strdup(grapnel_value_string(v, NULL));
    ck_assert_ptr_nonnull(text);
    grapnel_value_free(v);
    return text;
}

static void says(struct grapnel_connection *c, const char *source, const char *wanted)
{
    char *text = said(c, source);

    ck_assert_str_eq(text, wanted);
    free(text);
}

#define WHERE "local f <close> = io.popen 'pwd' return f:read()"
#define A_IS  "return tostring(os.getenv 'A')"

static void on_ended(void *arg, struct grapnel_instance *i, const struct grapnel_error *e)
{
    (void)arg;
    (void)i;
    (void)e;
    ck_abort_msg("callbacks are not for what belongs to all");
}

START_TEST(instances_are_made_as_was_asked)
{
    char cwd[] = "/usr", a_is_b[] = "A=b";
    const char *const env[] = {a_is_b, NULL}, *const unset[] = {"HOME", NULL};
    struct grapnel_instance_options i = {
        .cwd = cwd, .env = env, .unset = unset, .number = 9, .ended = on_ended};
    struct grapnel_instance_options other = {.cwd = "/"};
    struct grapnel_connect_options o = local, p = local;
    struct grapnel_connection *c, *d;

    o.instance = &i;
    p.instance = &other;
    c = get_by(&o, "here", 1);
    ck_assert_str_eq(grapnel_connection_name(c), "root@here:1");
    strcpy(cwd, "/no"); /* it has its own */
    strcpy(a_is_b, "A=c");
    says(c, WHERE, "/usr");
    says(c, A_IS, "b");
    says(c, "return tostring(os.getenv 'HOME')", "nil");
    /* One that is there is as it is, and is remade as it was. */
    d = get_by(&p, "here", 1);
    ck_assert_ptr_eq(d, c);
    says(d, WHERE, "/usr");
    ck_assert_int_eq(grapnel_connection_reconnect(c, &error), 0);
    says(c, WHERE, "/usr");
    says(c, A_IS, "b");
    grapnel_connection_release(d);
    d = get_by(&p, "here", 2);
    says(d, WHERE, "/");
    says(d, A_IS, "nil");
    grapnel_connection_release(d);
    grapnel_connection_release(c);
    ck_assert_int_eq(grapnel_close_connection(g, "here", &local, 1, &error), 1);
    c = get_by(&p, "here", 1);
    says(c, WHERE, "/");
    grapnel_connection_release(c);
}
END_TEST

START_TEST(instances_have_the_limits_that_were_asked_for)
{
    static const char *const hosts[] = {"a", "b", NULL};
    struct grapnel_instance_options i = {
        .memory = 32 << 20, .cpu_seconds = 1, .call_timeout = 20000};
    struct grapnel_connect_options o = local;

    o.instance = &i;
    ck_assert_int_eq(grapnel_create_connections(g, hosts, &o, 1, &error), 0);
    for (int at = 0; at < 2; at++) {
        struct grapnel_connection *c = get(hosts[at], 1);
        const char *source = at ? "while true do end" : "return #string.rep('x', 64 << 20)";
        int code =
            grapnel_call(grapnel_connection_instance(c), "execute", NULL, &error, "s", source);
        ck_assert_int_lt(code, 0);
        if (at)
            check_failure("CPU_LIMIT", "");
        grapnel_connection_release(c);
    }
}
END_TEST

START_TEST(an_instance_that_cannot_be_made_is_not_kept)
{
    struct grapnel_instance_options i = {.cwd = "/nonexistent"};
    struct grapnel_connect_options o = local;

    o.instance = &i;
    ck_assert_ptr_null(grapnel_get_connection(g, "here", &o, 1, &error));
    check_failure("CWD", "/nonexistent");
    ck_assert_str_eq(CONNECTIONS, "");
    visit("here", 1);
    /* Nor is it when it travels with the agent. */
    ck_assert_ptr_null(grapnel_get_connection(g, "there", &o, 1, &error));
    ck_assert_str_eq(CONNECTIONS, "root@here:1");
}
END_TEST

/* ---- at once ---- */

struct job {
    pthread_t thread;
    const struct grapnel_connect_options *o;
    struct grapnel_connection *c;
    struct grapnel_error error;
};

static void *get_it(void *arg)
{
    struct job *job = arg;

    job->c = grapnel_get_connection(g, "here", job->o, 1, &job->error);
    return NULL;
}

static void start_jobs(struct job *jobs, const struct grapnel_connect_options *o)
{
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){.o = o};
        ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, get_it, &jobs[i]), 0);
    }
}

static void join_jobs(struct job *jobs)
{
    for (int i = 0; i < THREADS; i++)
        pthread_join(jobs[i].thread, NULL);
}

static size_t waiting(void)
{
    size_t n = 0;

    context_lock(g);
    for (struct cached *s = g->cache ? g->cache->servers : NULL; s; s = s->next) {
        for (struct cache_waiter *w = s->waiters; w; w = w->next)
            n++;
    }
    context_unlock_quiet(g);
    return n;
}

/* All of them wait for the same attempt, which is held up by the gate; then it is opened. */
static void open_gate_for_all(void)
{
    int gate;

    while (waiting() < THREADS)
        sched_yield();
    gate = open(sshtools_path("gate"), O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(gate, 0);
    ck_assert_int_eq(write(gate, "\n", 1), 1);
    close(gate);
    ck_assert_int_eq(unlink(sshtools_path("gate")), 0);
}

START_TEST(threads_get_the_same_one)
{
    struct job jobs[THREADS];

    ck_assert_int_eq(mkfifo(sshtools_path("gate"), 0600), 0);
    start_jobs(jobs, &counted);
    open_gate_for_all();
    join_jobs(jobs);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_ptr_nonnull(jobs[i].c);
        ck_assert_ptr_eq(jobs[i].c, jobs[0].c);
    }
    ck_assert_uint_eq(attempts(), 1);
    ck_assert_uint_eq(jobs[0].c->users, THREADS);
    ck_assert_int_eq(grapnel_connection_generation(jobs[0].c), 1);
    ck_assert_int_eq(number(jobs[0].c, "return 7"), 7);
    for (int i = 0; i < THREADS; i++)
        grapnel_connection_release(jobs[i].c);
}
END_TEST

START_TEST(all_who_waited_learn_of_a_failure)
{
    struct job jobs[THREADS];

    ck_assert_int_eq(mkfifo(sshtools_path("gate"), 0600), 0);
    sshtools_write(sshtools_path("closed"), "");
    start_jobs(jobs, &counted);
    open_gate_for_all();
    join_jobs(jobs);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_ptr_null(jobs[i].c);
        ck_assert_str_eq(jobs[i].error.name, "TRANSPORT");
        ck_assert_str_eq(jobs[i].error.detail, jobs[0].error.detail);
    }
    ck_assert_uint_eq(attempts(), 1);
    ck_assert_str_eq(LINES, "");
    ck_assert_ptr_null(g->cache->servers);
    ck_assert_ptr_null(g->cache->closing);
    /* Nothing of it is kept. */
    ck_assert_ptr_null(grapnel_get_connection(g, "here", &counted, 1, &error));
    ck_assert_uint_eq(attempts(), 2);
    unlink(sshtools_path("closed"));
    grapnel_connection_release(get_by(&counted, "here", 1));
    ck_assert_uint_eq(attempts(), 3);
}
END_TEST

START_TEST(many_are_made_at_once)
{
    const char *const hosts[] = {"a", "b", "c", NULL}, *const mixed[] = {"d", "e", NULL};
    struct grapnel_connect_options bad = {.transport = "false"};

    ck_assert_int_eq(grapnel_create_connections(g, hosts, &local, 2, &error), 0);
    ck_assert_str_eq(CONNECTIONS, "root@c:2 root@c:1 root@b:2 root@b:1 root@a:2 root@a:1");
    ck_assert_int_lt(grapnel_create_connections(g, mixed, &bad, 2, &error), 0);
    ck_assert_str_eq(error.host, "d");
    ck_assert_str_eq(error.name, "TRANSPORT");
    ck_assert_str_eq(SERVERS, "root@c root@b root@a");
    ck_assert_int_eq(grapnel_close_connections(g, &error), 6);
    ck_assert_str_eq(CONNECTIONS, "");
    ck_assert_str_eq(SERVERS, "root@c root@b root@a");
    ck_assert_int_eq(grapnel_close_deployed_servers(g, &error), 3);
    ck_assert_str_eq(LINES, ""); /* this transport keeps nothing */
}
END_TEST

/* ---- death ---- */

START_TEST(a_dead_server_is_remade_once)
{
    struct grapnel_connection *c = get_by(&counted, "here", 1);
    struct grapnel_server *s = grapnel_connection_server(c);
    struct job jobs[THREADS];

    number(c, "x = 5 return x");
    kill_agent(c);
    ck_assert_int_lt(grapnel_call(grapnel_connection_instance(c), "sys.uname", NULL, &error, ""),
                     0);
    ck_assert_str_eq(error.name, "LOST");
    start_jobs(jobs, &counted);
    join_jobs(jobs);
    for (int i = 0; i < THREADS; i++)
        ck_assert_ptr_eq(jobs[i].c, c);
    ck_assert_uint_eq(attempts(), 2);
    ck_assert_int_eq(grapnel_connection_generation(c), 2);
    ck_assert_ptr_eq(grapnel_connection_server(c), s);
    ck_assert_int_eq(number(c, "return x or 0"), 0);
    for (int i = 0; i < THREADS; i++)
        grapnel_connection_release(jobs[i].c);
    grapnel_connection_release(c);
}
END_TEST

/* Nobody has noticed yet that it is dead: so it is asked. */
START_TEST(a_hit_is_asked_for_a_sign_of_life)
{
    struct grapnel_connection *c;
    pid_t pid;

    LIMITS(.fresh = -1, .patience = 10000);
    c = get("here", 1);
    ck_assert_int_eq(grapnel_connection_generation(get("here", 1)), 1); /* it answers */
    grapnel_connection_release(c);
    pid = agent_pid(c);
    kill(pid, SIGKILL);
    ck_assert_ptr_eq(get("here", 1), c);
    ck_assert_int_eq(grapnel_connection_generation(c), 2);
    ck_assert_int_eq(number(c, "return 7"), 7);
    /* Nor does it say that it is dead: it is silent. */
    LIMITS(.fresh = -1, .patience = 100);
    pid = agent_pid(c);
    kill(pid, SIGSTOP);
    ck_assert_ptr_eq(get("here", 1), c);
    ck_assert_int_eq(grapnel_connection_generation(c), 3);
    ck_assert_int_eq(number(c, "return 7"), 7);
    ck_assert_int_ne(agent_pid(c), pid);
    kill(pid, SIGCONT);
    harness_wait_process(pid);
    for (int i = 0; i < 3; i++)
        grapnel_connection_release(c);
}
END_TEST

START_TEST(one_that_cannot_be_remade_fails_and_can_be_later)
{
    struct grapnel_connection *c = get_by(&counted, "here", 1);

    kill_agent(c);
    sshtools_write(sshtools_path("closed"), "");
    ck_assert_ptr_null(grapnel_get_connection(g, "here", &counted, 1, &error));
    ck_assert_str_eq(error.name, "TRANSPORT");
    ck_assert_str_eq(error.host, "here");
    ck_assert_uint_eq(attempts(), 2);
    ck_assert_str_eq(CONNECTIONS, "");
    ck_assert_str_eq(LINES, "");
    unlink(sshtools_path("closed"));
    ck_assert_ptr_eq(get_by(&counted, "here", 1), c);
    ck_assert_uint_eq(attempts(), 3);
    ck_assert_int_eq(number(c, "return 7"), 7);
    grapnel_connection_release(c);
    grapnel_connection_release(c);
}
END_TEST

START_TEST(a_dead_instance_is_remade_alone)
{
    struct grapnel_connection *a = get_by(&counted, "here", 1), *b = get_by(&counted, "here", 2);

    number(b, "x = 5 return x");
    ck_assert_int_lt(
        grapnel_call(grapnel_connection_instance(a), "execute", NULL, &error, "s", "os.exit(3)"),
        0);
    check_failure("INSTANCE", "status 3");
    ck_assert_str_eq(CONNECTIONS, "root@here:2");
    ck_assert_ptr_eq(get_by(&counted, "here", 1), a);
    ck_assert_int_eq(grapnel_connection_generation(a), 2);
    ck_assert_int_eq(grapnel_connection_generation(b), 1);
    ck_assert_int_eq(number(a, "return x or 0"), 0);
    ck_assert_int_eq(number(b, "return x"), 5);
    ck_assert_uint_eq(attempts(), 1);
    grapnel_connection_release(a);
    grapnel_connection_release(a);
    grapnel_connection_release(b);
}
END_TEST

START_TEST(reconnecting_on_request)
{
    struct grapnel_connection *c = get_by(&counted, "here", 1);

    number(c, "x = 5 return x");
    ck_assert_int_eq(grapnel_connection_reconnect(c, &error), 0);
    ck_assert_int_eq(grapnel_connection_generation(c), 2);
    ck_assert_int_eq(number(c, "return x or 0"), 0);
    ck_assert_uint_eq(attempts(), 1);
    kill_agent(c);
    ck_assert_int_eq(grapnel_connection_reconnect(c, &error), 0);
    ck_assert_int_eq(grapnel_connection_generation(c), 3);
    ck_assert_uint_eq(attempts(), 2);
    ck_assert_int_eq(number(c, "return 7"), 7);
    ck_assert_int_eq(grapnel_close_connection(g, "here", &counted, 1, &error), 1);
    ck_assert_int_lt(grapnel_connection_reconnect(c, &error), 0);
    ck_assert_str_eq(error.name, "CLOSED");
    grapnel_connection_release(c);
}
END_TEST

/* ---- policy ---- */

static int renewals, failures, last_generation;

static void on_renewed(void *arg, struct grapnel_connection *c, int generation,
                       const struct grapnel_error *e)
{
    ck_assert_ptr_eq(arg, &renewals);
    ck_assert_str_eq(grapnel_connection_name(c), "root@here:1");
    renewals += e == NULL;
    failures += e != NULL;
    if (e)
        ck_assert_str_eq(e->name, "TRANSPORT");
    last_generation = generation;
    grapnel_stop(g);
}

START_TEST(a_lost_server_in_use_comes_back_by_itself)
{
    struct grapnel_connection *c;

    renewals = failures = 0;
    LIMITS(.reconnect = 2, .back_off = 1, .back_off_most = 1, .renewed = on_renewed,
           .arg = &renewals);
    c = get_by(&counted, "here", 1);
    grapnel_connection_release(get_by(&counted, "here", 2)); /* not in use: does not */
    kill_agent(c);
    while (renewals == 0)
        ck_assert_int_eq(grapnel_drive(g, 20000), 0);
    ck_assert_int_eq(last_generation, 2);
    ck_assert_int_eq(grapnel_connection_generation(c), 2);
    ck_assert_int_eq(number(c, "return 7"), 7);
    ck_assert_str_eq(CONNECTIONS, "root@here:1");
    ck_assert_uint_eq(attempts(), 2);
    /* Attempts that fail are counted, and there are no more than that. */
    sshtools_write(sshtools_path("closed"), "");
    kill_agent(c);
    while (failures < 2)
        ck_assert_int_eq(grapnel_drive(g, 20000), 0);
    ck_assert_int_eq(grapnel_drive(g, 50), -6);
    ck_assert_uint_eq(attempts(), 4);
    ck_assert_int_eq(renewals, 1);
    ck_assert_int_eq(last_generation, 2);
    /* Who asks for it begins anew. */
    unlink(sshtools_path("closed"));
    ck_assert_ptr_eq(get_by(&counted, "here", 1), c);
    ck_assert_int_eq(grapnel_connection_generation(c), 3);
    ck_assert_int_eq(renewals, 2);
    grapnel_connection_release(c);
    grapnel_connection_release(c);
    /* In use by nobody, it stays lost. */
    c = get_by(&counted, "here", 1);
    grapnel_connection_release(c);
    kill(agent_pid(c), SIGKILL);
    while (*LINES)
        grapnel_drive(g, 1);
    ck_assert_uint_eq(attempts(), 5);
}
END_TEST

START_TEST(one_that_does_not_last_has_not_come_back)
{
    struct grapnel_connection *c;

    renewals = failures = 0;
    LIMITS(.reconnect = 3, .back_off = 1, .renewed = on_renewed, .arg = &renewals);
    c = get_by(&counted, "here", 1);
    for (int n = 1; n <= 3; n++) {
        kill_agent(c);
        while (renewals < n)
            ck_assert_int_eq(grapnel_drive(g, 20000), 0);
    }
    kill_agent(c);
    ck_assert_int_eq(grapnel_drive(g, 50), -6);
    ck_assert_uint_eq(attempts(), 4);
    ck_assert_ptr_eq(get_by(&counted, "here", 1), c);
    ck_assert_int_eq(number(c, "return 7"), 7);
    /* One that lasts for as long as would be waited at most has. */
    LIMITS(.reconnect = 1, .back_off = 1, .back_off_most = 10, .renewed = on_renewed,
           .arg = &renewals);
    for (int n = renewals + 1, last = n + 2; n <= last; n++) {
        kill_agent(c);
        while (renewals < n)
            ck_assert_int_eq(grapnel_drive(g, 20000), 0);
        ck_assert_int_eq(grapnel_drive(g, 20), -6);
    }
    grapnel_connection_release(c);
    grapnel_connection_release(c);
}
END_TEST

START_TEST(back_off_doubles_up_to_its_limit)
{
    struct grapnel_cache_limits l = {.back_off = 100, .back_off_most = 1000};

    ck_assert_int_eq(cache_limit_back_off(&l, 0, 0), 100);
    ck_assert_int_eq(cache_limit_back_off(&l, 1, 0), 200);
    ck_assert_int_eq(cache_limit_back_off(&l, 3, 0), 800);
    ck_assert_int_eq(cache_limit_back_off(&l, 4, 0), 1000);
    ck_assert_int_eq(cache_limit_back_off(&l, UINT_MAX, 0), 1000);
    /* Less up to a quarter. */
    for (uint32_t random = 0; random < 100; random++) {
        ck_assert_int_le(cache_limit_back_off(&l, 0, random * 7919), 100);
        ck_assert_int_ge(cache_limit_back_off(&l, 0, random * 7919), 75);
    }
    l.back_off_most = INT64_MAX;
    ck_assert_int_gt(cache_limit_back_off(&l, 1000, 0), INT64_MAX / 4);
}
END_TEST

/* ---- limits ---- */

START_TEST(the_longest_unused_makes_room)
{
    struct grapnel_connection *a, *c;

    LIMITS(.servers = 3);
    a = get("a", 1);
    visit("b", 1);
    c = get("c", 1);
    visit("d", 1); /* b goes */
    ck_assert_str_eq(SERVERS, "root@d root@c root@a");
    visit("e", 1);
    ck_assert_str_eq(SERVERS, "root@e root@c root@a");
    grapnel_connection_release(a);
    visit("e", 1);
    visit("b", 1); /* a was given back before e was */
    ck_assert_str_eq(SERVERS, "root@b root@e root@c");
    /* All in use. */
    ck_assert_ptr_eq(get("c", 1), c);
    a = get("b", 1);
    ck_assert_ptr_nonnull(get("e", 1));
    ck_assert_ptr_null(grapnel_get_connection(g, "f", &local, 1, &error));
    check_failure("LIMIT", "3 servers, and all of them are in use");
    ck_assert_int_eq(number(c, "return 7"), 7);
    ck_assert_int_eq(number(a, "return 7"), 7);
    grapnel_connection_release(c);
    grapnel_connection_release(c);
    grapnel_connection_release(a);
    grapnel_connection_release(get("e", 1));
    grapnel_connection_release(get("e", 1));
}
END_TEST

START_TEST(instances_make_room_likewise)
{
    struct grapnel_connection *a, *b;

    LIMITS(.connections = 2);
    a = get("here", 1);
    visit("here", 2);
    visit("here", 3);
    ck_assert_str_eq(CONNECTIONS, "root@here:3 root@here:1");
    b = get("there", 3);
    ck_assert_str_eq(CONNECTIONS, "root@there:3 root@here:1");
    ck_assert_ptr_null(grapnel_get_connection(g, "here", &local, 4, &error));
    check_failure("LIMIT", "2 connections, and all of them are in use");
    ck_assert_int_eq(number(a, "return 7"), 7);
    grapnel_connection_release(a);
    grapnel_connection_release(b);
}
END_TEST

START_TEST(the_unused_are_closed_in_time)
{
    struct grapnel_connection *a, *b;
    pid_t unused, used;

    LIMITS(.idle = 60);
    a = get("a", 1);
    used = agent_pid(a);
    visit("a", 2);
    b = get("b", 1);
    unused = agent_pid(b);
    grapnel_connection_release(b);
    harness_wait_process(unused);
    while (strcmp(CONNECTIONS, "root@a:1") != 0)
        grapnel_drive(g, 1);
    ck_assert_str_eq(SERVERS, "root@a");
    ck_assert(harness_process_runs(used));
    ck_assert_int_eq(number(a, "return 7"), 7);
    grapnel_connection_release(a);
    harness_wait_process(used);
    while (*LINES)
        grapnel_drive(g, 1);
}
END_TEST

START_TEST(the_unused_are_closed_in_time_on_a_server_in_use)
{
    struct grapnel_connection *used = get("a", 1);

    LIMITS(.idle = 60);
    visit("a", 2);
    while (strcmp(CONNECTIONS, "root@a:1") != 0)
        grapnel_drive(g, 1);
    grapnel_connection_release(used);
}
END_TEST

/* As for `connect` of Lua. */
START_TEST(one_that_passes_through_leaves_with_its_last_user)
{
    struct error e = {0};
    struct cached *s;
    struct cache_waiter w;
    struct grapnel_connection *c = get("here", 1);
    pid_t pid = agent_pid(c);

    context_lock(g);
    s = cache_want(g->cache, "root@here", &local, &e);
    ck_assert_int_eq(cache_await(s, &w, NULL, NULL), 0);
    cache_set_passing(s, 1);
    context_unlock(g);
    grapnel_connection_release(c);
    ck_assert_int_eq(grapnel_close_connections(g, &error), 1);
    ck_assert_int_eq(grapnel_drive(g, 50), -6);
    ck_assert(harness_process_runs(pid)); /* it has a user … */
    context_lock(g);
    cache_done(s);
    context_unlock(g);
    harness_wait_process(pid); /* … but needs one */
    ck_assert_str_eq(LINES, "");
}
END_TEST

START_TEST(a_server_has_an_idle_limit_of_its_own)
{
    struct error e = {0};
    struct cached *s;
    struct cache_waiter w;
    struct grapnel_connection *c = get("here", 1);
    pid_t pid = agent_pid(c);

    context_lock(g);
    s = cache_want(g->cache, "root@here", &local, &e);
    ck_assert_int_eq(cache_await(s, &w, NULL, NULL), 0);
    cache_keep(s, 30);
    context_unlock(g);
    visit("here", 2);
    grapnel_connection_release(c); /* one user goes … */
    ck_assert_int_eq(grapnel_drive(g, 100), -6);
    ck_assert(harness_process_runs(pid));                     /* … but not all … */
    ck_assert_str_eq(CONNECTIONS, "root@here:2 root@here:1"); /* … so that none goes */
    context_lock(g);
    cache_done(s);
    context_unlock(g);
    harness_wait_process(pid);
}
END_TEST

/* ---- closing ---- */

static struct grapnel_future *sleep_there(struct grapnel_connection *c)
{
    struct grapnel_future *f =
        grapnel_call_start(grapnel_connection_instance(c), "time.sleep", &error, "i", 1000);

    ck_assert_ptr_nonnull(f);
    return f;
}

static void fails_closed(struct grapnel_future *f, const char *why)
{
    ck_assert(grapnel_future_ready(f));
    ck_assert_int_lt(grapnel_future_error(f, &error), 0);
    check_failure("CLOSED", why);
    grapnel_future_free(f);
}

static void *call_and_wait(void *arg)
{
    struct grapnel_error e;

    ck_assert_int_lt(
        grapnel_call(grapnel_connection_instance(arg), "time.sleep", NULL, &e, "i", 1000), 0);
    ck_assert_str_eq(e.name, "CLOSED");
    return NULL;
}

START_TEST(calls_fail_at_once_when_it_is_closed)
{
    struct grapnel_connection *a = get("here", 1), *b = get("here", 2), *c = get("there", 1);
    struct grapnel_future *of_a = sleep_there(a), *of_b = sleep_there(b), *of_c = sleep_there(c);
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, call_and_wait, a), 0);
    ck_assert_int_eq(grapnel_close_connection(g, "here", &local, 1, &error), 1);
    fails_closed(of_a, "the connection was closed");
    pthread_join(thread, NULL);
    ck_assert(!grapnel_future_ready(of_b));
    ck_assert_int_eq(grapnel_close_deployed_server(g, "here", &local, &error), 1);
    fails_closed(of_b, "the server was undeployed");
    ck_assert(!grapnel_future_ready(of_c));
    ck_assert_int_eq(grapnel_close_ssh_connections(g, &error), 1);
    fails_closed(of_c, "the connection was closed");
    ck_assert_str_eq(LINES, "");
    /* Handles outlive that. */
    ck_assert_str_eq(grapnel_connection_name(a), "root@here:1");
    ck_assert_ptr_null(grapnel_connection_server(a));
    ck_assert_int_lt(grapnel_call(grapnel_connection_instance(b), "sys.uname", NULL, &error, ""),
                     0);
    ck_assert_str_eq(error.name, "CLOSED");
    grapnel_connection_release(a);
    grapnel_connection_release(b);
    grapnel_connection_release(c);
}
END_TEST

START_TEST(closing_twice_closes_once)
{
    struct grapnel_connection *a = get("here", 1), *b;

    ck_assert_int_eq(grapnel_close_connection(g, "here", &local, 1, &error), 1);
    ck_assert_int_eq(grapnel_close_connection(g, "here", &local, 1, &error), 0);
    ck_assert_str_eq(SERVERS, "root@here");
    b = get("here", 1); /* another one */
    ck_assert_ptr_ne(a, b);
    ck_assert_int_eq(grapnel_close_deployed_server(g, "here", &local, &error), 1);
    ck_assert_int_eq(grapnel_close_deployed_server(g, "here", &local, &error), 0);
    ck_assert_int_eq(grapnel_close_ssh_connections(g, &error), 0);
    grapnel_connection_release(a);
    grapnel_connection_release(b);
    grapnel_connection_release(NULL);
    grapnel_strings_free(NULL);
}
END_TEST

START_TEST(one_host_one_user_one_instance)
{
    static const char *const users[] = {"root", "george", "alexander"};
    struct grapnel_connect_options george = {.user = "george", .transport = "local"};

    for (int i = 0; i < 3; i++) {
        struct grapnel_connect_options o = {.transport = "local", .user = users[i]};
        ck_assert_int_eq(
            grapnel_create_connections(g, (const char *[]){"a", "b", NULL}, &o, 2, &error), 0);
    }
    ck_assert_int_eq(grapnel_close_connection(g, "george@a", &local, 2, &error), 1);
    ck_assert_int_eq(grapnel_close_connection(g, "alexander@a", &local, 0, &error), 2);
    ck_assert_str_eq(CONNECTIONS, "alexander@b:2 alexander@b:1 george@b:2 george@b:1 george@a:1 "
                                  "root@b:2 root@b:1 root@a:2 root@a:1");
    ck_assert_int_eq(grapnel_close_connection(g, "b", &local, 2, &error), 1); /* root's */
    ck_assert_int_eq(grapnel_close_connection(g, "b", &george, 1, &error), 1);
    ck_assert_int_eq(grapnel_close_connection(g, "a", &local, 0, &error), 2);
    ck_assert_str_eq(CONNECTIONS, "alexander@b:2 alexander@b:1 george@b:2 george@a:1 root@b:1");
    ck_assert_int_eq(grapnel_close_connection(g, NULL, &george, 0, &error), 2);
    ck_assert_int_eq(grapnel_close_connection(g, NULL, NULL, 1, &error), 2);
    ck_assert_str_eq(CONNECTIONS, "alexander@b:2");
    ck_assert_str_eq(SERVERS, "alexander@b alexander@a george@b george@a root@b root@a");
    ck_assert_int_eq(grapnel_close_deployed_server(g, "a", &local, &error), 1);
    ck_assert_int_eq(grapnel_close_ssh_connection(g, "george@b", &local, &error), 1);
    ck_assert_str_eq(SERVERS, "alexander@b alexander@a george@a root@b");
}
END_TEST

START_TEST(who_waits_for_one_that_is_closed_learns_it)
{
    struct job jobs[THREADS];

    ck_assert_int_eq(mkfifo(sshtools_path("gate"), 0600), 0);
    start_jobs(jobs, &counted);
    while (waiting() < THREADS)
        sched_yield();
    ck_assert_int_eq(grapnel_close_ssh_connections(g, &error), 1);
    join_jobs(jobs);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_ptr_null(jobs[i].c);
        ck_assert_str_eq(jobs[i].error.name, "CLOSED");
    }
}
END_TEST

START_TEST(one_that_is_being_made_is_closed_at_once)
{
    struct job jobs[THREADS];
    uint64_t began;

    ck_assert_int_eq(mkfifo(sshtools_path("gate"), 0600), 0);
    start_jobs(jobs, &counted);
    while (waiting() < THREADS)
        sched_yield();
    began = context_now();
    ck_assert_msg(grapnel_close_connection(g, "here", &counted, 1, &error) == 1, "%s: %s",
                  error.name, error.detail);
    join_jobs(jobs); /* the gate is still shut */
    ck_assert_uint_lt(context_now() - began, 3000000);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_ptr_null(jobs[i].c);
        ck_assert_str_eq(jobs[i].error.name, "CLOSED");
    }
    ck_assert_str_eq(CONNECTIONS, "");
}
END_TEST

/* Opens and closes for as long as it is told to. */
static void *get_and_close(void *arg)
{
    int which = *(int *)arg;
    const char *hosts[] = {"a", "b"};

    for (int i = 0; i < 30; i++) {
        const char *host = hosts[(i + which) % 2];
        struct grapnel_error e = {0};
        struct grapnel_connection *c = grapnel_get_connection(g, host, &local, which % 3 + 1, &e);
        if (!c)
            ck_assert_str_eq(e.name, "CLOSED");
        if (i % 5 == 0 && which % 4 == 0)
            ck_assert_int_ge(grapnel_close_deployed_server(g, host, &local, NULL), 0);
        else if (i % 3 == 0)
            ck_assert_int_ge(grapnel_close_connection(g, host, &local, 0, NULL), 0);
        grapnel_connection_release(c);
    }
    return NULL;
}

START_TEST(threads_get_and_close_what_others_use)
{
    pthread_t threads[8];
    int which[8];

    LIMITS(.servers = 2);
    for (int i = 0; i < 8; i++) {
        which[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, get_and_close, &which[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    grapnel_close_ssh_connections(g, &error);
    ck_assert_ptr_null(g->cache->servers);
    ck_assert_ptr_null(g->cache->closing);
    ck_assert_ptr_null(g->cache->orphans);
    ck_assert_uint_eq(g->cache->instance_count, 0);
}
END_TEST

/* ---- the core, as the broker uses it ---- */

static int was_told;

static void close_it(void *arg, struct cached *s, const struct error *e)
{
    *(int *)arg = e->code;
    was_told++;
    cache_close(s);
    cache_done(s);
}

/* Wants it, and does that with it when it is told. */
static struct cached *want(const struct grapnel_connect_options *o, struct cache_waiter *w,
                           int *code)
{
    struct context_sigpipe held;
    struct error e = {0};
    struct cached *s;

    was_told = 0;
    *code = 1;
    context_lock(g);
    context_hold_sigpipe(&held); /* its shell may have ended already */
    s = cache_want(cache_of(g), "here", o, &e);
    context_release_sigpipe(&held);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(cache_await(s, w, close_it, code), 1);
    ck_assert_int_eq(was_told, 0); /* never within */
    context_unlock(g);
    return s;
}

static void until_all_is_gone(void)
{
    while (!was_told || g->cache->servers || g->cache->closing)
        grapnel_drive(g, 1);
}

START_TEST(who_is_told_may_close_it)
{
    struct cache_waiter w;
    struct cached *s;
    int code;

    want(&local, &w, &code); /* ready */
    until_all_is_gone();
    ck_assert_int_eq(code, 0);
    sshtools_write(sshtools_path("closed"), "");
    want(&counted, &w, &code); /* failed */
    until_all_is_gone();
    ck_assert_int_eq(code, -51);
    ck_assert_int_eq(was_told, 1);
    /* Undeployed, and closed before anybody asked for it. */
    s = want(&local, &w, &code);
    context_lock(g);
    cache_leave(&w);
    context_unlock(g);
    while (cache_state(s) != GRAPNEL_DEPLOYED)
        grapnel_drive(g, 1);
    context_lock(g);
    cache_undeploy(s);
    ck_assert_int_eq(cache_await_rest(s, &w, close_it, &code), 1);
    context_unlock(g);
    until_all_is_gone();
    ck_assert_int_eq(code, 0);
    /* Closed while it is being connected to. */
    s = want(&local, &w, &code);
    context_lock(g);
    cache_hold(s);
    cache_close(s);
    ck_assert_int_eq(code, -5);
    ck_assert_ptr_null(cache_server(s));
    cache_done(s);
    context_unlock(g);
    ck_assert_int_eq(was_told, 1);
    ck_assert_ptr_null(g->cache->closing);
}
END_TEST

/* ---- the rest ---- */

static struct grapnel_error in_callback;
static int was_hit;

static void try_in_callback(void *arg, struct grapnel_future *f)
{
    struct grapnel_connection *c = grapnel_get_connection(g, "here", &local, 1, NULL);

    (void)arg;
    (void)f;
    was_hit = c != NULL;
    grapnel_connection_release(c);
    ck_assert_ptr_null(grapnel_get_connection(g, "there", &local, 1, &in_callback));
    ck_assert_int_eq(grapnel_close_connections(g, NULL), -3);
    grapnel_stop(g);
}

START_TEST(callbacks_get_what_is_there)
{
    struct grapnel_connection *c = get("here", 1);
    struct grapnel_future *f =
        grapnel_call_start(grapnel_connection_instance(c), "time.sleep", &error, "d", 0.01);

    grapnel_future_on_done(f, try_in_callback, NULL);
    ck_assert_int_eq(grapnel_drive(g, 20000), 0);
    ck_assert_int_eq(was_hit, 1);
    ck_assert_str_eq(in_callback.name, "ARGUMENT");
    grapnel_future_free(f);
    grapnel_connection_release(c);
}
END_TEST

static int refusals;

static void reconnect_in_callback(void *arg, struct grapnel_future *f)
{
    (void)f;
    ck_assert_int_eq(grapnel_connection_reconnect(arg, &in_callback), -3);
    refusals++;
    grapnel_stop(g);
}

START_TEST(what_is_missing_is_told)
{
    const char *const none[] = {NULL};
    struct grapnel_connection *c = get("here", 1);
    struct grapnel_future *f =
        grapnel_call_start(grapnel_connection_instance(c), "time.sleep", &error, "d", 0.01);

    ck_assert_ptr_null(grapnel_get_connection(g, NULL, &local, 1, &error));
    ck_assert_str_eq(error.name, "ARGUMENT");
    ck_assert_int_eq(grapnel_check_connection(g, NULL, &local, 1, 10, NULL, &error), -3);
    ck_assert_int_eq(grapnel_create_connections(g, NULL, &local, 1, &error), -3);
    ck_assert_int_eq(grapnel_create_connections(g, none, &local, 1, &error), 0);
    ck_assert_ptr_null(grapnel_connect(g, NULL, &local, &error));
    ck_assert_str_eq(error.name, "ARGUMENT");
    ck_assert_ptr_null(grapnel_connection_instance(NULL));
    ck_assert_int_eq(grapnel_call(NULL, "proc.pid", NULL, &error, ""), -3);
    ck_assert_ptr_null(grapnel_call_start(NULL, "proc.pid", &error, ""));
    ck_assert_str_eq(error.name, "ARGUMENT");
    ck_assert_ptr_null(grapnel_callv(NULL, &(struct grapnel_call_options){.path = "f"}, &error));
    ck_assert_int_eq(grapnel_connection_reconnect(NULL, &error), -3);
    ck_assert_int_eq(grapnel_cache_limits(g, NULL, &error), 0);

    grapnel_future_on_done(f, reconnect_in_callback, c);
    ck_assert_int_eq(grapnel_drive(g, 20000), 0);
    ck_assert_int_eq(refusals, 1);
    ck_assert_int_eq(grapnel_connection_generation(c), 1);
    grapnel_future_free(f);
    grapnel_connection_release(c);
}
END_TEST

static int is_refused(const char *name)
{
    return strcmp(name, "ARGUMENT") == 0 && strstr(error.detail, "forked");
}

/* What runs on the parent's lines, by the handles that it has left. */
static int uses_lines(struct grapnel_server *s, struct grapnel_instance *i, struct grapnel_exec *x,
                      struct grapnel_future *f)
{
    const char *argv[] = {"true", NULL};
    struct grapnel_exec_options command = {.argv = argv};
    struct grapnel_result result;
    int bad = 0;

    bad |= grapnel_call(i, "proc.pid", NULL, &error, "") != -3 || !is_refused(error.name);
    bad |= grapnel_call_start(i, "proc.pid", &error, "") || !is_refused(error.name);
    bad |= grapnel_future_wait(f, 1000, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_run(s, &command, &result, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_exec_wait(x, 1000, NULL, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_ping(s, 1000, NULL, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_usage_json(s, 1000, &error) || !is_refused(error.name);
    bad |= grapnel_wait_ready(s, 1000, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_instance_open(s, NULL, &error) || !is_refused(error.name);
    bad |= grapnel_instance_reopen(i, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_instance_close(i, 1000, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_undeploy(s, 1000, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_deploy(s, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_close(s, 1000, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_open(g, "here", &local, &error) || !is_refused(error.name);
    bad |= grapnel_drive(g, 1000) != -3 || grapnel_dispatch(g) != -3 || grapnel_fd(g) != -3;
    (void)grapnel_exec_signal(x, "KILL", NULL);
    (void)grapnel_exec_cancel(x);
    grapnel_future_free(f);
    grapnel_exec_free(x);
    grapnel_instance_free(i);
    grapnel_server_free(s);
    return bad;
}

/* All that a child does with what its parent has; 0 when all of it is refused. */
static int in_child(struct grapnel_connection *c)
{
    struct grapnel_cache_limits limits = {0};
    int bad = 0;

    bad |= grapnel_get_connection(g, "here", &local, 1, &error) || !is_refused(error.name);
    bad |= grapnel_list_connections(g, &error) || !is_refused(error.name);
    bad |= grapnel_check_connections(g, 100, &error) || !is_refused(error.name);
    bad |= grapnel_check_connection(g, "here", &local, 1, 1, NULL, &error) != -3;
    bad |= grapnel_create_connections(g, (const char *[]){"a", NULL}, &local, 1, &error) != -3;
    bad |= grapnel_close_connection(g, "here", &local, 1, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_close_deployed_servers(g, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_close_ssh_connections(g, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_connection_reconnect(c, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_cache_limits(g, &limits, &error) != -3 || !is_refused(error.name);
    bad |= grapnel_connection_server(c) != NULL;
    grapnel_connection_release(c);
    grapnel_free(g);
    return bad;
}

START_TEST(a_child_has_no_part_in_it)
{
    struct grapnel_connection *c = get("here", 1);
    struct grapnel_instance *i = grapnel_connection_instance(c);
    struct grapnel_server *server = grapnel_connection_server(c);
    const char *argv[] = {"cat", NULL};
    struct grapnel_exec_options cat = {.argv = argv};
    struct grapnel_exec *x = grapnel_exec_start(server, &cat, NULL, NULL, &error);
    struct grapnel_future *f = grapnel_call_start(i, "time.sleep", &error, "d", 0.3);
    struct grapnel_exec_status ended;
    pid_t child;
    int status;

    ck_assert(x && f);
    /* Also while the lock is held: nobody in the child would ever release it. */
    context_lock(g);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(uses_lines(server, i, x, f) | in_child(c) << 1);
    context_unlock(g);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(grapnel_future_wait(f, 20000, &error), 0);
    ck_assert_int_eq(grapnel_exec_eof(x), 0);
    ck_assert_int_eq(grapnel_exec_wait(x, 20000, &ended, &error), 0);
    ck_assert(ended.exited && ended.exit_status == 0);
    grapnel_future_free(f);
    grapnel_exec_free(x);
    ck_assert_int_eq(number(c, "return 7"), 7);
    ck_assert_ptr_eq(get("here", 1), c);
    ck_assert_int_eq(grapnel_connection_generation(c), 1);
    grapnel_connection_release(c);
    grapnel_connection_release(c);
}
END_TEST

static long usage(struct grapnel_connection *c, const char *key)
{
    char *json = grapnel_usage_json(grapnel_connection_server(c), 20000, &error), *at;
    long n;

    ck_assert_ptr_nonnull(json);
    at = strstr(json, key);
    ck_assert_ptr_nonnull(at);
    n = strtol(at + strlen(key), NULL, 10);
    grapnel_string_free(json);
    return n;
}

static void open_and_close_instance(int i)
{
    visit("here", i % 7 + 1);
    ck_assert_int_eq(grapnel_close_connection(g, "here", &local, i % 7 + 1, &error), 1);
}

static void open_and_close_server(int i)
{
    visit("there", i % 7 + 1);
    ck_assert_int_eq(grapnel_close_ssh_connection(g, "there", &local, &error), 1);
}

#define LEAK 16 /* bytes that a turn must lose to count: less than the smallest piece of memory */

/* How many more bytes there are after n turns.  A buffer grows now and then for good; what leaks
 * does so in every part. */
static long grows_by(void (*turn)(int i), int n)
{
    long least = LONG_MAX;

    for (int part = 0; part < 5; part++) {
        size_t before = mallinfo2().uordblks;
        long more;
        for (int i = 0; i < n; i++)
            turn(i);
        more = (long)(mallinfo2().uordblks - before);
        least = part > 0 && more < least ? more : least; /* the first one warms up */
    }
    return least;
}

START_TEST(nothing_is_left_of_a_thousand)
{
    int part = (harness_valgrind() ? 50 : MANY) / 5;
    struct grapnel_connection *held = get("here", 1000);
    size_t descriptors, threads;
    long processes, theirs;

    open_and_close_instance(0);
    open_and_close_server(0);
    descriptors = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    processes = usage(held, "\"processes\":");
    theirs = usage(held, "\"descriptors\":");
    ck_assert_int_lt(grows_by(open_and_close_instance, part), LEAK * part);
    ck_assert_int_lt(grows_by(open_and_close_server, part / 5), LEAK * (part / 5));
    ck_assert_uint_eq(entries("/proc/self/fd"), descriptors);
    ck_assert_uint_eq(entries("/proc/self/task"), threads);
    ck_assert_int_eq(usage(held, "\"processes\":"), processes);
    ck_assert_int_eq(usage(held, "\"descriptors\":"), theirs);
    grapnel_connection_release(held);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cache");
    TCase *t = tcase_create("cache");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    tcase_add_test(t, who_asks_again_gets_the_same);
    tcase_add_test(t, users_have_servers_of_their_own);
    tcase_add_test(t, wrong_numbers_make_nothing);
    tcase_add_test(t, bad_targets_make_nothing);
    tcase_add_test(t, questions_make_nothing);
    tcase_add_test(t, who_is_asked_answers);
    tcase_add_test(t, instances_are_made_as_was_asked);
    tcase_add_test(t, instances_have_the_limits_that_were_asked_for);
    tcase_add_test(t, an_instance_that_cannot_be_made_is_not_kept);
    tcase_add_test(t, threads_get_the_same_one);
    tcase_add_test(t, all_who_waited_learn_of_a_failure);
    tcase_add_test(t, many_are_made_at_once);
    tcase_add_test(t, a_dead_server_is_remade_once);
    tcase_add_test(t, a_hit_is_asked_for_a_sign_of_life);
    tcase_add_test(t, one_that_cannot_be_remade_fails_and_can_be_later);
    tcase_add_test(t, a_dead_instance_is_remade_alone);
    tcase_add_test(t, reconnecting_on_request);
    tcase_add_test(t, a_lost_server_in_use_comes_back_by_itself);
    tcase_add_test(t, one_that_does_not_last_has_not_come_back);
    tcase_add_test(t, back_off_doubles_up_to_its_limit);
    tcase_add_test(t, the_longest_unused_makes_room);
    tcase_add_test(t, instances_make_room_likewise);
    tcase_add_test(t, the_unused_are_closed_in_time);
    tcase_add_test(t, the_unused_are_closed_in_time_on_a_server_in_use);
    tcase_add_test(t, one_that_passes_through_leaves_with_its_last_user);
    tcase_add_test(t, a_server_has_an_idle_limit_of_its_own);
    tcase_add_test(t, calls_fail_at_once_when_it_is_closed);
    tcase_add_test(t, closing_twice_closes_once);
    tcase_add_test(t, one_host_one_user_one_instance);
    tcase_add_test(t, who_waits_for_one_that_is_closed_learns_it);
    tcase_add_test(t, one_that_is_being_made_is_closed_at_once);
    tcase_add_test(t, threads_get_and_close_what_others_use);
    tcase_add_test(t, who_is_told_may_close_it);
    tcase_add_test(t, callbacks_get_what_is_there);
    tcase_add_test(t, what_is_missing_is_told);
    tcase_add_test(t, a_child_has_no_part_in_it);
    tcase_add_test(t, nothing_is_left_of_a_thousand);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
