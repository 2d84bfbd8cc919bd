/* proto/wire: the queue and the integers. */
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/wire.h"
#include "tests/unit/unit.h"

START_TEST(integers_are_big_endian)
{
    static const uint8_t expected[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
                                       0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32};
    struct wire_buf b = {0};
    ck_assert_int_eq(wire_put_u8(&b, 0x01), 0);
    ck_assert_int_eq(wire_put_u16(&b, 0x2345), 0);
    ck_assert_int_eq(wire_put_u32(&b, 0x6789abcd), 0);
    ck_assert_int_eq(wire_put_u64(&b, UINT64_C(0xeffedcba98765432)), 0);
    ck_assert_uint_eq(wire_length(&b), sizeof(expected));
    ck_assert_mem_eq(wire_data(&b), expected, sizeof(expected));

    struct wire_reader r;
    wire_reader_init(&r, wire_data(&b), wire_length(&b));
    ck_assert_uint_eq(wire_get_u8(&r), 0x01);
    ck_assert_uint_eq(wire_get_u16(&r), 0x2345);
    ck_assert_uint_eq(wire_get_u32(&r), 0x6789abcd);
    ck_assert_uint_eq(wire_get_u64(&r), UINT64_C(0xeffedcba98765432));
    ck_assert_uint_eq(r.left, 0);
    ck_assert_int_eq(r.short_read, 0);
    wire_free(&b);

    uint8_t at[4];
    wire_store_u16(at, 0xfffe);
    ck_assert_mem_eq(at, "\xff\xfe", 2);
    wire_store_u32(at, 0x80000001);
    ck_assert_mem_eq(at, "\x80\x00\x00\x01", 4);
}
END_TEST

START_TEST(reading_past_the_end)
{
    /* Exactly as many bytes as there are, so that a sanitizer sees any more being touched. */
    for (size_t n = 0; n < 15; n++) {
        uint8_t *bytes = malloc(n + 1);
        memset(bytes, 0xff, n);
        uint8_t *exact = realloc(bytes, n == 0 ? 1 : n);
        struct wire_reader r;
        wire_reader_init(&r, exact, n);
        (void)wire_get_u8(&r);
        (void)wire_get_u16(&r);
        (void)wire_get_u32(&r);
        (void)wire_get_u64(&r);
        ck_assert_int_eq(r.short_read, 1);
        ck_assert_uint_eq(wire_get_u8(&r), 0); /* even where one byte had been left */
        free(exact);
    }
}
END_TEST

START_TEST(a_short_read_yields_zero_for_good)
{
    struct wire_reader r;
    wire_reader_init(&r, "\xff\xff\xff", 3);
    ck_assert_uint_eq(wire_get_u32(&r), 0);
    ck_assert_uint_eq(wire_get_u8(&r), 0);
    ck_assert_int_eq(r.short_read, 1);
}
END_TEST

START_TEST(empty_is_valid)
{
    struct wire_buf b = {0};
    ck_assert_uint_eq(wire_length(&b), 0);
    ck_assert_int_eq(wire_put(&b, NULL, 0), 0);
    wire_take(&b, 0);
    wire_trim(&b, 0);
    wire_free(&b);
    wire_free(&b);
    wire_free(NULL);
}
END_TEST

START_TEST(limit)
{
    struct wire_buf b = {.limit = 10};
    ck_assert_int_eq(wire_put(&b, "0123456", 7), 0);
    ck_assert_int_eq(wire_put_u32(&b, 1), -E_LIMIT);
    ck_assert_uint_eq(wire_length(&b), 7);
    ck_assert_int_eq(wire_put(&b, "789", 3), 0);
    ck_assert_int_eq(wire_put_u8(&b, 0), -E_LIMIT);
    ck_assert_mem_eq(wire_data(&b), "0123456789", 10);
    wire_take(&b, 4);
    ck_assert_int_eq(wire_put_u32(&b, 0x61626364), 0); /* the limit is on what is held */
    ck_assert_int_eq(wire_put_u8(&b, 0), -E_LIMIT);
    ck_assert_mem_eq(wire_data(&b), "456789abcd", 10);
    uint8_t *at;
    ck_assert_int_eq(wire_reserve(&b, SIZE_MAX, &at), -E_LIMIT);
    wire_free(&b);
    ck_assert_uint_eq(b.limit, 10);
}
END_TEST

START_TEST(absurd_sizes)
{
    struct wire_buf b = {0};
    uint8_t *at;
    ck_assert_int_eq(wire_reserve(&b, SIZE_MAX, &at), -E_NOMEM);
    ck_assert_int_eq(wire_put_u8(&b, 7), 0);
    ck_assert_int_eq(wire_reserve(&b, SIZE_MAX, &at), -E_NOMEM);
    ck_assert_int_eq(wire_reserve(&b, SIZE_MAX / 2, &at), -E_NOMEM);
    ck_assert_uint_eq(wire_length(&b), 1);
    ck_assert_uint_eq(wire_data(&b)[0], 7);
    wire_free(&b);
}
END_TEST

START_TEST(reserve_counts_after_commit)
{
    struct wire_buf b = {0};
    uint8_t *at;
    ck_assert_int_eq(wire_reserve(&b, 1000, &at), 0);
    memset(at, 'r', 1000);
    ck_assert_uint_eq(wire_length(&b), 0);
    wire_commit(&b, 3);
    ck_assert_uint_eq(wire_length(&b), 3);
    ck_assert_mem_eq(wire_data(&b), "rrr", 3);
    wire_free(&b);
}
END_TEST

START_TEST(queue_against_a_model)
{
    /* Puts and takes of changing sizes: what comes out is what went in, in order. */
    struct wire_buf b = {0};
    uint32_t in = 0;
    uint32_t out = 0;
    uint32_t random = 12345;
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525u + 1013904223u;
        uint32_t n = (random >> 16) % 300;
        if ((random >> 8 & 1) != 0 || wire_length(&b) > 5000) {
            if (n > wire_length(&b)) {
                n = (uint32_t)wire_length(&b);
            }
            for (uint32_t j = 0; j < n; j++) {
                ck_assert_uint_eq(wire_data(&b)[j], (uint8_t)(out + j));
            }
            wire_take(&b, n);
            out += n;
        } else {
            uint8_t bytes[300];
            for (uint32_t j = 0; j < n; j++) {
                bytes[j] = (uint8_t)(in + j);
            }
            ck_assert_int_eq(wire_put(&b, bytes, n), 0);
            in += n;
        }
        ck_assert_uint_eq(wire_length(&b), in - out);
    }
    ck_assert_uint_le(b.size, 16384); /* drained as it is filled, it does not grow */
    wire_free(&b);
}
END_TEST

START_TEST(a_small_rest_does_not_make_it_grow)
{
    struct wire_buf b = {0};
    uint8_t bytes[100] = {0};
    ck_assert_int_eq(wire_put(&b, bytes, 1), 0);
    for (int i = 0; i < 100000; i++) {
        ck_assert_int_eq(wire_put(&b, bytes, sizeof(bytes)), 0);
        wire_take(&b, sizeof(bytes));
    }
    ck_assert_uint_eq(wire_length(&b), 1);
    ck_assert_uint_le(b.size, 1024);
    wire_free(&b);
}
END_TEST

START_TEST(a_queue_that_is_nearly_full_is_not_moved_all_the_time)
{
    static const uint8_t bytes[100];
    for (size_t held = 60000; held <= 65500; held += 500) {
        struct wire_buf b = {0};
        size_t put = 0, moved = 0;
        while (wire_length(&b) < held) {
            ck_assert_int_eq(wire_put(&b, bytes, sizeof(bytes)), 0);
        }
        for (int i = 0; i < 10000; i++) {
            const uint8_t *data = b.data;
            size_t start = b.start;
            wire_take(&b, sizeof(bytes));
            ck_assert_int_eq(wire_put(&b, bytes, sizeof(bytes)), 0);
            put += sizeof(bytes);
            moved += b.data != data || b.start < start ? wire_length(&b) : 0;
        }
        ck_assert_uint_le(moved, 5 * put);
        ck_assert_uint_le(b.size, 4 * held);
        wire_free(&b);
    }
}
END_TEST

START_TEST(trim_gives_back_only_when_empty_and_large)
{
    struct wire_buf b = {0};
    uint8_t bytes[5000] = {0};
    ck_assert_int_eq(wire_put(&b, bytes, sizeof(bytes)), 0);
    wire_trim(&b, 0);
    ck_assert_uint_eq(wire_length(&b), sizeof(bytes));
    wire_take(&b, sizeof(bytes));
    wire_trim(&b, b.size);
    ck_assert_ptr_nonnull(b.data);
    wire_trim(&b, 4096);
    ck_assert_ptr_null(b.data);
    ck_assert_int_eq(wire_put_u8(&b, 1), 0);
    wire_free(&b);
}
END_TEST

static Suite *wire_suite(void)
{
    Suite *s = suite_create("wire");
    TCase *t = tcase_create("wire");
    tcase_add_test(t, integers_are_big_endian);
    tcase_add_test(t, reading_past_the_end);
    tcase_add_test(t, a_short_read_yields_zero_for_good);
    tcase_add_test(t, empty_is_valid);
    tcase_add_test(t, limit);
    tcase_add_test(t, absurd_sizes);
    tcase_add_test(t, reserve_counts_after_commit);
    tcase_add_test(t, queue_against_a_model);
    tcase_add_test(t, a_small_rest_does_not_make_it_grow);
    tcase_add_test(t, a_queue_that_is_nearly_full_is_not_moved_all_the_time);
    tcase_add_test(t, trim_gives_back_only_when_empty_and_large);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(wire_suite)
