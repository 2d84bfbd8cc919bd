/* Maps: grapnel_fleet_map of the public header. */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/copies.h"
#include "launcher/fleet/fleet.h"
#include "launcher/fleet/map_impl.h"

#define REDO 2

/* ---- looking ---- */

static void tell(struct map *m)
{
    struct outcome *o;

    while (m->result && (o = queue_next(m)) != NULL) {
        m->result(m->job->arg, &o->result);
        queue_told(m, o);
    }
}

/* No task is begun any more. */
static void stop(struct map *m, const struct error *e)
{
    if (m->over.code)
        return;
    m->over = *e;
    queue_drop_all(m);
}

static void give(struct map *m)
{
    struct worker *last = NULL, *w;

    for (w = m->idle; w; w = w->next)
        last = w;
    while (last && (w = m->idle) != NULL) {
        m->idle = w->next;
        if (!m->idle)
            m->idle_end = &m->idle;
        w->is_idle = 0;
        if (w == last)
            last = NULL;
        crew_look(w);
    }
}

void map_look(struct map *m)
{
    if (m->job->cancelled && !m->over.code && !queue_is_done(m)) {
        context_error(&m->why, "", &m->job->stop);
        stop(m, &m->job->stop);
    }
    tell(m);
    give(m);
    tell(m);
    if (queue_is_done(m) && !m->over.code)
        job_enough(m->job);
}

void map_host_failed(struct map *m, const struct grapnel_error *error)
{
    if (!m->over.code)
        m->why = *error;
}

void map_end(struct map *m)
{
    struct error e = {0};

    if (!queue_is_done(m)) {
        errors_set(&e, m->why.code, "%s", m->why.detail);
        stop(m, &e);
    }
    tell(m);
}

/* ---- making and freeing ---- */

static int fill(struct map *m, const struct grapnel_map_options *o, struct error *e)
{
    if (!o->next || !o->path == !o->source)
        return errors_set(e, -E_ARGUMENT, "a map needs `next`, and either a path or source");
    m->options = *o;
    m->options.path = o->path ? strdup(o->path) : NULL;
    m->options.source = o->source ? strdup(o->source) : NULL;
    m->options.instance = NULL;
    m->redo = o->redo == 0 ? REDO : o->redo < 0 ? 0 : (unsigned)o->redo;
    m->alone = m->redo == 0 || o->timeout > 0;
    if (copies_instance(&m->instance, o->instance) < 0 || (!m->options.path && !m->options.source))
        return errors_set(e, -E_NOMEM, "map");
    return 0;
}

static struct map *make(struct grapnel_fleet_job *job, const struct grapnel_map_options *o,
                        struct error *e)
{
    struct map *m = calloc(1, sizeof *m);
    struct error no_memory = {0};

    errors_set(&no_memory, -E_NOMEM, "map");
    if (!m) {
        *e = no_memory;
        return NULL;
    }
    context_error(&m->why, "", &no_memory);
    m->job = job;
    m->idle_end = &m->idle;
    queue_init(m);
    fill(m, o, e);
    return m;
}

void map_free(struct map *m)
{
    if (!m)
        return;
    queue_free(m);
    wire_free(&m->scratch);
    copies_clear_instance(&m->instance);
    free((char *)(uintptr_t)m->options.path);
    free((char *)(uintptr_t)m->options.source);
    free(m);
}

struct grapnel_fleet_job *
grapnel_fleet_map(struct grapnel_fleet *f, const struct grapnel_map_options *map,
                  void (*result)(void *arg, const struct grapnel_map_result *r),
                  const struct grapnel_fleet_handler *handler, void *arg,
                  struct grapnel_error *error)
{
    struct grapnel_fleet_job *job;
    struct error e = {0};

    if (job_lacks(f, "fleet", error) || job_lacks(map, "map", error))
        return NULL;
    context_lock(f->g);
    job = job_new(f, JOB_MAP, handler, arg, &e);
    if (job)
        job->map = make(job, map, &e);
    if (job && job->map)
        job->map->result = result;
    if (job && !e.code && f->count == 0)
        errors_set(&e, -E_ARGUMENT, "the fleet has no hosts");
    job = job_start(job, &e, error);
    context_unlock(f->g);
    return job;
}

/* ---- meanwhile ---- */

void grapnel_fleet_map_more(struct grapnel_fleet_job *job)
{
    context_lock(job->g);
    if (job->map) {
        job->map->later = 0;
        job_look(job);
    }
    context_unlock(job->g);
}

size_t fleet_map_weight(const struct grapnel_value *v)
{
    return queue_weigh((const struct value *)v);
}

int fleet_has_map_news(const struct grapnel_fleet_job *job)
{
    return queue_has_next(job->map) || job->over_told;
}

static int has_news(void *arg)
{
    return fleet_has_map_news(arg);
}

/* Why there is no other result. */
static void explain_end(const struct map *m, struct error *e, struct grapnel_error *error)
{
    if (m->over.code) {
        *e = m->over;
        if (error)
            *error = m->why;
        return;
    }
    if (m->failed.code)
        *e = m->failed;
    else
        errors_set(e, -E_CLOSED, "all tasks have been told of");
    context_error(error, "", e);
}

/* The one before is done with. */
static void take_next(struct map *m, int64_t timeout, struct error *e, struct grapnel_error *error)
{
    queue_told(m, m->taken);
    m->taken = NULL;
    if (m->idle && queue_has(m)) /* there is room for more, now */
        job_look(m->job);
    e->code = context_wait(m->job->g, has_news, m->job, context_deadline(timeout));
    if (e->code) {
        context_error(error, "", e);
        return;
    }
    m->taken = queue_next(m);
    if (!m->taken)
        explain_end(m, e, error);
}

int grapnel_fleet_map_next(struct grapnel_fleet_job *job, int64_t timeout,
                           struct grapnel_map_result *r, struct grapnel_error *error)
{
    struct error e = {0};
    struct map *m;

    if (job_lacks(job, "job", error))
        return -E_ARGUMENT;
    m = job->map;
    context_lock(job->g);
    if (!m || m->result) {
        errors_set(&e, -E_ARGUMENT, "this is no map, or its results are called back");
        context_error(error, "", &e);
    } else {
        take_next(m, timeout, &e, error);
        if (m->taken)
            *r = m->taken->result;
    }
    context_unlock(job->g);
    return e.code;
}
