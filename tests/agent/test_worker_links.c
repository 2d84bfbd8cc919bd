/* Further links to a worker, each within a stream of its first one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/agent/nest.h"
#include "tests/unit/unit.h"

#define MOST 64 /* further links at a time */

static struct harness *worker(const char *word)
{
    const char *const argv[] = {"instance", word, NULL};
    const char *path = getenv("GRAPNEL_WORKER");
    struct harness_options o = {
        .argv = argv, .program = path != NULL ? path : WORKER_PATH, .features = LINK_FEATURE_REFS};

    return harness_start(&o);
}

static void let_go(struct harness *h)
{
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), 0);
    link_end(h->link, -E_CLOSED, "");
    harness_gone(h);
}

/* As a launcher does it: the pipe is closed. */
static void leave(struct nest *n)
{
    stream_close(n->s, 0, NULL, NULL);
    nest_closed(n);
    link_end(n->h.link, -E_CLOSED, "");
    nest_end(n);
}

/* The arguments of a `call` with copied results. */
static struct value *call_of(struct value *callee, struct value *argument)
{
    struct value *args = values_array();

    values_append(args, values_int(1));
    values_append(args, callee);
    if (argument != NULL) {
        values_append(args, argument);
    }
    return args;
}

/* The code of the answer; its first result, or the error, as a text. */
static int ask(struct harness *h, struct value *args, char *text, size_t size)
{
    struct value *result;
    const struct value *first;
    int code = harness_call(h, "call", args, &result);

    first = values_type(result) == VALUE_MAP ? values_get(result, "error") : values_at(result, 0);
    snprintf(text, size, "%s", values_as_string(first, NULL) ? values_as_string(first, NULL) : "");
    values_free(result);
    return code;
}

static const char *execute(struct harness *h, const char *source)
{
    static char text[1000];

    ck_assert_int_eq(
        ask(h, call_of(values_text("execute"), values_text(source)), text, sizeof text), 0);
    return text;
}

/* ---- in common ---- */

START_TEST(the_namespace_is_shared)
{
    struct harness *h = worker(NULL);
    struct nest *one = nest_open(h, 0), *two;

    ck_assert_str_eq(execute(&one->h, "x = 'one' return x"), "one");
    ck_assert_str_eq(execute(h, "return x"), "one");
    two = nest_open(h, 0);
    ck_assert_str_eq(execute(&two->h, "local was = x; x = 'two' return was"), "one");
    ck_assert_str_eq(execute(&one->h, "return x"), "two");
    leave(one);
    ck_assert_str_eq(execute(&two->h, "return x"), "two");
    leave(two);
    one = nest_open(h, 0);
    ck_assert_str_eq(execute(&one->h, "return x"), "two");
    leave(one);
    let_go(h);
}
END_TEST

/* ---- each one's own ---- */

START_TEST(references_are_not)
{
    struct harness *h = worker(NULL);
    struct nest *one = nest_open(h, 0), *two = nest_open(h, 0);
    struct value *result;
    char text[100];
    int64_t id;

    ck_assert_int_eq(harness_call(&one->h, "call",
                                  call_of(values_text("execute"),
                                          values_text("return function() return 'called' end")),
                                  &result),
                     0);
    id = values_ref_id(values_at(result, 0));
    values_free(result);
    ck_assert_int_gt(id, 0);
    ck_assert_int_eq(ask(&one->h, call_of(values_ref(id, NULL, NULL), NULL), text, sizeof text), 0);
    ck_assert_str_eq(text, "called");
    ck_assert_int_eq(ask(&two->h, call_of(values_ref(id, NULL, NULL), NULL), text, sizeof text),
                     -E_STALE);
    ck_assert_int_eq(ask(h, call_of(values_ref(id, NULL, NULL), NULL), text, sizeof text),
                     -E_STALE);
    leave(one);
    leave(two);
    let_go(h);
}
END_TEST

struct answer {
    int came, code;
};

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct answer *a = arg;

    (void)result;
    (void)text;
    a->came++;
    a->code = code != 0 ? code : a->code;
}

/* What runs for one ends with it, whatever it waits for, and nothing else does. */
START_TEST(what_runs_ends)
{
    static const char *const ends[] = {"sleep(1000)", "while true do end"};
    struct harness *h = worker(NULL);
    struct nest *one = nest_open(h, 0), *two = nest_open(h, 0);
    struct answer a = {0}, b = {0};
    char source[300];
    uint32_t id;

    for (int i = 0; i < 2; i++) {
        snprintf(source, sizeof source,
                 "local sleep = require 'grapnel'.sleep "
                 "local c <close> = setmetatable({}, {__close = function() ended%d = 'ended' end})"
                 "began%d = 'began' %s",
                 i, i, i == 1 ? "sleep(1000)" : ends[_i]);
        ck_assert_int_eq(link_call(i == 0 ? one->h.link : two->h.link, "call",
                                   call_of(values_text("execute"), values_text(source)), on_answer,
                                   i == 0 ? &a : &b, &id),
                         0);
    }
    while (strcmp(execute(h, "return began0 and began1"), "began") != 0) {
    }
    if (_i == 0) {
        leave(one);
    } else {
        stream_eof(one->s);
        nest_closed(one);
        ck_assert_int_eq(one->code, 0);
        link_end(one->h.link, -E_CLOSED, "");
        nest_end(one);
    }
    ck_assert_int_eq(a.came, 1);
    while (strcmp(execute(h, "return ended0"), "ended") != 0) {
    }
    ck_assert_str_eq(execute(h, "return ended1"), "");
    ck_assert_int_eq(b.came, 0);
    leave(two);
    let_go(h);
}
END_TEST

static int calls_came;

static void on_call(void *arg, struct link *l, uint32_t id, const char *name,
                    const struct value *args)
{
    (void)arg;
    (void)name;
    (void)args;
    calls_came++;
    link_answer(l, id, values_array());
}

static int has_called(void *arg)
{
    return calls_came >= *(const int *)arg;
}

/* Output that went to a link that is gone goes where it went before. */
START_TEST(redirections_end)
{
    static const int one_call = 1, two_calls = 2;
    struct harness *h = worker(NULL);
    struct nest *one = nest_open_bare(h);
    const struct link_handler handler = {.call = on_call};
    struct link_options options = {.opener = 1, .features = LINK_FEATURE_REFS};
    struct value *args;
    char text[300];

    calls_came = 0;
    one->h.link = link_new(&options, &handler, NULL, 0);
    ck_assert_ptr_nonnull(one->h.link);
    args = call_of(values_text("redirect_stdio"), values_ref(1, "function", NULL));
    values_append(args, values_ref(1, "function", NULL));
    ck_assert_int_eq(ask(&one->h, args, text, sizeof text), 0);
    args = call_of(values_text("require_from"), values_ref(2, "function", NULL));
    ck_assert_int_eq(ask(&one->h, args, text, sizeof text), 0);
    ck_assert_str_eq(execute(h, "print 'to it' return 'said'"), "said");
    harness_until(h, has_called, (void *)(uintptr_t)&one_call);
    (void)execute(h, "return pcall(require, 'nothing') and ''");
    harness_until(h, has_called, (void *)(uintptr_t)&two_calls);
    leave(one);
    ck_assert_str_eq(execute(h, "print 'to stderr' return 'said'"), "said");
    ck_assert_str_eq(execute(h, "return (pcall(require, 'nothing')) and '' or 'not found'"),
                     "not found");
    ck_assert_int_eq(calls_came, two_calls);
    harness_close(h);
    harness_wait(h);
    harness_errors(h, text, sizeof text);
    ck_assert_str_eq(text, "to stderr\n");
    link_end(h->link, -E_CLOSED, "");
    harness_gone(h);
}
END_TEST

/* ---- bounds ---- */

static int all_came(void *arg)
{
    const struct answer *a = arg;

    return a->came == 8;
}

/* One that does not read is sent no more than it has room for, and holds up nobody else. */
START_TEST(much_both_ways)
{
    static char large[900000];
    struct harness *h = worker(NULL);
    struct nest *one = nest_open(h, 0), *two = nest_open(h, 0);
    struct answer a = {0};
    uint32_t id;

    memset(large, 'x', sizeof large - 1);
    nest_greeted(one);
    one->hold = 1;
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(link_call(one->h.link, "call",
                                   call_of(values_text("deliver"), values_text(large)), on_answer,
                                   &a, &id),
                         0);
        ck_assert_int_eq(harness_call(&two->h, "call",
                                      call_of(values_text("deliver"), values_text(large)), NULL),
                         0);
    }
    ck_assert_str_eq(execute(h, "return 'on'"), "on");
    ck_assert_int_eq(a.came, 0);
    ck_assert_uint_lt(wire_length(&one->kept), 2 * sizeof large);
    nest_release(one);
    harness_until(h, all_came, &a);
    ck_assert_int_eq(a.code, 0);
    leave(one);
    leave(two);
    let_go(h);
}
END_TEST

START_TEST(so_many_and_no_more)
{
    struct harness *h = worker(NULL);
    struct nest *n[MOST], *more;

    for (int i = 0; i < MOST; i++) {
        n[i] = nest_open(h, 0);
    }
    more = nest_open(h, 0);
    nest_closed(more);
    ck_assert_int_eq(more->code, -E_LIMIT);
    nest_end(more);
    ck_assert_str_eq(execute(&n[MOST - 1]->h, "return 'on'"), "on");
    leave(n[0]);
    while (1) { /* it is gone a moment after its stream */
        n[0] = nest_open(h, 0);
        if (harness_call(&n[0]->h, "call", call_of(values_text("ping"), NULL), NULL) == 0) {
            break;
        }
        nest_end(n[0]);
    }
    for (int i = 0; i < MOST; i++) {
        leave(n[i]);
    }
    let_go(h);
}
END_TEST

START_TEST(no_link_within)
{
    struct harness *h = worker(NULL);
    struct nest *n = nest_open(h, 0);
    struct nest *within = nest_open_bare(&n->h);

    within->h.outer = h; /* who has the line */
    nest_closed(within);
    ck_assert_int_eq(within->code, -E_NO_SERVICE);
    within->h.outer = &n->h;
    nest_end(within);
    leave(n);
    let_go(h);
}
END_TEST

START_TEST(one_after_another)
{
    int rounds = harness_valgrind() ? 20 : 300;
    struct harness *h = worker(NULL);
    long before = 0, after;

    for (int i = 0; i < rounds; i++) {
        struct nest *n = nest_open(h, 0);
        ck_assert_str_eq(execute(&n->h, "return 'on'"), "on");
        leave(n);
        if (i == rounds / 10) {
            before = strtol(execute(h, "collectgarbage() collectgarbage() "
                                       "return tostring(math.floor(collectgarbage 'count'))"),
                            NULL, 10);
        }
    }
    after = strtol(execute(h, "collectgarbage() collectgarbage() "
                              "return tostring(math.floor(collectgarbage 'count'))"),
                   NULL, 10);
    ck_assert_int_lt(after, before + 64); /* KiB */
    let_go(h);
}
END_TEST

/* ---- what is not meant ---- */

START_TEST(hostile_bytes)
{
    struct harness *h = worker(NULL);
    struct nest *one = nest_open(h, 0), *two = nest_open(h, 0);

    ck_assert_str_eq(execute(&one->h, "y = 'kept' return y"), "kept");
    nest_send(one, "\0\0\0\0\77\0\0\0", 8);
    nest_closed(one);
    ck_assert_int_eq(one->code, -E_PROTOCOL);
    ck_assert_int_eq(one->h.goodbye_code, -E_PROTOCOL);
    nest_end(one);
    ck_assert_str_eq(execute(&two->h, "return y"), "kept");
    leave(two);
    let_go(h);
}
END_TEST

/* The worker ends with its first link, whatever runs for the others. */
START_TEST(the_first_ends)
{
    struct harness *h = worker(NULL);
    struct nest *one = nest_open(h, 0), *two;
    struct answer a = {0};
    uint32_t id;

    ck_assert_int_eq(link_call(one->h.link, "call",
                               call_of(values_text("execute"),
                                       values_text("began = 'began' require'grapnel'.sleep(1000)")),
                               on_answer, &a, &id),
                     0);
    while (strcmp(execute(h, "return began"), "began") != 0) {
    }
    two = nest_open(h, 0); /* on its way */
    ck_assert_str_eq(execute(h, "return 'on'"), "on");
    harness_close(h);
    ck_assert_int_eq(harness_wait(h), 0);
    link_end(h->link, -E_CLOSED, "");
    ck_assert_int_eq(a.came, 1);
    link_end(two->h.link, -E_CLOSED, "");
    nest_end(one);
    nest_end(two);
    harness_gone(h);
}
END_TEST

START_TEST(a_service_has_none)
{
    char path[] = "/tmp/grapnel-test-XXXXXX", word[64];
    static const char source[] = "return {exposed_x = 1}";
    int fd = mkstemp(path);
    struct harness *h;
    struct nest *n;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, source, sizeof source - 1), (ssize_t)sizeof source - 1);
    close(fd);
    snprintf(word, sizeof word, "service=%s", path);
    h = worker(word);
    n = nest_open(h, 0);
    nest_closed(n);
    ck_assert_int_eq(n->code, -E_DENIED);
    nest_end(n);
    let_go(h);
    unlink(path);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("worker_links");
    TCase *t = tcase_create("worker_links");

    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_namespace_is_shared);
    tcase_add_test(t, references_are_not);
    tcase_add_loop_test(t, what_runs_ends, 0, 2);
    tcase_add_test(t, redirections_end);
    tcase_add_test(t, much_both_ways);
    tcase_add_test(t, so_many_and_no_more);
    tcase_add_test(t, no_link_within);
    tcase_add_test(t, one_after_another);
    tcase_add_test(t, hostile_bytes);
    tcase_add_test(t, the_first_ends);
    tcase_add_test(t, a_service_has_none);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
