/* Random sets: folding and expanding give them back, and operators do what they do in a model that
 * keeps a list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"
#include "tests/unit/unit.h"

#define ROUNDS    400
#define NAMES_MAX 120
#define NAME_SIZE 80

/* The same numbers in each run; which run it was is said when a test fails. */
static uint64_t state;

static unsigned below(unsigned n)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(state >> 33) % n;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct list {
    char *names[NAMES_MAX];
    size_t count;
};

static int has(const struct list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->names[i], name))
            return 1;
    return 0;
}

static void put(struct list *l, const char *name)
{
    if (!has(l, name))
        l->names[l->count++] = strdup(name);
}

static void take(struct list *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->names[i], name)) {
            free(l->names[i]);
            l->names[i] = l->names[--l->count];
            return;
        }
}

static void clear(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    l->count = 0;
}

/* The set has the names of the list, each once. */
static void same(const struct grapnel_targets *t, struct list *l, int run)
{
    const char *names[NAMES_MAX + 1];

    ck_assert_msg(grapnel_targets_count(t) == l->count, "run %d: %zu names, not %zu", run,
                  grapnel_targets_count(t), l->count);
    for (size_t i = 0; i < l->count; i++)
        names[i] = grapnel_targets_name(t, i);
    if (l->count > 0) {
        qsort(names, l->count, sizeof names[0], compare);
        qsort(l->names, l->count, sizeof l->names[0], compare);
    }
    for (size_t i = 0; i < l->count; i++)
        ck_assert_msg(!strcmp(names[i], l->names[i]), "run %d: %s, not %s", run, names[i],
                      l->names[i]);
}

/* A name of up to four numbers, of few values and several paddings, between few letters. */
static void make_name(char name[NAME_SIZE], unsigned values)
{
    static const char *const heads[] = {"", "n", "r", "web", "u@n", "10."};
    static const char *const joins[] = {"n", "-", ".", "x.", ":"};
    static const char *const tails[] = {"", "", "a", ".com", "123456789012345678x"};
    int used = snprintf(name, NAME_SIZE, "%s", heads[below(6)]);

    for (unsigned i = 0, n = 1 + below(4); i < n; i++)
        used += snprintf(name + used, (size_t)(NAME_SIZE - used), "%s%0*u",
                         i > 0 ? joins[below(5)] : "", (int)(below(8) == 0 ? 2 + below(2) : 1),
                         below(values));
    snprintf(name + used, (size_t)(NAME_SIZE - used), "%s", tails[below(5)]);
}

static struct grapnel_targets *fresh(void)
{
    static const struct grapnel_targets_options options = {.groups = "none"};

    return grapnel_targets_new(&options, NULL);
}

START_TEST(expanding_gives_back_what_was_folded)
{
    for (int run = 0; run < ROUNDS; run++) {
        struct list list = {.count = 0};
        struct grapnel_targets *t = fresh();
        struct grapnel_error error;
        char name[NAME_SIZE], *text, *again;

        state = (uint64_t)run;
        unsigned values = 2 + below(3) * below(20);
        for (unsigned n = below(NAMES_MAX); n > 0; n--) {
            make_name(name, values);
            put(&list, name);
        }
        text = grapnel_targets_fold_names((const char *const *)list.names, list.count);
        ck_assert_msg(grapnel_targets_add(t, text, &error) == 0, "run %d: %s: %s", run, text,
                      error.detail);
        same(t, &list, run);
        /* Folding what has been expanded gives the same text, whatever order names had before. */
        again = grapnel_targets_fold(t);
        ck_assert_msg(!strcmp(again, text), "run %d: %s became %s", run, text, again);
        grapnel_string_free(text);
        grapnel_string_free(again);
        grapnel_targets_free(t);
        clear(&list);
    }
}
END_TEST

/* Products, with a few names left out: many merges, in all columns. */
START_TEST(products_with_holes_are_exact)
{
    for (int run = 0; run < ROUNDS; run++) {
        struct list list = {.count = 0};
        struct grapnel_targets *t = fresh();
        char name[NAME_SIZE], *text;

        state = (uint64_t)run;
        unsigned a = 1 + below(4), b = 1 + below(5), c = 1 + below(5), holes = below(4);
        for (unsigned i = 0; i < a * b * c; i++) {
            snprintf(name, sizeof name, "r%un%02up%u", i / (b * c), i / c % b, i % c);
            put(&list, name);
        }
        for (; holes > 0 && list.count > 0; holes--)
            take(&list, list.names[below((unsigned)list.count)]);
        text = grapnel_targets_fold_names((const char *const *)list.names, list.count);
        ck_assert_int_eq(grapnel_targets_add(t, text, NULL), 0);
        same(t, &list, run);
        if (list.count == a * b * c)
            ck_assert_msg(!strstr(text, "],r"), "%s is no product", text);
        grapnel_string_free(text);
        grapnel_targets_free(t);
        clear(&list);
    }
}
END_TEST

/* n[A-B] for the text, and its names to the list. */
static void make_term(char *text, size_t size, struct list *l)
{
    unsigned first = below(12), last = first + below(6);
    char name[NAME_SIZE];

    snprintf(text, size, "n[%u-%u]", first, last);
    for (; first <= last; first++) {
        snprintf(name, sizeof name, "n%u", first);
        put(l, name);
    }
}

static void apply(char operation, struct list *left, const struct list *right)
{
    struct list before = {.count = 0};

    for (size_t i = 0; i < left->count; i++)
        put(&before, left->names[i]);
    for (size_t i = 0; i < right->count; i++) {
        if (operation == ',' || (operation == '^' && !has(&before, right->names[i])))
            put(left, right->names[i]);
        else if (operation == '!' || operation == '^')
            take(left, right->names[i]);
    }
    for (size_t i = 0; operation == '&' && i < before.count; i++)
        if (!has(right, before.names[i]))
            take(left, before.names[i]);
    clear(&before);
}

START_TEST(operators_do_what_the_model_does)
{
    for (int run = 0; run < ROUNDS; run++) {
        struct list list = {.count = 0}, right = {.count = 0};
        struct grapnel_targets *t = fresh();
        struct grapnel_error error;
        char text[1000];
        size_t used;

        state = (uint64_t)run;
        make_term(text, sizeof text, &list);
        for (unsigned n = below(12); n > 0; n--) {
            used = strlen(text);
            text[used] = ",!&^"[below(4)];
            make_term(text + used + 1, sizeof text - used - 1, &right);
            apply(text[used], &list, &right);
            clear(&right);
        }
        ck_assert_msg(grapnel_targets_add(t, text, &error) == 0, "%s: %s", text, error.detail);
        same(t, &list, run);
        /* What is excluded is what the word stands for by itself. */
        make_term(text, sizeof text, &right);
        ck_assert_int_eq(grapnel_targets_exclude(t, text, NULL), 0);
        apply('!', &list, &right);
        same(t, &list, run);
        clear(&right);
        clear(&list);
        grapnel_targets_free(t);
    }
}
END_TEST

/* Hundreds of thousands: what grows faster than they do would not end in time. */
START_TEST(many_names_take_no_more_than_their_share)
{
    static const struct {
        const char *text;
        size_t count;
    } sets[] = {
        {"n[1-100000]", 100000},
        {"r[1-500]n[001-200]", 100000},
        {"a[0-9]b[0-9]c[0-9]d[0-9]e[0-9]f0", 100000},
        {"n[1-120000/2]m[1-2]!n[1-120000/3]m1", 100000},
    };

    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        struct grapnel_targets *t = fresh(), *again = fresh();
        char *text;

        ck_assert_int_eq(grapnel_targets_add(t, sets[i].text, NULL), 0);
        ck_assert_uint_eq(grapnel_targets_count(t), sets[i].count);
        text = grapnel_targets_fold(t);
        ck_assert_int_eq(grapnel_targets_add(again, text, NULL), 0);
        ck_assert_uint_eq(grapnel_targets_count(again), sets[i].count);
        ck_assert_int_eq(grapnel_targets_exclude(again, sets[i].text, NULL), 0);
        ck_assert_uint_eq(grapnel_targets_count(again), 0);
        grapnel_string_free(text);
        grapnel_targets_free(t);
        grapnel_targets_free(again);
    }
}
END_TEST

/* Long words of operators: a name's removal must not cost a walk over all. */
START_TEST(many_operators_take_no_more_than_their_share)
{
    size_t used = 0, size = 2000000;
    char *text = malloc(size);
    struct grapnel_targets *t = fresh();

    used += (size_t)snprintf(text, size, "n[1-100000]");
    for (unsigned i = 1; i <= 50000; i++)
        used += (size_t)snprintf(text + used, size - used, "!n%u,m%u", i, i);
    ck_assert_uint_lt(used, size - 1);
    ck_assert_int_eq(grapnel_targets_add(t, text, NULL), 0);
    ck_assert_uint_eq(grapnel_targets_count(t), 100000);
    ck_assert_str_eq(grapnel_targets_name(t, 0), "n50001");
    free(text);
    text = grapnel_targets_fold(t);
    ck_assert_str_eq(text, "m[1-50000],n[50001-100000]");
    grapnel_string_free(text);
    grapnel_targets_free(t);
}
END_TEST

static Suite *targets_suite(void)
{
    Suite *s = suite_create("targets_random");
    TCase *c = tcase_create("properties");

    tcase_set_timeout(c, 60);
    tcase_add_test(c, expanding_gives_back_what_was_folded);
    tcase_add_test(c, products_with_holes_are_exact);
    tcase_add_test(c, operators_do_what_the_model_does);
    tcase_add_test(c, many_names_take_no_more_than_their_share);
    tcase_add_test(c, many_operators_take_no_more_than_their_share);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(targets_suite)
