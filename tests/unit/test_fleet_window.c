/* The window of hosts that are connected to at the same time. */
#include <check.h>

#include "launcher/fleet/window.h"
#include "tests/unit/unit.h"

static struct window w;

/* Begins as many as it admits at that time; how many. */
static size_t fill(uint64_t now)
{
    size_t n = 0;

    while (window_wait(&w, now) == 0) {
        window_begin(&w);
        ck_assert_uint_lt(++n, 10000);
    }
    return n;
}

static void end(size_t n, unsigned token, enum window_end how, uint64_t now)
{
    while (n--)
        window_end(&w, token, how, 1000, now, 0);
}

START_TEST(test_it_begins_modestly_and_grows_with_success)
{
    window_init(&w, 0);
    ck_assert_uint_eq(fill(0), WINDOW_FIRST);
    ck_assert(window_wait(&w, 0) == UINT64_MAX);
    end(WINDOW_FIRST, 0, WINDOW_CONNECTED, 0);
    ck_assert_uint_eq(fill(0), 2 * WINDOW_FIRST);
    for (int i = 0; i < 10; i++) {
        end(w.connecting, 0, WINDOW_CONNECTED, 0);
        fill(0);
    }
    ck_assert_uint_eq(w.connecting, WINDOW_MOST);
}
END_TEST

START_TEST(test_it_does_not_grow_while_somebody_is_busy)
{
    window_init(&w, 0);
    fill(0);
    window_end(&w, 0, WINDOW_CONNECTED, 50000, 0, 0);
    ck_assert_uint_eq(fill(0), 2);
    for (int i = 0; i < 100; i++) {
        window_end(&w, 0, WINDOW_CONNECTED, 1500000, 0, 0);
        ck_assert_uint_eq(fill(0), 1);
    }
    /* A line on which all takes long is not busy. */
    window_init(&w, 0);
    fill(0);
    window_end(&w, 0, WINDOW_CONNECTED, 3000000, 0, 0);
    window_end(&w, 0, WINDOW_CONNECTED, 4000000, 0, 0);
    ck_assert_uint_eq(fill(0), 4);
}
END_TEST

START_TEST(test_silence_holds_nobody_up)
{
    window_init(&w, 0);
    fill(0);
    end(WINDOW_FIRST, 0, WINDOW_SILENT, 1000000);
    ck_assert_uint_eq(fill(1000000), 2 * WINDOW_FIRST);
    ck_assert_uint_eq(w.fine + w.refused, 0);
}
END_TEST

START_TEST(test_it_shrinks_while_somebody_is_late)
{
    window_init(&w, 0);
    fill(0);
    for (int i = 0; i < 3; i++) {
        end(w.connecting, 0, WINDOW_CONNECTED, 0);
        fill(0);
    }
    ck_assert_uint_eq(w.connecting, 8 * WINDOW_FIRST);
    for (int i = 0; i < 4 * WINDOW_FIRST; i++)
        window_end(&w, 0, WINDOW_CONNECTED, 5000000, 0, 0);
    ck_assert_uint_eq(fill(0), 0);
    ck_assert_uint_eq(w.connecting, 4 * WINDOW_FIRST);
    for (int i = 0; i < 200; i++) {
        window_end(&w, 0, WINDOW_CONNECTED, 5000000, 0, 0);
        fill(0);
    }
    ck_assert_uint_eq(w.connecting, WINDOW_FIRST);
}
END_TEST

START_TEST(test_it_keeps_to_its_bound)
{
    window_init(&w, 3);
    ck_assert_uint_eq(fill(0), 3);
    end(3, 0, WINDOW_CONNECTED, 0);
    ck_assert_uint_eq(fill(0), 3);
}
END_TEST

START_TEST(test_refusals_halve_it_and_make_it_wait)
{
    uint64_t wait;

    window_init(&w, 0);
    fill(0);
    end(2, 0, WINDOW_REFUSED, 1000);
    ck_assert_uint_eq(w.connecting, WINDOW_FIRST - 2);
    /* The others of that time are refused, too: it is the same event. */
    end(WINDOW_FIRST - 2, 0, WINDOW_REFUSED, 1000);
    wait = window_wait(&w, 1000);
    ck_assert_uint_eq(wait, 100000);
    ck_assert_uint_eq(fill(1000 + wait), WINDOW_FIRST / 2);
    /* None is fine: it waits longer, down to one at a time. */
    end(WINDOW_FIRST / 2, 1, WINDOW_REFUSED, 200000);
    ck_assert_uint_eq(window_wait(&w, 200000), 200000);
    ck_assert_uint_eq(fill(400000), WINDOW_FIRST / 4);
    for (unsigned token = 2; token < 20; token++) {
        end(w.connecting, token, WINDOW_REFUSED, 0);
        window_begin(&w);
        end(1, token, WINDOW_REFUSED, 0);
        ck_assert_uint_le(window_wait(&w, 0), 3200000);
        fill(4000000);
    }
    ck_assert_uint_eq(w.connecting, 1);
}
END_TEST

START_TEST(test_after_a_cut_it_grows_slowly)
{
    size_t n;

    window_init(&w, 0);
    fill(0);
    end(WINDOW_FIRST, 0, WINDOW_REFUSED, 0);
    n = fill(1000000);
    end(n, 1, WINDOW_CONNECTED, 1000000);
    ck_assert_uint_eq(n, WINDOW_FIRST / 2);
    ck_assert_uint_le(fill(1000000), n + 1);
    end(w.connecting, 1, WINDOW_CONNECTED, 1000000);
    ck_assert_uint_gt(fill(1000000), n);
}
END_TEST

START_TEST(test_a_few_hosts_that_refuse_everybody_do_not_hold_up_the_others)
{
    window_init(&w, 0);
    for (int i = 0; i < 1000; i++) {
        while (w.connecting < 16)
            window_begin(&w);
        window_end(&w, 0, i % 14 == 13 ? WINDOW_REFUSED : WINDOW_CONNECTED, 1000, 0, 0);
    }
    ck_assert_uint_eq(w.epoch, 0);
    /* Nor do those that fail for reasons of their own. */
    for (int i = 0; i < 1000; i++) {
        window_begin(&w);
        window_end(&w, 0, WINDOW_FAILED, 1000, 0, 0);
    }
    ck_assert_uint_eq(w.epoch, 0);
    /* But what was fine long ago does not hide that now all are refused. */
    end(w.connecting < 16 ? w.connecting : 16, 0, WINDOW_REFUSED, 0);
    ck_assert_uint_eq(w.epoch, 1);
}
END_TEST

START_TEST(test_the_pause_is_shortened_at_random)
{
    uint64_t least = UINT64_MAX, most = 0;

    for (uint32_t random = 0; random < 2048; random += 64) {
        uint64_t wait;

        window_init(&w, 0);
        fill(0);
        window_end(&w, 0, WINDOW_REFUSED, 1000, 0, random);
        window_end(&w, 0, WINDOW_REFUSED, 1000, 0, random);
        end(WINDOW_FIRST - 2, 0, WINDOW_FAILED, 0);
        wait = window_wait(&w, 0);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    ck_assert_uint_le(least, 80000);
    ck_assert_uint_eq(most, 100000);
}
END_TEST

static Suite *window_suite(void)
{
    Suite *s = suite_create("fleet_window");
    TCase *c = tcase_create("window");

    tcase_add_test(c, test_it_begins_modestly_and_grows_with_success);
    tcase_add_test(c, test_it_does_not_grow_while_somebody_is_busy);
    tcase_add_test(c, test_it_shrinks_while_somebody_is_late);
    tcase_add_test(c, test_it_keeps_to_its_bound);
    tcase_add_test(c, test_silence_holds_nobody_up);
    tcase_add_test(c, test_refusals_halve_it_and_make_it_wait);
    tcase_add_test(c, test_after_a_cut_it_grows_slowly);
    tcase_add_test(c, test_a_few_hosts_that_refuse_everybody_do_not_hold_up_the_others);
    tcase_add_test(c, test_the_pause_is_shortened_at_random);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(window_suite)
