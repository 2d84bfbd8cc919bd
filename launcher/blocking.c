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
};

struct blocking {
    struct ev_loop *loop;
    ev_async finished_wake;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;
    struct blocking_job *finished;
    int running;
    int closing; /* threads must not touch the loop any more */
};

/* The thread has nothing left to do but to end, so that joining it does not wait. */
static void finish(struct blocking_job *job, int cancelled)
{
    pthread_join(job->thread, NULL);
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

struct blocking_job *blocking_run(struct blocking *b, void (*work)(void *arg),
                                  void (*done)(void *arg, int cancelled), void *arg)
{
    struct blocking_job *job = calloc(1, sizeof *job);
    int failed;

    if (!job)
        return NULL;
    *job = (struct blocking_job){.owner = b, .work = work, .done = done, .arg = arg};
    /* With the lock held, so that the thread cannot be finished before it is known. */
    pthread_mutex_lock(&b->lock);
    failed = pthread_create(&job->thread, NULL, run, job);
    if (!failed)
        b->running++;
    pthread_mutex_unlock(&b->lock);
    if (!failed)
        return job;
    free(job);
    return NULL;
}

void blocking_cancel(struct blocking_job *job)
{
    /* Only the loop's thread reads the mark, and only it may cancel. */
    if (job)
        job->cancelled = 1;
}
