/* What a host says of a command's end. */
#include <check.h>
#include <signal.h>
#include <stdint.h>

#include "launcher/exec/exec_impl.h"
#include "tests/unit/unit.h"

static struct grapnel_exec_status s;

static void take(struct value *map)
{
    exec_read_status(&s, map);
    values_free(map);
}

static struct value *map_with(const char *key, struct value *item)
{
    struct value *map = values_map();

    ck_assert_int_eq(values_set(map, key, item), 0);
    return map;
}

static const struct {
    int64_t said;
    int exited, status;
} ends[] = {{0, 1, 0},  {1, 1, 1},   {255, 1, 255},     {256, 0, 0},
            {-1, 0, 0}, {512, 0, 0}, {INT64_MIN, 0, 0}, {INT64_MAX, 0, 0}};

/* 256 is not taken for 0. */
START_TEST(only_a_status_is_a_status)
{
    take(map_with("status", values_int(ends[_i].said)));
    ck_assert_int_eq(s.exited, ends[_i].exited);
    ck_assert_int_eq(s.exit_status, ends[_i].status);
    ck_assert_int_eq(s.exited, s.signal == NULL);
    ck_assert_int_eq(s.signal_number, 0);
}
END_TEST

START_TEST(signals)
{
    take(map_with("signal", values_text("KILL")));
    ck_assert_int_eq(s.exited, 0);
    ck_assert_str_eq(s.signal, "KILL");
    ck_assert_int_eq(s.signal_number, SIGKILL);
    take(map_with("signal", values_text("nothing of the kind")));
    ck_assert_str_eq(s.signal, "unknown");
    ck_assert_int_eq(s.signal_number, 0);
    take(map_with("signal", values_int(9)));
    ck_assert_str_eq(s.signal, "unknown");
    take(NULL);
    ck_assert_str_eq(s.signal, "unknown");
}
END_TEST

START_TEST(reasons)
{
    take(map_with("reason", values_text("timeout")));
    ck_assert_str_eq(s.reason, "timeout");
    take(map_with("reason", values_text("whim")));
    ck_assert_ptr_null(s.reason);
}
END_TEST

START_TEST(counts_are_not_negative)
{
    struct value *map = map_with("pid", values_int(-1));

    ck_assert_int_eq(values_set(map, "wall_us", values_int(INT64_MIN)), 0);
    ck_assert_int_eq(values_set(map, "max_rss", values_int(INT64_MAX)), 0);
    ck_assert_int_eq(values_set(map, "user_us", values_text("5")), 0);
    take(map);
    ck_assert_int_eq(s.pid, 0);
    ck_assert_int_eq(s.wall_us, 0);
    ck_assert_int_eq(s.user_us, 0);
    ck_assert_int_eq(s.max_rss, INT64_MAX);
}
END_TEST

static Suite *exec_values_suite(void)
{
    Suite *suite = suite_create("exec values");
    TCase *t = tcase_create("status");

    tcase_add_loop_test(t, only_a_status_is_a_status, 0, (int)(sizeof ends / sizeof ends[0]));
    tcase_add_test(t, signals);
    tcase_add_test(t, reasons);
    tcase_add_test(t, counts_are_not_negative);
    suite_add_tcase(suite, t);
    return suite;
}

UNIT_MAIN(exec_values_suite)
