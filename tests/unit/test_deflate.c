/* proto/deflate: contexts that follow each other, bodies that lie, and the policy. */
#include <stdlib.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "proto/deflate.h"
#include "proto/errors.h"
#include "tests/unit/unit.h"

#define ROOM 65535

static uint32_t seed = 1;

static uint8_t noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint8_t)(seed >> 24);
}

/* n bytes: 0 zeros, 1 text that shrinks, 2 noise. */
static void make(int kind, uint8_t *at, size_t n)
{
    static const char *const words[] = {"the ", "line ", "is ",   "slow\n",
                                        "and ", "long ", "12345 "};
    size_t done = 0;
    while (done < n) {
        if (kind == 1) {
            const char *word = words[noise() % 7];
            for (size_t i = 0; word[i] != '\0' && done < n; i++) {
                at[done++] = (uint8_t)word[i];
            }
        } else {
            at[done++] = kind == 0 ? 0 : noise();
        }
    }
}

struct both {
    struct deflate_out *out;
    struct deflate_in *in;
    uint8_t packed[ROOM];
    uint8_t back[ROOM];
};

static struct both *both_new(void)
{
    struct both *b = malloc(sizeof(*b));
    b->out = deflate_out_new();
    b->in = deflate_in_new();
    ck_assert_ptr_nonnull(b->out);
    ck_assert_ptr_nonnull(b->in);
    return b;
}

static void both_free(struct both *b)
{
    deflate_out_free(b->out);
    deflate_in_free(b->in);
    free(b);
}

/* Packs and unpacks; returns the packed size. */
static size_t pass(struct both *b, const uint8_t *body, size_t n)
{
    size_t packed = 0;
    size_t back = 0;
    ck_assert_int_eq(deflate_out_pack(b->out, body, n, b->packed, ROOM, &packed), 0);
    ck_assert_uint_gt(packed, 0);
    ck_assert_uint_le(packed, DEFLATE_BOUND(n));
    uint8_t *exact = malloc(packed);
    memcpy(exact, b->packed, packed);
    ck_assert_int_eq(deflate_in_unpack(b->in, exact, packed, b->back, n, &back), 0);
    ck_assert_uint_eq(back, n);
    ck_assert_mem_eq(b->back, body, n);
    free(exact);
    return packed;
}

START_TEST(bodies_come_back)
{
    static const size_t lengths[] = {1,     2,     127,   128,   1000,
                                     16383, 16384, 16385, 40000, DEFLATE_IN_MAX};
    struct both *b = both_new();
    uint8_t *body = malloc(DEFLATE_IN_MAX);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            for (int kind = 0; kind < 3; kind++) {
                make(kind, body, lengths[i]);
                size_t packed = pass(b, body, lengths[i]);
                if (kind < 2 && lengths[i] >= 1000) {
                    ck_assert_uint_lt(packed, lengths[i] / 2);
                }
            }
        }
    }
    free(body);
    both_free(b);
}
END_TEST

START_TEST(many_bodies_of_changing_kind)
{
    struct both *b = both_new();
    uint8_t *body = malloc(DEFLATE_IN_MAX);
    for (int i = 0; i < 400; i++) {
        size_t n = 1 + (size_t)(noise() << 8 | noise()) % (i % 10 == 0 ? DEFLATE_IN_MAX : 3000);
        make(noise() % 3, body, n);
        (void)pass(b, body, n);
    }
    free(body);
    both_free(b);
}
END_TEST

START_TEST(noise_never_outgrows_the_bound)
{
    /* What does not shrink must fit too, or a body that was packed could not be sent. */
    struct both *b = both_new();
    uint8_t *body = malloc(DEFLATE_IN_MAX);
    for (size_t n = 1; n <= DEFLATE_IN_MAX; n = n + 1 + n / 3) {
        make(2, body, n);
        ck_assert_uint_le(pass(b, body, n), DEFLATE_BOUND(n));
    }
    make(2, body, DEFLATE_IN_MAX);
    ck_assert_uint_le(pass(b, body, DEFLATE_IN_MAX), ROOM);
    free(body);
    both_free(b);
}
END_TEST

START_TEST(the_context_is_shared)
{
    struct both *b = both_new();
    uint8_t body[2000];
    make(2, body, sizeof(body));
    size_t first = pass(b, body, sizeof(body));
    size_t second = pass(b, body, sizeof(body));
    ck_assert_uint_gt(first, sizeof(body));
    ck_assert_uint_lt(second, sizeof(body) / 10);
    both_free(b);
}
END_TEST

START_TEST(too_little_room_leaves_the_context_alone)
{
    struct both *b = both_new();
    uint8_t body[3000];
    size_t used;
    for (int i = 0; i < 5; i++) {
        make(1, body, sizeof(body));
        ck_assert_int_eq(deflate_out_pack(b->out, body, sizeof(body), b->packed,
                                          DEFLATE_BOUND(sizeof(body)) - 1, &used),
                         -E_LIMIT);
        ck_assert_int_eq(deflate_out_pack(b->out, body, 0, b->packed, ROOM, &used), -E_ARGUMENT);
        make(1, body, sizeof(body));
        (void)pass(b, body, sizeof(body));
    }
    both_free(b);
}
END_TEST

START_TEST(bomb)
{
    struct both *b = both_new();
    uint8_t *body = calloc(1, DEFLATE_IN_MAX);
    size_t packed;
    size_t back;
    for (int spare = 1; spare >= -1; spare--) {
        /* One byte more than needed, just enough, one too few. */
        struct deflate_out *out = deflate_out_new();
        struct deflate_in *in = deflate_in_new();
        ck_assert_int_eq(deflate_out_pack(out, body, DEFLATE_IN_MAX, b->packed, ROOM, &packed), 0);
        size_t room = (size_t)(DEFLATE_IN_MAX + spare);
        uint8_t *exact = malloc(room);
        ck_assert_int_eq(deflate_in_unpack(in, b->packed, packed, exact, room, &back),
                         spare < 0 ? -E_PROTOCOL : 0);
        free(exact);
        deflate_out_free(out);
        deflate_in_free(in);
    }
    free(body);
    both_free(b);
}
END_TEST

START_TEST(bomb_of_a_gigabyte)
{
    /* As much as zlib can be made to give from one frame: 65,535 bytes that stand for 64 MB. */
    z_stream z;
    memset(&z, 0, sizeof(z));
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, -14, 9, Z_DEFAULT_STRATEGY), Z_OK);
    uint8_t *packed = malloc(ROOM);
    uint8_t *zeros = calloc(1, 1 << 20);
    z.next_out = packed;
    z.avail_out = ROOM;
    for (int i = 0; i < 70 && z.avail_out > 0; i++) {
        z.next_in = zeros;
        z.avail_in = 1 << 20;
        (void)deflate(&z, Z_NO_FLUSH);
    }
    struct both *b = both_new();
    size_t back;
    ck_assert_int_eq(deflate_in_unpack(b->in, packed, ROOM - z.avail_out, b->back, ROOM, &back),
                     -E_PROTOCOL);
    both_free(b);
    (void)deflateEnd(&z);
    free(packed);
    free(zeros);
}
END_TEST

static int unpack(const void *bytes, size_t n)
{
    struct deflate_in *in = deflate_in_new();
    uint8_t back[100];
    size_t used;
    uint8_t *exact = malloc(n == 0 ? 1 : n);
    memcpy(exact, bytes, n);
    int rc = deflate_in_unpack(in, exact, n, back, sizeof(back), &used);
    free(exact);
    deflate_in_free(in);
    return rc;
}

START_TEST(malformed)
{
    ck_assert_int_eq(unpack("", 0), -E_MALFORMED);
    ck_assert_int_eq(unpack("\xff\xff", 2), -E_MALFORMED);              /* block type 3 */
    ck_assert_int_eq(unpack("\x00\x01\x00\xff\xffx", 6), -E_MALFORMED); /* LEN != ~NLEN */
    ck_assert_int_eq(unpack("\x00\x01\x00\xfe\xffx", 6), -E_MALFORMED); /* no sync flush */
    ck_assert_int_eq(unpack("\x00\x01\x00\xfe\xffx\x00", 7), 0);        /* as it should be */
    ck_assert_int_eq(unpack("\x01\x01\x00\xfe\xffx", 6), -E_MALFORMED); /* last block */
    ck_assert_int_eq(unpack("\x01\x01\x00\xfe\xffx\x00", 7), -E_MALFORMED);
    ck_assert_int_eq(unpack("\x00\x05\x00\xfa\xffx", 6), -E_MALFORMED);    /* cut */
    ck_assert_int_eq(unpack("\x00", 1), -E_MALFORMED);                     /* gives nothing */
    ck_assert_int_eq(unpack("\x00\x00\x00\xff\xff\x00", 6), -E_MALFORMED); /* nor this */
    ck_assert_int_eq(unpack("\x4b\x04\x02\x00", 4), -E_MALFORMED);         /* behind the start */
    /* The tail sent although it should be left out: then another flush follows, of no bytes. */
    ck_assert_int_eq(unpack("\x00\x01\x00\xfe\xffx\x00\x00\x00\xff\xff", 11), -E_MALFORMED);
}
END_TEST

START_TEST(cut_at_each_byte)
{
    struct both *b = both_new();
    uint8_t body[600];
    uint8_t packed[2 * sizeof(body)];
    size_t n;
    make(1, body, sizeof(body));
    ck_assert_int_eq(deflate_out_pack(b->out, body, sizeof(body), packed, sizeof(packed), &n), 0);
    for (size_t cut = 0; cut < n; cut++) {
        struct deflate_in *in = deflate_in_new();
        size_t used = 0;
        int rc = deflate_in_unpack(in, packed, cut, b->back, ROOM, &used);
        /* Cut in the middle the tail is read as data; that may end by chance where a block does,
         * but can never give the whole body. */
        ck_assert(rc == -E_MALFORMED || (rc == 0 && used < sizeof(body)));
        deflate_in_free(in);
    }
    both_free(b);
}
END_TEST

START_TEST(garbage)
{
    for (int i = 0; i < 5000; i++) {
        uint8_t bytes[64];
        size_t n = 1 + noise() % sizeof(bytes);
        make(2, bytes, n);
        int rc = unpack(bytes, n);
        ck_assert(rc == 0 || rc == -E_MALFORMED || rc == -E_PROTOCOL);
    }
}
END_TEST

START_TEST(null_is_free)
{
    deflate_out_free(NULL);
    deflate_in_free(NULL);
}
END_TEST

/* ---- policy ---- */

#define MB 1000000.0

static int wants(struct deflate_policy *p)
{
    return deflate_policy_wants(p, 10000);
}

/* n marks over a near line (1 ms) that is busy all the time at `rate` bytes a second: each stands
 * behind 9 ms of data, which packing has made smaller `shrunk` times. */
static void busy(struct deflate_policy *p, double rate, double shrunk, int n)
{
    struct deflate_mark m = {.sent = rate / 100,
                             .data = shrunk * rate / 100,
                             .took_us = 10000,
                             .idle_us = 1000,
                             .late_us = 9000};
    for (int i = 0; i < n; i++) {
        deflate_policy_mark(p, &m);
    }
}

static void slow(struct deflate_policy *p)
{
    deflate_policy_init(p);
    busy(p, 1 * MB, 1, 15);
    ck_assert_int_eq(wants(p), 1);
}

START_TEST(only_slow_lines)
{
    struct deflate_policy p;
    deflate_policy_init(&p);
    ck_assert_int_eq(wants(&p), 0); /* nothing known yet */
    busy(&p, 1 * MB, 1, 10);
    ck_assert_int_eq(wants(&p), 0); /* 90 ms late, of which 3 are forgiven */
    busy(&p, 1 * MB, 1, 5);
    ck_assert_int_eq(wants(&p), 1);
    deflate_policy_init(&p);
    busy(&p, 29 * MB, 1, 400);
    ck_assert_int_eq(wants(&p), 1);
    deflate_policy_init(&p);
    busy(&p, 31 * MB, 1, 1000);
    ck_assert_int_eq(wants(&p), 0);
}
END_TEST

START_TEST(slow_until_it_is_much_faster)
{
    struct deflate_policy p;
    slow(&p);
    busy(&p, 58 * MB, 1, 400);
    ck_assert_int_eq(wants(&p), 1);
    busy(&p, 200 * MB, 1, 2);
    ck_assert_int_eq(wants(&p), 1);
    busy(&p, 200 * MB, 1, 10);
    ck_assert_int_eq(wants(&p), 0);
}
END_TEST

START_TEST(one_late_mark_among_many_says_nothing)
{
    /* Somebody was busy for 80 ms, again and again. */
    struct deflate_mark late = {
        .sent = 1 * MB, .took_us = 90000, .idle_us = 1000, .late_us = 80000};
    struct deflate_policy p;
    deflate_policy_init(&p);
    for (int i = 0; i < 100; i++) {
        deflate_policy_mark(&p, &late);
        busy(&p, 100 * MB, 1, 5);
        ck_assert_int_eq(wants(&p), 0);
    }
}
END_TEST

START_TEST(far_lines_are_slow_when_they_are)
{
    /* 100 ms there and back.  One MB a round trip without a queue: a window that has not grown, or
     * a source or a reader with no more to do. */
    struct deflate_mark m = {.sent = 1 * MB, .took_us = 102000, .idle_us = 100000, .late_us = 300};
    struct deflate_policy p;
    deflate_policy_init(&p);
    for (int i = 0; i < 1000; i++) {
        deflate_policy_mark(&p, &m);
        ck_assert_int_eq(wants(&p), 0);
    }
    /* The same with a queue: 8 MB/s. */
    m = (struct deflate_mark){
        .sent = 1 * MB, .took_us = 125000, .idle_us = 100000, .late_us = 25000};
    for (int i = 0; i < 8; i++) {
        deflate_policy_mark(&p, &m);
    }
    ck_assert_int_eq(wants(&p), 1);
}
END_TEST

START_TEST(a_blocked_pipe_is_a_slow_line)
{
    /* As when the window of an SSH channel is closed: little waits before the marks, but always. */
    struct deflate_mark m = {
        .sent = 2 * MB, .took_us = 100000, .idle_us = 99000, .late_us = 1000, .blocked_us = 98000};
    struct deflate_policy p;
    deflate_policy_init(&p);
    for (int i = 0; i < 4; i++) {
        deflate_policy_mark(&p, &m);
    }
    ck_assert_int_eq(wants(&p), 1);
    deflate_policy_init(&p);
    m.sent = 4 * MB;
    for (int i = 0; i < 100; i++) {
        deflate_policy_mark(&p, &m);
        ck_assert_int_eq(wants(&p), 0);
    }
}
END_TEST

START_TEST(slow_readers_and_sources_are_no_slow_line)
{
    /* One MB/s, and marks that are late by what happens on any machine. */
    struct deflate_mark m = {.sent = 16384, .took_us = 10500, .idle_us = 200, .late_us = 500};
    struct deflate_policy p;
    deflate_policy_init(&p);
    for (int i = 0; i < 10000; i++) {
        deflate_policy_mark(&p, &m);
        ck_assert_int_eq(wants(&p), 0);
    }
}
END_TEST

START_TEST(stopped_where_it_does_not_pay)
{
    struct deflate_policy p;
    int n;
    deflate_policy_init(&p);
    busy(&p, 10 * MB, 1, 100);
    ck_assert_int_eq(wants(&p), 1);
    /* A third of the bytes, and just as much data: something else was the matter. */
    busy(&p, 10 * MB / 3, 3, 60);
    ck_assert_int_eq(wants(&p), 0);
    double before = 0;
    for (int i = 0; i < 8; i++) {
        for (n = 0; !wants(&p); n++) {
            busy(&p, 10 * MB, 1, 1);
        }
        ck_assert(n > before * 3 / 2 || i >= 6);
        before = n;
        busy(&p, 10 * MB / 3, 3, 60);
        ck_assert_int_eq(wants(&p), 0);
    }
    ck_assert_double_lt(before, 2.0 * DEFLATE_LATE_MAX / 9000);
    /* Where it pays once, all is forgiven. */
    busy(&p, 10 * MB, 1, 2 * DEFLATE_LATE_MAX / 9000);
    ck_assert_int_eq(wants(&p), 1);
    busy(&p, 10 * MB, 3, 100);
    ck_assert_int_eq(wants(&p), 1);
    busy(&p, 200 * MB, 3, 20);
    ck_assert_int_eq(wants(&p), 0);
    busy(&p, 10 * MB, 1, 20);
    ck_assert_int_eq(wants(&p), 1);
}
END_TEST

START_TEST(plain_data_is_tried_again)
{
    struct deflate_policy p;
    int plain = 0, times = 0;
    slow(&p);
    /* Two minutes on a line that is slow. */
    for (int i = 0, last = 1; i < 12000; i++) {
        int now = wants(&p);
        busy(&p, 1 * MB, now ? 3 : 1, 1);
        plain += !now;
        times += last && !now;
        last = now;
    }
    ck_assert_int_eq(times, 4); /* after 5, 15, 35 and 75 seconds */
    ck_assert_int_lt(plain, 12000 / 100);
    /* One that was slow at first only, while packed data is late all the same. */
    deflate_policy_init(&p);
    busy(&p, 10 * MB, 1, 100);
    for (int i = 0; i < 1000; i++) {
        busy(&p, wants(&p) ? 20 * MB : 200 * MB, wants(&p) ? 5 : 1, 1);
    }
    ck_assert_int_eq(wants(&p), 0);
    for (int i = 0; i < 1000; i++) {
        busy(&p, 200 * MB, 1, 1);
        ck_assert_int_eq(wants(&p), 0);
    }
    /* And then one that is slow again is not believed for longer than at first. */
    busy(&p, 1 * MB, 1, 15);
    ck_assert_int_eq(wants(&p), 1);
    busy(&p, 1 * MB, 3, 505);
    ck_assert_int_eq(wants(&p), 0);
}
END_TEST

START_TEST(not_judged_by_what_does_not_shrink)
{
    struct deflate_policy p;
    slow(&p);
    busy(&p, 1 * MB, 1, 200);
    ck_assert_int_eq(wants(&p), 1);
    busy(&p, 1 * MB, 1.3, 200);
    ck_assert_int_eq(wants(&p), 1);
}
END_TEST

START_TEST(small_bodies_go_as_they_are)
{
    struct deflate_policy p;
    slow(&p);
    ck_assert_int_eq(deflate_policy_wants(&p, DEFLATE_WORTH - 1), 0);
    ck_assert_int_eq(deflate_policy_wants(&p, DEFLATE_WORTH), 1);
}
END_TEST

/* Bytes let by after a sample that shrank to `percent`. */
static uint64_t let_by_after(struct deflate_policy *p, size_t percent)
{
    ck_assert_int_eq(deflate_policy_wants(p, 10000), 1);
    deflate_policy_packed(p, 10000, percent * 100);
    uint64_t bytes = 0;
    while (!deflate_policy_wants(p, 4096)) {
        bytes += 4096;
        ck_assert_uint_lt(bytes, 100000000);
    }
    return bytes;
}

START_TEST(backs_off_from_what_does_not_shrink)
{
    struct deflate_policy p;
    slow(&p);
    ck_assert_uint_eq(let_by_after(&p, 50), 0);
    ck_assert_uint_eq(let_by_after(&p, 89), 0);
    for (uint64_t back = DEFLATE_BACK_MIN; back <= DEFLATE_BACK_MAX; back *= 2) {
        ck_assert_uint_eq(let_by_after(&p, back < 1000000 ? 90 : 101), back);
    }
    ck_assert_uint_eq(let_by_after(&p, 100), DEFLATE_BACK_MAX);
    ck_assert_uint_eq(let_by_after(&p, 100), DEFLATE_BACK_MAX);
    ck_assert_uint_eq(let_by_after(&p, 40), 0);
    ck_assert_uint_eq(let_by_after(&p, 100), DEFLATE_BACK_MIN);
}
END_TEST

START_TEST(one_small_body_is_no_sample)
{
    struct deflate_policy p;
    slow(&p);
    deflate_policy_packed(&p, 200, 205);
    ck_assert_int_eq(deflate_policy_wants(&p, 200), 1);
    deflate_policy_packed(&p, 20000, 5000); /* together they shrink */
    ck_assert_int_eq(deflate_policy_wants(&p, 200), 1);
    for (int i = 0; i < 40; i++) {
        ck_assert_int_eq(deflate_policy_wants(&p, 200), 1);
        deflate_policy_packed(&p, 200, 205);
    }
    deflate_policy_packed(&p, 200, 205);
    ck_assert_int_eq(deflate_policy_wants(&p, 200), 0);
}
END_TEST

static Suite *deflate_suite(void)
{
    Suite *s = suite_create("deflate");
    TCase *t = tcase_create("contexts");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, bodies_come_back);
    tcase_add_test(t, many_bodies_of_changing_kind);
    tcase_add_test(t, noise_never_outgrows_the_bound);
    tcase_add_test(t, the_context_is_shared);
    tcase_add_test(t, too_little_room_leaves_the_context_alone);
    tcase_add_test(t, bomb);
    tcase_add_test(t, bomb_of_a_gigabyte);
    tcase_add_test(t, malformed);
    tcase_add_test(t, cut_at_each_byte);
    tcase_add_test(t, garbage);
    tcase_add_test(t, null_is_free);
    suite_add_tcase(s, t);
    t = tcase_create("policy");
    tcase_add_test(t, only_slow_lines);
    tcase_add_test(t, slow_until_it_is_much_faster);
    tcase_add_test(t, one_late_mark_among_many_says_nothing);
    tcase_add_test(t, far_lines_are_slow_when_they_are);
    tcase_add_test(t, a_blocked_pipe_is_a_slow_line);
    tcase_add_test(t, slow_readers_and_sources_are_no_slow_line);
    tcase_add_test(t, stopped_where_it_does_not_pay);
    tcase_add_test(t, plain_data_is_tried_again);
    tcase_add_test(t, not_judged_by_what_does_not_shrink);
    tcase_add_test(t, small_bodies_go_as_they_are);
    tcase_add_test(t, backs_off_from_what_does_not_shrink);
    tcase_add_test(t, one_small_body_is_no_sample);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(deflate_suite)
