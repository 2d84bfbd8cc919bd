/* Signals and their names. */
#include <check.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/signals.h"
#include "tests/unit/unit.h"

static const struct {
    const char *name;
    int number, forwarded;
} rows[] = {
#define SIGNAL(name, forwarded) {#name, SIG##name, (forwarded)},
#include "proto/signals.def"
#undef SIGNAL
};

#define ROWS (int)(sizeof rows / sizeof rows[0])

START_TEST(row_is_sound)
{
    char copy[20];

    ck_assert_int_lt(snprintf(copy, sizeof copy, "%s", rows[_i].name), (int)sizeof copy);
    ck_assert_int_eq(signals_number(copy), rows[_i].number);
    ck_assert_int_eq(signals_forwarded(copy), rows[_i].forwarded);
    ck_assert_str_eq(signals_known(copy), copy);
    ck_assert_ptr_ne(signals_known(copy), copy);
    /* Two names may be one signal: then the first is its name. */
    ck_assert_int_eq(signals_number(signals_name(rows[_i].number)), rows[_i].number);
}
END_TEST

START_TEST(others_are_none)
{
    static const char *const others[] = {NULL, "", "SIGTERM", "term", "TER", "TERMX", "15"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ck_assert_ptr_null(signals_known(others[i]));
        ck_assert_int_eq(signals_number(others[i]), 0);
        ck_assert_int_eq(signals_forwarded(others[i]), 0);
    }
    ck_assert_ptr_null(signals_name(0));
    ck_assert_ptr_null(signals_name(-1));
    ck_assert_ptr_null(signals_name(10000));
}
END_TEST

static Suite *signals_suite(void)
{
    Suite *s = suite_create("signals");
    TCase *t = tcase_create("signals");

    tcase_add_loop_test(t, row_is_sound, 0, ROWS);
    tcase_add_test(t, others_are_none);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(signals_suite)
