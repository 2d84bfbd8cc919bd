/* proto/fifo: bytes in pieces. */
#include <stdlib.h>
#include <string.h>

#include "proto/fifo.h"
#include "tests/unit/unit.h"

#define MANY 1000000

/* The byte at each place of the flow, with no period that divides a piece. */
static uint8_t at_place(size_t i)
{
    return (uint8_t)(i * 31 + i / 251);
}

static void put_flow(struct fifo *f, size_t from, size_t n)
{
    uint8_t *bytes = malloc(n + 1);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = at_place(from + i);
    }
    ck_assert_int_eq(fifo_put(f, bytes, n), 0);
    free(bytes);
}

/* Takes n bytes, in parts of at most `most`. */
static void take_flow(struct fifo *f, size_t from, size_t n, size_t most)
{
    size_t done = 0;
    while (done < n) {
        size_t have;
        const uint8_t *bytes = fifo_data(f, &have);
        ck_assert_uint_gt(have, 0);
        have = have < n - done ? have : n - done;
        have = have < most ? have : most;
        for (size_t i = 0; i < have; i++) {
            ck_assert_uint_eq(bytes[i], at_place(from + done + i));
        }
        fifo_take(f, have);
        done += have;
    }
}

START_TEST(what_goes_in_comes_out)
{
    static const size_t sizes[] = {1, 7, 4096, 65535, 65536, 65472, 65471, 65473, 200000, 3};
    struct fifo f = {0};
    size_t in = 0, out = 0;
    for (size_t round = 0; in < MANY; round++) {
        size_t n = sizes[round % (sizeof(sizes) / sizeof(sizes[0]))];
        put_flow(&f, in, n);
        in += n;
        n = (in - out) / 2;
        take_flow(&f, out, n, sizes[(round * 3) % (sizeof(sizes) / sizeof(sizes[0]))]);
        out += n;
        ck_assert_uint_eq(fifo_length(&f), in - out);
    }
    take_flow(&f, out, in - out, MANY);
    ck_assert_uint_eq(fifo_length(&f), 0);
    size_t n = 1;
    (void)fifo_data(&f, &n);
    ck_assert_uint_eq(n, 0);
    fifo_free(&f);
}
END_TEST

START_TEST(many_pieces_go_at_once)
{
    struct fifo f = {0};
    put_flow(&f, 0, MANY);
    fifo_take(&f, MANY - 10);
    take_flow(&f, MANY - 10, 10, MANY);
    put_flow(&f, 0, MANY);
    fifo_free(&f);
    ck_assert_uint_eq(fifo_length(&f), 0);
    put_flow(&f, 5, 5);
    take_flow(&f, 5, 5, 1);
    fifo_free(&f);
}
END_TEST

START_TEST(nothing_is_nothing)
{
    struct fifo f = {0};
    size_t n = 1;
    ck_assert_int_eq(fifo_put(&f, "", 0), 0);
    ck_assert_uint_eq(fifo_length(&f), 0);
    (void)fifo_data(&f, &n);
    ck_assert_uint_eq(n, 0);
    fifo_take(&f, 0);
    fifo_free(&f);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("fifo");
    TCase *t = tcase_create("fifo");
    tcase_add_test(t, what_goes_in_comes_out);
    tcase_add_test(t, many_pieces_go_at_once);
    tcase_add_test(t, nothing_is_nothing);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
