/* What is asked about a job meanwhile: waiting, counts. */
#include "launcher/fleet/fleet.h"
#include "launcher/fleet/fleet_impl.h"

static int all_over(void *arg)
{
    return ((struct grapnel_fleet_job *)arg)->over_told;
}

int grapnel_fleet_wait(struct grapnel_fleet_job *job, int64_t timeout, struct grapnel_error *error)
{
    struct error e = {0};

    if (job_lacks(job, "job", error))
        return -E_ARGUMENT;
    context_lock(job->g);
    e.code = context_wait(job->g, all_over, job, context_deadline(timeout));
    context_unlock(job->g);
    return e.code ? context_error(error, "", &e) : 0;
}

int fleet_has_news(const struct grapnel_fleet_job *job)
{
    return job->told || job->over_told;
}

void fleet_watch(struct grapnel_fleet_job *job, void (*told)(void *arg), void *arg)
{
    job->watch = told;
    job->watch_arg = arg;
}

static int any_told(void *arg)
{
    return fleet_has_news(arg);
}

int grapnel_fleet_wait_any(struct grapnel_fleet_job *job, int64_t timeout,
                           struct grapnel_fleet_result *result, struct grapnel_error *error)
{
    struct error e = {0};
    struct task *t;

    if (job_lacks(job, "job", error))
        return -E_ARGUMENT;
    context_lock(job->g);
    task_free(job->taken);
    job->taken = NULL;
    e.code = context_wait(job->g, any_told, job, context_deadline(timeout));
    t = job->told;
    if (!e.code && !t)
        errors_set(&e, -E_CLOSED, "all hosts have been told of");
    if (!e.code && t) {
        job->taken = t;
        job->told = t->next;
        if (!job->told)
            job->told_tail = &job->told;
        *result = t->result;
    }
    context_unlock(job->g);
    return e.code ? context_error(error, "", &e) : 0;
}

void grapnel_fleet_counts(struct grapnel_fleet_job *job, struct grapnel_fleet_counts *counts)
{
    *counts = (struct grapnel_fleet_counts){0};
    if (!job)
        return;
    context_lock(job->g);
    *counts = job->counts;
    context_unlock_quiet(job->g);
}
