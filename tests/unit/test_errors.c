/* proto/errors: the table and the filling of struct error. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/errors.h"
#include "tests/unit/unit.h"

static const struct {
    int number;
    enum errors_phase phase;
    int exit;
    const char *name;
} rows[] = {
#define ERROR(name, number, phase, exit, text, hint) {(number), PHASE_##phase, (exit), #name},
#include "proto/errors.def"
#undef ERROR
};
#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

START_TEST(row_is_sound)
{
    ck_assert_int_gt(rows[_i].number, 0);
    ck_assert_int_le(rows[_i].number, 65535); /* it goes over the wire as u16 */
    ck_assert_int_gt(rows[_i].exit, 0);
    ck_assert_int_le(rows[_i].exit, 255);
    for (int sign = -1; sign <= 1; sign += 2) {
        int code = sign * rows[_i].number;
        ck_assert_int_eq(errors_known(code), 1);
        ck_assert_str_eq(errors_name(code), rows[_i].name);
        ck_assert_int_eq(errors_exit(code), rows[_i].exit);
        ck_assert_int_eq((int)errors_phase(code), (int)rows[_i].phase);
        ck_assert_uint_gt(strlen(errors_text(code)), 0);
        ck_assert_uint_gt(strlen(errors_hint(code)), 0);
        ck_assert_str_ne(errors_phase_name(errors_phase(code)), "unknown");
    }
    for (int i = 0; i < _i; i++) {
        ck_assert_int_ne(rows[i].number, rows[_i].number);
    }
}
END_TEST

START_TEST(numbers_on_the_wire_stay)
{
    ck_assert_int_eq(E_NOMEM, 1);
    ck_assert_int_eq(E_CANCELLED, 7);
    ck_assert_int_eq(E_PROTOCOL, 60);
    ck_assert_int_eq(E_VERSION, 61);
    ck_assert_int_eq(E_NO_SERVICE, 70);
    ck_assert_int_eq(E_NO_COMMAND, 71);
    ck_assert_int_eq(errors_exit(-E_NO_COMMAND), 127);
    ck_assert_int_eq(errors_exit(-E_NOT_EXECUTABLE), 126);
    ck_assert_int_eq(errors_exit(-E_EXEC_TIMEOUT), 124);
}
END_TEST

START_TEST(unknown_code)
{
    static const int codes[] = {9999, -9999, 65535, -65536};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        ck_assert_int_eq(errors_known(codes[i]), 0);
        ck_assert_str_eq(errors_name(codes[i]), "UNKNOWN");
        ck_assert_int_eq((int)errors_phase(codes[i]), PHASE_PROTOCOL);
        ck_assert_int_eq(errors_exit(codes[i]), 255);
        ck_assert_ptr_nonnull(errors_text(codes[i]));
        ck_assert_ptr_nonnull(errors_hint(codes[i]));
    }
    ck_assert_str_eq(errors_phase_name((enum errors_phase)77), "unknown");
}
END_TEST

START_TEST(zero_is_no_error)
{
    ck_assert_int_eq(errors_known(0), 0);
    ck_assert_str_eq(errors_name(0), "OK");
    ck_assert_int_eq(errors_exit(0), 0);
}
END_TEST

START_TEST(set)
{
    struct error e;
    memset(&e, 'x', sizeof(e));
    ck_assert_int_eq(errors_set(&e, -E_IO, "%s: %d", "file", 7), -E_IO);
    ck_assert_int_eq(e.code, -E_IO);
    ck_assert_str_eq(e.detail, "file: 7");
    ck_assert_int_eq(errors_set(NULL, -E_LOST, "%s", "ignored"), -E_LOST);
    ck_assert_int_eq(errors_set_system(NULL, -E_LOST, ENOENT, "%s", "ignored"), -E_LOST);
}
END_TEST

START_TEST(set_is_cut)
{
    char longer[3000];
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    struct error e;
    ck_assert_int_eq(errors_set(&e, -E_IO, "%s", longer), -E_IO);
    ck_assert_uint_eq(strlen(e.detail), sizeof(e.detail) - 1);
}
END_TEST

START_TEST(system_text_is_appended)
{
    struct error e;
    char expected[200];
    ck_assert_int_eq(errors_set_system(&e, -E_SYSTEM, ENOENT, "open %s", "x"), -E_SYSTEM);
    (void)snprintf(expected, sizeof(expected), "open x: %s", strerror(ENOENT));
    ck_assert_str_eq(e.detail, expected);
    ck_assert_int_eq(e.code, -E_SYSTEM);
    /* A number that the system does not know is no reason to fail. */
    ck_assert_int_eq(errors_set_system(&e, -E_SYSTEM, 99999, "x"), -E_SYSTEM);
    ck_assert_uint_gt(strlen(e.detail), 3);
}
END_TEST

START_TEST(system_text_survives_a_long_detail)
{
    char longer[3000];
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    const char *text = strerror(ENOSPC);
    /* Around the length at which it must begin to give way. */
    for (size_t n = sizeof(((struct error *)0)->detail) - strlen(text) - 6; n < sizeof(longer);
         n = n < 1100 ? n + 1 : n + 500) {
        struct error e;
        (void)errors_set_system(&e, -E_IO, ENOSPC, "%.*s", (int)n, longer);
        size_t length = strlen(e.detail);
        ck_assert_uint_lt(length, sizeof(e.detail));
        ck_assert_str_eq(e.detail + length - strlen(text), text);
        ck_assert_int_eq(strncmp(e.detail + length - strlen(text) - 2, ": ", 2), 0);
    }
}
END_TEST

static Suite *errors_suite(void)
{
    Suite *s = suite_create("errors");
    TCase *t = tcase_create("errors");
    tcase_add_loop_test(t, row_is_sound, 0, ROWS);
    tcase_add_test(t, numbers_on_the_wire_stay);
    tcase_add_test(t, unknown_code);
    tcase_add_test(t, zero_is_no_error);
    tcase_add_test(t, set);
    tcase_add_test(t, set_is_cut);
    tcase_add_test(t, system_text_is_appended);
    tcase_add_test(t, system_text_survives_a_long_detail);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(errors_suite)
