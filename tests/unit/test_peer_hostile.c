/* An end against a peer that says what it likes: bodies made by hand, over a real link. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer/channel.h"
#include "peer/peer_impl.h"
#include "peerpair.h"
#include "proto/errors.h"
#include "proto/link.h"
#include "proto/stream.h"
#include "unit.h"

/* The far peer's place is taken by a bare link. */
struct bare {
    struct peerpair *pair;
    struct link *link;
    int answers, code;
    uint8_t body[4096];
    size_t n;
    uint32_t called; /* the last call that came */
    int calls, cancels;
};

static void on_call(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct bare *b = arg;
    (void)l;
    b->called = id;
    b->calls++;
    b->n = n < sizeof(b->body) ? n : sizeof(b->body);
    memcpy(b->body, body, b->n);
}

static void on_cancel(void *arg, struct link *l, uint32_t id)
{
    struct bare *b = arg;
    (void)l, (void)id;
    b->cancels++;
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    (void)arg, (void)l, (void)id, (void)count;
    return 0;
}

static struct bare *bare_new(enum peer_policy policy)
{
    static const struct link_handler handler = {
        .call_raw = on_call, .cancel = on_cancel, .release = on_release};
    struct link_options o = {.opener = 1, .features = LINK_FEATURE_REFS, .calls_max = 65536};
    struct peer_options f = {.policy = policy, .teleport = true};
    struct bare *b = calloc(1, sizeof(*b));
    b->pair = peerpair_new(&f);
    b->link = link_new(&o, &handler, b, 1);
    return b;
}

static void bare_free(struct bare *b)
{
    link_free(b->link);
    peerpair_free(b->pair);
    free(b);
}

/* Lets both sides say all they have. */
static void pump(struct bare *b)
{
    struct peerpair_end *far = &b->pair->far;
    const uint8_t *bytes;
    size_t n, moved;
    do {
        moved = 0;
        if (link_output(b->link, &bytes, &n, 1) == 0 && n > 0) {
            peer_input(far->peer, bytes, n);
            link_sent(b->link, n, 1);
            moved += n;
        }
        tasks_run(far->tasks);
        if (peer_output(far->peer, &bytes, &n) == 0 && n > 0) {
            link_input(b->link, bytes, n, 1);
            peer_sent(far->peer, n);
            moved += n;
        }
    } while (moved > 0 || tasks_next_deadline(far->tasks) == 0);
}

static void answered(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct bare *b = arg;
    (void)text;
    b->answers++;
    b->code = code;
    b->n = n < sizeof(b->body) ? n : sizeof(b->body);
    if (code == 0) {
        memcpy(b->body, body, b->n);
    }
}

/* Calls with that body; the code of the answer, 1: none came. */
static int call(struct bare *b, const char *body, size_t n)
{
    b->code = 1;
    if (link_call_raw(b->link, (const uint8_t *)body, n, answered, b, NULL) != 0) {
        return 2;
    }
    pump(b);
    return b->code;
}

#define CALL(b, text) call(b, text, sizeof(text) - 1)

static void check_alive(struct bare *b)
{
    /* ["call", [0, "math.abs", -5]] */
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x83\x00\x68math.abs\x24"),
                     0);
    ck_assert_uint_eq(b->n, 2);
    ck_assert(memcmp(b->body, "\x81\x05", 2) == 0);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), 0);
}

START_TEST(requests_of_the_wrong_shape)
{
    struct bare *b = bare_new(PEER_OPEN);
    check_alive(b);
    ck_assert_int_eq(CALL(b, "\xf6"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x80"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x01\x80"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x61x\x80"), -E_NO_SERVICE);
    ck_assert_int_eq(CALL(b, "\x82\x60\x80"), -E_NO_SERVICE);
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x80"),
                     -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x82\x20\x61x"),
                     -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x65index\x81\x01"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x64next\x84\x80\x65pairs\xf6\x00"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x64next\x84\x80\x65pairs\xf6\x65pairs"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x62op\x83\x63zzz\x01\x01"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x62op\x83\xf6\x01\x01"), -E_PROTOCOL);
    /* a depth without end, as a flag and as a further argument */
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x82\x1a\x7f\xff\xff\x00\x68math.abs"),
                     -E_DEPTH);
    ck_assert_int_eq(CALL(b, "\x82\x63len\x82\x80\x18\x60"), -E_DEPTH);
    check_alive(b);
    bare_free(b);
}
END_TEST

START_TEST(objects_never_issued)
{
    struct bare *b = bare_new(PEER_OPEN);
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xd8\x27\x18\x63"), -E_STALE);
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xd8\x27\x1b\x7f\xff\xff\xff\xff\xff\xff\xff"),
                     -E_STALE);
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x83\x00\xd8\x27\x01\x01"),
                     -E_STALE);
    /* a channel that is not there */
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xd8\x27\x82\x07\x67"
                             "channel"),
                     -E_STALE);
    check_alive(b);
    /* an object is issued, given back, and asked for again */
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x83\x00\x64"
                             "eval\x62{}"),
                     0);
    ck_assert(memcmp(b->body, "\x81\xd8\x27\x82\x01\x65table", 10) == 0);
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xd8\x27\x01"), 0);
    int64_t pair[] = {1, 1};
    ck_assert_int_eq(link_release(b->link, pair, 1), 0);
    pump(b);
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xd8\x27\x01"), -E_STALE);
    check_alive(b);
    /* given back more often than it was got */
    ck_assert_int_eq(link_release(b->link, pair, 1), 0);
    pump(b);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), -E_PROTOCOL);
    bare_free(b);
}
END_TEST

START_TEST(malformed_bodies_end_the_link)
{
    static const struct {
        const char *body;
        size_t n;
    } bad[] = {{"\x82", 1},
               {"\xff", 1},
               {"\x9f\xff", 2},
               {"\x82\x61x\x81\x61\xff", 6},
               {"\x82\x61x\xc1\x01", 5},
               {"\x82\x61x\xd8\x27\x00", 6},
               {"\x82\x61x\xd8\x27\x20", 6},
               {"\x82\x61x\xd8\x27\x82\x01\x63zzz", 11},
               {"\x82\x61x\xd8\x27\x81\x01", 7},
               {"\x82\x61x\xf7", 4},
               {"\x82\x61x\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 12},
               {"\x82\x61x\xa1\xf6\x01", 6},
               {"\x82\x61x\xa1\xf9\x7e\x00\x01", 8},
               {"\x82\x61x\xa1\x80\x01", 6},
               {"\x82\x61x\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 12},
               {"\x82\x61x\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 12}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bare *b = bare_new(PEER_OPEN);
        call(b, bad[i].body, bad[i].n);
        int code = peer_error(b->pair->far.peer, NULL);
        ck_assert_msg(code == -E_MALFORMED || code == -E_PROTOCOL, "%zu: %d", i, code);
        bare_free(b);
    }
}
END_TEST

START_TEST(deep_values)
{
    struct bare *b = bare_new(PEER_OPEN);
    char body[1000] = "\x82\x61x";
    memset(body + 3, '\x81', 200);
    body[203] = 1;
    call(b, body, 204);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), -E_TOO_LARGE);
    bare_free(b);
}
END_TEST

START_TEST(equal_keys)
{
    struct bare *b = bare_new(PEER_OPEN);
    /* ["len", [{1: 1, 1: 2}]]; the failure is the call's */
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xa2\x01\x01\x01\x02"), 0);
    ck_assert((b->body[0] & 0xe0) == 0xa0);
    check_alive(b);
    bare_free(b);
}
END_TEST

/* What the far end may do that was only passed things: nothing with others. */
START_TEST(passed_only)
{
    struct bare *b = bare_new(PEER_PASSED);
    ck_assert_int_eq(CALL(b, "\x82\x64"
                             "call\x83\x00\x68math.abs\x24"),
                     -E_DENIED);
    ck_assert_int_eq(CALL(b, "\x82\x64root\x80"), -E_DENIED);
    ck_assert_int_eq(CALL(b, "\x82\x65index\x82\x61x\x63rep"), -E_DENIED);
    ck_assert_int_eq(CALL(b, "\x82\x66obtain\x81\x61x"), -E_DENIED);
    struct error e;
    static const struct stream_handler nothing = {0};
    struct stream *s = stream_open(b->link, "remote_exec", NULL, &nothing, NULL, &e);
    ck_assert_ptr_nonnull(s);
    uint32_t id = stream_id(s);
    pump(b);
    ck_assert_ptr_null(stream_find(b->link, id));
    s = stream_open(b->link, "channel", NULL, &nothing, NULL, &e);
    id = stream_id(s);
    pump(b);
    ck_assert_ptr_nonnull(stream_find(b->link, id));
    ck_assert_int_eq(CALL(b, "\x82\x63len\x81\xd8\x27\x01"), -E_STALE);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), 0);
    bare_free(b);
}
END_TEST

/* A call of the far end's, whose answers are made here. */
static void far_calls(struct bare *b, const char *code)
{
    lua_State *F = b->pair->far.L;
    peer_push(F, b->pair->far.peer);
    lua_setglobal(F, "conn");
    peer_push_module(F);
    lua_setglobal(F, "grapnel");
    ck_assert_msg(luaL_dostring(F, code) == LUA_OK, "%s", lua_tostring(F, -1));
    pump(b);
}

static const char *far_says(struct bare *b, const char *code)
{
    lua_State *F = b->pair->far.L;
    ck_assert_msg(luaL_dostring(F, code) == LUA_OK, "%s", lua_tostring(F, -1));
    return luaL_tolstring(F, -1, NULL);
}

START_TEST(answers_of_the_wrong_shape)
{
    static const struct {
        const char *body;
        size_t n;
        const char *says;
    } bad[] = {{"\x05", 1, "malformed"},
               {"\xf6", 1, "malformed"},
               {"\xa0", 1, "nil"},
               {"\xa1\x65"
                "error\x01",
                8, "1"},
               {"\x81\xd8\x27\x07", 4, "object"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct bare *b = bare_new(PEER_OPEN);
        far_calls(b, "f = grapnel.async(function() return conn.call('x') end)()");
        ck_assert_int_eq(b->calls, 1);
        link_answer_raw(b->link, b->called, (const uint8_t *)bad[i].body, bad[i].n);
        pump(b);
        const char *says = far_says(b, "local ok, e = pcall(f) return tostring(e)");
        ck_assert_msg(strstr(says, bad[i].says) != NULL, "%zu: %s", i, says);
        ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), 0);
        bare_free(b);
    }
}
END_TEST

START_TEST(malformed_answers_end_the_link)
{
    struct bare *b = bare_new(PEER_OPEN);
    far_calls(b, "f = grapnel.async(function() return conn.call('x') end)() "
                 "g = grapnel.async(function() return conn.call('y') end)()");
    link_answer_raw(b->link, b->called, (const uint8_t *)"\x81\xff", 2);
    pump(b);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), -E_MALFORMED);
    const char *says = far_says(b, "local ok, e = pcall(g) return tostring(e)");
    ck_assert_msg(strstr(says, "malformed") != NULL, "%s", says);
    says = far_says(b, "local ok, e = pcall(f) return tostring(e)");
    ck_assert_msg(strncmp(says, "EOF: ", 5) == 0, "%s", says);
    bare_free(b);
}
END_TEST

START_TEST(answers_after_a_cancel)
{
    struct bare *b = bare_new(PEER_OPEN);
    far_calls(b, "f = grapnel.async(function() return conn.call('x') end)()");
    uint32_t id = b->called;
    far_says(b, "f:cancel() return 1");
    pump(b);
    ck_assert_int_eq(b->cancels, 1);
    /* with an object that nobody wants any more: it is given back */
    link_answer_raw(b->link, id, (const uint8_t *)"\x81\xd8\x27\x82\x07\x65table", 11);
    link_answer_raw(b->link, id, (const uint8_t *)"\x80", 1);
    pump(b);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), 0);
    check_alive(b);
    bare_free(b);
}
END_TEST

/* Calls whose answers are large, from someone who does not read them. */
START_TEST(answers_that_are_not_read)
{
    enum { CALLS = 20000 };
    static const char body[] = "\x82\x64"
                               "call\x84\x00\x6astring.rep\x61x\x19\x03\xe8";
    struct bare *b = bare_new(PEER_OPEN);
    struct peerpair_end *far = &b->pair->far;
    const uint8_t *bytes;
    size_t n;
    pump(b);
    for (int i = 0; i < CALLS; i++) {
        ck_assert_int_eq(
            link_call_raw(b->link, (const uint8_t *)body, sizeof(body) - 1, answered, b, NULL), 0);
        while (link_output(b->link, &bytes, &n, 1) == 0 && n > 0) {
            peer_input(far->peer, bytes, n);
            link_sent(b->link, n, 1);
        }
        tasks_run(far->tasks);
    }
    ck_assert_uint_lt(link_backlog(far->peer->link), 2 * LINK_CONTROL_MAX);
    ck_assert_int_eq(b->answers, 0);
    pump(b);
    ck_assert_int_eq(b->answers, CALLS);
    ck_assert_int_eq(b->code, 0);
    bare_free(b);
}
END_TEST

/* Calls that want no answer, of what does not end: so many of them are answered at once, and then
 * they are calls like others, of which there is a limit. */
START_TEST(silent_calls_are_bounded)
{
    static const char body[] = "\x82\x64"
                               "call\x82\x02\x67"
                               "forever";
    struct bare *b = bare_new(PEER_OPEN);
    far_calls(b, "function forever() grapnel.sleep(1000000) end");
    for (int i = 0; i < PEER_SILENT_MAX + 1000; i++) {
        ck_assert_int_eq(
            link_call_raw(b->link, (const uint8_t *)body, sizeof(body) - 1, answered, b, NULL), 0);
    }
    pump(b);
    ck_assert_int_eq(b->answers, PEER_SILENT_MAX);
    ck_assert_int_eq(b->code, 0);
    check_alive(b);
    bare_free(b);
}
END_TEST

START_TEST(many_are_cancelled)
{
    enum { CALLS = 60000 };
    static const char body[] = "\x82\x64"
                               "call\x82\x00\x67"
                               "forever";
    struct bare *b = bare_new(PEER_OPEN);
    uint32_t *ids = calloc(CALLS, sizeof(*ids));
    far_calls(b, "function forever() grapnel.sleep(1000000) end");
    for (int i = 0; i < CALLS; i++) {
        ck_assert_int_eq(
            link_call_raw(b->link, (const uint8_t *)body, sizeof(body) - 1, answered, b, &ids[i]),
            0);
    }
    pump(b);
    for (int i = 0; i < CALLS; i++) {
        link_cancel(b->link, ids[i]);
        link_cancel(b->link, ids[i]);
    }
    pump(b);
    ck_assert_int_eq(b->answers, CALLS);
    ck_assert_int_eq(b->code, -E_CANCELLED);
    check_alive(b);
    free(ids);
    bare_free(b);
}
END_TEST

/* Channels that are opened, written to and closed, and of which nobody ever hears. */
START_TEST(channels_that_nobody_asks_for)
{
    static const struct stream_handler nothing = {0};
    static const uint8_t item[60000] = {0, 0, 0xea, 0x5c, 0x59, 0xea, 0x59};
    struct error e;
    struct bare *b = bare_new(PEER_PASSED);
    const struct peer *p = b->pair->far.peer;
    for (int i = 0; i < 2000; i++) {
        struct stream *s = stream_open(b->link, "channel", NULL, &nothing, NULL, &e);
        ck_assert_ptr_nonnull(s);
        if (i < 500) {
            stream_write(s, item, sizeof(item));
        }
        stream_close(s, 0, NULL, NULL);
        pump(b);
        ck_assert_uint_le(p->orphans, CHANNEL_ORPHANS_MAX);
        ck_assert_uint_le(p->orphan_bytes, CHANNEL_ORPHANS_HOLDING);
    }
    ck_assert_uint_eq(p->orphans, CHANNEL_ORPHANS_MAX);
    ck_assert_int_eq(peer_error(p, NULL), 0);
    bare_free(b);
}
END_TEST

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    (void)s, (void)result, (void)text;
    *(int *)arg = code;
}

/* The beginnings of large items, on many channels at once. */
START_TEST(large_items_that_never_end)
{
    enum { CHANNELS = 8, PART = 300000 };
    static const struct stream_handler handler = {.closed = on_closed};
    static const uint8_t part[PART] = {1, 0, 0, 0};
    struct error e;
    int codes[CHANNELS] = {0}, ended = 0;
    struct bare *b = bare_new(PEER_OPEN);
    struct peer *p = b->pair->far.peer;
    far_calls(b, "kept = {} function keep(c) kept[#kept + 1] = c end");
    p->loose_max = 4 * PART;
    for (int i = 0; i < CHANNELS; i++) {
        char body[] = "\x82\x64"
                      "call\x83\x00\x64"
                      "keep\xd8\x27\x82\x18\x00\x67"
                      "channel";
        struct stream *s = stream_open(b->link, "channel", NULL, &handler, &codes[i], &e);
        ck_assert_ptr_nonnull(s);
        ck_assert_uint_lt(stream_id(s), 256);
        body[17] = (char)stream_id(s);
        ck_assert_int_eq(CALL(b, body), 0);
        stream_write(s, part, PART);
        pump(b);
        ck_assert_uint_le(p->loose, p->loose_max);
        ended += codes[i] == -E_LIMIT;
    }
    ck_assert_int_ge(ended, 3);
    check_alive(b);
    bare_free(b);
}
END_TEST

/* What __pairs gave is not the other end's to look at. */
START_TEST(iterations_give_nothing_away)
{
    struct bare *b = bare_new(PEER_PASSED);
    far_calls(b, "private = {a = 1, b = 2, c = 3}"
                 "shown = setmetatable({}, {__pairs = function() return next, private end})"
                 "f = grapnel.async(function() return conn.execute('x', shown) end)()");
    ck_assert_int_eq(b->calls, 1);
    ck_assert_int_eq(CALL(b, "\x82\x64next\x84\xd8\x27\x01\x65pairs\xf6\x01"), 0);
    const char *state = "\xd8\x27\x82\x02\x68userdata";
    ck_assert_uint_ge(b->n, 20);
    ck_assert(memcmp(b->body + b->n - 13, state, 13) == 0);
    /* Of the state nothing can be asked … */
    ck_assert_int_eq(CALL(b, "\x82\x65index\x82\xd8\x27\x02\x61s"), 0);
    ck_assert((b->body[0] & 0xe0) == 0xa0);
    /* … nor can anything else be one. */
    ck_assert_int_eq(CALL(b, "\x82\x64next\x84\xd8\x27\x01\x65pairs\xd8\x27\x01\x01"), -E_PROTOCOL);
    ck_assert_int_eq(CALL(b, "\x82\x64next\x84\xd8\x27\x01\x65pairs\xd8\x27\x02\x01"), 0);
    ck_assert((b->body[0] & 0xe0) == 0x80);
    ck_assert_int_eq(CALL(b, "\x82\x62op\x83\x66"
                             "concat\x61x\x61y"),
                     -E_DENIED);
    ck_assert_int_eq(peer_error(b->pair->far.peer, NULL), 0);
    bare_free(b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("peer_hostile");
    TCase *t = tcase_create("hostile");
    tcase_add_test(t, requests_of_the_wrong_shape);
    tcase_add_test(t, objects_never_issued);
    tcase_add_test(t, malformed_bodies_end_the_link);
    tcase_add_test(t, deep_values);
    tcase_add_test(t, equal_keys);
    tcase_add_test(t, passed_only);
    tcase_add_test(t, answers_of_the_wrong_shape);
    tcase_add_test(t, malformed_answers_end_the_link);
    tcase_add_test(t, answers_after_a_cancel);
    tcase_add_test(t, answers_that_are_not_read);
    tcase_add_test(t, silent_calls_are_bounded);
    tcase_add_test(t, many_are_cancelled);
    tcase_add_test(t, channels_that_nobody_asks_for);
    tcase_add_test(t, large_items_that_never_end);
    tcase_add_test(t, iterations_give_nothing_away);
    tcase_set_timeout(t, 30);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
