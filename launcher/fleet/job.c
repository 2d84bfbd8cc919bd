/* Jobs: who begins when, until all have ended. */
#include <sodium.h>
#include <stdlib.h>

#include "launcher/fleet/copies.h"
#include "launcher/fleet/fleet_impl.h"
#include "launcher/fleet/input.h"
#include "launcher/fleet/limit.h"
#include "launcher/fleet/map.h"
#include "launcher/ssh/sshfiles.h"

/* ---- looking ---- */

void job_look(struct grapnel_fleet_job *job)
{
    if (ev_is_active(&job->look))
        return;
    ev_timer_set(&job->look, 0., 0.);
    ev_timer_start(job->g->loop, &job->look);
}

static void set_timer(struct grapnel_fleet_job *job, ev_timer *w, double seconds)
{
    ev_timer_stop(job->g->loop, w);
    ev_now_update(job->g->loop);
    ev_timer_set(w, seconds, 0.);
    ev_timer_start(job->g->loop, w);
}

static void count_end(struct grapnel_fleet_job *job, const struct grapnel_fleet_result *r)
{
    if (r->alias || (r->failed && r->began <= 0.))
        job->counts.skipped++;
    else if (r->failed)
        job->counts.failed++;
    else
        job->counts.done++;
}

/* The rule that stops it, where there are too many failures. */
static void apply_max_fail(struct grapnel_fleet_job *job)
{
    size_t most = job->f->options.max_fail;
    struct error e = {0};

    if (!most || job->stop.code || job->counts.failed < most)
        return;
    errors_set(&e, -E_CANCELLED, "it was not begun: %zu hosts have failed", job->counts.failed);
    job_stop(job, 0, &e);
}

static void tell_one(struct grapnel_fleet_job *job, struct task *t)
{
    job->tasks[t->host] = NULL;
    if (job->map && t->error)
        map_host_failed(job->map, t->error);
    count_end(job, &t->result);
    apply_max_fail(job);
    if (job->handler.ended) {
        job->handler.ended(job->arg, &t->result);
        task_free(t);
        return;
    }
    t->next = NULL;
    *job->told_tail = t;
    job->told_tail = &t->next;
    if (job->watch)
        job->watch(job->watch_arg);
}

static void tell_all(struct grapnel_fleet_job *job)
{
    struct task *t;

    while ((t = job->over) != NULL) {
        job->over = t->next;
        if (!job->over)
            job->over_tail = &job->over;
        job->at_work--;
        tell_one(job, t);
    }
}

/* ---- beginning ---- */

/* Those that will not be begun any more. */
static void refuse_rest(struct grapnel_fleet_job *job)
{
    while (job->next < job->f->count) {
        struct task *t = task_refuse(job, job->next, &job->stop);

        if (!t)
            return; /* memory may come back */
        job->next++;
        job->counts.queued--;
        tell_one(job, t);
    }
}

static int batch_is_full(struct grapnel_fleet_job *job)
{
    size_t batch = job->f->options.batch;

    if (!batch || job->batch_begun < batch)
        return 0;
    if (job->at_work > 0)
        return 1;
    job->batch_begun = 0;
    return 0;
}

/* True when there is a host to begin or to try again, and the options admit it. */
static int may_begin(struct grapnel_fleet_job *job)
{
    if (job->at_work - job->waiting >= job->fanout)
        return 0;
    return job->again ||
           (job->next < job->f->count && !job->stop.code && !job->enough && !batch_is_full(job));
}

static void begin_one(struct grapnel_fleet_job *job)
{
    struct task *t = job->again;

    if (t) {
        job->again = t->next;
        if (!job->again)
            job->again_tail = &job->again;
        attempt_begin(t);
        return;
    }
    job->counts.queued--;
    job->at_work++;
    job->batch_begun++;
    t = task_begin(job, job->next++);
    if (t)
        return;
    job->next--;
    job->counts.queued++;
    job->at_work--;
    job->batch_begun--;
    errors_set(&job->stop, -E_NOMEM, "it was not begun");
}

static void begin_more(struct grapnel_fleet_job *job)
{
    while (may_begin(job)) {
        uint64_t now = context_now(), wait = window_wait(&job->f->window, now);

        if (wait == UINT64_MAX)
            return;
        if (wait > 0) {
            set_timer(job, &job->pause, (double)wait / 1e6);
            return;
        }
        begin_one(job);
    }
}

static int is_over(const struct grapnel_fleet_job *job)
{
    return job->next == job->f->count && job->at_work == 0;
}

static void on_look(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct grapnel_fleet_job *job = w->data;

    (void)loop;
    (void)revents;
    tell_all(job);
    if (job->map)
        map_look(job->map);
    if (job->stop.code || job->enough)
        refuse_rest(job);
    begin_more(job);
    if (!is_over(job) || job->over_told)
        return;
    if (job->map)
        map_end(job->map);
    job->over_told = 1;
    ev_timer_stop(job->g->loop, &job->total);
    ev_timer_stop(job->g->loop, &job->pause);
    if (job->watch)
        job->watch(job->watch_arg);
    if (job->handler.done)
        job->handler.done(job->arg);
}

static void on_pause(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    job_look(w->data);
}

/* ---- stopping ---- */

void job_stop(struct grapnel_fleet_job *job, int cut, const struct error *why)
{
    if (!job->stop.code)
        job->stop = *why;
    for (size_t i = 0; cut && i < job->next; i++) {
        if (job->tasks[i])
            task_stop(job->tasks[i], why);
    }
    job_look(job);
}

void job_enough(struct grapnel_fleet_job *job)
{
    if (job->enough)
        return;
    job->enough = 1;
    for (size_t i = 0; i < job->next; i++) {
        if (job->tasks[i])
            task_enough(job->tasks[i]);
    }
    job_look(job);
}

static void on_total(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct grapnel_fleet_job *job = w->data;
    struct error e = {0};

    (void)loop;
    (void)revents;
    errors_set(&e, -E_TIMEOUT, "the time of the whole job was up after %lld ms",
               (long long)job->f->options.total_timeout);
    job->cancelled = 1;
    job_stop(job, 1, &e);
}

void grapnel_fleet_cancel(struct grapnel_fleet_job *job)
{
    struct error e = {0};

    context_lock(job->g);
    if (!job->cancelled) {
        job->cancelled = 1;
        errors_set(&e, -E_CANCELLED, "%s", "");
        job_stop(job, 1, &e);
    }
    context_unlock(job->g);
}

void grapnel_fleet_stop(struct grapnel_fleet_job *job, size_t host)
{
    struct error e = {0};

    context_lock(job->g);
    if (host < job->f->count && job->tasks[host]) {
        errors_set(&e, -E_CANCELLED, "%s", "");
        task_stop(job->tasks[host], &e);
    }
    context_unlock(job->g);
}

/* ---- making and freeing ---- */

int job_lacks(const void *thing, const char *what, struct grapnel_error *error)
{
    struct error e;

    if (thing)
        return 0;
    errors_set(&e, -E_ARGUMENT, "there is no %s", what);
    context_error(error, "", &e);
    return 1;
}

struct grapnel_fleet_job *job_new(struct grapnel_fleet *f, enum job_kind kind,
                                  const struct grapnel_fleet_handler *handler, void *arg,
                                  struct error *e)
{
    struct grapnel_fleet_job *job;

    if (f->job) {
        errors_set(e, -E_CLOSED,
                   "the fleet has a job that is not freed: take all of its results, or free it");
        return NULL;
    }
    job = calloc(1, sizeof *job);
    if (!job || (job->tasks = calloc(f->count + 1, sizeof *job->tasks)) == NULL) {
        free(job);
        errors_set(e, -E_NOMEM, "job");
        return NULL;
    }
    job->f = f;
    job->g = f->g;
    job->kind = kind;
    job->arg = arg;
    if (handler)
        job->handler = *handler;
    job->again_tail = &job->again;
    job->over_tail = &job->over;
    job->told_tail = &job->told;
    job->counts.hosts = job->counts.queued = f->count;
    ev_timer_init(&job->look, on_look, 0., 0.);
    ev_timer_init(&job->pause, on_pause, 0., 0.);
    ev_timer_init(&job->total, on_total, 0., 0.);
    job->look.data = job->pause.data = job->total.data = job;
    f->job = job;
    sshfiles_hold(job->g->files);
    return job;
}

/* Their descriptors are taken already. */
static size_t count_kept(const struct grapnel_fleet *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->count; i++)
        n += f->hosts[i].server != NULL;
    return n;
}

struct grapnel_fleet_job *job_start(struct grapnel_fleet_job *job, struct error *e,
                                    struct grapnel_error *error)
{
    if (job && !e->code && job->g->abandoned)
        errors_set(e, -E_CANCELLED, "all lines were cut");
    else if (job && !e->code && !job->g->options.driven && context_need_heartbeat(job->g) < 0)
        errors_set(e, -E_SYSTEM, "no thread could be started");
    if (!job || e->code) {
        context_error(error, "", e);
        grapnel_fleet_job_free(job);
        return NULL;
    }
    job->fanout = limit_hosts() + count_kept(job->f);
    if (job->f->options.fanout && job->f->options.fanout < job->fanout)
        job->fanout = job->f->options.fanout;
    if (job->f->options.total_timeout > 0)
        set_timer(job, &job->total, (double)job->f->options.total_timeout / 1e3);
    job_look(job);
    return job;
}

static void free_list(struct task *t)
{
    struct task *next;

    for (; t; t = next) {
        next = t->next;
        task_free(t);
    }
}

void grapnel_fleet_job_free(struct grapnel_fleet_job *job)
{
    struct grapnel *g = job ? job->g : NULL;

    if (!job)
        return;
    context_lock(g);
    for (size_t i = 0; i < job->next; i++)
        task_free(job->tasks[i]); /* those that wait in a list, too */
    free_list(job->told);
    task_free(job->taken);
    /* Now: the end of a task has it looked at. */
    ev_timer_stop(g->loop, &job->look);
    ev_timer_stop(g->loop, &job->pause);
    ev_timer_stop(g->loop, &job->total);
    job->f->job = NULL;
    sshfiles_release(g->files);
    input_free(job->input);
    map_free(job->map);
    copies_clear_exec(&job->exec);
    copies_clear_instance(&job->instance);
    copies_clear_call(&job->call);
    free(job->tasks);
    free(job);
    context_unlock(g);
}
