/* Work in threads of its own: each is done once, of what is queued only so many run, and what does
 * not return holds nobody up. */
#include <check.h>
#include <pthread.h>
#include <string.h>

#include "launcher/blocking.h"
#include "tests/unit/unit.h"

#define JOBS  (3 * BLOCKING_QUEUE_MAX)
#define STUCK (BLOCKING_QUEUE_THREADS + BLOCKING_QUEUE_MAX)

static struct ev_loop *loop;
static struct blocking *b;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int running, most, open_gate, ran[STUCK], begun[STUCK], done[STUCK], cancelled[STUCK];
static int numbers[STUCK];
static struct blocking_job *jobs[STUCK];

static void setup(void)
{
    loop = ev_loop_new(EVFLAG_AUTO);
    b = blocking_new(loop);
    ck_assert_ptr_nonnull(b);
    for (int i = 0; i < STUCK; i++)
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

static void no_work(void *arg)
{
    pthread_mutex_lock(&lock);
    ran[*(int *)arg]++;
    pthread_mutex_unlock(&lock);
}

static void on_begun(void *arg)
{
    begun[*(int *)arg]++;
}

static void on_done(void *arg, int was_cancelled)
{
    pthread_mutex_lock(&lock);
    done[*(int *)arg]++;
    cancelled[*(int *)arg] = was_cancelled;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int count_done(int from, int to)
{
    int all = 0;

    pthread_mutex_lock(&lock);
    for (int i = from; i < to; i++)
        all += done[i];
    pthread_mutex_unlock(&lock);
    return all;
}

static void queue_some(int from, int to, void (*what)(void *arg))
{
    for (int i = from; i < to; i++) {
        jobs[i] = blocking_queue(b, what, on_begun, on_done, &numbers[i]);
        ck_assert_ptr_nonnull(jobs[i]);
    }
}

static void wait_until_running(int count)
{
    pthread_mutex_lock(&lock);
    while (running < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void queue_all(void)
{
    queue_some(0, JOBS, work);
    wait_until_running(BLOCKING_QUEUE_MAX);
}

static void let_go(void)
{
    pthread_mutex_lock(&lock);
    open_gate = 1;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void drive_until_done(int from, int to)
{
    ev_ref(loop); /* the watcher keeps nobody */
    while (count_done(from, to) < to - from)
        ev_run(loop, EVRUN_ONCE);
    ev_unref(loop);
}

START_TEST(test_only_so_many_run)
{
    queue_all();
    ck_assert_int_eq(begun[BLOCKING_QUEUE_MAX - 1], 1);
    ck_assert_int_eq(begun[BLOCKING_QUEUE_MAX], 0);
    blocking_cancel(jobs[JOBS - 1]);
    let_go();
    drive_until_done(0, JOBS);
    ck_assert_int_le(most, BLOCKING_QUEUE_MAX);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(done[i], 1);
        ck_assert_int_eq(ran[i], i < JOBS - 1);
        ck_assert_int_eq(begun[i], i < JOBS - 1);
        ck_assert_int_eq(cancelled[i], i == JOBS - 1);
    }
}
END_TEST

/* Those that hang, and that nobody waits for any more, are no reason for others to wait. */
START_TEST(test_what_is_cancelled_does_not_count)
{
    queue_some(0, BLOCKING_QUEUE_MAX, work);
    wait_until_running(BLOCKING_QUEUE_MAX);
    queue_some(BLOCKING_QUEUE_MAX, JOBS, no_work);
    for (int i = 0; i < BLOCKING_QUEUE_MAX; i++) {
        ck_assert_int_eq(begun[i + BLOCKING_QUEUE_MAX], 0);
        blocking_cancel(jobs[i]);
    }
    drive_until_done(BLOCKING_QUEUE_MAX, JOBS);
    ck_assert_int_eq(count_done(0, BLOCKING_QUEUE_MAX), 0);
    let_go();
    drive_until_done(0, BLOCKING_QUEUE_MAX);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(begun[i], 1);
        ck_assert_int_eq(ran[i], 1);
        ck_assert_int_eq(cancelled[i], i < BLOCKING_QUEUE_MAX);
    }
}
END_TEST

START_TEST(test_only_so_many_hang)
{
    queue_some(0, STUCK, work);
    ev_ref(loop);
    for (int i = 0; i < BLOCKING_QUEUE_THREADS; i++) {
        while (!begun[i])
            ev_run(loop, EVRUN_ONCE);
        blocking_cancel(jobs[i]);
    }
    wait_until_running(BLOCKING_QUEUE_THREADS);
    ev_run(loop, EVRUN_NOWAIT);
    ev_unref(loop);
    ck_assert_int_eq(begun[BLOCKING_QUEUE_THREADS], 0);
    let_go();
    drive_until_done(0, STUCK);
    ck_assert_int_eq(most, BLOCKING_QUEUE_THREADS);
    for (int i = 0; i < STUCK; i++)
        ck_assert_int_eq(ran[i], 1);
}
END_TEST

static void free_now(void)
{
    blocking_free(b);
    b = NULL;
}

/* What hangs is left behind: it is told by its own thread, whenever that is. */
START_TEST(test_the_end_waits_for_nothing_that_was_queued)
{
    queue_all();
    blocking_cancel(jobs[0]);
    free_now();
    ck_assert_int_eq(count_done(0, BLOCKING_QUEUE_MAX), 0);
    ck_assert_int_eq(count_done(BLOCKING_QUEUE_MAX, JOBS), JOBS - BLOCKING_QUEUE_MAX);
    let_go();
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BLOCKING_QUEUE_MAX; i++)
        while (!done[i])
            pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(done[i], 1);
        ck_assert_int_eq(cancelled[i], 1);
        ck_assert_int_eq(ran[i], i < BLOCKING_QUEUE_MAX);
    }
}
END_TEST

static void on_ran(void *arg, int was_cancelled)
{
    ck_assert_int_eq(ran[*(int *)arg], 1);
    on_done(arg, was_cancelled);
}

/* Who interrupts it when it must end is told before all is gone. */
START_TEST(test_the_end_waits_for_what_was_not_queued)
{
    ck_assert_ptr_nonnull(blocking_run(b, work, on_ran, &numbers[0]));
    let_go();
    free_now();
    ck_assert_int_eq(done[0], 1);
    ck_assert_int_eq(cancelled[0], 1);
}
END_TEST

static Suite *blocking_suite(void)
{
    Suite *s = suite_create("blocking");
    TCase *c = tcase_create("queue");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_only_so_many_run);
    tcase_add_test(c, test_what_is_cancelled_does_not_count);
    tcase_add_test(c, test_only_so_many_hang);
    tcase_add_test(c, test_the_end_waits_for_nothing_that_was_queued);
    tcase_add_test(c, test_the_end_waits_for_what_was_not_queued);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(blocking_suite)
