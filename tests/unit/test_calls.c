/* Raw calls, what is held back while much waits to be sent, RELEASE, and refs on a link. */
#include <stdlib.h>
#include <string.h>

#include "pair.h"
#include "proto/link_internal.h"
#include "unit.h"

#define P(s)  (s), sizeof(s) - 1
#define NAMED "\x82\x61x\xf6" /* ["x", nil] */

static void check_broken(const struct pair_side *side, int code, const char *says)
{
    const struct error *e = link_error(side->link);
    ck_assert_msg(e->code == code, "%s: %s", errors_name(e->code), e->detail);
    ck_assert_msg(strstr(e->detail, says) != NULL, "\"%s\" does not say \"%s\"", e->detail, says);
}

/* What came for raw handlers, in order. */
struct raw {
    bool echo; /* calls are answered at once, with their body */
    int calls, cancels, answers, released;
    uint32_t id;
    size_t n;
    uint64_t sum; /* of the bytes */
    int code;
    bool bodiless;
    char text[100];
    int64_t ids[20000], counts[20000];
    char order[64]; /* c: call, r: release */
    int refuse;     /* release's result */
};

static struct raw raw_of[2];

static void note(struct raw *r, char what)
{
    size_t n = strlen(r->order);
    if (n + 1 < sizeof(r->order)) {
        r->order[n] = what;
        r->order[n + 1] = '\0';
    }
}

static uint64_t sum(const uint8_t *body, size_t n)
{
    uint64_t s = 0;
    for (size_t i = 0; i < n; i++) {
        s = s * 31 + body[i];
    }
    return s;
}

static void on_call_raw(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct raw *r = &raw_of[((struct pair_side *)arg)->link->opener];
    r->calls++;
    r->id = id;
    r->n = n;
    r->sum = sum(body, n);
    note(r, 'c');
    if (r->echo) {
        ck_assert_int_eq(link_answer_raw(l, id, body, n), 0);
    }
}

static void on_cancel(void *arg, struct link *l, uint32_t id)
{
    (void)l;
    (void)id;
    raw_of[((struct pair_side *)arg)->link->opener].cancels++;
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    struct raw *r = &raw_of[((struct pair_side *)arg)->link->opener];
    (void)l;
    ck_assert_int_lt(r->released, 20000);
    r->ids[r->released] = id;
    r->counts[r->released++] = count;
    note(r, 'r');
    return r->refuse;
}

static void on_raw(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct raw *r = arg;
    r->answers++;
    r->code = code;
    r->n = n;
    r->sum = sum(body, n);
    r->bodiless = body == NULL;
    ck_assert_uint_lt(strlen(text), sizeof(r->text));
    memcpy(r->text, text, strlen(text) + 1);
}

static void on_plain(void *arg, int code, const struct value *result, const char *text)
{
    struct raw *r = arg;
    (void)text;
    r->answers++;
    r->code = code;
    r->sum = (uint64_t)values_as_int(result, 77);
}

/* Raw handlers for a side; the opener's notes are raw_of[1]. */
static struct raw *rawly(struct pair_side *side)
{
    struct raw *r = &raw_of[side->link->opener];
    memset(r, 0, sizeof(*r));
    side->link->handler.call_raw = on_call_raw;
    side->link->handler.cancel = on_cancel;
    side->link->handler.release = on_release;
    return r;
}

static struct pair *raw_pair(uint32_t features, uint32_t calls_max)
{
    struct link_options o = {.features = features, .calls_max = calls_max};
    struct pair *p = pair_new(&o, &o);
    rawly(&p->a);
    rawly(&p->b)->echo = true;
    return p;
}

/* ---- raw calls ---- */

/* Links that allow larger bodies; one that does not ends by them. */
START_TEST(larger_bodies)
{
    enum { SIZE = 5000000 };
    struct link_options large = {.body_max = SIZE}, usual = {0};
    struct raw answer = {0};
    uint8_t *body = calloc(1, SIZE + 1);
    struct pair *p = pair_new(&large, &large);
    rawly(&p->a);
    rawly(&p->b)->echo = true;
    ck_assert_int_eq(link_call_raw(p->a.link, body, SIZE + 1, on_raw, &answer, NULL), -E_TOO_LARGE);
    ck_assert_int_eq(link_call_raw(p->a.link, body, SIZE, on_raw, &answer, NULL), 0);
    pair_run(p);
    ck_assert_int_eq(answer.code, 0);
    ck_assert_uint_eq(answer.n, SIZE);
    ck_assert_uint_le(p->a.link->out.size + p->b.link->out.size, 2 * LINK_OUT_KEEP);
    pair_free(p);

    p = pair_new(&large, &usual);
    rawly(&p->a);
    rawly(&p->b);
    ck_assert_int_eq(link_call_raw(p->a.link, body, LINK_BODY_MAX, on_raw, &answer, NULL), 0);
    pair_run(p);
    ck_assert_uint_eq(raw_of[0].n, LINK_BODY_MAX);
    ck_assert_int_eq(link_call_raw(p->a.link, body, LINK_BODY_MAX + 1, on_raw, &answer, NULL), 0);
    pair_run(p);
    ck_assert_int_eq(p->b.link->error.code, -E_TOO_LARGE);
    pair_free(p);
    free(body);
}
END_TEST

START_TEST(raw_bodies_of_any_size)
{
    static const size_t sizes[] = {1, 2, 20, 65534, 65535, 65536, 131070, 131071, 1048575, 1048576};
    struct pair *p = raw_pair(0, 0);
    struct raw answer = {0};
    uint8_t *body = malloc(1048577);
    for (size_t i = 0; i < 1048577; i++) {
        body[i] = (uint8_t)(i % 251);
    }
    p->cut = 70001;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint32_t id;
        ck_assert_int_eq(link_call_raw(p->a.link, body, sizes[i], on_raw, &answer, &id), 0);
        pair_run(p);
        ck_assert_int_eq(answer.answers, (int)i + 1);
        ck_assert_uint_eq(raw_of[0].id, id);
        ck_assert_uint_eq(raw_of[0].n, sizes[i]);
        ck_assert_int_eq(answer.code, 0);
        ck_assert_uint_eq(answer.n, sizes[i]);
        ck_assert(answer.sum == sum(body, sizes[i]));
        ck_assert_str_eq(answer.text, "");
    }
    ck_assert_int_eq(link_call_raw(p->a.link, body, 1048577, on_raw, &answer, NULL), -E_TOO_LARGE);
    ck_assert_int_eq(link_call_raw(p->a.link, body, 0, on_raw, &answer, NULL), -E_ARGUMENT);
    /* An answer that does not fit leaves the call to be answered. */
    raw_of[0].echo = false;
    ck_assert_int_eq(link_call_raw(p->a.link, body, 5, on_raw, &answer, NULL), 0);
    pair_run(p);
    ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, body, 1048577), -E_TOO_LARGE);
    ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, body, 0), -E_ARGUMENT);
    ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, body, 7), 0);
    ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, body, 7), 0); /* ignored */
    pair_run(p);
    ck_assert_uint_eq(answer.n, 7);
    ck_assert_int_eq(p->a.link->error.code, 0);
    ck_assert_uint_eq(p->a.link->calls_own_bytes + p->b.link->calls_peer_bytes, 0);
    free(body);
    pair_free(p);
}
END_TEST

START_TEST(raw_and_plain_get_along)
{
    struct pair *p = raw_pair(0, 0);
    struct raw answer = {0};
    /* Plain caller, raw callee: the body is [name, args]. */
    raw_of[0].echo = false;
    ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_plain, &answer, NULL), 0);
    pair_run(p);
    ck_assert(raw_of[0].n == 4 && raw_of[0].sum == sum((const uint8_t *)P(NAMED)));
    ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, (const uint8_t *)"\x05", 1), 0);
    pair_run(p);
    ck_assert_int_eq(answer.answers, 1);
    ck_assert_uint_eq(answer.sum, 5);
    /* Raw caller, plain callee. */
    p->a.link->handler.call_raw = NULL;
    p->a.answer = true;
    ck_assert_int_eq(
        link_call_raw(p->b.link, (const uint8_t *)"\x82\x61y\x18\x64", 5, on_raw, &answer, NULL),
        0);
    pair_run(p);
    ck_assert_str_eq(p->a.call_name, "y");
    ck_assert_int_eq(answer.answers, 2);
    ck_assert(answer.n == 2 && answer.sum == sum((const uint8_t *)"\x18\x65", 2));
    pair_free(p);
}
END_TEST

START_TEST(raw_calls_fail)
{
    struct pair *p = raw_pair(0, 0);
    struct raw answer = {0};
    raw_of[0].echo = false;
    ck_assert_int_eq(link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL), 0);
    pair_run(p);
    ck_assert_int_eq(link_fail(p->b.link, raw_of[0].id, -E_REMOTE, "no"), 0);
    pair_run(p);
    ck_assert_int_eq(answer.code, -E_REMOTE);
    ck_assert_str_eq(answer.text, "no");
    ck_assert(answer.bodiless && answer.n == 0);
    ck_assert_int_eq(link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL), 0);
    ck_assert_int_eq(link_call_raw(p->a.link, (const uint8_t *)P(NAMED), NULL, NULL, NULL), 0);
    link_end(p->a.link, -E_LOST, "gone");
    ck_assert_int_eq(answer.answers, 2);
    ck_assert_int_eq(answer.code, -E_LOST);
    ck_assert_str_eq(answer.text, "gone");
    ck_assert(answer.bodiless);
    ck_assert_int_eq(link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL),
                     -E_CLOSED);
    ck_assert_int_eq(link_answer_raw(p->a.link, 2, (const uint8_t *)P(NAMED)), -E_CLOSED);
    pair_free(p);
}
END_TEST

START_TEST(empty_bodies_are_malformed)
{
    struct raw answer = {0};
    struct pair_side *side = pair_lone(0);
    rawly(side);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CALL, 0, P("")), -E_MALFORMED);
    check_broken(side, -E_MALFORMED, "CALL with a malformed value");
    ck_assert_int_eq(raw_of[0].calls, 0);
    pair_lone_free(side);
    side = pair_lone(1);
    ck_assert_int_eq(link_call_raw(side->link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL),
                     0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_RETURN, 0, P("")), -E_MALFORMED);
    check_broken(side, -E_MALFORMED, "RETURN with a malformed value");
    ck_assert_int_eq(answer.answers, 1);
    ck_assert_int_eq(answer.code, -E_MALFORMED);
    pair_lone_free(side);
}
END_TEST

START_TEST(nothing_is_looked_into)
{
    struct raw answer = {0};
    struct pair_side *side = pair_lone(1);
    rawly(side);
    ck_assert_int_eq(pair_feed(side, 2, FRAME_CALL, 0, P("\xff")), 0);
    ck_assert_int_eq(raw_of[1].calls, 1);
    ck_assert_int_eq(link_call_raw(side->link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL),
                     0);
    ck_assert_int_eq(pair_feed(side, 1, FRAME_RETURN, 0, P("\xff")), 0);
    ck_assert_int_eq(answer.answers, 1);
    pair_lone_free(side);
}
END_TEST

static unsigned spares(const struct link *l)
{
    unsigned n = 0;
    for (const struct call *c = l->spare; c != NULL; c = (const struct call *)c->node.next) {
        n++;
    }
    return n;
}

START_TEST(calls_are_used_again)
{
    struct pair *p = raw_pair(0, 0);
    struct raw answer = {0};
    for (int i = 0; i < 50; i++) {
        for (int j = 0; j < 10; j++) {
            ck_assert_int_eq(
                link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL), 0);
        }
        pair_run(p);
    }
    ck_assert_int_eq(answer.answers, 500);
    ck_assert_uint_eq(spares(p->a.link), 10);
    ck_assert_uint_le(spares(p->b.link), 10);
    /* Not kept for ever. */
    uint64_t next = link_tick(p->a.link, p->now);
    ck_assert(next != UINT64_MAX);
    ck_assert_uint_eq(spares(p->a.link), 10);
    link_tick(p->a.link, next);
    ck_assert_uint_eq(spares(p->a.link), 0);
    pair_free(p);
}
END_TEST

/* ---- bounds ---- */

START_TEST(calls_max)
{
    static const struct {
        uint32_t option, calls;
    } cases[] = {{1, 1}, {10, 10}, {LINK_CALLS_MOST, LINK_CALLS_MOST}, {UINT32_MAX, 65536}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pair *p = raw_pair(0, cases[i].option);
        struct raw answer = {0};
        raw_of[0].echo = false;
        for (uint32_t n = 0; n < cases[i].calls; n++) {
            ck_assert_int_eq(
                link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL), 0);
        }
        ck_assert_int_eq(link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL),
                         -E_LIMIT);
        pair_run(p);
        ck_assert_int_eq(raw_of[0].calls, (int)cases[i].calls);
        ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, (const uint8_t *)"\xf6", 1), 0);
        pair_run(p);
        ck_assert_int_eq(link_call_raw(p->a.link, (const uint8_t *)P(NAMED), on_raw, &answer, NULL),
                         0);
        pair_free(p);
        ck_assert_int_eq(answer.answers, (int)cases[i].calls + 1);
    }
}
END_TEST

START_TEST(bytes_of_calls_are_bounded)
{
    enum { BODY = 1048576, MOST = (int)(LINK_CALLS_BYTES / BODY) };
    struct pair *p = raw_pair(0, 0);
    struct raw answer = {0};
    uint8_t *body = calloc(1, BODY);
    raw_of[0].echo = false;
    for (int i = 0; i < MOST; i++) {
        ck_assert_int_eq(link_call_raw(p->a.link, body, BODY, on_raw, &answer, NULL), 0);
        pair_run(p);
    }
    ck_assert_int_eq(link_call_raw(p->a.link, body, 1, on_raw, &answer, NULL), -E_LIMIT);
    ck_assert_int_eq(raw_of[0].calls, MOST);
    ck_assert_int_eq(link_answer_raw(p->b.link, raw_of[0].id, body, 1), 0);
    pair_run(p);
    ck_assert_int_eq(link_call_raw(p->a.link, body, BODY, on_raw, &answer, NULL), 0);
    /* A peer that does not keep to it. */
    pair_run(p);
    p->a.link->calls_own_bytes = 0;
    ck_assert_int_eq(link_call_raw(p->a.link, body, 1, on_raw, &answer, NULL), 0);
    p->a.link->calls_own_bytes = LINK_CALLS_BYTES + 1;
    pair_run(p);
    ck_assert_int_eq(raw_of[0].calls, MOST + 1);
    ck_assert_int_eq(answer.answers, 2);
    ck_assert_int_eq(answer.code, -E_LIMIT);
    ck_assert_str_eq(answer.text, "too many calls");
    pair_free(p);
    free(body);
}
END_TEST

START_TEST(refusals_congest)
{
    struct link_options o = {.calls_max = 10};
    struct pair_side *side = pair_lone_with(&o, 0);
    struct frame f;
    uint32_t fed = 0;
    rawly(side);
    while (!link_congested(side->link) && fed < 1000000) {
        ck_assert_int_eq(pair_feed(side, 2 * fed++ + 1, FRAME_CALL, 0, P(NAMED)), 0);
    }
    ck_assert_int_eq(raw_of[0].calls, 10);
    ck_assert_uint_eq(fed, 10 + LINK_CONTROL_MAX / 24 + 1);
    ck_assert_int_eq(pair_sent(side, FRAME_ERROR, &f), 0);
    ck_assert(!link_congested(side->link));
    pair_lone_free(side);
}
END_TEST

/* ---- held back ---- */

/* A lone link in whose output `most` bytes and a little more wait. */
static struct pair_side *clogged(void)
{
    struct link_options o = {.features = LINK_FEATURE_REFS};
    struct pair_side *side = pair_lone_with(&o, LINK_FEATURE_REFS);
    uint8_t *body = calloc(1, 1048576);
    rawly(side)->echo = true;
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(link_call_raw(side->link, body, 1048576, NULL, NULL, NULL), 0);
    }
    free(body);
    ck_assert_uint_gt(link_backlog(side->link), LINK_CONTROL_MAX);
    return side;
}

/* Sends up to n bytes. */
static void send_some(struct pair_side *side, size_t most)
{
    const uint8_t *bytes;
    size_t n;
    ck_assert_int_eq(link_output(side->link, &bytes, &n, 1000000), 0);
    link_sent(side->link, n < most ? n : most, 1000000);
}

START_TEST(held_until_there_is_room)
{
    struct pair_side *side = clogged();
    struct frame f;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_RELEASE, 0, P("\x82\x07\x01")), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, 5, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_int_eq(pair_feed(side, 3, FRAME_CANCEL, 0, P("")), 0);
    send_some(side, 1);
    ck_assert_str_eq(raw_of[0].order, "");
    ck_assert(!link_congested(side->link));
    ck_assert(link_has_output(side->link));
    int wakes = side->wakes;
    send_some(side, 100000);
    ck_assert_int_eq(side->wakes, wakes + 1);
    ck_assert_str_eq(raw_of[0].order, "");
    send_some(side, 0);
    ck_assert_str_eq(raw_of[0].order, "crc");
    ck_assert_uint_eq(raw_of[0].id, 5);
    ck_assert_int_eq(raw_of[0].cancels, 0);
    send_some(side, side->link->partial); /* so that what follows is whole frames */
    ck_assert_int_eq(pair_sent(side, FRAME_ERROR, &f), 0);
    ck_assert_uint_eq(f.id, 3);
    ck_assert_uint_eq(f.error.code, E_CANCELLED);
    ck_assert_uint_eq(side->link->calls_peer, 0);
    ck_assert_uint_eq(side->link->calls_peer_bytes, 0);
    ck_assert_uint_le(side->link->held.size, LINK_IDLE_KEEP);
    /* And now nothing is held any more. */
    ck_assert_int_eq(pair_feed(side, 7, FRAME_CALL, 0, P(NAMED)), 0);
    ck_assert_str_eq(raw_of[0].order, "crcc");
    pair_lone_free(side);
}
END_TEST

START_TEST(held_in_turn)
{
    /* Answers clog the line again: only some can go on at a time. */
    struct pair_side *side = clogged();
    uint8_t *body = calloc(1, 60000);
    for (uint32_t i = 0; i < 100; i++) {
        ck_assert_int_eq(pair_feed(side, 2 * i + 1, FRAME_CALL, 0, body, 60000), 0);
        ck_assert_uint_le(link_backlog(side->link), LINK_CONTROL_MAX + 100000);
    }
    ck_assert_int_eq(raw_of[0].calls, 0);
    for (int i = 0; i < 1000 && raw_of[0].calls < 100; i++) {
        send_some(side, 65536);
        ck_assert_uint_le(link_backlog(side->link), LINK_CONTROL_MAX + 100000);
        ck_assert(raw_of[0].calls * 60000 < (i + 4) * 65536);
    }
    ck_assert_int_eq(raw_of[0].calls, 100);
    /* What is held dies with the link. */
    ck_assert_int_eq(link_call_raw(side->link, body, 60000, NULL, NULL, NULL), 0);
    ck_assert_int_eq(pair_feed(side, 1001, FRAME_CALL, 0, body, 60000), 0);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_RELEASE, 0, P("\x82\x07\x01")), 0);
    link_end(side->link, -E_LOST, "");
    ck_assert_int_eq(raw_of[0].calls, 100);
    pair_lone_free(side);
    free(body);
}
END_TEST

START_TEST(held_releases_are_bounded)
{
    struct pair_side *side = clogged();
    uint8_t *body = malloc(65000);
    memset(body, 1, 65000);
    memcpy(body, "\x99\xfd\xe4", 3); /* 64,996 ones */
    int rc = 0, fed = 0;
    ck_assert_int_eq(pair_feed(side, 1, FRAME_CALL, 0, P(NAMED)), 0);
    while (rc == 0 && fed < 2000) {
        rc = pair_feed(side, 0, FRAME_RELEASE, 0, body, 64999);
        fed++;
    }
    ck_assert_int_eq(rc, -E_LIMIT);
    ck_assert_uint_le((size_t)fed * 64999, LINK_HELD_MAX + 64999);
    pair_lone_free(side);
    free(body);
}
END_TEST

/* ---- two ends that both pipeline ---- */

struct pipe {
    struct wire_buf bytes;
    size_t room;
};

struct end {
    struct link *l;
    size_t asked, wanted, answered, served, answer_size, highest;
    size_t late; /* so many calls are gathered, and then answered together; 0: each at once */
    uint32_t ids[LINK_CALLS_MOST];
    size_t id_count;
    struct pipe in;
};

static void serve(struct end *e, uint32_t id)
{
    static const uint8_t answer[4096];
    e->served++;
    ck_assert_int_eq(link_answer_raw(e->l, id, answer, e->answer_size), 0);
}

static void on_busy(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct end *e = arg;
    (void)l;
    (void)body;
    (void)n;
    if (e->late == 0) {
        serve(e, id);
    } else {
        e->ids[e->id_count++] = id;
    }
}

static void on_busy_answer(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct end *e = arg;
    (void)body;
    (void)text;
    ck_assert_int_eq(code, 0);
    ck_assert_uint_eq(n, e->answer_size);
    e->answered++;
}

/* Asks as much as may be, and moves what fits into the pipe.  True if something happened. */
static bool work(struct end *e, struct end *peer, const uint8_t *body, size_t n)
{
    const uint8_t *bytes;
    size_t length;
    bool moved = false;
    while (e->asked < e->wanted && link_call_raw(e->l, body, n, on_busy_answer, e, NULL) == 0) {
        e->asked++;
    }
    if (!link_congested(e->l) && wire_length(&e->in.bytes) > 0) {
        size_t part = wire_length(&e->in.bytes);
        part = part < 20000 ? part : 20000;
        ck_assert_int_eq(link_input(e->l, wire_data(&e->in.bytes), part, 1), 0);
        wire_take(&e->in.bytes, part);
        moved = true;
    }
    if (e->id_count > e->late || (!moved && e->id_count > 0)) {
        while (e->id_count > 0) {
            serve(e, e->ids[--e->id_count]);
        }
        moved = true;
    }
    size_t mine = e->l->calls_own_bytes + e->l->calls_own * FRAMES_HEADER;
    size_t waits = link_backlog(e->l);
    e->highest = waits > mine && waits - mine > e->highest ? waits - mine : e->highest;
    ck_assert_int_eq(link_output(e->l, &bytes, &length, 1), 0);
    size_t room = peer->in.room - wire_length(&peer->in.bytes);
    length = length < room ? length : room;
    if (length > 0) {
        ck_assert_int_eq(wire_put(&peer->in.bytes, bytes, length), 0);
        link_sent(e->l, length, 1);
        moved = true;
    }
    return moved;
}

static const struct {
    size_t calls, body, answer, late;
} busy[] = {
    {100000, 30, 200, 0}, {3000, 3000, 4000, 0}, {800, 100000, 10, 0}, {70000, 20, 200, 50000}};
#define BUSY ((int)(sizeof(busy) / sizeof(*busy)))

START_TEST(both_may_pipeline)
{
    const struct link_handler handler = {.call_raw = on_busy};
    uint8_t *body = calloc(1, busy[_i].body);
    struct end *ends = calloc(2, sizeof(*ends));
    for (int j = 0; j < 2; j++) {
        struct link_options o = {.opener = j == 0, .calls_max = LINK_CALLS_MOST};
        ends[j].wanted = busy[_i].calls;
        ends[j].answer_size = busy[_i].answer;
        ends[j].late = busy[_i].late;
        ends[j].in.room = 65536;
        ends[j].l = link_new(&o, &handler, &ends[j], 1);
    }
    /* What moves takes turns of its own, or both would go in step. */
    unsigned idle = 0;
    for (unsigned turn = 0; idle < 10; turn++) {
        int j = turn % 5 < 2;
        idle = work(&ends[j], &ends[!j], body, busy[_i].body) ? 0 : idle + 1;
    }
    for (int j = 0; j < 2; j++) {
        ck_assert_uint_eq(ends[j].answered, busy[_i].calls);
        ck_assert_uint_eq(ends[j].served, busy[_i].calls);
        /* Answers to one piece of input may come on top. */
        size_t chunk = 20000 / busy[_i].body + busy[_i].late;
        ck_assert_uint_le(ends[j].highest,
                          LINK_CONTROL_MAX + chunk * (busy[_i].answer + 8) + 100000);
        link_free(ends[j].l);
        wire_free(&ends[j].in.bytes);
    }
    free(ends);
    free(body);
}
END_TEST

/* ---- RELEASE, and refs in values ---- */

START_TEST(releases_arrive)
{
    struct pair *p = raw_pair(LINK_FEATURE_REFS, 0);
    size_t n = 10000;
    int64_t *pairs = malloc(2 * n * sizeof(*pairs));
    for (size_t i = 0; i < n; i++) {
        pairs[2 * i] = INT64_MAX - (int64_t)i;
        pairs[2 * i + 1] = INT64_MAX;
    }
    ck_assert_int_eq(link_release(p->a.link, pairs, n), 0);
    pair_run(p);
    ck_assert_int_eq(link_error(p->b.link)->code, 0);
    ck_assert_int_eq(raw_of[0].released, (int)n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(raw_of[0].ids[i], pairs[2 * i]);
        ck_assert_int_eq(raw_of[0].counts[i], INT64_MAX);
    }
    ck_assert_int_eq(link_release(p->a.link, pairs, 0), 0);
    pairs[0] = 0;
    ck_assert_int_eq(link_release(p->a.link, pairs, 1), -E_ARGUMENT);
    pairs[0] = 1;
    pairs[1] = -1;
    ck_assert_int_eq(link_release(p->a.link, pairs, 1), -E_ARGUMENT);
    pair_run(p);
    ck_assert_int_eq(raw_of[0].released, (int)n);
    link_end(p->a.link, -E_LOST, "");
    ck_assert_int_eq(link_release(p->a.link, pairs, 1), -E_CLOSED);
    free(pairs);
    pair_free(p);
}
END_TEST

START_TEST(releases_need_the_feature)
{
    static const int64_t one[] = {1, 1};
    struct link_options o = {.features = LINK_FEATURE_REFS};
    /* Only one of both has it. */
    struct pair *p = pair_new(&o, NULL);
    ck_assert_int_eq(link_release(p->a.link, one, 1), -E_UNSUPPORTED);
    ck_assert_int_eq(link_release(p->b.link, one, 1), -E_UNSUPPORTED);
    pair_free(p);
    for (uint8_t features = 0; features < 2; features++) {
        o.features = features == 0 ? LINK_FEATURE_REFS : 0;
        struct pair_side *side = pair_lone_with(&o, features == 0 ? 0 : LINK_FEATURE_REFS);
        rawly(side);
        ck_assert_int_eq(pair_feed(side, 0, FRAME_RELEASE, 0, P("\x82\x01\x01")), -E_PROTOCOL);
        check_broken(side, -E_PROTOCOL, "RELEASE, which was not agreed on");
        ck_assert_int_eq(raw_of[0].released, 0);
        pair_lone_free(side);
    }
    /* Nothing can be released before HELLO. */
    o.features = LINK_FEATURE_REFS;
    const struct link_handler none = {0};
    struct link *l = link_new(&o, &none, NULL, 1);
    ck_assert_int_eq(link_release(l, one, 1), -E_UNSUPPORTED);
    link_free(l);
}
END_TEST

START_TEST(bad_releases)
{
    static const struct {
        const char *body;
        size_t n;
        int code;
    } cases[] = {
        {P("\x80"), 0},
        {P("\x82\x01\x01"), 0},
        {P("\x9f\x01\x01\xff"), 0},
        {P(""), -E_MALFORMED},
        {P("\xff"), -E_MALFORMED},
        {P("\xa1\x01\x01"), -E_MALFORMED},
        {P("\x01"), -E_MALFORMED},
        {P("\x81\x01"), -E_MALFORMED},
        {P("\x83\x01\x01\x01"), -E_MALFORMED},
        {P("\x82\x01\x01\x01"), -E_MALFORMED},
        {P("\x82\x01\xd8\x27\x01"), -E_MALFORMED},
        {P("\x82\x00\x01"), -E_PROTOCOL},
        {P("\x82\x01\x00"), -E_PROTOCOL},
        {P("\x82\x01\x20"), -E_PROTOCOL},
        {P("\x82\x20\x01"), -E_PROTOCOL},
        {P("\x82\x01\xf6"), -E_PROTOCOL},
        {P("\x82\x61x\x01"), -E_PROTOCOL},
    };
    struct link_options o = {.features = LINK_FEATURE_REFS};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pair_side *side = pair_lone_with(&o, LINK_FEATURE_REFS);
        rawly(side);
        ck_assert_int_eq(pair_feed(side, 0, FRAME_RELEASE, 0, cases[i].body, cases[i].n),
                         cases[i].code);
        ck_assert_int_eq(raw_of[0].released, cases[i].code == 0 && cases[i].n > 1);
        pair_lone_free(side);
    }
    /* Of what the handler knows nothing about; and where there is none. */
    struct pair_side *side = pair_lone_with(&o, LINK_FEATURE_REFS);
    rawly(side)->refuse = -E_PROTOCOL;
    ck_assert_int_eq(pair_feed(side, 0, FRAME_RELEASE, 0, P("\x84\x07\x02\x08\x01")), -E_PROTOCOL);
    check_broken(side, -E_PROTOCOL, "RELEASE of 2 references to object 7");
    ck_assert_int_eq(raw_of[0].released, 1);
    pair_lone_free(side);
    side = pair_lone_with(&o, LINK_FEATURE_REFS);
    ck_assert_int_eq(pair_feed(side, 0, FRAME_RELEASE, 0, P("\x82\x01\x01")), -E_PROTOCOL);
    pair_lone_free(side);
}
END_TEST

START_TEST(refs_only_where_agreed)
{
    for (int agreed = 0; agreed < 2; agreed++) {
        struct link_options o = {.features = agreed ? LINK_FEATURE_REFS : 0};
        int expected = agreed ? 0 : -E_MALFORMED;
        struct pair *p = pair_new(&o, &o);
        ck_assert_int_eq(link_call(p->a.link, "x", values_ref(1, "table", NULL), NULL, NULL, NULL),
                         0);
        pair_run(p);
        ck_assert_int_eq(p->b.calls, agreed);
        ck_assert_int_eq(link_error(p->b.link)->code, expected);
        pair_free(p);

        struct raw answer = {0};
        p = pair_new(&o, &o);
        ck_assert_int_eq(link_call(p->a.link, "x", NULL, on_plain, &answer, NULL), 0);
        pair_run(p);
        link_answer(p->b.link, p->b.call_id, values_ref(1, NULL, NULL));
        pair_run(p);
        ck_assert_int_eq(answer.code, expected);
        pair_free(p);

        struct pair_flow f = {0};
        struct error e;
        p = pair_new(&o, &o);
        f.s = stream_open(p->a.link, "x", values_ref(1, NULL, NULL), &pair_handler, &f, &e);
        pair_run(p);
        ck_assert_int_eq(link_error(p->b.link)->code, expected);
        pair_free(p);

        p = pair_new(&o, &o);
        f = (struct pair_flow){0};
        pair_open(&p->a, &f);
        pair_run(p);
        stream_close(p->b.flows[0].s, 0, values_ref(1, NULL, NULL), NULL);
        pair_run(p);
        ck_assert_int_eq(link_error(p->a.link)->code, expected);
        ck_assert_int_eq(f.closes, 1);
        pair_free(p);
    }
}
END_TEST

static Suite *calls_suite(void)
{
    Suite *s = suite_create("calls");
    TCase *t = tcase_create("calls");
    tcase_set_timeout(t, 120); /* under valgrind */
    tcase_add_test(t, raw_bodies_of_any_size);
    tcase_add_test(t, larger_bodies);
    tcase_add_test(t, raw_and_plain_get_along);
    tcase_add_test(t, raw_calls_fail);
    tcase_add_test(t, empty_bodies_are_malformed);
    tcase_add_test(t, nothing_is_looked_into);
    tcase_add_test(t, calls_are_used_again);
    tcase_add_test(t, calls_max);
    tcase_add_test(t, bytes_of_calls_are_bounded);
    tcase_add_test(t, refusals_congest);
    tcase_add_test(t, held_until_there_is_room);
    tcase_add_test(t, held_in_turn);
    tcase_add_test(t, held_releases_are_bounded);
    tcase_add_loop_test(t, both_may_pipeline, 0, BUSY);
    tcase_add_test(t, releases_arrive);
    tcase_add_test(t, releases_need_the_feature);
    tcase_add_test(t, bad_releases);
    tcase_add_test(t, refs_only_where_agreed);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(calls_suite)
