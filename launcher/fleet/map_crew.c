/* The instances of a host that does tasks of a map. */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/map_impl.h"
#include "lua_map.h"

#define INSTANCES_MOST 1024

static int is_working(const struct crew *crew)
{
    const struct task *t = crew->task;

    return t->state == TASK_RUNNING && !t->stopped && !t->work_over;
}

static void wait_for_more(struct worker *w)
{
    struct map *m = w->crew->map;

    if (w->is_idle)
        return;
    w->is_idle = 1;
    w->next = NULL;
    *m->idle_end = w;
    m->idle_end = &w->next;
}

void crew_note(struct worker *w)
{
    wait_for_more(w);
    job_look(w->crew->map->job);
}

static void forget(struct worker *w)
{
    struct map *m = w->crew->map;
    struct worker **at = &m->idle;

    while (w->is_idle && *at != w)
        at = &(*at)->next;
    if (!w->is_idle)
        return;
    *at = w->next;
    if (!*at)
        m->idle_end = at;
    w->is_idle = 0;
}

/* ---- the end ---- */

static void stop(struct worker *w, const struct error *why)
{
    struct map *m = w->crew->map;

    ev_timer_stop(m->job->g->loop, &w->limit);
    chunk_lost(w, why);
    m->workers -= w->function != NULL;
    grapnel_ref_free(w->function);
    grapnel_future_free(w->setup);
    grapnel_future_free(w->asked);
    grapnel_instance_free(w->instance);
    w->function = NULL;
    w->setup = w->asked = NULL;
    w->instance = NULL;
}

/* None of its instances will do. */
static void give_up(struct crew *crew, const struct error *e)
{
    for (size_t i = 0; i < crew->count; i++)
        stop(&crew->workers[i], e);
    task_work_over(crew->task, e);
}

void crew_free(struct crew *crew)
{
    struct error e = {0};

    if (!crew)
        return;
    errors_set(&e, -E_LOST, "%s", crew->task->error ? crew->task->error->detail : "");
    for (size_t i = 0; i < crew->count; i++) {
        stop(&crew->workers[i], &e);
        forget(&crew->workers[i]);
    }
    free(crew);
}

void crew_lost(struct worker *w, const struct error *why)
{
    if (w->dead)
        return;
    w->dead = 1;
    w->error = *why;
    crew_note(w);
}

static void on_ended(void *arg, struct grapnel_instance *i, const struct grapnel_error *error)
{
    struct error e = {0};

    (void)i;
    errors_set(&e, error->code, "%s", error->detail);
    crew_lost(arg, &e);
}

/* ---- the beginning ---- */

static void on_printed(void *arg, struct grapnel_instance *i, const void *bytes, size_t n)
{
    struct worker *w = arg;

    (void)i;
    work_output(w->crew->task, 1, bytes, n);
}

/* Code that does not even begin here will not do so in another instance. */
static void on_set_up(void *arg, struct grapnel_future *f)
{
    struct worker *w = arg;
    struct grapnel_error error;
    struct error e = {0};

    if (grapnel_instance_error(w->instance, &error) < 0)
        return; /* its end follows */
    if (grapnel_future_error(f, &error) < 0)
        errors_set(&e, error.code, "%s", error.detail);
    else if ((w->function = grapnel_value_ref(grapnel_future_value(f))) == NULL)
        errors_set(&e, -E_MALFORMED, "the instance cannot be used");
    grapnel_future_free(f);
    w->setup = NULL;
    if (e.code) {
        give_up(w->crew, &e);
        return;
    }
    w->crew->map->workers++;
    crew_note(w);
}

/* NULL: memory is out. */
static struct grapnel_value *setup_args(const struct map *m)
{
    const struct grapnel_map_options *o = &m->options;
    const char *what = o->source ? o->source : o->path;
    struct grapnel_value *args = grapnel_value_new_array();

    if (grapnel_value_append(args, grapnel_value_new_string(lua_map, lua_map_size)) == 0 &&
        grapnel_value_append(args, grapnel_value_new_string(what, strlen(what))) == 0 &&
        grapnel_value_append(args, grapnel_value_new_bool(o->source != NULL)) == 0)
        return args;
    grapnel_value_free(args);
    return NULL;
}

static int start(struct worker *w, struct error *e)
{
    const struct map *m = w->crew->map;
    struct grapnel_instance_options o = m->instance;
    struct grapnel_call_options call = {.path = "execute", .args = setup_args(m)};
    struct grapnel_error error;

    o.output = on_printed;
    o.ended = on_ended;
    o.arg = w;
    o.number = w->number;
    o.held = 0;
    w->dead = w->expired = w->overdue = 0;
    w->last = 0;
    w->sent = w->cut = 0;
    if (!call.args)
        return errors_set(e, -E_NOMEM, "instance");
    w->instance = grapnel_instance_open(w->crew->task->server, &o, &error);
    if (w->instance)
        w->setup = grapnel_callv(w->instance, &call, &error);
    grapnel_value_free((struct grapnel_value *)(uintptr_t)call.args);
    if (!w->setup)
        return errors_set(e, error.code, "%s", error.detail);
    grapnel_future_on_done(w->setup, on_set_up, w);
    return 0;
}

/* As many as were asked for, or as it has processors. */
static size_t how_many(const struct task *t, const struct map *m)
{
    struct value *facts = m->options.instances ? NULL : connection_facts(t->server);
    int64_t cores = values_as_int(values_get(facts, "cores"), 1);
    size_t n = m->options.instances ? m->options.instances : cores > 0 ? (size_t)cores : 1;

    values_free(facts);
    return n < INSTANCES_MOST ? n : INSTANCES_MOST;
}

void crew_begin(struct task *t)
{
    struct map *m = t->job->map;
    size_t n = how_many(t, m);
    struct crew *crew = calloc(1, sizeof *crew + n * sizeof *crew->workers);
    struct error e = {0};

    if (!crew) {
        errors_set(&e, -E_NOMEM, "instances");
        task_work_over(t, &e);
        return;
    }
    *crew = (struct crew){.map = m, .task = t, .cost_us = -1., .count = n};
    crew->trip_us = link_round_trip(connection_link(t->server));
    t->crew = crew;
    for (size_t i = 0; i < n; i++) {
        crew->workers[i].crew = crew;
        crew->workers[i].number = (int)i + 1;
        ev_timer_init(&crew->workers[i].limit, reply_late, 0., 0.);
        crew->workers[i].limit.data = &crew->workers[i];
    }
    for (size_t i = 0; i < n && !e.code; i++)
        start(&crew->workers[i], &e);
    if (e.code)
        give_up(crew, &e);
}

/* ---- meanwhile ---- */

static void revive(struct worker *w)
{
    struct error e = w->error;

    w->deaths += w->n == 0 && !w->expired;
    stop(w, &e);
    w->dead = 0;
    if (!is_working(w->crew))
        return;
    if (w->deaths >= CREW_DEATHS || start(w, &e) < 0)
        give_up(w->crew, &e);
}

void crew_look(struct worker *w)
{
    if (w->dead)
        revive(w);
    while (is_working(w->crew) && chunk_wanted(w) && chunk_send(w))
        ;
    if (is_working(w->crew) && chunk_wanted(w))
        wait_for_more(w);
}
