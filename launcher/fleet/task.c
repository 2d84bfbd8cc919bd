/* One host's part in a job, from its beginning to its end. */
#include <stdlib.h>

#include "launcher/fleet/fleet_impl.h"

#define CLOSE_MS   5000 /* for the agent to leave */
#define CONFIRM_MS 5000 /* for the host to say that what was cancelled has ended … */
#define GRACE_MS   2000 /* … after what is left to it (exec's default) */

void task_set_timer(struct task *t, int64_t ms)
{
    struct ev_loop *loop = t->job->g->loop;

    ev_timer_stop(loop, &t->timer);
    ev_now_update(loop);
    ev_timer_set(&t->timer, (double)ms / 1e3, 0.);
    ev_timer_start(loop, &t->timer);
}

/* ---- the end ---- */

void task_drop_server(struct task *t)
{
    if (!t->server)
        return;
    connection_ignore(t->server);
    grapnel_server_free(t->server);
    t->server = NULL;
}

/* What was stopped without a word of the host's may still be there. */
static int may_stay(const struct task *t)
{
    return t->job->f->options.keep && (!t->stopped || t->has_status);
}

/* The connection stays, or is gone; nobody tells t of it any more. */
static void part(struct task *t)
{
    struct host *host = &t->job->f->hosts[t->host];

    if (!t->server)
        return;
    t->result.begun |= connection_committed(t->server);
    t->result.confirmed |= connection_is_closed(t->server);
    if (may_stay(t) && connection_state(t->server) == GRAPNEL_DEPLOYED) {
        connection_ignore(t->server);
        host->server = t->server;
        t->server = NULL;
    }
    task_drop_server(t);
}

/* Its turn for another attempt had come. */
static void leave_again(struct task *t)
{
    struct grapnel_fleet_job *job = t->job;
    struct task **at = &job->again;

    while (*at && *at != t)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = t->next;
    if (!*at)
        job->again_tail = at;
}

void task_over(struct task *t)
{
    struct grapnel_fleet_job *job = t->job;

    if (t->state == TASK_OVER)
        return;
    attempt_end(t, WINDOW_FAILED);
    if (t->state == TASK_WAITING) {
        job->waiting--;
        job->counts.queued--;
        leave_again(t);
    } else if (t->state == TASK_RUNNING || t->state == TASK_CLOSING) {
        job->counts.running--;
    }
    t->state = TASK_OVER;
    ev_timer_stop(job->g->loop, &t->timer);
    part(t);
    work_free(t);
    told_fill(t);
    t->next = NULL;
    *job->over_tail = t;
    job->over_tail = &t->next;
    job_look(job);
}

void task_fail(struct task *t, const struct error *e)
{
    told_fail(t, e);
    task_over(t);
}

static int64_t grace_of(const struct grapnel_fleet_job *job)
{
    return job->exec.grace > 0 ? job->exec.grace : GRACE_MS;
}

void task_watch_time(struct task *t)
{
    int64_t limit = t->job->exec.timeout;

    if (limit > 0 && limit < INT64_MAX / 2)
        task_set_timer(t, limit + grace_of(t->job) + CONFIRM_MS);
}

/* The agent, whose affair that is, has not stopped it at its time limit. */
static void lapse(struct task *t)
{
    struct error e;

    errors_set(&e, -E_EXEC_TIMEOUT, "and the host has not said that it has ended");
    t->stopped = 1;
    task_fail(t, &e);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct task *t = w->data;
    struct grapnel_fleet_job *job = t->job;

    (void)loop;
    (void)revents;
    if (t->state == TASK_WAITING) {
        t->next = NULL;
        *job->again_tail = t;
        job->again_tail = &t->next;
        job_look(job);
    } else if (t->state == TASK_CONNECTING && !t->stopped) {
        attempt_linger(t);
    } else if (t->state == TASK_RUNNING && !t->stopped) {
        lapse(t);
    } else {
        /* The work is over; or the host, which has not confirmed that it was cancelled, ends it by
         * itself. */
        task_over(t);
    }
}

static struct task *make(struct grapnel_fleet_job *job, size_t host)
{
    struct task *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->job = job;
    t->host = t->result.host = host;
    ev_timer_init(&t->timer, on_timer, 0., 0.);
    t->timer.data = t;
    return t;
}

struct task *task_begin(struct grapnel_fleet_job *job, size_t host)
{
    struct task *t = make(job, host);

    if (!t)
        return NULL;
    job->tasks[host] = t;
    t->result.began = grapnel_now();
    if (job->handler.began)
        job->handler.began(job->arg, host);
    if (!attempt_use_kept(t)) {
        t->state = TASK_CONNECTING;
        attempt_begin(t);
    }
    return t;
}

struct task *task_refuse(struct grapnel_fleet_job *job, size_t host, const struct error *why)
{
    struct task *t = make(job, host);

    if (!t)
        return NULL;
    t->state = TASK_OVER;
    if (why->code)
        told_fail(t, why);
    told_fill(t);
    return t;
}

/* ---- ending ---- */

void task_work_over(struct task *t, const struct error *e)
{
    if (t->work_over || t->state == TASK_OVER || connection_error(t->server)->code)
        return; /* when its line has ended, that is told next */
    t->work_over = 1;
    t->ended_us = context_now() - t->opened_us;
    if (e->code)
        told_fail(t, e);
    if (t->state == TASK_CONNECTING) /* that it is ready is not told yet */
        attempt_ready(t);
    t->state = TASK_CLOSING;
    if (may_stay(t)) {
        task_set_timer(t, 0);
        return;
    }
    connection_finish(t->server);
    task_set_timer(t, CLOSE_MS);
}

void task_enough(struct task *t)
{
    static const struct error none;

    if (t->state == TASK_RUNNING && !t->stopped)
        task_work_over(t, &none);
    else if (t->state == TASK_WAITING || (t->state == TASK_CONNECTING && !t->stopped))
        task_over(t);
}

void task_stop(struct task *t, const struct error *why)
{
    if (t->state == TASK_OVER || t->state == TASK_CLOSING || t->stopped)
        return;
    t->stopped = 1;
    told_fail(t, why);
    if (t->state == TASK_WAITING ||
        (t->state == TASK_CONNECTING && !(t->server && connection_committed(t->server)))) {
        task_over(t);
        return;
    }
    task_set_timer(t, grace_of(t->job) + CONFIRM_MS);
    work_cancel(t);
}

void task_free(struct task *t)
{
    if (!t)
        return;
    ev_timer_stop(t->job->g->loop, &t->timer);
    if (t->state != TASK_OVER)
        attempt_end(t, WINDOW_FAILED);
    work_free(t);
    task_drop_server(t);
    told_clear(t);
    free(t);
}
