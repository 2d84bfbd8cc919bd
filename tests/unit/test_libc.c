/* What stands in the place of musl's functions in the worker, beside this machine's. */
#include <errno.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* Under other names, and whichever library this is. */
#undef __GLIBC__
#define timer_create small_timer_create
#define setrlimit    small_setrlimit
#define sysconf      small_sysconf
#define system       small_system
#define popen        small_popen
#define setlocale    small_setlocale
#define mbstowcs     small_mbstowcs
#define strstr       small_strstr
#define memmem       small_memmem
#define wctomb       small_wctomb
#define qsort        small_qsort
int timer_create(clockid_t clock, struct sigevent *restrict event, timer_t *restrict timer);
int setrlimit(int which, const struct rlimit *limit);
long sysconf(int name);
int system(const char *line);
FILE *popen(const char *line, const char *mode);
char *setlocale(int category, const char *name);
size_t mbstowcs(wchar_t *restrict to, const char *restrict from, size_t n);
int wctomb(char *to, wchar_t c);
char *strstr(const char *in, const char *what);
void *memmem(const void *in, size_t n, const void *what, size_t size);
void qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));
#include "agent/worker/libc.c" /* NOLINT(bugprone-suspicious-include) */
#undef qsort
#undef sysconf
#undef strstr
#undef memmem
#undef wctomb
#undef mbstowcs

/* Both searches for `what` in `in` find the same as this machine's. */
static void search(const char *in, const char *what)
{
    size_t n = strlen(in), size = strlen(what);

    ck_assert_ptr_eq(small_strstr(in, what), strstr(in, what));
    ck_assert_ptr_eq(small_memmem(in, n, what, size), memmem(in, n, what, size));
    ck_assert_ptr_eq(small_memmem(in, n + 1, what, size + 1), memmem(in, n + 1, what, size + 1));
}

static int by_number(const void *a, const void *b)
{
    const int *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

START_TEST(any_number_of_things_is_sorted)
{
    int mine[200] = {0}, right[200] = {0};
    unsigned seed = 1;

    for (size_t n = 0; n < 200; n++) {
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1103515245 + 12345;
            mine[i] = right[i] = (int)(seed >> 16) % (n % 3 == 0 ? 7 : 30000);
        }
        small_qsort(mine, n, sizeof *mine, by_number);
        qsort(right, n, sizeof *right, by_number);
        ck_assert_int_eq(memcmp(mine, right, n * sizeof *mine), 0);
        small_qsort(mine, n, sizeof *mine, by_number);
        ck_assert_int_eq(memcmp(mine, right, n * sizeof *mine), 0);
    }
}
END_TEST

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

START_TEST(things_of_any_size_are_sorted)
{
    char words[][7] = {"pear", "fig", "apple", "quince", "", "fig", "plum"};

    small_qsort(words, 7, sizeof *words, by_text);
    ck_assert_str_eq(words[0], "");
    ck_assert_str_eq(words[1], "apple");
    ck_assert_str_eq(words[2], "fig");
    ck_assert_str_eq(words[3], "fig");
    ck_assert_str_eq(words[4], "pear");
    ck_assert_str_eq(words[5], "plum");
    ck_assert_str_eq(words[6], "quince");
}
END_TEST

START_TEST(texts_are_found_where_they_are)
{
    static const char *const in[] = {"",     "a",      "ab",     "aab",      "abab",
                                     "aaab", "abcabd", "bbbbba", "abaabaaab"};
    static const char behind[] = "\0a";

    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        for (size_t w = 0; w < sizeof in / sizeof *in; w++) {
            search(in[i], in[w]);
        }
        search(in[i], "ba");
        search(in[i], "abd");
    }
    ck_assert_ptr_null(small_strstr(behind, "a"));
    ck_assert_ptr_null(small_memmem(behind, 1, "a", 1));
}
END_TEST

START_TEST(a_character_is_a_byte)
{
    wchar_t wide[4] = {1, 1, 1, 1};
    char byte = 0;

    ck_assert_uint_eq(small_mbstowcs(NULL, "a\xff", 0), 2);
    ck_assert_uint_eq(small_mbstowcs(wide, "a\xff", 4), 2);
    ck_assert(wide[0] == 'a' && wide[1] == 0xff && wide[2] == 0 && wide[3] == 1);
    ck_assert_uint_eq(small_mbstowcs(wide, "bcd", 2), 2);
    ck_assert(wide[0] == 'b' && wide[1] == 'c' && wide[2] == 0);
    ck_assert_int_eq(small_wctomb(NULL, L'a'), 0);
    ck_assert_int_eq(small_wctomb(&byte, 0xff), 1);
    ck_assert_int_eq(byte, (char)0xff);
    errno = 0;
    ck_assert_int_eq(small_wctomb(&byte, 0x20ac), -1);
    ck_assert_int_eq(errno, EILSEQ);
    ck_assert_int_eq(small_wctomb(&byte, (wchar_t)-1), -1);
}
END_TEST

START_TEST(there_is_one_locale)
{
    ck_assert_str_eq(small_setlocale(LC_ALL, NULL), "C");
    ck_assert_str_eq(small_setlocale(LC_ALL, ""), "C");
    ck_assert_str_eq(small_setlocale(LC_NUMERIC, "POSIX"), "C");
    ck_assert_ptr_null(small_setlocale(LC_ALL, "de_DE.UTF-8"));
}
END_TEST

START_TEST(there_is_no_shell)
{
    ck_assert_int_eq(small_system(NULL), 0);
    ck_assert_int_eq(small_system("exit 0"), -1);
    ck_assert_int_eq(errno, ENOSYS);
    errno = 0;
    ck_assert_ptr_null(small_popen("exit 0", "r"));
    ck_assert_int_eq(errno, ENOSYS);
}
END_TEST

START_TEST(limits_are_set)
{
    struct rlimit before, after;

    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &before), 0);
    before.rlim_cur = 0;
    ck_assert_int_eq(small_setrlimit(RLIMIT_CORE, &before), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &after), 0);
    ck_assert(after.rlim_cur == 0 && after.rlim_max == before.rlim_max);
    ck_assert_int_eq(small_setrlimit(-1, &before), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(the_machine_is_known)
{
    cpu_set_t may, one;

    ck_assert_int_eq(small_sysconf(_SC_PAGESIZE), sysconf(_SC_PAGESIZE));
    ck_assert_int_eq(small_sysconf(_SC_CLK_TCK), sysconf(_SC_CLK_TCK));
    ck_assert_int_eq(sched_getaffinity(0, sizeof may, &may), 0);
    ck_assert_int_eq(small_sysconf(_SC_NPROCESSORS_ONLN), CPU_COUNT(&may));
    ck_assert_int_eq(small_sysconf(_SC_NPROCESSORS_CONF), CPU_COUNT(&may));
    CPU_ZERO(&one);
    for (size_t i = CPU_SETSIZE; i-- > 0 && CPU_COUNT(&one) == 0;) {
        if (CPU_ISSET(i, &may)) {
            CPU_SET(i, &one);
        }
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_int_eq(small_sysconf(_SC_NPROCESSORS_ONLN), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof may, &may), 0);
    errno = 0;
    ck_assert_int_eq(small_sysconf(_SC_ARG_MAX), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(timers_are_the_kernels)
{
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    struct itimerspec left;
    timer_t timers[2];

    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(small_timer_create(CLOCK_MONOTONIC, &event, &timers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        long number = (long)(intptr_t)timers[i];
        ck_assert_int_eq(syscall(SYS_timer_gettime, number, &left), 0);
        ck_assert_int_eq(syscall(SYS_timer_delete, number), 0);
    }
    errno = 0;
    ck_assert_int_eq(small_timer_create(-1000, &event, timers), -1);
    ck_assert_int_eq(errno, EINVAL);
}
END_TEST

START_TEST(no_thread_is_started_for_a_timer)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD};
    timer_t timer;

    ck_assert_int_eq(small_timer_create(CLOCK_MONOTONIC, &event, &timer), -1);
    ck_assert_int_eq(errno, ENOTSUP);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("libc");
    TCase *c = tcase_create("libc");

    tcase_add_test(c, any_number_of_things_is_sorted);
    tcase_add_test(c, things_of_any_size_are_sorted);
    tcase_add_test(c, texts_are_found_where_they_are);
    tcase_add_test(c, a_character_is_a_byte);
    tcase_add_test(c, there_is_one_locale);
    tcase_add_test(c, there_is_no_shell);
    tcase_add_test(c, limits_are_set);
    tcase_add_test(c, the_machine_is_known);
    tcase_add_test(c, timers_are_the_kernels);
    tcase_add_test(c, no_thread_is_started_for_a_timer);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
