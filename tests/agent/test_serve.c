/* An agent that serves one thing: its client may ask for anything and gets that.  The worker is a
 * script that tells how it was called, and then gives back what it gets. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/intro.h"
#include "agent/single.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

#define NONCE   "0123456789abcdef0123456789abcdef"
#define COMMAND "SSH_ORIGINAL_COMMAND=exec /bin/sh -c 'n=" NONCE "; set -- $(umask)'"

static char folder[64], worker[96], service[96];

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void set_up(void)
{
    snprintf(folder, sizeof folder, "/tmp/grapnel-serve-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(worker, sizeof worker, "%s/worker", folder);
    snprintf(service, sizeof service, "%s/service.lua", folder);
    write_file(service, "return {}\n", 0600);
    write_file(worker,
               "#!/bin/sh\n"
               "echo \"$0\"; for word; do echo \"$word\"; done\n"
               "echo \"$PWD $FROM_CLIENT ${SSH_ORIGINAL_COMMAND+told}\"\n"
               "echo errors >&2\n"
               "exec cat\n",
               0700);
}

/* Both are still there, and nothing else. */
static void clean_up(void)
{
    ck_assert_int_eq(unlink(service), 0);
    ck_assert_int_eq(unlink(worker), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}

static struct harness *start(const char *const *env, int bare)
{
    const char *const argv[] = {"serve", "--worker", worker, service, "memory=1", NULL};
    struct harness_options options = {.argv = argv, .env = env, .bare = bare};

    return harness_start(&options);
}

/* ---- what is served ---- */

/* The words of a client, with the hash of a blob that it believes to have sent. */
static struct value *ask(struct value *args)
{
    values_set(args, "blob", values_bytes("01234567890123456789012345678901", 32));
    return args;
}

static struct value *wishes(void)
{
    struct value *args = ask(harness_argv("/bin/sh", "-c", "echo caught", NULL));
    struct value *env = values_map();

    values_set(env, "FROM_CLIENT", values_text("caught"));
    values_set(args, "env", env);
    values_set(args, "cwd", values_text("/usr"));
    values_set(args, "stdin", values_bool(0));
    values_set(args, "merge", values_bool(1));
    values_set(args, "timeout_ms", values_int(1));
    values_set(args, "output_limit", values_int(1));
    return args;
}

START_TEST(the_worker_and_nothing_else)
{
    struct harness *h = start(NULL, 0);
    struct run r = {.input = (const uint8_t *)"there and back\n", .input_left = 15};
    struct value *args = wishes();
    char cwd[256], expected[1024];

    values_set(args, "merge", values_bool(0));
    harness_do(h, &r, args, HARNESS_STDERR);
    ck_assert_msg(r.code == 0 && harness_int(&r, "status", -1) == 0, "%s", r.text);
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    snprintf(expected, sizeof expected,
             "%s\ninstance\nservice=%s\nmemory=1\n%s  \nthere and back\n", worker, service, cwd);
    ck_assert_str_eq(harness_text(&r), expected);
    ck_assert_str_eq(harness_err_text(&r), "errors\n");
    harness_free(&r);
    harness_end(h);
}
END_TEST

static int is_closed(void *arg)
{
    const struct run *r = arg;

    return r->closed;
}

START_TEST(stderr_goes_nowhere_unless_asked_for)
{
    struct harness *h = start(NULL, 0);
    struct run r = {0};

    harness_run(h, &r, wishes(), 0);
    stream_eof(r.s);
    harness_until(h, is_closed, &r);
    ck_assert_int_eq(r.code, 0);
    ck_assert_ptr_null(strstr(harness_text(&r), "errors"));
    harness_free(&r);
    harness_end(h);
}
END_TEST

START_TEST(commands_are_denied)
{
    struct harness *h = start(NULL, 0);
    struct run r = {0};
    struct value *args;

    switch (_i) {
    case 0:
        args = harness_argv("touch", "caught", NULL);
        break;
    case 1:
        args = harness_line("touch caught");
        break;
    case 2:
        args = harness_argv("touch", "caught", NULL);
        values_set(args, "blob", values_text("01234567890123456789012345678901"));
        break;
    case 3:
        args = values_map();
        break;
    default:
        args = values_nil();
    }
    harness_do(h, &r, args, 0);
    ck_assert_int_eq(r.code, -E_DENIED);
    harness_free(&r);
    harness_end(h);
}
END_TEST

struct refusal {
    int closed, code, have;
    size_t keys;
};

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct refusal *r = arg;

    (void)s;
    (void)text;
    r->closed = 1;
    r->code = code;
    r->have = values_as_bool(values_get(result, "have"), 0);
    r->keys = values_count(result);
}

static int is_refused(void *arg)
{
    const struct refusal *r = arg;

    return r->closed;
}

static const struct stream_handler refused = {.closed = on_closed};

static struct refusal open_other(struct harness *h, const char *name, struct value *args)
{
    struct refusal r = {0};
    struct error e = {0};

    ck_assert_ptr_nonnull(stream_open(h->link, name, args, &refused, &r, &e));
    harness_until(h, is_refused, &r);
    return r;
}

START_TEST(other_services_and_calls_are_denied)
{
    static const char *const services[] = {"link", "file", "forward", "pty", "", "exec ", "facts"};
    static const char *const calls[] = {"usage", "exec", "deliver", "", "nothing"};
    struct harness *h = start(NULL, 0);

    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        ck_assert_int_eq(open_other(h, services[i], NULL).code, -E_DENIED);
    }
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        ck_assert_int_eq(harness_call(h, calls[i], NULL, NULL), -E_DENIED);
    }
    harness_end(h);
}
END_TEST

/* Nothing about the account, or what others may not know of the host. */
START_TEST(facts_are_few)
{
    static const char *const names[] = {"version", "system", "arch", "byte_order", "word_bits"};
    struct harness *h = start(NULL, 0);
    struct value *map;

    ck_assert_int_eq(harness_call(h, "facts", NULL, &map), 0);
    ck_assert_int_eq(values_equal(map, h->facts), 1);
    ck_assert_uint_eq(values_count(map), sizeof names / sizeof names[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ck_assert_int_ne(values_type(values_get(map, names[i])), VALUE_NIL);
    }
    values_free(map);
    harness_end(h);
}
END_TEST

static size_t descriptors_of(pid_t pid)
{
    char command[80];
    size_t n = 0;
    FILE *f;

    snprintf(command, sizeof command, "ls /proc/%ld/fd", (long)pid);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    for (int c; (c = fgetc(f)) != EOF;) {
        n += c == '\n';
    }
    ck_assert_int_eq(pclose(f), 0);
    return n;
}

static pid_t child_of(pid_t pid)
{
    char path[80], text[32];
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)pid, (long)pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    fclose(f);
    return (pid_t)strtol(text, NULL, 10);
}

/* Whatever is sent, it is "held", and nothing is. */
START_TEST(deliveries_are_thrown_away)
{
    struct harness *h = start(NULL, 0);
    size_t n = 900 * 1024, before;
    uint8_t *bytes = calloc(1, n);
    struct refusal r = {0};
    struct error e = {0};
    struct stream *s;

    harness_until_greeted(h);
    before = descriptors_of(child_of(h->guardian));
    for (int i = 0; i < 20; i++) {
        struct value *args = values_map();
        values_set(args, "hash", values_bytes(bytes, i % 2 ? 32 : 3));
        values_set(args, "size", values_int((int64_t)1 << 40));
        values_set(args, "data", values_bytes(bytes, n));
        values_set(args, "encoding", values_text("gzip"));
        r = open_other(h, "deliver", args);
        ck_assert_msg(r.code == 0 && r.have == 1 && r.keys == 1, "%d", r.code);
    }
    r.closed = 0;
    s = stream_open(h->link, "deliver", NULL, &refused, &r, &e);
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(stream_write(s, bytes, n), 0);
    stream_eof(s);
    harness_until(h, is_refused, &r);
    ck_assert_int_eq(r.have, 1);
    ck_assert_uint_eq(descriptors_of(child_of(h->guardian)), before);
    free(bytes);
    harness_end(h);
}
END_TEST

static struct value *of_stream(const struct run *r, const char *name)
{
    struct value *args = values_array();

    values_append(args, values_int(stream_id(r->s)));
    if (name != NULL) {
        values_append(args, values_text(name));
    }
    return args;
}

START_TEST(own_instances_can_be_ended)
{
    struct harness *h = start(NULL, 0);
    struct run r = {0}, other = {0};

    harness_run(h, &r, wishes(), 0);
    harness_run(h, &other, wishes(), 0);
    harness_output(&r, 1);
    ck_assert_int_eq(harness_call(h, "signal", of_stream(&r, "INT"), NULL), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_string(&r, "signal"), "INT");
    ck_assert_int_eq(harness_call(h, "cancel", of_stream(&other, NULL), NULL), 0);
    harness_finish(&other);
    ck_assert_str_eq(harness_string(&other, "reason"), "cancelled");
    harness_free(&r);
    harness_free(&other);
    harness_end(h);
}
END_TEST

/* Far more than there may be at a time. */
#define CROWD 1000

static int all_but_those_that_run(void *arg)
{
    const struct run *runs = arg;
    size_t n = 0;

    for (size_t i = 0; i < CROWD; i++) {
        n += runs[i].closed != 0;
    }
    return n == CROWD - SINGLE_WORKERS;
}

START_TEST(many_opens)
{
    struct harness *h = start(NULL, 0);
    struct run *runs = calloc(CROWD, sizeof *runs);

    for (int round = 0; round < 2; round++) {
        memset(runs, 0, CROWD * sizeof *runs);
        for (size_t i = 0; i < CROWD; i++) {
            harness_run(h, &runs[i], wishes(), 0);
        }
        harness_until(h, all_but_those_that_run, runs);
        for (size_t i = 0; i < CROWD; i++) {
            if (runs[i].closed) {
                ck_assert_int_eq(runs[i].code, -E_LIMIT);
            } else {
                stream_eof(runs[i].s);
                harness_finish(&runs[i]);
                ck_assert_int_eq(harness_int(&runs[i], "status", -1), 0);
            }
            harness_free(&runs[i]);
        }
    }
    free(runs);
    harness_end(h);
}
END_TEST

/* The line is cut: its instances end with it. */
START_TEST(cut_line)
{
    struct harness *h = start(NULL, 0);
    struct run r = {0};

    harness_run(h, &r, wishes(), 0);
    harness_output(&r, 1);
    harness_close(h);
    harness_gone(h);
    harness_free(&r);
}
END_TEST

/* ---- what comes before the link ---- */

/* Without a start script of ours nothing is said, and nothing passed over. */
START_TEST(no_start_script)
{
    static const char *const commands[][2] = {
        {"SSH_ORIGINAL_COMMAND=ls -l", NULL},
        {"SSH_ORIGINAL_COMMAND=", NULL},
        {"SSH_ORIGINAL_COMMAND=exec /bin/sh -c 'n=0123456789abcdef; x'", NULL},
        {"SSH_ORIGINAL_COMMAND=exec /bin/sh -c 'n=" NONCE "0; x'", NULL},
        {"SSH_ORIGINAL_COMMAND=exec /bin/sh -c 'n=0123456789abcdef0123456789abcde\n;'", NULL},
        {"SSH_ORIGINAL_COMMAND=exec /bin/sh -c 'n=0123456789abcdef0123456789abcdeF;'", NULL},
        {"SSH_ORIGINAL_COMMAND='n=", NULL},
        {NULL, NULL},
    };
    struct harness *h = start(commands[_i], 1);

    harness_send(h, "touch caught\n", 13);
    ck_assert_int_eq(harness_last_code(h), -E_PROTOCOL);
    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}
END_TEST

static void read_status(struct harness *h)
{
    char line[256];

    harness_read_line(h, line, sizeof line);
    ck_assert_msg(strncmp(line, "@grapnel " NONCE " sys Linux ", 19 + INTRO_NONCE) == 0, "%s",
                  line);
}

/* An agent in whose bytes the preface stands, padding, then the link: in pieces of every size. */
START_TEST(agent_and_padding_are_passed_over)
{
    static const char *const env[] = {COMMAND, NULL};
    static const uint8_t zeros[8192];
    struct harness *h = start(env, 1);
    struct run r = {0};
    char agent[256];
    size_t piece = _i == 0 ? 1 : _i == 1 ? 63 : sizeof agent;

    read_status(h);
    memset(agent, 'a', sizeof agent);
    memcpy(agent + 3, LINK_PREFACE, LINK_PREFACE_SIZE);
    memset(agent + 20, 0, INTRO_ZEROS - 1);
    memcpy(agent + 20 + INTRO_ZEROS - 1, LINK_PREFACE, LINK_PREFACE_SIZE);
    memset(agent + 150, 0, INTRO_ZEROS);
    memcpy(agent + 150 + INTRO_ZEROS, LINK_PREFACE, LINK_PREFACE_SIZE - 1);
    for (size_t at = 0; at < sizeof agent; at += piece) {
        harness_send(h, agent + at, piece < sizeof agent - at ? piece : sizeof agent - at);
    }
    harness_send(h, zeros, sizeof zeros);
    harness_begin(h, 0);
    harness_run(h, &r, wishes(), 0);
    harness_output(&r, 1);
    /* sshd's variable was for the agent. */
    ck_assert_ptr_null(strstr(harness_text(&r), "told"));
    stream_eof(r.s);
    harness_finish(&r);
    ck_assert_int_eq(r.code, 0);
    harness_free(&r);
    harness_end(h);
}
END_TEST

START_TEST(endless_garbage)
{
    static const char *const env[] = {COMMAND, NULL};
    struct harness *h = start(env, 1);
    uint8_t part[4096];

    read_status(h);
    memset(part, _i == 0 ? 'g' : 0, sizeof part);
    for (size_t sent = 0; sent <= INTRO_MOST; sent += sizeof part) {
        harness_send(h, part, sizeof part);
    }
    ck_assert_int_eq(harness_last_code(h), -E_PROTOCOL);
    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}
END_TEST

START_TEST(silence_before_the_link)
{
    static const char *const env[] = {COMMAND, "GRAPNEL_LEASE_MS=200", NULL};
    struct harness *h = start(env, 1);

    read_status(h);
    harness_send(h, "half an agent", 13);
    ck_assert_int_eq(harness_last_code(h), -E_LEASE);
    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}
END_TEST

/* ---- the command line ---- */

START_TEST(bad_words)
{
    const char *const cases[][5] = {
        {"serve", "--worker", worker, "/nonexistent/file", NULL},
        {"serve", "--worker", "/nonexistent/worker", service, NULL},
        {"serve", "--worker", "worker", service, NULL},
        {"serve", "--worker", worker, NULL},
        {"serve", "--worker", NULL},
        {"serve", "--other", NULL},
        {"serve", "", NULL},
    };
    static const char *const env[] = {COMMAND, NULL};
    struct harness_options options = {.argv = cases[_i], .env = env, .bare = 1};
    struct harness *h = harness_start(&options);
    char errors[512];

    read_status(h); /* so that the launcher tells what follows as the agent's own */
    ck_assert_int_eq(harness_wait(h), 255);
    harness_errors(h, errors, sizeof errors);
    ck_assert_ptr_nonnull(strstr(errors, "grapnel: agent: "));
    harness_gone(h);
}
END_TEST

/* Installed side by side. */
START_TEST(worker_beside_the_agent)
{
    char agent[128], beside[128], command[512];
    const char *const argv[] = {"serve", service, NULL};
    struct harness_options options = {.argv = argv, .program = agent};
    struct harness *h;
    struct run r = {0};

    snprintf(agent, sizeof agent, "%s/grapnel-agent", folder);
    snprintf(beside, sizeof beside, "%s/grapnel-worker", folder);
    snprintf(command, sizeof command, "cp '%s' %s && cp %s %s", harness_agent(), agent, worker,
             beside);
    ck_assert_int_eq(system(command), 0);
    h = harness_start(&options);
    harness_run(h, &r, wishes(), 0);
    harness_output(&r, 1);
    stream_eof(r.s);
    harness_finish(&r);
    ck_assert_ptr_eq(strstr(harness_text(&r), beside), harness_text(&r));
    harness_free(&r);
    harness_end(h);
    ck_assert_int_eq(unlink(beside), 0);
    ck_assert_int_eq(unlink(agent), 0); /* it has not deleted itself */
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("serve");
    TCase *t = tcase_create("serve");

    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, set_up, clean_up);
    tcase_add_test(t, the_worker_and_nothing_else);
    tcase_add_test(t, stderr_goes_nowhere_unless_asked_for);
    tcase_add_loop_test(t, commands_are_denied, 0, 5);
    tcase_add_test(t, other_services_and_calls_are_denied);
    tcase_add_test(t, facts_are_few);
    tcase_add_test(t, deliveries_are_thrown_away);
    tcase_add_test(t, own_instances_can_be_ended);
    tcase_add_test(t, many_opens);
    tcase_add_test(t, cut_line);
    tcase_add_loop_test(t, no_start_script, 0, 8);
    tcase_add_loop_test(t, agent_and_padding_are_passed_over, 0, 3);
    tcase_add_loop_test(t, endless_garbage, 0, 2);
    tcase_add_test(t, silence_before_the_link);
    tcase_add_loop_test(t, bad_words, 0, 7);
    tcase_add_test(t, worker_beside_the_agent);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
