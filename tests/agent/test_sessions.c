/* Links within the agent's link: each is a session of its own, and ends alone. */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/frames.h"
#include "tests/agent/nest.h"
#include "tests/unit/unit.h"

#define MOST 256 /* sessions at a time */
#define MIB  (UINT64_C(1024) * 1024)

static struct value *id_of(const struct run *r)
{
    struct value *args = values_array();

    values_append(args, values_int(r->s != NULL ? stream_id(r->s) : 1));
    return args;
}

static void stop_run(struct run *r)
{
    stream_close(r->s, 0, NULL, NULL);
    harness_finish(r);
    harness_free(r);
}

/* ---- what can be done in one ---- */

START_TEST(a_command)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0);
    struct run r = {.input = (const uint8_t *)"in\n", .input_left = 3};

    harness_do(&n->h, &r, harness_line("cat; echo err >&2; exit 7"), HARNESS_STDERR);
    ck_assert_int_eq(r.code, 0);
    ck_assert_int_eq(harness_int(&r, "status", -1), 7);
    ck_assert_str_eq(harness_text(&r), "in\n");
    ck_assert_str_eq(harness_err_text(&r), "err\n");
    ck_assert_ptr_nonnull(values_get(n->h.facts, "hostname"));
    ck_assert_int_eq(values_as_int(values_get(n->h.facts, "pid"), 0),
                     values_as_int(values_get(h->facts, "pid"), -1));
    harness_free(&r);
    nest_end(n);
    harness_end(h);
}
END_TEST

/* All of it in one flight, the goodbye included. */
START_TEST(a_command_without_waiting)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0);
    struct run r = {0};

    harness_run(&n->h, &r, harness_argv("echo", "out", NULL), 0);
    ck_assert_int_eq(link_goodbye(n->h.link, 0, "done"), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_text(&r), "out\n");
    harness_free(&r);
    nest_closed(n);
    ck_assert_int_eq(n->code, 0);
    ck_assert_int_eq(n->h.said_goodbye, 1);
    nest_end(n);
    harness_end(h);
}
END_TEST

/* A blob that one session has delivered is there for the next, also when the first has ended. */
START_TEST(a_blob_is_shared)
{
    static const char script[] = "not a program";
    struct harness *h = harness_start(NULL);
    struct nest *n;
    struct run r;
    uint8_t hash[32];

    crypto_generichash(hash, sizeof hash, (const uint8_t *)script, sizeof script, NULL, 0);
    for (int i = 0; i < 3; i++) {
        struct value *args = values_map();
        struct error e = {0};

        n = nest_open(h, 0);
        values_set(args, "hash", values_bytes(hash, sizeof hash));
        values_set(args, "size", values_int(sizeof script));
        if (i == 1) {
            values_set(args, "data", values_bytes(script, sizeof script));
            ck_assert_ptr_nonnull(
                stream_open(n->h.link, "deliver", args, &(struct stream_handler){0}, NULL, &e));
            args = values_map();
        }
        values_free(args);
        args = harness_argv("blob", NULL);
        values_set(args, "blob", values_bytes(hash, sizeof hash));
        memset(&r, 0, sizeof r);
        harness_do(&n->h, &r, args, 0);
        /* What is held is found to be no program. */
        ck_assert_int_eq(r.code, i == 0 ? -E_HASH : -E_NOT_EXECUTABLE);
        harness_free(&r);
        nest_end(n);
    }
    harness_end(h);
}
END_TEST

START_TEST(no_link_within)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0);
    struct nest *within = nest_open_bare(&n->h);

    within->h.outer = h; /* who has the line */
    nest_closed(within);
    ck_assert_int_eq(within->code, -E_NO_SERVICE);
    within->h.outer = &n->h;
    nest_end(within);
    ck_assert_int_eq(harness_usage(&n->h, "sessions"), 1);
    nest_end(n);
    harness_end(h);
}
END_TEST

START_TEST(usage_tells_sessions)
{
    struct harness *h = harness_start(NULL);
    struct nest *n;

    ck_assert_int_eq(harness_usage(h, "sessions"), 0);
    n = nest_open(h, 0);
    ck_assert_int_eq(harness_usage(h, "sessions"), 1);
    nest_end(n);
    ck_assert_int_eq(harness_usage(h, "sessions"), 0);
    harness_end(h);
}
END_TEST

/* ---- side by side ---- */

/* The ids of one link mean nothing on another. */
START_TEST(ids_are_each_ones_own)
{
    struct harness *h = harness_start(NULL);
    struct nest *one = nest_open(h, 0), *two = nest_open(h, 0);
    struct run r[3] = {{0}, {0}, {0}};
    struct value *args;

    harness_run(h, &r[0], harness_line("echo $$; exec sleep 1000"), 0);
    harness_run(&one->h, &r[1], harness_line("echo $$; exec sleep 1000"), 0);
    harness_run(&one->h, &r[2], harness_line("echo $$; exec sleep 1000"), 0);
    for (int i = 0; i < 3; i++) {
        harness_output(&r[i], 2);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(harness_call(&two->h, "cancel", id_of(&r[i]), NULL), -E_ARGUMENT);
        args = id_of(&r[i]);
        values_append(args, values_text("KILL"));
        ck_assert_int_eq(harness_call(&two->h, "signal", args, NULL), -E_ARGUMENT);
    }
    ck_assert_int_eq(harness_call(&one->h, "cancel", id_of(&r[2]), NULL), 0);
    harness_finish(&r[2]);
    ck_assert_str_eq(harness_string(&r[2], "reason"), "cancelled");
    harness_free(&r[2]);
    ck_assert_int_eq(r[0].closed || r[1].closed, 0);
    stop_run(&r[0]);
    stop_run(&r[1]);
    nest_end(one);
    nest_end(two);
    harness_end(h);
}
END_TEST

static int sent_all(void *arg)
{
    const struct run *r = arg;

    return r->endless == 0;
}

/* A reader that does not read holds up its own command, or its own session, and nobody else. */
START_TEST(a_slow_reader)
{
    struct harness *h = harness_start(NULL);
    struct nest *slow = nest_open(h, 0), *other = nest_open(h, 0);
    struct run a = {.endless = 24 * MIB, .count_only = 1};
    struct run b = {.endless = 8 * MIB, .count_only = 1};
    struct run c = {.endless = 8 * MIB, .count_only = 1};
    int64_t before = harness_usage(h, "rss");
    uint64_t sent;

    nest_greeted(slow);
    slow->hold = _i == 1;
    a.hold = _i == 0;
    harness_run(&slow->h, &a, harness_argv("cat", NULL), 0);
    harness_run(&other->h, &b, harness_argv("cat", NULL), 0);
    harness_run(h, &c, harness_argv("cat", NULL), 0);
    harness_until(h, sent_all, &b);
    harness_finish(&b);
    harness_finish(&c);
    ck_assert_uint_eq(b.received, 8 * MIB);
    ck_assert_uint_eq(c.received, 8 * MIB);
    /* What it has sent lies in windows and pipes. */
    sent = a.sent;
    ck_assert_uint_lt(sent, 20 * MIB);
    if (!harness_valgrind() && getenv("GRAPNEL_VARIANT") == NULL) {
        ck_assert_int_lt(harness_usage(h, "rss") - before, (int64_t)(24 * MIB));
    }
    a.hold = 0;
    stream_consumed(a.s, _i == 0 ? a.received : 0);
    if (_i == 1) {
        nest_release(slow);
    }
    harness_finish(&a);
    ck_assert_uint_eq(a.received, 24 * MIB);
    ck_assert_int_eq(harness_int(&a, "status", -1), 0);
    harness_free(&a);
    harness_free(&b);
    harness_free(&c);
    nest_end(slow);
    nest_end(other);
    harness_end(h);
}
END_TEST

/* ---- the end of one ---- */

#define LEFT_BEHIND                                                                                \
    "(setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000 >/dev/null 2>&1' </dev/null & ) & "   \
    "wait"

/* Processes in several disguises that end at the first signal. */
#define FRAIL                                                                                      \
    "sh -c 'echo $$; exec sleep 1000' & setsid sh -c 'echo $$; exec sleep 1000' & "                \
    "(setsid sh -c 'echo $$; exec sleep 1000 >/dev/null' & ) & wait; sleep 1000"
#define FRAIL_COUNT 3

/* A session with stubborn commands, and with what a command that has ended left; and one whose
 * processes no signal may reach. */
struct scene {
    struct harness *h;
    struct nest *one, *two;
    struct run a, b, left;
    pid_t of_one[HARNESS_STUBBORN_COUNT + 1], of_two[FRAIL_COUNT];
};

static void begin(struct scene *c, const struct harness_options *options, uint32_t lease_ms)
{
    size_t from = 0;

    memset(c, 0, sizeof *c);
    c->h = harness_start(options);
    c->one = nest_open(c->h, 0);
    c->two = nest_open(c->h, lease_ms);
    harness_run(&c->one->h, &c->left, harness_line(LEFT_BEHIND), 0);
    c->of_one[HARNESS_STUBBORN_COUNT] = (pid_t)harness_number(&c->left, &from);
    harness_finish(&c->left);
    harness_run(&c->one->h, &c->a, harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 0);
    harness_stubborn(&c->a, c->of_one);
    harness_run(&c->two->h, &c->b, harness_line(FRAIL), 0);
    from = 0;
    for (int i = 0; i < FRAIL_COUNT; i++) {
        c->of_two[i] = (pid_t)harness_number(&c->b, &from);
    }
}

static void assert_one_gone(const struct scene *c)
{
    for (int i = 0; i < HARNESS_STUBBORN_COUNT + 1; i++) {
        ck_assert_msg(!harness_process_runs(c->of_one[i]), "process %d lives", i);
    }
}

static void assert_two_untouched(struct scene *c)
{
    struct run r = {0};

    for (int i = 0; i < FRAIL_COUNT; i++) {
        ck_assert_msg(harness_process_runs(c->of_two[i]), "process %d is gone", i);
    }
    ck_assert_int_eq(c->b.closed, 0);
    harness_do(&c->two->h, &r, harness_argv("echo", "on", NULL), 0);
    ck_assert_str_eq(harness_text(&r), "on\n");
    harness_free(&r);
}

static void finish(struct scene *c)
{
    link_end(c->one->h.link, -E_CLOSED, "");
    link_end(c->two->h.link, -E_CLOSED, "");
    harness_free(&c->a);
    harness_free(&c->b);
    harness_free(&c->left);
    nest_end(c->one);
    nest_end(c->two);
}

/* Whatever ends it, when the stream is closed there is nothing left of it. */
START_TEST(all_of_it_ends)
{
    static const char *const env[] = {"GRAPNEL_LEASE_MS=400", NULL};
    static const int codes[] = {-E_LOST, -E_CANCELLED, -E_PROTOCOL, -E_LEASE};
    struct harness_options options = {.env = _i == 3 ? env : NULL, .lease_ms = _i == 3 ? 400 : 0};
    struct scene c;

    begin(&c, &options, _i == 3 ? 400 : 0);
    if (_i == 0) {
        stream_eof(c.one->s);
    } else if (_i == 1) {
        link_end(c.one->h.link, -E_CANCELLED, "enough");
        ck_assert_int_eq(c.a.code, -E_CANCELLED);
    } else if (_i == 2) {
        nest_send(c.one, "\0\0\0\0\77\0\0\0", 8);
    } else {
        c.one->mute = 1;
    }
    nest_closed(c.one);
    ck_assert_msg(c.one->code == codes[_i], "%d %s", c.one->code, c.one->text);
    assert_one_gone(&c);
    assert_two_untouched(&c);
    ck_assert_int_eq(harness_usage(c.h, "sessions"), 1);
    stream_close(c.two->s, 0, NULL, NULL);
    nest_closed(c.two);
    finish(&c);
    harness_end(c.h);
}
END_TEST

/* The opener's own CLOSE is answered at once, like any other. */
START_TEST(closed_by_its_opener)
{
    struct scene c;

    begin(&c, NULL, 0);
    stream_close(c.one->s, _i == 0 ? 0 : -E_CANCELLED, NULL, "enough");
    nest_closed(c.one);
    for (int i = 0; i < HARNESS_STUBBORN_COUNT + 1; i++) {
        harness_wait_process(c.of_one[i]);
    }
    assert_two_untouched(&c);
    stream_close(c.two->s, 0, NULL, NULL);
    nest_closed(c.two);
    finish(&c);
    harness_end(c.h);
}
END_TEST

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512] = "";
    FILE *f;

    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, f));
    fclose(f);
    return (pid_t)strtol(strrchr(text, ')') + 3, NULL, 10);
}

/* The keeper that could tell whose it was is killed: it is ended nevertheless, and waited for. */
START_TEST(without_a_keeper)
{
    struct harness *h = harness_start(NULL);
    struct nest *one = nest_open(h, 0), *two = nest_open(h, 0);
    struct run left = {0}, r = {0};
    size_t from = 0;
    pid_t pid, agent;

    harness_run(&one->h, &left, harness_line(LEFT_BEHIND), 0);
    pid = (pid_t)harness_number(&left, &from);
    harness_finish(&left);
    harness_free(&left);
    harness_run(&two->h, &r, harness_line("sleep 1000"), 0);
    nest_greeted(two);
    agent = (pid_t)values_as_int(values_get(h->facts, "pid"), 0);
    ck_assert_int_eq(parent_of(parent_of(pid)), agent);
    ck_assert_int_eq(kill(parent_of(pid), SIGKILL), 0);
    if (_i == 0) {
        while (parent_of(pid) != agent) {
        }
    }
    stream_eof(one->s);
    nest_closed(one);
    ck_assert_int_eq(harness_process_runs(pid), 0);
    ck_assert_int_eq(r.closed, 0);
    stop_run(&r);
    nest_end(one);
    nest_end(two);
    harness_end(h);
}
END_TEST

static int said_goodbye(void *arg)
{
    const struct nest *n = arg;

    return n->h.said_goodbye || n->s == NULL;
}

/* Streams run to their ends; what commands have left is gone when it is answered. */
START_TEST(goodbye_is_answered_at_the_end)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0);
    struct run left = {0}, r = {0};
    size_t from = 0;
    pid_t pid;

    harness_run(&n->h, &left, harness_line(LEFT_BEHIND), 0);
    pid = (pid_t)harness_number(&left, &from);
    harness_finish(&left);
    harness_run(&n->h, &r, harness_line("sleep 0.2; echo done"), 0);
    ck_assert_int_eq(link_goodbye(n->h.link, 0, ""), 0);
    harness_finish(&r);
    ck_assert_str_eq(harness_text(&r), "done\n");
    harness_until(h, said_goodbye, n);
    ck_assert_int_eq(n->h.said_goodbye, 1);
    ck_assert_int_eq(harness_process_runs(pid), 0);
    nest_closed(n);
    ck_assert_int_eq(n->code, 0);
    harness_free(&left);
    harness_free(&r);
    nest_end(n);
    harness_end(h);
}
END_TEST

/* The agent's own goodbye lets them run on. */
START_TEST(goodbye_of_the_outer_link)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0);
    struct run r = {0};

    nest_greeted(n);
    ck_assert_int_eq(link_goodbye(h->link, 0, ""), 0);
    harness_do(&n->h, &r, harness_argv("echo", "on", NULL), 0);
    ck_assert_str_eq(harness_text(&r), "on\n");
    ck_assert_int_eq(h->said_goodbye, 0);
    harness_free(&r);
    nest_end(n);
    harness_end(h);
}
END_TEST

static int line_over(void *arg)
{
    const struct harness *h = arg;

    return h->line_ended;
}

/* With the agent all sessions end. */
START_TEST(the_agent_ends)
{
    struct scene c;
    pid_t agent;

    begin(&c, NULL, 0);
    agent = (pid_t)values_as_int(values_get(c.h->facts, "pid"), 0);
    if (_i == 0) {
        harness_close(c.h);
    } else {
        kill(_i == 1 ? agent : c.h->guardian, SIGTERM);
        harness_until(c.h, line_over, c.h);
        ck_assert_int_eq(c.one->code, -E_CANCELLED);
    }
    harness_wait(c.h);
    assert_one_gone(&c);
    for (int i = 0; i < FRAIL_COUNT; i++) {
        ck_assert_int_eq(harness_process_runs(c.of_two[i]), 0);
    }
    link_end(c.h->link, -E_CLOSED, "");
    finish(&c);
    harness_gone(c.h);
}
END_TEST

/* While it waits for what does not end at once nothing is begun any more. */
START_TEST(the_agent_leaves)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0), *late;
    struct run stubborn = {0}, r = {0};
    pid_t pids[HARNESS_STUBBORN_COUNT];

    harness_run(&n->h, &stubborn, harness_line(HARNESS_STUBBORN "wait; sleep 1000"), 0);
    harness_stubborn(&stubborn, pids);
    kill((pid_t)values_as_int(values_get(h->facts, "pid"), 0), SIGTERM);
    do {
        harness_free(&r);
        harness_do(&n->h, &r, harness_argv("true", NULL), 0);
    } while (r.code == 0); /* the last one that ran may have met its end with the others */
    ck_assert_int_eq(r.code, -E_CLOSED);
    late = nest_open(h, 0);
    nest_closed(late);
    ck_assert_int_eq(late->code, -E_CLOSED);
    harness_until(h, line_over, h);
    harness_wait(h);
    harness_free(&r);
    harness_free(&stubborn);
    nest_end(late);
    nest_end(n);
    harness_gone(h);
}
END_TEST

/* ---- what they may cost ---- */

START_TEST(so_many_and_no_more)
{
    struct harness *h = harness_start(NULL);
    static struct nest *n[MOST];
    struct nest *more;
    struct run r = {0};

    for (int i = 0; i < MOST; i++) {
        n[i] = nest_open(h, 0);
    }
    more = nest_open(h, 0);
    nest_closed(more);
    ck_assert_int_eq(more->code, -E_LIMIT);
    nest_end(more);
    ck_assert_int_eq(harness_usage(h, "sessions"), MOST);
    harness_do(&n[MOST - 1]->h, &r, harness_argv("echo", "last", NULL), 0);
    ck_assert_str_eq(harness_text(&r), "last\n");
    harness_free(&r);
    nest_end(n[0]);
    n[0] = nest_open(h, 0);
    nest_greeted(n[0]);
    for (int i = 0; i < MOST; i++) {
        nest_end(n[i]);
    }
    harness_end(h);
}
END_TEST

START_TEST(one_after_another)
{
    int rounds = harness_valgrind() ? 20 : 300;
    struct harness *h = harness_start(NULL);
    int64_t descriptors = 0, rss = 0;

    for (int i = 0; i < rounds; i++) {
        struct nest *n = nest_open(h, 0);
        struct run r = {0};
        if (i == rounds / 10) {
            descriptors = harness_usage(h, "descriptors");
            rss = harness_usage(h, "rss");
        }
        harness_do(&n->h, &r, harness_argv("true", NULL), 0);
        harness_free(&r);
        if (i % 2 == 0) {
            nest_end(n);
        } else {
            stream_close(n->s, 0, NULL, NULL);
            nest_closed(n);
            nest_end(n);
        }
    }
    while (harness_usage(h, "sessions") > 0) {
    }
    ck_assert_int_le(harness_usage(h, "descriptors"), descriptors);
    ck_assert_int_eq(harness_usage(h, "streams"), 0);
    if (!harness_valgrind() && getenv("GRAPNEL_VARIANT") == NULL) {
        ck_assert_int_lt(harness_usage(h, "rss") - rss, 256 * 1024);
    }
    harness_end(h);
}
END_TEST

/* Questions without end from one who does not read the answers. */
START_TEST(pings_without_end)
{
    size_t all = (harness_valgrind() ? 4 : 16) * MIB;
    struct frame ping = {.type = FRAME_PING};
    struct wire_buf out = {0};
    struct run r = {0};
    struct harness *h;
    struct nest *n, *other;
    int64_t before;
    uint64_t sent;

    while (wire_length(&out) < all) {
        ck_assert_int_eq(frames_encode(&out, &ping), 0);
    }
    h = harness_start(NULL);
    n = nest_open(h, 0);
    other = nest_open(h, 0);
    nest_greeted(n);
    nest_greeted(other);
    before = harness_usage(h, "rss");
    n->hold = 1;
    nest_send(n, wire_data(&out), wire_length(&out));
    wire_free(&out);
    do {
        sent = n->sent;
        memset(&r, 0, sizeof r);
        harness_do(&other->h, &r, harness_argv("true", NULL), 0);
        ck_assert_msg(r.code == 0, "%d %s", r.code, r.text);
        harness_free(&r);
    } while (n->sent != sent);
    ck_assert_uint_lt(n->sent, all * 3 / 4);
    if (!harness_valgrind() && getenv("GRAPNEL_VARIANT") == NULL) {
        ck_assert_int_lt(harness_usage(h, "rss") - before, (int64_t)(20 * MIB));
    }
    if (harness_valgrind()) {
        stream_close(n->s, 0, NULL, NULL);
        nest_closed(n);
    } else { /* they are answered when that can be done */
        nest_release(n);
        harness_do(&n->h, &r, harness_argv("echo", "on", NULL), 0);
        ck_assert_str_eq(harness_text(&r), "on\n");
        harness_free(&r);
    }
    nest_end(n);
    nest_end(other);
    harness_end(h);
}
END_TEST

/* ---- what is not meant ---- */

/* Only the session that says such things ends, and hears why. */
START_TEST(hostile_bytes)
{
    static const struct {
        const char *bytes;
        size_t n;
        int code;
    } said[] = {
        {"GRAPNEK\n", 8, -E_PROTOCOL},
        {"GRAPNEL\n\0\0\0\0\2\0\0\10\0\0\0\0\0\0\0\0", 24, -E_PROTOCOL}, /* PING before HELLO */
        {"GRAPNEL\n\0\0\0\0\1\0\0\15\0\2\0\0\0\0\0\0\0\0\0\0\240", 29, -E_VERSION},
        {"GRAPNEL\n\0\0\0\0\1\0\0\15\0\1\0\0\0\0\0\0\0\0\0\0\377", 29, -E_MALFORMED},
        {"GRAPNEL\n\0\0\0\0\1\0\0\15\0\1\0\0\0\0\0\0\0\0\0\0\240"
         "\0\0\0\1\6\0\0\1x",
         38, -E_PROTOCOL}, /* DATA on no stream */
    };
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open_bare(h);
    struct nest *other = nest_open(h, 0);
    struct run r = {0};

    nest_greeted(other);
    nest_send(n, said[_i].bytes, said[_i].n);
    nest_closed(n);
    ck_assert_msg(n->code == said[_i].code, "%d %s", n->code, n->text);
    ck_assert_str_ne(n->text, "");
    nest_end(n);
    harness_do(&other->h, &r, harness_argv("echo", "on", NULL), 0);
    ck_assert_str_eq(harness_text(&r), "on\n");
    harness_free(&r);
    nest_end(other);
    harness_end(h);
}
END_TEST

/* Its last words come before the CLOSE. */
START_TEST(last_words)
{
    struct harness *h = harness_start(NULL);
    struct nest *n = nest_open(h, 0);

    nest_greeted(n);
    nest_send(n, "\0\0\0\0\77\0\0\0", 8);
    nest_closed(n);
    ck_assert_int_eq(n->h.said_goodbye, 1);
    ck_assert_int_eq(n->h.goodbye_code, -E_PROTOCOL);
    ck_assert_int_eq(n->code, -E_PROTOCOL);
    nest_end(n);
    harness_end(h);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sessions");
    TCase *t = tcase_create("sessions");

    tcase_set_timeout(t, 120);
    tcase_add_test(t, a_command);
    tcase_add_test(t, a_command_without_waiting);
    tcase_add_test(t, a_blob_is_shared);
    tcase_add_test(t, no_link_within);
    tcase_add_test(t, usage_tells_sessions);
    tcase_add_test(t, ids_are_each_ones_own);
    tcase_add_loop_test(t, a_slow_reader, 0, 2);
    tcase_add_loop_test(t, all_of_it_ends, 0, 4);
    tcase_add_loop_test(t, closed_by_its_opener, 0, 2);
    tcase_add_loop_test(t, without_a_keeper, 0, 2);
    tcase_add_test(t, goodbye_is_answered_at_the_end);
    tcase_add_test(t, goodbye_of_the_outer_link);
    tcase_add_loop_test(t, the_agent_ends, 0, 3);
    tcase_add_test(t, the_agent_leaves);
    tcase_add_test(t, so_many_and_no_more);
    tcase_add_test(t, one_after_another);
    tcase_add_test(t, pings_without_end);
    tcase_add_loop_test(t, hostile_bytes, 0, 5);
    tcase_add_test(t, last_words);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
