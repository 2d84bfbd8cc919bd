/* The link itself: greeting, parsing, ids, calls, GOODBYE, leases, output order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "proto/link_internal.h"
#include "unit.h"

static void check_broken(const struct pair_side *side, int code, const char *says)
{
    const struct error *e = link_error(side->link);
    ck_assert_msg(e->code == code, "%s: %s", errors_name(e->code), e->detail);
    ck_assert_msg(strstr(e->detail, says) != NULL, "\"%s\" does not say \"%s\"", e->detail, says);
}

/* ---- greeting ---- */

START_TEST(greets_in_any_cuts)
{
    static const size_t cuts[] = {0, 1, 2, 3, 7, 8, 9, 1000};
    for (size_t i = 0; i < sizeof(cuts) / sizeof(*cuts); i++) {
        struct pair_flow f = {.to_send = 100000, .eof_after = true};
        struct pair *p = pair_new(NULL, NULL);
        p->cut = cuts[i];
        p->b.model.close_on_eof = true;
        p->b.answer = true;
        pair_open(&p->a, &f);
        ck_assert_int_eq(link_call(p->a.link, "x", values_int(4), NULL, NULL, NULL), 0);
        pair_run(p);
        ck_assert_str_eq(f.order, "c");
        ck_assert_int_eq(f.result, 100000);
        ck_assert_str_eq(p->b.flows[0].order, "dec");
        ck_assert(!p->b.flows[0].wrong);
        ck_assert_int_eq(p->b.calls, 1);
        ck_assert_int_eq(link_error(p->a.link)->code, 0);
        ck_assert_int_eq(link_error(p->b.link)->code, 0);
        pair_free(p);
    }
}
END_TEST

static struct pair_side *fresh(void)
{
    struct pair_side *side = calloc(1, sizeof(*side));
    struct link_options o = {0};
    side->link = link_new(&o, &pair_link_handler, side, 5);
    ck_assert_ptr_nonnull(side->link);
    return side;
}

START_TEST(zeros_before_preface)
{
    struct pair_side *side = fresh();
    uint8_t *zeros = calloc(1, LINK_ZEROS_MAX + 1);
    ck_assert_int_eq(link_input(side->link, zeros, LINK_ZEROS_MAX, 6), 0);
    ck_assert_int_eq(link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6), 0);
    pair_lone_free(side);
    side = fresh();
    ck_assert_int_eq(link_input(side->link, zeros, LINK_ZEROS_MAX + 1, 6), -E_PROTOCOL);
    pair_lone_free(side);
    free(zeros);
}
END_TEST

START_TEST(garbage_is_shown)
{
    struct pair_side *side = fresh();
    const char *text = "GRAPple: \x1b[31mnot found\r\n";
    ck_assert_int_eq(link_input(side->link, (const uint8_t *)text, strlen(text), 6), -E_PROTOCOL);
    check_broken(side, -E_PROTOCOL, "GRAPple: ?[31mnot found??");
    ck_assert_int_eq(link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6), -E_PROTOCOL);
    pair_lone_free(side);
}
END_TEST

static int feed_hello(struct pair_side *side, unsigned major, unsigned minor)
{
    uint8_t hello[] = {(uint8_t)(major >> 8),
                       (uint8_t)major,
                       0,
                       (uint8_t)minor,
                       0xff,
                       0xff,
                       0xff,
                       0xff,
                       0,
                       0,
                       0,
                       0,
                       0xa0};
    ck_assert_int_eq(link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6), 0);
    return pair_feed(side, 0, FRAME_HELLO, 0, hello, sizeof(hello));
}

START_TEST(version_and_features)
{
    struct pair_side *side = fresh();
    ck_assert_int_eq(feed_hello(side, LINK_MAJOR + 6, 0), -E_VERSION);
    check_broken(side, -E_VERSION, "version 7");
    check_broken(side, -E_VERSION, "version 1");
    pair_lone_free(side);
    side = fresh();
    ck_assert_int_eq(feed_hello(side, LINK_MAJOR, LINK_MINOR + 9), 0);
    ck_assert_uint_eq(side->link->features, 0);
    pair_lone_free(side);
}
END_TEST

START_TEST(another_versions_hello_may_look_otherwise)
{
    struct pair_side *side = fresh();
    static const uint8_t two[] = {0, 2};
    link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_HELLO, 0, two, 2), -E_PROTOCOL);
    pair_lone_free(side);
    side = fresh();
    static const uint8_t longer[] = {0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0xff, 0xff};
    link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_HELLO, 0, longer, sizeof(longer)), -E_VERSION);
    pair_lone_free(side);
}
END_TEST

START_TEST(hello_comes_first_and_once)
{
    struct pair_side *side = fresh();
    static const uint8_t token[8] = {0};
    link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_PING, 0, token, 8), -E_PROTOCOL);
    check_broken(side, -E_PROTOCOL, "PING before HELLO");
    pair_lone_free(side);
    side = pair_lone(1);
    static const uint8_t hello[] = {0, LINK_MAJOR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa0};
    ck_assert_int_eq(pair_feed(side, 0, FRAME_HELLO, 0, hello, sizeof(hello)), -E_PROTOCOL);
    pair_lone_free(side);
    side = fresh();
    static const uint8_t nofacts[] = {0, LINK_MAJOR, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf6};
    link_input(side->link, (const uint8_t *)LINK_PREFACE, 8, 6);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_HELLO, 0, nofacts, sizeof(nofacts)), -E_MALFORMED);
    pair_lone_free(side);
}
END_TEST

/* ---- bad frames ---- */

#define NAMED "\x82\x61x\xf6" /* ["x", nil] */

struct bad {
    uint32_t id;
    unsigned type, flags;
    const char *payload;
    size_t n;
    int code;
    const char *says;
};

#define P(s) (s), sizeof(s) - 1

/* To an accepter, whose peer has odd ids and has opened stream 1 and called 3. */
static const struct bad bad_frames[] = {
    {5, 99, 0, P(""), -E_PROTOCOL, "unknown frame type 99"},
    {0, FRAME_DATA, 0, P("x"), -E_PROTOCOL, "DATA with id 0"},
    {1, FRAME_PING, 0, P("12345678"), -E_PROTOCOL, "PING with id 1"},
    {0, FRAME_PING, 0, P("1234567"), -E_PROTOCOL, "PING of 7"},
    {0, FRAME_PING, 0, P("123456789"), -E_PROTOCOL, "PING of 9"},
    {1, FRAME_DATA, FRAMES_MORE, P("x"), -E_PROTOCOL, "DATA with flags"},
    {1, FRAME_DATA, FRAMES_DEFLATE, P("x"), -E_PROTOCOL, "not agreed"},
    {1, FRAME_DATA, 0x80, P("x"), -E_PROTOCOL, "flags 0x80"},
    {7, FRAME_DATA, 0, P("x"), -E_PROTOCOL, "DATA for id 7"},
    {2, FRAME_DATA, 0, P("x"), -E_PROTOCOL, "DATA for id 2"},
    {3, FRAME_DATA, 0, P("x"), -E_PROTOCOL, "DATA for id 3, which is no stream"},
    {3, FRAME_EOF, 0, P(""), -E_PROTOCOL, "EOF for id 3, which is no stream"},
    {9, FRAME_CREDIT, 0, P("\0\0\0\1"), -E_PROTOCOL, "CREDIT for id 9"},
    {9, FRAME_CLOSE, 0, P("\0\0\xf6"), -E_PROTOCOL, "CLOSE for id 9"},
    {1, FRAME_CLOSE, 0, P("\0\0\x61\xff"), -E_MALFORMED, "CLOSE"},
    {1, FRAME_CLOSE, 0, P("\0\0"), -E_MALFORMED, "CLOSE"},
    {1, FRAME_CLOSE, 0, P("\0\0\xf6\xf6"), -E_MALFORMED, "CLOSE"},
    {1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED), -E_PROTOCOL, "OPEN with id 1, which is in use"},
    {3, FRAME_OPEN, 0, P("\0\0\0\0" NAMED), -E_PROTOCOL, "OPEN with id 3, which is in use"},
    {6, FRAME_OPEN, 0, P("\0\0\0\0" NAMED), -E_PROTOCOL, "OPEN with id 6, which is ours"},
    {5, FRAME_OPEN, 0, P("\0\0\0\0\xf6"), -E_PROTOCOL, "OPEN without a name"},
    {5, FRAME_OPEN, 0, P("\0\0\0\0\x82\x07\xf6"), -E_PROTOCOL, "OPEN without a name"},
    {5, FRAME_OPEN, 0, P("\0\0\0\0\x82\x62x\0\xf6"), -E_PROTOCOL, "OPEN without a name"},
    {5, FRAME_OPEN, 0, P("\0\0\0\0\x83\x61x\xf6\xf6"), -E_PROTOCOL, "OPEN without a name"},
    {5, FRAME_OPEN, 0, P("\0\0\0\0\xa2\x61x\xf6\x61y\xf6"), -E_PROTOCOL, "OPEN without a name"},
    {1, FRAME_CALL, 0, P(NAMED), -E_PROTOCOL, "CALL with id 1, which is in use"},
    {3, FRAME_CALL, 0, P(NAMED), -E_PROTOCOL, "CALL with id 3, which is in use"},
    {2, FRAME_RETURN, 0, P("\xf6"), -E_PROTOCOL, "RETURN for id 2"},
    {3, FRAME_RETURN, 0, P("\xf6"), -E_PROTOCOL, "RETURN for id 3"},
    {3, FRAME_ERROR, 0, P("\0\1"), -E_PROTOCOL, "ERROR for id 3"},
    {2, FRAME_CANCEL, 0, P(""), -E_PROTOCOL, "CANCEL for id 2"},
    {1, FRAME_CANCEL, 0, P(""), -E_PROTOCOL, "CANCEL for id 1"},
    {9, FRAME_CANCEL, 0, P(""), -E_PROTOCOL, "CANCEL for id 9"},
};

START_TEST(bad_frames_end_the_link)
{
    const struct bad *bad = &bad_frames[_i];
    struct pair_side *side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, bad->id, bad->type, bad->flags, bad->payload, bad->n),
                     bad->code);
    check_broken(side, bad->code, bad->says);
    ck_assert_int_eq(side->flows[0].closes, 1);
    ck_assert_int_eq(side->flows[0].code, bad->code);
    /* The last words name the reason. */
    struct frame f;
    ck_assert_int_eq(pair_sent(side, FRAME_GOODBYE, &f), 0);
    ck_assert_int_eq(f.goodbye.code, -bad->code);
    pair_lone_free(side);
}
END_TEST

START_TEST(four_gib_lengths)
{
    /* An array, a text and a map that claim 2^32 items must not make us take memory. */
    static const char *const bodies[] = {"\x9a\xff\xff\xff\xff", "\x7a\xff\xff\xff\xff",
                                         "\xba\xff\xff\xff\xff", "\x5b\xff\xff\xff\xff"};
    for (size_t i = 0; i < 4; i++) {
        struct pair_side *side = pair_lone(0);
        int rc = pair_feed(side, 1, FRAME_CALL, 0, bodies[i], 5);
        ck_assert(rc == -E_MALFORMED || rc == -E_TOO_LARGE);
        pair_lone_free(side);
    }
}
END_TEST

START_TEST(late_frames_are_ignored)
{
    struct pair_side *side = pair_lone(0);
    struct pair_flow f = {0};
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CLOSE, 0, P("\0\0\xf6")), 0);
    pair_open(side, &f);
    ck_assert_int_eq(pair_feed(side, 2, FRAME_CLOSE, 0, P("\0\0\xf6")), 0);
    struct frame sent;
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &sent), 0);
    ck_assert_uint_eq(link_stream_count(side->link), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_DATA, 0, P("xyz")), 0);
    for (uint32_t id = 1; id <= 2; id++) {
        ck_assert_int_eq(pair_feed(side, id, FRAME_DATA, 0, P("xyz")), 0);
        ck_assert_int_eq(pair_feed(side, id, FRAME_CREDIT, 0, P("\0\0\0\1")), 0);
        ck_assert_int_eq(pair_feed(side, id, FRAME_EOF, 0, P("")), 0);
        ck_assert_int_eq(pair_feed(side, id, FRAME_CLOSE, 0, P("\0\0\xf6")), 0);
    }
    ck_assert_int_eq(pair_feed(side, 2, FRAME_RETURN, 0, P("\xf6")), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CANCEL, 0, P("")), 0);
    pair_lone_free(side);
}
END_TEST

START_TEST(truncated)
{
    struct pair_side *side = pair_lone(0);
    struct link *l = side->link;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED)), 0);
    ck_assert_int_eq(link_input(l, (const uint8_t *)"\0\0\0\1\6\0\0\20half", 12, 7), 0);
    link_input_end(l, 8);
    check_broken(side, -E_LOST, "ended");
    ck_assert_int_eq(side->flows[0].code, -E_LOST);
    ck_assert_str_eq(side->flows[0].order, "dc");
    pair_lone_free(side);
}
END_TEST

/* ---- MORE ---- */

static struct value *big_text(size_t n)
{
    char *text = malloc(n);
    memset(text, 'v', n);
    struct value *v = values_text_n(text, n);
    free(text);
    return v;
}

struct answer {
    int runs, code;
    size_t length;
    int64_t number;
    char text[100];
    struct link *link; /* call again from within, so often */
    int again;
};

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct answer *a = arg;
    a->runs++;
    a->code = code;
    a->length = 0;
    values_as_string(result, &a->length);
    a->number = values_as_int(result, -1);
    snprintf(a->text, sizeof(a->text), "%s", text);
    if (a->again > 0) {
        a->again--;
        link_call(a->link, "again", values_int(a->number), on_answer, a, NULL);
    }
}

START_TEST(large_values_go_in_parts)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {0};
    p->cut = 1000;
    ck_assert_int_eq(link_call(p->a.link, "big", big_text(1000000), on_answer, &a, NULL), 0);
    /* A limit that is in the table is the caller's affair, not the link's. */
    ck_assert_int_eq(link_call(p->a.link, "big", big_text(1048576), on_answer, &a, NULL),
                     -E_TOO_LARGE);
    pair_run(p);
    ck_assert_int_eq(p->b.calls, 1);
    ck_assert_int_eq(link_answer(p->b.link, p->b.call_id, big_text(1048576)), -E_TOO_LARGE);
    ck_assert_int_eq(link_answer(p->b.link, p->b.call_id, big_text(1048000)), 0);
    pair_run(p);
    ck_assert_int_eq(a.runs, 1);
    ck_assert_uint_eq(a.length, 1048000);
    pair_free(p);
}
END_TEST

START_TEST(parts_let_others_between)
{
    struct pair_side *side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CALL, FRAMES_MORE, P("\x82\x64wh")), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_DATA, 0, P("\0")), 0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_PING, 0, P("12345678")), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CALL, FRAMES_MORE, P("ol")), 0);
    ck_assert_int_eq(side->calls, 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CALL, 0, P("\x07")), 0);
    ck_assert_int_eq(side->calls, 1);
    ck_assert_str_eq(side->call_name, "whol");
    ck_assert_int_eq(side->call_arg, 7);
    ck_assert_uint_eq(side->flows[0].received, 1);
    /* The next one starts afresh. */
    ck_assert_int_eq(pair_feed(side, 5, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_int_eq(side->calls, 2);
    /* But not two sequences at once. */
    ck_assert_int_eq(pair_feed(side, 7, FRAME_CALL, FRAMES_MORE, P("\x82")), 0);
    ck_assert_int_eq(pair_feed(side, 9, FRAME_CALL, 0, P(NAMED)), -E_PROTOCOL);
    pair_lone_free(side);
    side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 7, FRAME_CALL, FRAMES_MORE, P("\x82")), 0);
    ck_assert_int_eq(pair_feed(side, 9, FRAME_OPEN, FRAMES_MORE, P("\0\0\0\0\x82")), -E_PROTOCOL);
    pair_lone_free(side);
}
END_TEST

START_TEST(parts_are_bounded)
{
    struct pair_side *side = pair_lone(0);
    char part[65535] = {0};
    int rc = 0, fed = 0;
    while (rc == 0 && fed < 100) {
        rc = pair_feed(side, 1, FRAME_CALL, FRAMES_MORE, part, sizeof(part));
        fed++;
    }
    ck_assert_int_eq(rc, -E_TOO_LARGE);
    ck_assert_int_eq(fed, 17);
    pair_lone_free(side);
}
END_TEST

/* ---- calls ---- */

START_TEST(calls_are_answered)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {0}, b = {0}, c = {0};
    uint32_t id, first;
    p->b.answer = true;
    ck_assert_int_eq(link_call(p->a.link, "inc", values_int(41), on_answer, &a, &id), 0);
    pair_run(p);
    ck_assert_int_eq(a.number, 42);
    ck_assert_str_eq(p->b.call_name, "inc");
    p->b.answer = false;
    ck_assert_int_eq(link_call(p->a.link, "slow", NULL, on_answer, &b, &first), 0);
    pair_run(p);
    ck_assert_int_eq(link_call(p->a.link, "fail", NULL, on_answer, &c, &id), 0);
    pair_run(p);
    ck_assert_int_eq(link_fail(p->b.link, p->b.call_id, -E_NO_COMMAND, "no such thing"), 0);
    pair_run(p);
    ck_assert_int_eq(c.code, -E_NO_COMMAND);
    ck_assert_str_eq(c.text, "no such thing");
    ck_assert_int_eq(b.runs, 0);
    link_cancel(p->a.link, first);
    link_cancel(p->a.link, first);
    pair_run(p);
    ck_assert_int_eq(p->b.cancels, 1);
    ck_assert_uint_eq(p->b.call_id, first);
    ck_assert_int_eq(b.runs, 0);
    ck_assert_int_eq(link_fail(p->b.link, first, -E_CANCELLED, NULL), 0);
    ck_assert_int_eq(link_fail(p->b.link, first, -E_CANCELLED, NULL), 0);
    ck_assert_int_eq(link_answer(p->b.link, 12345, NULL), 0);
    pair_run(p);
    ck_assert_int_eq(b.runs, 1);
    ck_assert_int_eq(b.code, -E_CANCELLED);
    link_cancel(p->a.link, first);
    ck_assert(!link_has_output(p->a.link));
    pair_free(p);
}
END_TEST

START_TEST(calls_both_ways_have_their_own_ids)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {0}, b = {0};
    uint32_t ida, idb;
    p->a.answer = p->b.answer = true;
    ck_assert_int_eq(link_call(p->a.link, "x", values_int(1), on_answer, &a, &ida), 0);
    ck_assert_int_eq(link_call(p->b.link, "x", values_int(2), on_answer, &b, &idb), 0);
    ck_assert_uint_eq(ida, 1);
    ck_assert_uint_eq(idb, 2);
    pair_run(p);
    ck_assert_int_eq(a.number, 2);
    ck_assert_int_eq(b.number, 3);
    pair_free(p);
}
END_TEST

START_TEST(calls_end_with_the_link)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {.link = p->a.link, .again = 1};
    ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_answer, &a, NULL), 0);
    pair_run(p);
    link_end(p->a.link, -E_LOST, "gone");
    link_end(p->a.link, -E_IO, "twice");
    ck_assert_int_eq(a.runs, 1);
    ck_assert_int_eq(a.code, -E_LOST);
    ck_assert_str_eq(a.text, "gone");
    ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_answer, &a, NULL), -E_CLOSED);
    ck_assert_int_eq(a.runs, 1);
    /* The callee's answer comes too late and must do no harm. */
    ck_assert_int_eq(link_answer(p->b.link, p->b.call_id, values_int(1)), 0);
    pair_free(p);
}
END_TEST

START_TEST(calls_are_limited)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {0};
    for (int i = 0; i < LINK_CALLS_MAX; i++) {
        ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_answer, &a, NULL), 0);
    }
    ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_answer, &a, NULL), -E_LIMIT);
    pair_run(p);
    ck_assert_int_eq(p->b.calls, LINK_CALLS_MAX);
    pair_free(p);
    ck_assert_int_eq(a.runs, LINK_CALLS_MAX);
    ck_assert_int_eq(a.code, -E_CLOSED);
    /* A peer that does not keep to it. */
    struct pair_side *side = pair_lone(0);
    for (uint32_t i = 0; i <= LINK_CALLS_MAX; i++) {
        ck_assert_int_eq(pair_feed(side, 2 * i + 1, FRAME_CALL, 0, P(NAMED)), 0);
    }
    ck_assert_int_eq(side->calls, LINK_CALLS_MAX);
    struct frame f;
    ck_assert_int_eq(pair_sent(side, FRAME_ERROR, &f), 0);
    ck_assert_uint_eq(f.error.code, E_LIMIT);
    ck_assert_uint_eq(f.id, 2 * LINK_CALLS_MAX + 1);
    pair_lone_free(side);
}
END_TEST

START_TEST(no_handler_refuses)
{
    struct link_handler none = {0};
    struct pair_side *side = pair_lone(0);
    struct frame f;
    side->link->handler = none;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED)), 0);
    ck_assert_int_eq(pair_sent(side, FRAME_CLOSE, &f), 0);
    ck_assert_uint_eq(f.close.code, E_NO_SERVICE);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_int_eq(pair_sent(side, FRAME_ERROR, &f), 0);
    ck_assert_uint_eq(f.error.code, E_NO_SERVICE);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CANCEL, 0, P("")), 0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_GOODBYE, 0, P("\0\0")), 0);
    pair_lone_free(side);
}
END_TEST

START_TEST(ids_wrap_around_live_ones)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {0}, b = {0};
    struct pair_flow f = {0};
    pair_open(&p->a, &f);
    ck_assert_uint_eq(stream_id(f.s), 1);
    p->a.link->next_id = 0xffffffff;
    ck_assert_int_eq(link_call(p->a.link, "last", NULL, on_answer, &a, NULL), 0);
    uint32_t id;
    ck_assert_int_eq(link_call(p->a.link, "first", NULL, on_answer, &b, &id), 0);
    ck_assert_uint_eq(id, 3);
    p->b.answer = true;
    pair_run(p);
    ck_assert_int_eq(a.runs + b.runs, 2);
    ck_assert_int_eq(link_error(p->a.link)->code, 0);
    pair_free(p);
}
END_TEST

/* ---- output order ---- */

START_TEST(control_passes_bulk)
{
    struct pair_side *side = pair_lone(1);
    struct link *l = side->link;
    struct pair_flow f = {.to_send = 1 << 20};
    const uint8_t *bytes;
    size_t n;
    struct frame sent;
    ck_assert_int_eq(pair_sent(side, FRAME_HELLO, &sent), 0);
    pair_open(side, &f);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CREDIT, 0, P("\0\x10\0\0")), 0);
    ck_assert_int_eq(link_output(l, &bytes, &n, 2), 0);
    ck_assert_uint_gt(n, LINK_OUTPUT_MAX);
    uint8_t *before = malloc(n);
    memcpy(before, bytes, n);
    link_sent(l, 1000, 3);
    /* Partly sent: what was handed out stays, the PONG comes at the first frame's end after it. */
    ck_assert_int_eq(pair_feed(side, 0, FRAME_PING, 0, P("12345678")), 0);
    size_t all = n - 1000;
    ck_assert_int_eq(link_output(l, &bytes, &n, 4), 0);
    ck_assert_uint_eq(n, all + 16);
    ck_assert_mem_eq(bytes, before + 1000, LINK_PINNED);
    size_t at = 0;
    while (at < n && memcmp(bytes + at, before + 1000 + at, 1) == 0) {
        at++;
    }
    ck_assert_uint_le(at, LINK_PINNED + LINK_BULK_ALONE + 16);
    ck_assert_mem_eq(bytes + n - 5000, before + n + 1000 - 16 - 5000, 5000);
    /* Nothing is lost or repeated. */
    size_t total = 1000;
    do {
        size_t part = n < 777 ? n : 777;
        total += part;
        link_sent(l, part, 5);
        ck_assert_int_eq(link_output(l, &bytes, &n, 5), 0);
    } while (n > 0);
    ck_assert_uint_gt(total, 1 << 20);
    ck_assert_uint_eq(link_counters(l).sent, total + 8 + 8 + 13);
    free(before);
    pair_lone_free(side);
}
END_TEST

START_TEST(what_was_handed_out_stays)
{
    struct pair_side *side = pair_lone(1);
    struct link *l = side->link;
    static struct pair_flow f[1000];
    uint8_t before[100000];
    const uint8_t *bytes;
    size_t n, again;
    struct frame sent;
    for (size_t i = 0; i < 1000; i++) {
        pair_open(side, &f[i]);
    }
    ck_assert_int_eq(pair_sent(side, FRAME_OPEN, &sent), 0);
    for (size_t i = 0; i < 1000; i++) {
        stream_write(f[i].s, "0123456789012345678901234567890123456789", 40);
    }
    /* Many small frames, so that there are boundaries among the bytes that must stay. */
    ck_assert_int_eq(link_output(l, &bytes, &n, 2), 0);
    ck_assert_uint_eq(n, 48000);
    memcpy(before, bytes, n);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_PING, 0, P("12345678")), 0);
    ck_assert_int_eq(link_output(l, &bytes, &again, 2), 0);
    ck_assert_uint_eq(again, n + 16);
    ck_assert_mem_eq(bytes, before, LINK_PINNED);
    /* But not all of them are waited for. */
    size_t at = LINK_PINNED + 48 - LINK_PINNED % 48;
    ck_assert_uint_eq(bytes[at + 4], FRAME_PONG);
    ck_assert_mem_eq(bytes + at + 16, before + at, n - at);
    /* What was handed out less than that, stays too. */
    link_sent(l, again, 2);
    stream_write(f[0].s, "abc", 3);
    ck_assert_int_eq(link_output(l, &bytes, &n, 2), 0);
    memcpy(before, bytes, n);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_PING, 0, P("12345678")), 0);
    ck_assert_int_eq(link_output(l, &bytes, &again, 2), 0);
    ck_assert_mem_eq(bytes, before, n);
    pair_lone_free(side);
}
END_TEST

START_TEST(control_keeps_its_order)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 1 << 20};
    struct answer a = {0};
    const uint8_t *bytes;
    size_t n;
    uint32_t id;
    pair_open(&p->a, &f);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(link_output(p->a.link, &bytes, &n, 2), 0);
        ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_answer, &a, &id), 0);
        ck_assert_int_eq(link_output(p->a.link, &bytes, &n, 2), 0);
        link_cancel(p->a.link, id);
    }
    pair_run(p);
    ck_assert_msg(link_error(p->b.link)->code == 0, "%s", link_error(p->b.link)->detail);
    ck_assert_int_eq(p->b.calls, 5);
    ck_assert_int_eq(p->b.cancels, 5);
    pair_free(p);
}
END_TEST

START_TEST(small_things_share_one_piece)
{
    struct pair_side *side = pair_lone(1);
    struct pair_flow f = {0};
    const uint8_t *bytes;
    size_t n;
    pair_open(side, &f);
    stream_write(f.s, "abc", 3);
    stream_eof(f.s);
    link_call(side->link, "x", NULL, NULL, NULL, NULL);
    ck_assert_int_eq(side->wakes, 1);
    ck_assert_int_eq(link_output(side->link, &bytes, &n, 1), 0);
    link_sent(side->link, n, 1);
    ck_assert(!link_has_output(side->link));
    ck_assert_int_eq(link_output(side->link, &bytes, &n, 1), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(side->wakes, 1);
    link_call(side->link, "x", NULL, NULL, NULL, NULL);
    ck_assert_int_eq(side->wakes, 2);
    pair_lone_free(side);
}
END_TEST

START_TEST(ping_flood_congests)
{
    struct pair_side *side = pair_lone(0);
    struct frame f;
    int fed = 0;
    while (!link_congested(side->link) && fed < 1000000) {
        ck_assert_int_eq(pair_feed(side, 0, FRAME_PING, 0, P("12345678")), 0);
        fed++;
    }
    ck_assert_int_eq(fed, (int)LINK_CONTROL_MAX / 16 + 1);
    ck_assert_int_eq(pair_sent(side, FRAME_PONG, &f), 0);
    ck_assert(!link_congested(side->link));
    pair_lone_free(side);
}
END_TEST

/* ---- end ---- */

START_TEST(goodbye_lets_streams_run)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 500000, .eof_after = true}, g = {0};
    struct error e;
    p->b.model.close_on_eof = true;
    pair_open(&p->a, &f);
    ck_assert_int_eq(link_goodbye(p->a.link, 0, "done"), 0);
    ck_assert_ptr_null(stream_open(p->a.link, "x", NULL, &pair_handler, &g, &e));
    ck_assert_int_eq(e.code, -E_CLOSED);
    /* Calls are for what still runs, and over with it. */
    p->b.answer = true;
    ck_assert_int_eq(link_call(p->a.link, "x", NULL, NULL, NULL, NULL), 0);
    ck_assert(!link_finished(p->a.link));
    pair_run(p);
    ck_assert_int_eq(p->b.calls, 1);
    ck_assert_int_eq(link_call(p->a.link, "x", NULL, NULL, NULL, NULL), -E_CLOSED);
    ck_assert_int_eq(p->b.goodbyes, 1);
    ck_assert_int_eq(p->b.goodbye_code, 0);
    ck_assert_int_eq(f.result, 500000);
    ck_assert(link_finished(p->a.link));
    ck_assert(!link_finished(p->b.link));
    /* The other side may still open. */
    pair_open(&p->b, &g);
    pair_run(p);
    ck_assert_uint_eq(p->a.flow_count, 1);
    stream_close(g.s, 0, NULL, NULL);
    pair_run(p);
    link_input_end(p->b.link, p->now);
    ck_assert_int_eq(link_error(p->b.link)->code, 0);
    link_goodbye(p->b.link, 0, "");
    pair_run(p);
    ck_assert(link_finished(p->b.link));
    pair_free(p);
}
END_TEST

START_TEST(opening_after_goodbye_is_an_error)
{
    struct pair_side *side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_GOODBYE, 0, P("\0\0bye")), 0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_OPEN, 0, P("\0\0\0\0" NAMED)), -E_PROTOCOL);
    check_broken(side, -E_PROTOCOL, "OPEN after GOODBYE");
    pair_lone_free(side);
    side = pair_lone(0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_GOODBYE, 0, P("\0\0bye")), 0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_GOODBYE, 0, P("\0\0bye")), -E_PROTOCOL);
    pair_lone_free(side);
}
END_TEST

START_TEST(goodbye_with_a_code_ends_at_once)
{
    struct pair *p = pair_new(NULL, NULL);
    struct pair_flow f = {.to_send = 50000000};
    pair_open(&p->a, &f);
    pair_run(p);
    ck_assert_int_eq(link_goodbye(p->a.link, -E_TIMEOUT, "enough"), 0);
    ck_assert_int_eq(f.code, -E_TIMEOUT);
    ck_assert_int_eq(f.closes, 1);
    pair_run(p);
    ck_assert(link_finished(p->a.link));
    ck_assert_int_eq(p->b.goodbye_code, -E_TIMEOUT);
    check_broken(&p->b, -E_TIMEOUT, "enough");
    ck_assert_int_eq(p->b.flows[0].code, -E_TIMEOUT);
    ck_assert_str_eq(p->b.flows[0].text, "enough");
    pair_free(p);
}
END_TEST

START_TEST(last_words_before_anything_was_sent)
{
    struct pair_side *side = fresh();
    struct frame f;
    link_end(side->link, -E_SYSTEM, "no luck");
    ck_assert_int_eq(pair_sent(side, FRAME_GOODBYE, &f), 0);
    ck_assert_uint_eq(f.goodbye.code, E_SYSTEM);
    const uint8_t *bytes;
    size_t n;
    ck_assert_int_eq(link_output(side->link, &bytes, &n, 9), -E_SYSTEM);
    ck_assert(link_finished(side->link));
    pair_lone_free(side);
}
END_TEST

START_TEST(long_texts_are_cut_between_characters)
{
    struct pair *p = pair_new(NULL, NULL);
    struct answer a = {0};
    char text[6001];
    for (size_t i = 0; i < 6000; i += 3) {
        memcpy(text + i, "\xe2\x82\xac", 3);
    }
    text[6000] = '\0';
    link_call(p->a.link, "x", NULL, on_answer, &a, NULL);
    pair_run(p);
    ck_assert_int_eq(link_fail(p->b.link, p->b.call_id, -E_IO, text), 0);
    pair_run(p);
    ck_assert_int_eq(a.code, -E_IO);
    ck_assert_uint_eq(link_text_length(text, 4096), 4095);
    ck_assert_int_eq(link_goodbye(p->a.link, -E_IO, text), 0);
    pair_run(p);
    check_broken(&p->b, -E_IO, "\xe2\x82\xac");
    pair_free(p);
}
END_TEST

/* ---- time ---- */

START_TEST(leases_and_pings)
{
    struct link_options o = {.lease_ms = 30000}, q = {.lease_ms = 9000};
    struct pair *p = pair_new(&o, &q);
    uint64_t start = p->now;
    /* Three hours in which only the heartbeat goes. */
    while (p->now < start + 10800000000u) {
        uint64_t next = link_tick(p->a.link, p->now);
        uint64_t other = link_tick(p->b.link, p->now);
        next = next < other ? next : other;
        ck_assert_uint_le(next, p->now + 3000000);
        pair_run(p);
        p->now = next > p->now ? next : p->now;
    }
    ck_assert_int_eq(link_error(p->a.link)->code, 0);
    ck_assert_int_eq(link_error(p->b.link)->code, 0);
    ck_assert_uint_lt(link_counters(p->a.link).sent, 32 * 2 * 3700 + 100);
    ck_assert_uint_gt(link_counters(p->a.link).sent, 16 * 3500);
    pair_free(p);
}
END_TEST

/* Lets time pass with all ticks that fall due. */
static void idle(struct pair *p, uint64_t us)
{
    uint64_t until = p->now + us;
    while (p->now < until) {
        uint64_t next = link_tick(p->a.link, p->now), other = link_tick(p->b.link, p->now);
        next = next < other ? next : other;
        pair_run(p);
        p->now = next < until ? next : until;
    }
}

START_TEST(one_end_beats_for_both)
{
    struct link_options o = {.lease_ms = 9000};
    struct pair *p = pair_new(&o, &o);
    idle(p, 4000000); /* each has measured by now */
    uint64_t a = link_counters(p->a.link).sent, b = link_counters(p->b.link).sent;
    idle(p, 3600000000);
    ck_assert_int_eq(link_error(p->a.link)->code, 0);
    ck_assert_int_eq(link_error(p->b.link)->code, 0);
    /* A PING or a PONG each three seconds, of 16 bytes. */
    ck_assert_uint_le(link_counters(p->a.link).sent - a, 16 * 1201);
    ck_assert_uint_le(link_counters(p->b.link).sent - b, 16 * 1201);
    ck_assert_uint_ge(link_counters(p->b.link).sent - b, 16 * 1199);
    pair_free(p);
}
END_TEST

START_TEST(slow_beats_fall_together)
{
    struct link_options o = {.lease_ms = 300000};
    for (uint64_t begin = 0; begin < 250000000; begin += 33333333) {
        struct pair *p = pair_new(&o, &o);
        idle(p, begin);
        uint64_t beat = p->now, next = link_tick(p->a.link, p->now);
        pair_run(p);
        ck_assert_uint_gt(next, beat);
        ck_assert_uint_le(next, beat + 100000000);
        ck_assert_uint_eq(next % 100000000, 0);
        uint64_t before = link_counters(p->a.link).sent;
        p->now = next;
        ck_assert_uint_eq(link_tick(p->a.link, p->now), next + 100000000);
        pair_run(p);
        ck_assert_uint_eq(link_counters(p->a.link).sent - before, 16);
        pair_free(p);
    }
}
END_TEST

START_TEST(what_ends_soon_is_measured_for_bulk_only)
{
    struct link_options o = {.lease_ms = 30000, .features = LINK_FEATURE_DEFLATE};
    for (int bulk = 0; bulk <= 1; bulk++) {
        struct pair *p = pair_new(&o, &o);
        struct pair_flow f = {.eof_after = true};
        p->delay = 1000;
        p->b.model.to_send = bulk ? 5000 : 500;
        p->b.model.eof_after = true;
        pair_open(&p->a, &f);
        link_goodbye(p->a.link, 0, NULL);
        pair_run(p);
        link_tick(p->a.link, p->now);
        link_tick(p->b.link, p->now);
        pair_run(p);
        ck_assert_uint_eq(f.received, bulk ? 5000 : 500);
        ck_assert_uint_eq(link_round_trip(p->a.link), 0);
        ck_assert_int_eq(link_round_trip(p->b.link) != 0, bulk);
        pair_free(p);
    }
}
END_TEST

START_TEST(what_does_not_end_soon_beats)
{
    struct link_options o = {.lease_ms = 30000};
    struct pair *p = pair_new(&o, &o);
    struct pair_flow f = {0};
    pair_open(&p->a, &f);
    link_goodbye(p->a.link, 0, NULL);
    pair_run(p);
    idle(p, 3600000000);
    ck_assert_int_eq(link_error(p->a.link)->code, 0);
    ck_assert_int_eq(link_error(p->b.link)->code, 0);
    pair_free(p);
}
END_TEST

/* Ticks whenever due, with nothing coming in any more. */
static uint64_t silence(struct pair *p, struct link *l)
{
    uint64_t start = p->now, next;
    while ((next = link_tick(l, p->now)) != UINT64_MAX) {
        ck_assert_uint_gt(next, p->now);
        p->now = next;
        ck_assert_uint_lt(p->now, start + 1000000000u);
    }
    return p->now - start;
}

START_TEST(silence_ends_the_link)
{
    struct link_options o = {.lease_ms = 30000}, q = {.lease_ms = 9000};
    struct pair *p = pair_new(&o, &q);
    struct pair_flow f = {0};
    pair_open(&p->a, &f);
    ck_assert_uint_eq(silence(p, p->a.link), 30000000);
    check_broken(&p->a, -E_SILENT, "30000 ms");
    ck_assert_int_eq(f.code, -E_SILENT);
    p->now = 1000000;
    ck_assert_uint_eq(silence(p, p->b.link), 9000000);
    check_broken(&p->b, -E_LEASE, "9000 ms");
    pair_free(p);
}
END_TEST

START_TEST(being_stopped_is_not_the_peers_silence)
{
    struct link_options o = {.lease_ms = 9000};
    struct pair *p = pair_new(&o, &o);
    link_tick(p->b.link, p->now);
    pair_run(p);
    link_tick(p->a.link, p->now);
    p->now += 60000000;
    ck_assert_uint_lt(link_tick(p->a.link, p->now), UINT64_MAX);
    pair_run(p); /* what had come meanwhile */
    ck_assert_int_eq(link_error(p->a.link)->code, 0);
    ck_assert_uint_eq(link_last_heard(p->a.link), p->now);
    p->now += 60000000;
    ck_assert_uint_eq(silence(p, p->a.link), 3000000);
    ck_assert_int_eq(link_error(p->a.link)->code, -E_SILENT);
    pair_free(p);
}
END_TEST

START_TEST(an_opener_waits_for_the_peer_to_start)
{
    struct link_options o = {.lease_ms = 9000, .opener = 1};
    struct pair_side *side = calloc(1, sizeof(*side));
    side->link = link_new(&o, &pair_link_handler, side, 5);
    ck_assert_uint_eq(link_tick(side->link, 100000000), UINT64_MAX);
    ck_assert_int_eq(link_error(side->link)->code, 0);
    pair_lone_free(side);
    /* An accepter does not. */
    struct pair p = {.now = 5};
    side = calloc(1, sizeof(*side));
    o.opener = 0;
    side->link = link_new(&o, &pair_link_handler, side, 5);
    ck_assert_uint_eq(silence(&p, side->link), 9000000);
    pair_lone_free(side);
}
END_TEST

START_TEST(idle_links_give_memory_back)
{
    struct link_options o = {.lease_ms = 9000};
    struct pair *p = pair_new(&o, &o);
    struct pair_flow f = {.to_send = 5000000, .eof_after = true};
    p->b.model.close_on_eof = true;
    pair_open(&p->a, &f);
    pair_run(p);
    ck_assert_int_eq(f.result, 5000000);
    ck_assert_uint_gt(p->a.link->out.size, LINK_OUTPUT_MAX);
    p->now = link_tick(p->a.link, p->now);
    link_tick(p->a.link, p->now);
    ck_assert_uint_le(p->a.link->out.size, LINK_IDLE_KEEP);
    ck_assert_uint_le(p->a.link->control.size, LINK_IDLE_KEEP);
    pair_free(p);
}
END_TEST

static Suite *link_suite(void)
{
    Suite *s = suite_create("link");
    TCase *t = tcase_create("link");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, greets_in_any_cuts);
    tcase_add_test(t, zeros_before_preface);
    tcase_add_test(t, garbage_is_shown);
    tcase_add_test(t, version_and_features);
    tcase_add_test(t, another_versions_hello_may_look_otherwise);
    tcase_add_test(t, hello_comes_first_and_once);
    tcase_add_loop_test(t, bad_frames_end_the_link, 0,
                        (int)(sizeof(bad_frames) / sizeof(*bad_frames)));
    tcase_add_test(t, four_gib_lengths);
    tcase_add_test(t, late_frames_are_ignored);
    tcase_add_test(t, truncated);
    tcase_add_test(t, large_values_go_in_parts);
    tcase_add_test(t, parts_let_others_between);
    tcase_add_test(t, parts_are_bounded);
    tcase_add_test(t, calls_are_answered);
    tcase_add_test(t, calls_both_ways_have_their_own_ids);
    tcase_add_test(t, calls_end_with_the_link);
    tcase_add_test(t, calls_are_limited);
    tcase_add_test(t, no_handler_refuses);
    tcase_add_test(t, ids_wrap_around_live_ones);
    tcase_add_test(t, control_passes_bulk);
    tcase_add_test(t, what_was_handed_out_stays);
    tcase_add_test(t, control_keeps_its_order);
    tcase_add_test(t, small_things_share_one_piece);
    tcase_add_test(t, ping_flood_congests);
    tcase_add_test(t, goodbye_lets_streams_run);
    tcase_add_test(t, opening_after_goodbye_is_an_error);
    tcase_add_test(t, goodbye_with_a_code_ends_at_once);
    tcase_add_test(t, last_words_before_anything_was_sent);
    tcase_add_test(t, long_texts_are_cut_between_characters);
    tcase_add_test(t, leases_and_pings);
    tcase_add_test(t, one_end_beats_for_both);
    tcase_add_test(t, slow_beats_fall_together);
    tcase_add_test(t, what_ends_soon_is_measured_for_bulk_only);
    tcase_add_test(t, what_does_not_end_soon_beats);
    tcase_add_test(t, silence_ends_the_link);
    tcase_add_test(t, being_stopped_is_not_the_peers_silence);
    tcase_add_test(t, an_opener_waits_for_the_peer_to_start);
    tcase_add_test(t, idle_links_give_memory_back);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(link_suite)
