/* What comes over the line may be anything: the agent ends, says why, and leaves nothing. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frames.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static struct harness *start_bare(void)
{
    struct harness_options options = {.bare = 1};

    return harness_start(&options);
}

static void put_hello(struct wire_buf *out, uint16_t major)
{
    static const uint8_t empty_map = 0xa0;
    struct frame f = {.type = FRAME_HELLO,
                      .hello = {.major = major, .minor = 0, .features = 0, .lease = 0},
                      .body = &empty_map,
                      .body_length = 1};

    wire_put(out, LINK_PREFACE, LINK_PREFACE_SIZE);
    ck_assert_int_eq(frames_encode(out, &f), 0);
}

static void assert_ends(struct harness *h, int code)
{
    ck_assert_int_eq(harness_last_code(h), code);
    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}

START_TEST(garbage_instead_of_a_preface)
{
    struct harness *h = start_bare();

    harness_send(h, "GET / HTTP/1.0\r\n\r\n", 18);
    assert_ends(h, -E_PROTOCOL);
}
END_TEST

START_TEST(zeros_before_the_preface)
{
    static const uint8_t zeros[4096];
    struct harness *h = start_bare();
    struct wire_buf out = {0};

    harness_send(h, zeros, sizeof zeros);
    put_hello(&out, LINK_MAJOR + 1);
    harness_send(h, wire_data(&out), wire_length(&out));
    wire_free(&out);
    assert_ends(h, -E_VERSION); /* it has been understood that far */
}
END_TEST

START_TEST(too_many_zeros)
{
    static const uint8_t zeros[LINK_ZEROS_MAX + 1];
    struct harness *h = start_bare();

    harness_send(h, zeros, sizeof zeros);
    assert_ends(h, -E_PROTOCOL);
}
END_TEST

START_TEST(another_major_version)
{
    struct harness *h = start_bare();
    struct wire_buf out = {0};

    put_hello(&out, _i == 0 ? LINK_MAJOR + 1 : _i == 1 ? 0 : 65535);
    harness_send(h, wire_data(&out), wire_length(&out));
    wire_free(&out);
    assert_ends(h, -E_VERSION);
}
END_TEST

START_TEST(bad_frames)
{
    static const struct {
        uint8_t bytes[24];
        size_t n;
    } frames[] = {
        {{0, 0, 0, 1, 77, 0, 0, 0}, 8},                                     /* no such type */
        {{0, 0, 0, 0, FRAME_PING, 0, 0, 3, 1, 2, 3}, 11},                   /* too short */
        {{0, 0, 0, 0, FRAME_PING, 0xf0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}, 16}, /* unknown flags */
        {{0, 0, 0, 1, FRAME_PING, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8}, 16},    /* a stream's id */
        {{0, 0, 0, 1, FRAME_OPEN, 0, 0, 5, 0, 0, 0, 0, 0xff}, 13},          /* malformed value */
        /* a text, an array and a map of 4 GiB */
        {{0, 0, 0, 1, FRAME_OPEN, 0, 0, 9, 0, 0, 0, 0, 0x7a, 0xff, 0xff, 0xff, 0xff}, 17},
        {{0, 0, 0, 1, FRAME_OPEN, 0, 0, 9, 0, 0, 0, 0, 0x9a, 0xff, 0xff, 0xff, 0xff}, 17},
        {{0, 0, 0, 1, FRAME_OPEN, 0, 0, 9, 0, 0, 0, 0, 0xba, 0xff, 0xff, 0xff, 0xff}, 17},
        {{0, 0, 0, 2, FRAME_OPEN, 0, 0, 5, 0, 0, 0, 0, 0xf6}, 13}, /* our ids */
        {{0, 0, 0, 1, FRAME_DATA, 0, 0, 1, 'x'}, 9},               /* no such stream */
        {{0, 0, 0, 0, FRAME_HELLO, 0, 0, 13, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa0}, 21},
    };
    struct harness *h = start_bare();
    struct wire_buf out = {0};
    int code;

    put_hello(&out, LINK_MAJOR);
    wire_put(&out, frames[_i].bytes, frames[_i].n);
    harness_send(h, wire_data(&out), wire_length(&out));
    wire_free(&out);
    code = harness_last_code(h);
    ck_assert_msg(code == -E_PROTOCOL || code == -E_MALFORMED || code == -E_TOO_LARGE, "%d", code);
    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}
END_TEST

/* The line ends within a frame, at each place. */
START_TEST(truncated_frames)
{
    struct harness *h = start_bare();
    struct wire_buf out = {0};
    size_t n;

    put_hello(&out, LINK_MAJOR);
    n = (size_t)_i < wire_length(&out) ? (size_t)_i : wire_length(&out) - 1;
    harness_send(h, wire_data(&out), n);
    wire_free(&out);
    shutdown(h->fd, SHUT_WR);
    (void)harness_last_code(h);
    ck_assert_int_eq(harness_wait(h), 255);
    harness_gone(h);
}
END_TEST

/* More than the stream's credit allows. */
START_TEST(credit_is_enforced)
{
    static const uint8_t payload[60000];
    struct harness *h = start_bare();
    struct wire_buf out = {0};
    struct value *both = values_array();
    struct wire_buf body = {0};
    struct frame f = {.id = 1, .type = FRAME_OPEN, .open = {.credit = 1000}};

    put_hello(&out, LINK_MAJOR);
    values_append(both, values_text("exec"));
    /* It reads nothing, so no further credit is given for what its pipe does not hold. */
    struct value *args = harness_argv("sleep", "1000", NULL);
    values_set(args, "stdin", values_bool(1));
    values_append(both, args);
    ck_assert_int_eq(values_encode(both, &body), 0);
    values_free(both);
    f.body = wire_data(&body);
    f.body_length = wire_length(&body);
    ck_assert_int_eq(frames_encode(&out, &f), 0);
    for (int i = 0; i < 40; i++) {
        struct frame d = {
            .id = 1, .type = FRAME_DATA, .body = payload, .body_length = sizeof payload};
        ck_assert_int_eq(frames_encode(&out, &d), 0);
    }
    harness_send(h, wire_data(&out), wire_length(&out));
    wire_free(&body);
    wire_free(&out);
    assert_ends(h, -E_PROTOCOL);
}
END_TEST

/* Bytes at random behind a good greeting: whatever happens, it ends by itself when the line does.
 */
START_TEST(noise)
{
    struct harness *h = start_bare();
    struct wire_buf out = {0};
    uint32_t x = 2463534242u + (uint32_t)_i;

    put_hello(&out, LINK_MAJOR);
    for (int i = 0; i < 4096; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        wire_put_u8(&out, (uint8_t)(i % 8 == 4 ? 1 + x % 13 : i % 8 < 4 || i % 8 > 5 ? x % 3 : x));
    }
    harness_send(h, wire_data(&out), wire_length(&out));
    wire_free(&out);
    shutdown(h->fd, SHUT_WR);
    (void)harness_last_code(h);
    harness_wait(h);
    harness_gone(h);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("line");
    TCase *t = tcase_create("line");

    tcase_set_timeout(t, 60);
    tcase_add_test(t, garbage_instead_of_a_preface);
    tcase_add_test(t, zeros_before_the_preface);
    tcase_add_test(t, too_many_zeros);
    tcase_add_loop_test(t, another_major_version, 0, 3);
    tcase_add_loop_test(t, bad_frames, 0, 11);
    tcase_add_loop_test(t, truncated_frames, 0, 29);
    tcase_add_test(t, credit_is_enforced);
    tcase_add_loop_test(t, noise, 0, 20);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
