#include "launcher/blocking.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define LATE_NS 300000000 /* at the end those of the queue are waited for so long, and left then   \
                           */

struct blocking_job {
    struct blocking *owner;
    struct blocking_job *next;
    void (*work)(void *arg);
    void (*begun)(void *arg);
    void (*done)(void *arg, int cancelled);
    void *arg;
    pthread_t thread;
    int cancelled;
    int in_queue; /* one of those of which only so many run, and for which nobody waits at the end
                   */
    int counted;  /* it is one of queue_running */
};

struct blocking {
    struct ev_loop *loop;
    ev_async finished_wake;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;
    struct blocking_job *finished;
    int running; /* those that blocking_free waits for */
    int holders; /* the owner, and each thread of the queue: the last one frees */
    int closing; /* threads must not touch the loop any more */
    int closed;  /* those that are still there are on their own */
    /* Of blocking_queue, for the loop's thread. */
    struct blocking_job *waiting, **waiting_tail;
    int queue_running; /* those that somebody waits for */
    int queue_threads; /* all there are */
};

static int start(struct blocking_job *job);

static struct blocking_job *take_waiting(struct blocking *b)
{
    struct blocking_job *job = b->waiting;

    b->waiting = job->next;
    if (!b->waiting)
        b->waiting_tail = &b->waiting;
    job->next = NULL;
    return job;
}

static void put_back(struct blocking *b, struct blocking_job *job)
{
    job->next = b->waiting;
    b->waiting = job;
    if (!job->next)
        b->waiting_tail = &job->next;
}

/* Its turn has come.  0, or -1: no thread could be started. */
static int start_queued(struct blocking_job *job)
{
    struct blocking *b = job->owner;

    if (start(job) != 0)
        return -1;
    b->queue_running++;
    b->queue_threads++;
    job->counted = 1;
    job->begun(job->arg);
    return 0;
}

static void stop_counting(struct blocking_job *job)
{
    job->owner->queue_running -= job->counted;
    job->counted = 0;
}

/* Those whose turn has come. */
static void start_waiting(struct blocking *b)
{
    while (b->queue_running < BLOCKING_QUEUE_MAX && b->queue_threads < BLOCKING_QUEUE_THREADS &&
           b->waiting) {
        struct blocking_job *job = take_waiting(b); /* a thread that has it chains it elsewhere */

        if (!job->cancelled && start_queued(job) == 0)
            continue;
        if (!job->cancelled && b->queue_threads > 0) {
            put_back(b, job); /* there are too many threads: one of ours will end */
            return;
        }
        if (!job->cancelled) { /* slowly is better than never */
            job->begun(job->arg);
            job->work(job->arg);
        }
        job->done(job->arg, job->cancelled);
        free(job);
    }
}

/* The thread has nothing left to do but to end, so that joining it does not wait. */
static void finish(struct blocking_job *job, int cancelled)
{
    struct blocking *b = job->owner;

    pthread_join(job->thread, NULL);
    if (job->in_queue) {
        stop_counting(job);
        b->queue_threads--;
    }
    job->done(job->arg, cancelled);
    free(job);
}

static void deliver(struct ev_loop *loop, ev_async *w, int revents)
{
    struct blocking *b = w->data;
    struct blocking_job *job;

    (void)loop;
    (void)revents;
    for (;;) {
        pthread_mutex_lock(&b->lock);
        job = b->finished;
        if (job)
            b->finished = job->next;
        pthread_mutex_unlock(&b->lock);
        if (!job)
            break;
        finish(job, job->cancelled);
    }
    start_waiting(b);
}

struct blocking *blocking_new(struct ev_loop *loop)
{
    struct blocking *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->loop = loop;
    b->waiting_tail = &b->waiting;
    b->holders = 1;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->idle, NULL);
    ev_async_init(&b->finished_wake, deliver);
    b->finished_wake.data = b;
    ev_async_start(loop, &b->finished_wake);
    ev_unref(loop);
    return b;
}

/* b->lock is held, and is not afterwards. */
static void let_go(struct blocking *b)
{
    int last = --b->holders == 0;

    pthread_mutex_unlock(&b->lock);
    if (!last)
        return;
    pthread_cond_destroy(&b->idle);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* For all that somebody waits for, and a little for the rest. */
static void wait_for_threads(struct blocking *b)
{
    struct timespec until;
    int late = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LATE_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&b->lock);
    b->closing = 1;
    while (b->running || (b->holders > 1 && !late)) {
        if (late)
            pthread_cond_wait(&b->idle, &b->lock);
        else
            late = pthread_cond_timedwait(&b->idle, &b->lock, &until) == ETIMEDOUT;
    }
    b->closed = 1;
    pthread_mutex_unlock(&b->lock);
}

void blocking_free(struct blocking *b)
{
    struct blocking_job *job;

    if (!b)
        return;
    wait_for_threads(b);
    while ((job = b->waiting)) {
        b->waiting = job->next;
        job->done(job->arg, 1);
        free(job);
    }
    while ((job = b->finished)) {
        b->finished = job->next;
        finish(job, 1);
    }
    ev_ref(b->loop);
    ev_async_stop(b->loop, &b->finished_wake);
    pthread_mutex_lock(&b->lock);
    let_go(b);
}

/* Nobody is there any more who would join the thread and tell what became of its work.  The lock is
 * held, and is not afterwards. */
static void finish_alone(struct blocking_job *job)
{
    struct blocking *b = job->owner;

    pthread_detach(pthread_self());
    let_go(b);
    job->done(job->arg, 1);
    free(job);
}

static void *run(void *arg)
{
    struct blocking_job *job = arg;
    struct blocking *b = job->owner;

    job->work(job->arg);
    pthread_mutex_lock(&b->lock);
    if (b->closed && job->in_queue) {
        finish_alone(job);
        return NULL;
    }
    job->next = b->finished;
    b->finished = job;
    b->running -= !job->in_queue;
    b->holders -= job->in_queue;
    if (b->closing)
        pthread_cond_signal(&b->idle);
    else
        ev_async_send(b->loop, &b->finished_wake);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* 0 or -1. */
static int start(struct blocking_job *job)
{
    struct blocking *b = job->owner;
    int failed;

    /* With the lock held, so that the thread cannot be finished before it is known. */
    pthread_mutex_lock(&b->lock);
    failed = pthread_create(&job->thread, NULL, run, job);
    if (!failed) {
        b->running += !job->in_queue;
        b->holders += job->in_queue;
    }
    pthread_mutex_unlock(&b->lock);
    return failed ? -1 : 0;
}

static struct blocking_job *make(struct blocking *b, void (*work)(void *arg),
                                 void (*done)(void *arg, int cancelled), void *arg)
{
    struct blocking_job *job = calloc(1, sizeof *job);

    if (job)
        *job = (struct blocking_job){.owner = b, .work = work, .done = done, .arg = arg};
    return job;
}

struct blocking_job *blocking_run(struct blocking *b, void (*work)(void *arg),
                                  void (*done)(void *arg, int cancelled), void *arg)
{
    struct blocking_job *job = make(b, work, done, arg);

    if (!job || start(job) == 0)
        return job;
    free(job);
    return NULL;
}

struct blocking_job *blocking_queue(struct blocking *b, void (*work)(void *arg),
                                    void (*begun)(void *arg),
                                    void (*done)(void *arg, int cancelled), void *arg)
{
    struct blocking_job *job = make(b, work, done, arg);

    if (!job)
        return NULL;
    job->begun = begun;
    job->in_queue = 1;
    if (b->queue_threads > 0) { /* with no thread at all, nobody would see to those that wait */
        *b->waiting_tail = job;
        b->waiting_tail = &job->next;
        start_waiting(b);
    } else if (start_queued(job) < 0) {
        free(job);
        return NULL;
    }
    return job;
}

void blocking_cancel(struct blocking_job *job)
{
    /* Only the loop's thread reads the mark, and only it may cancel. */
    if (!job)
        return;
    job->cancelled = 1;
    if (job->counted) {
        stop_counting(job);
        ev_async_send(job->owner->loop, &job->owner->finished_wake); /* for who waits */
    }
}
