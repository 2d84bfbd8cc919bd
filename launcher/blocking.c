#include "launcher/blocking.h"

#include <pthread.h>
#include <stdlib.h>

struct blocking_job {
    struct blocking *owner;
    struct blocking_job *next;
    void (*work)(void *arg);
    void (*done)(void *arg, int cancelled);
    void *arg;
    pthread_t thread;
    int cancelled;
    int in_queue; /* one of those of which only so many run */
};

struct blocking {
    struct ev_loop *loop;
    ev_async finished_wake;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;
    struct blocking_job *finished;
    int running;
    int closing; /* threads must not touch the loop any more */
    /* Of blocking_queue, for the loop's thread. */
    struct blocking_job *waiting, **waiting_tail;
    int queue_running;
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

/* Those whose turn has come. */
static void start_waiting(struct blocking *b)
{
    while (b->queue_running < BLOCKING_QUEUE_MAX && b->waiting) {
        struct blocking_job *job = take_waiting(b); /* a thread that has it chains it elsewhere */

        if (!job->cancelled && start(job) == 0) {
            b->queue_running++;
            continue;
        }
        if (!job->cancelled && b->queue_running > 0) {
            put_back(b, job); /* there are too many threads: one of ours will end */
            return;
        }
        if (!job->cancelled)
            job->work(job->arg); /* slowly is better than never */
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
        b->queue_running--;
        start_waiting(b);
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
            return;
        finish(job, job->cancelled);
    }
}

struct blocking *blocking_new(struct ev_loop *loop)
{
    struct blocking *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    b->loop = loop;
    b->waiting_tail = &b->waiting;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->idle, NULL);
    ev_async_init(&b->finished_wake, deliver);
    b->finished_wake.data = b;
    ev_async_start(loop, &b->finished_wake);
    ev_unref(loop);
    return b;
}

void blocking_free(struct blocking *b)
{
    struct blocking_job *job;

    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->closing = 1;
    while (b->running)
        pthread_cond_wait(&b->idle, &b->lock);
    pthread_mutex_unlock(&b->lock);
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
    pthread_cond_destroy(&b->idle);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static void *run(void *arg)
{
    struct blocking_job *job = arg;
    struct blocking *b = job->owner;

    job->work(job->arg);
    pthread_mutex_lock(&b->lock);
    job->next = b->finished;
    b->finished = job;
    b->running--;
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
    if (!failed)
        b->running++;
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
                                    void (*done)(void *arg, int cancelled), void *arg)
{
    struct blocking_job *job = make(b, work, done, arg);

    if (!job)
        return NULL;
    job->in_queue = 1;
    if (b->queue_running > 0) { /* with no thread at all, nobody would see to those that wait */
        *b->waiting_tail = job;
        b->waiting_tail = &job->next;
        start_waiting(b);
    } else if (start(job) == 0) {
        b->queue_running++;
    } else {
        free(job);
        return NULL;
    }
    return job;
}

void blocking_cancel(struct blocking_job *job)
{
    /* Only the loop's thread reads the mark, and only it may cancel. */
    if (job)
        job->cancelled = 1;
}
