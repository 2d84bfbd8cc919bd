/* Work in threads of its own: each is done once, and of what is queued only so many run. */
#include <check.h>
#include <pthread.h>
#include <string.h>

#include "launcher/blocking.h"
#include "tests/unit/unit.h"

#define JOBS (3 * BLOCKING_QUEUE_MAX)

static struct ev_loop *loop;
static struct blocking *b;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int running, most, open_gate, ran[JOBS], done[JOBS], cancelled[JOBS];
static int numbers[JOBS];
static struct blocking_job *jobs[JOBS];

static void setup(void)
{
    loop = ev_loop_new(EVFLAG_AUTO);
    b = blocking_new(loop);
    ck_assert_ptr_nonnull(b);
    for (int i = 0; i < JOBS; i++)
        numbers[i] = i;
}

static void teardown(void)
{
    blocking_free(b);
    ev_loop_destroy(loop);
}

static void work(void *arg)
{
    pthread_mutex_lock(&lock);
    ran[*(int *)arg]++;
    most = ++running > most ? running : most;
    pthread_cond_broadcast(&changed);
    while (!open_gate)
        pthread_cond_wait(&changed, &lock);
    running--;
    pthread_mutex_unlock(&lock);
}

static void on_done(void *arg, int was_cancelled)
{
    done[*(int *)arg]++;
    cancelled[*(int *)arg] = was_cancelled;
}

static void queue_all(void)
{
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = blocking_queue(b, work, on_done, &numbers[i]);
        ck_assert_ptr_nonnull(jobs[i]);
    }
    pthread_mutex_lock(&lock);
    while (running < BLOCKING_QUEUE_MAX)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void let_go(void)
{
    pthread_mutex_lock(&lock);
    open_gate = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

START_TEST(test_only_so_many_run)
{
    int all = 0;

    queue_all();
    blocking_cancel(jobs[0]);
    blocking_cancel(jobs[JOBS - 1]);
    let_go();
    ev_ref(loop); /* the watcher keeps nobody */
    while (all < JOBS) {
        ev_run(loop, EVRUN_ONCE);
        all = 0;
        for (int i = 0; i < JOBS; i++)
            all += done[i];
    }
    ev_unref(loop);
    ck_assert_int_le(most, BLOCKING_QUEUE_MAX);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(done[i], 1);
        ck_assert_int_eq(ran[i], i < JOBS - 1);
        ck_assert_int_eq(cancelled[i], i == 0 || i == JOBS - 1);
    }
}
END_TEST

static void free_now(void)
{
    blocking_free(b);
    b = NULL;
}

START_TEST(test_what_waits_is_told_when_all_ends)
{
    queue_all();
    let_go();
    free_now();
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(done[i], 1);
        ck_assert_int_eq(cancelled[i], 1);
        ck_assert_int_eq(ran[i], i < BLOCKING_QUEUE_MAX);
    }
}
END_TEST

static Suite *blocking_suite(void)
{
    Suite *s = suite_create("blocking");
    TCase *c = tcase_create("queue");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_only_so_many_run);
    tcase_add_test(c, test_what_waits_is_told_when_all_ends);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(blocking_suite)
