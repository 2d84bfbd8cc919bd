/* proto/refs: counts, ids, and a long random life beside a plain model. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/refs.h"
#include "tests/unit/unit.h"

#define OBJECTS 3000

struct model {
    struct refs *t;
    char objects[OBJECTS]; /* their addresses are the objects */
    int64_t ids[OBJECTS], held[OBJECTS];
    size_t count, gone;
    int64_t last;
    char *again; /* issued anew from within gone */
};

static void on_gone(void *arg, void *object, int64_t id)
{
    struct model *m = arg;
    size_t i = (size_t)((char *)object - m->objects);
    ck_assert_uint_lt(i, OBJECTS);
    ck_assert_int_eq(m->ids[i], id);
    ck_assert_ptr_null(refs_find(m->t, id));
    ck_assert_int_eq(refs_id(m->t, object), 0);
    m->ids[i] = 0;
    m->gone++;
    if (m->again != NULL) {
        char *object_again = m->again;
        m->again = NULL;
        m->last = refs_issue(m->t, object_again);
    }
}

static struct model *model_new(size_t most)
{
    struct model *m = calloc(1, sizeof(*m));
    ck_assert_ptr_nonnull(m);
    m->t = refs_new(most, on_gone, m);
    ck_assert_ptr_nonnull(m->t);
    return m;
}

/* `left` objects are still in the table. */
static void model_free(struct model *m, size_t left)
{
    size_t before = m->gone;
    ck_assert_uint_eq(refs_count(m->t), left);
    refs_free(m->t);
    ck_assert_uint_eq(m->gone, before + left);
    free(m);
}

static int64_t issue(struct model *m, size_t i)
{
    int64_t id = refs_issue(m->t, &m->objects[i]);
    if (id > 0) {
        m->ids[i] = id;
    }
    return id;
}

START_TEST(counts)
{
    struct model *m = model_new(0);
    ck_assert_int_eq(issue(m, 0), 1);
    ck_assert_int_eq(issue(m, 1), 2);
    ck_assert_int_eq(issue(m, 0), 1);
    ck_assert_int_eq(issue(m, 0), 1);
    ck_assert_int_eq(refs_held(m->t, 1), 3);
    ck_assert_int_eq(refs_held(m->t, 2), 1);
    ck_assert_ptr_eq(refs_find(m->t, 1), &m->objects[0]);
    ck_assert_ptr_eq(refs_find(m->t, 2), &m->objects[1]);
    ck_assert_int_eq(refs_id(m->t, &m->objects[1]), 2);
    ck_assert_int_eq(refs_id(m->t, &m->objects[2]), 0);
    ck_assert_int_eq(refs_id(m->t, NULL), 0);
    ck_assert_int_eq(refs_release(m->t, 1, 2), 0);
    ck_assert_int_eq(refs_held(m->t, 1), 1);
    ck_assert_uint_eq(m->gone, 0);
    ck_assert_int_eq(refs_release(m->t, 1, 1), 0);
    ck_assert_uint_eq(m->gone, 1);
    ck_assert_int_eq(refs_held(m->t, 1), 0);
    ck_assert_uint_eq(refs_count(m->t), 1);
    /* The same object has another id next time. */
    ck_assert_int_eq(issue(m, 0), 3);
    model_free(m, 2);
}
END_TEST

START_TEST(what_was_never_held_is_not_released)
{
    static const int64_t ids[] = {INT64_MIN, -1, 0, 2, 3, INT64_MAX};
    struct model *m = model_new(0);
    for (int filled = 0; filled < 2; filled++) {
        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
            ck_assert_int_eq(refs_release(m->t, ids[i], 1), -E_PROTOCOL);
            ck_assert_ptr_null(refs_find(m->t, ids[i]));
            ck_assert_int_eq(refs_held(m->t, ids[i]), 0);
        }
        ck_assert_int_eq(issue(m, 0), 1);
    }
    /* Two are held. */
    ck_assert_int_eq(refs_release(m->t, 1, 3), -E_PROTOCOL);
    ck_assert_int_eq(refs_release(m->t, 1, 0), -E_PROTOCOL);
    ck_assert_int_eq(refs_release(m->t, 1, -1), -E_PROTOCOL);
    ck_assert_int_eq(refs_release(m->t, 1, INT64_MIN), -E_PROTOCOL);
    ck_assert_int_eq(refs_release(m->t, 1, INT64_MAX), -E_PROTOCOL);
    ck_assert_int_eq(refs_held(m->t, 1), 2);
    ck_assert_int_eq(refs_release(m->t, 1, 2), 0);
    ck_assert_int_eq(refs_release(m->t, 1, 1), -E_PROTOCOL);
    ck_assert_uint_eq(m->gone, 1);
    ck_assert_int_eq(refs_issue(m->t, NULL), -E_ARGUMENT);
    model_free(m, 0);
    refs_free(NULL);
}
END_TEST

START_TEST(no_more_than_the_most)
{
    struct model *m = model_new(20);
    for (size_t i = 0; i < 20; i++) {
        ck_assert_int_eq(issue(m, i), (int64_t)i + 1);
    }
    ck_assert_int_eq(issue(m, 20), -E_LIMIT);
    ck_assert_int_eq(issue(m, 19), 20); /* one that is there already */
    ck_assert_int_eq(refs_release(m->t, 7, 1), 0);
    ck_assert_int_eq(issue(m, 20), 21);
    ck_assert_int_eq(issue(m, 21), -E_LIMIT);
    model_free(m, 20);
}
END_TEST

START_TEST(issued_from_within_gone)
{
    struct model *m = model_new(0);
    for (size_t i = 0; i < 15; i++) {
        issue(m, i);
    }
    m->again = &m->objects[100];
    ck_assert_int_eq(refs_release(m->t, 4, 1), 0);
    ck_assert_int_eq(m->last, 16);
    ck_assert_ptr_eq(refs_find(m->t, 16), &m->objects[100]);
    m->ids[100] = 16;
    model_free(m, 15);
}
END_TEST

START_TEST(without_a_callback)
{
    struct refs *t = refs_new(0, NULL, NULL);
    int object;
    ck_assert_int_eq(refs_issue(t, &object), 1);
    ck_assert_int_eq(refs_release(t, 1, 1), 0);
    ck_assert_int_eq(refs_issue(t, &object), 2);
    refs_free(t);
}
END_TEST

START_TEST(a_long_life)
{
    struct model *m = model_new(0);
    uint64_t random = 5;
    int64_t highest = 0;
    for (int step = 0; step < 400000; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        /* More and more objects, then fewer. */
        size_t range = (size_t)(step < 200000 ? step : 400000 - step) / 70 + 1;
        size_t i = (size_t)(random >> 33) % range;
        if ((random >> 20) % 5 < 2) {
            bool known = m->ids[i] != 0;
            int64_t id = refs_issue(m->t, &m->objects[i]);
            ck_assert(known ? id == m->ids[i] : id == highest + 1);
            highest = known ? highest : id;
            m->ids[i] = id;
            m->held[i]++;
            m->count += !known;
        } else if (m->ids[i] != 0) {
            int64_t id = m->ids[i];
            int64_t n = 1 + (int64_t)((random >> 50) % (uint64_t)m->held[i]);
            ck_assert_int_eq(refs_release(m->t, id, m->held[i] + 1), -E_PROTOCOL);
            m->held[i] -= n;
            ck_assert_int_eq(refs_release(m->t, id, n), 0);
            ck_assert_int_eq(m->ids[i] == 0, m->held[i] == 0);
            m->count -= m->held[i] == 0;
        }
        ck_assert_int_eq(refs_held(m->t, m->ids[i]), m->ids[i] == 0 ? 0 : m->held[i]);
        ck_assert_int_eq(refs_id(m->t, &m->objects[i]), m->ids[i]);
        ck_assert_uint_eq(refs_count(m->t), m->count);
    }
    ck_assert_int_gt(highest, 10000);
    model_free(m, m->count);
}
END_TEST

static Suite *refs_suite(void)
{
    Suite *s = suite_create("refs");
    TCase *t = tcase_create("refs");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, counts);
    tcase_add_test(t, what_was_never_held_is_not_released);
    tcase_add_test(t, no_more_than_the_most);
    tcase_add_test(t, issued_from_within_gone);
    tcase_add_test(t, without_a_callback);
    tcase_add_test(t, a_long_life);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(refs_suite)
