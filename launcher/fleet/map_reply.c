/* What comes back of the tasks of a map, and what does not come back in time. */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/map_impl.h"
#include "launcher/remote/call.h"
#include "launcher/remote/typed.h"

#define WEIGHT  4    /* a mean gives the latest one so much less than all before */
#define STOP_MS 2000 /* for a task to stop when its time is up */

/* ---- time ---- */

static void set_limit(struct worker *w, int64_t ms)
{
    struct ev_loop *loop = w->crew->map->job->g->loop;

    ev_timer_stop(loop, &w->limit);
    if (ms <= 0)
        return;
    ev_now_update(loop);
    ev_timer_set(&w->limit, (double)ms / 1e3, 0.);
    ev_timer_start(loop, &w->limit);
}

void reply_time(struct worker *w)
{
    int64_t limit = w->crew->map->options.timeout;

    w->overdue = 0;
    if (w->n == 0)
        set_limit(w, 0);
    else
        set_limit(w, limit > 0 ? limit : 1 + (int64_t)(CHUNK_OVERDUE * chunk_target_us(w) / 1e3));
}

/* ---- outcomes ---- */

static struct value *take_values(struct value *all, size_t at, size_t n)
{
    struct value *values = values_array();

    for (size_t i = 0; i < n && values; i++) {
        struct value *v = values_take(all, at + i);

        if (values_append(values, v ? v : values_nil()) < 0) {
            values_free(values);
            return NULL;
        }
    }
    return values;
}

/* What the code threw, as words; or what it returned, where that is nil and a text. */
static int explain(int ok, const struct value *values, struct error *e)
{
    const struct value *first = values_at(values, 0);
    const char *second = values_as_string(values_at(values, 1), NULL);
    const char *said = values_as_string(first, NULL);
    char *json = NULL;

    if (!values)
        return errors_set(e, -E_NOMEM, "a result");
    if (ok && (values_type(first) != VALUE_NIL || !second))
        return 0;
    if (ok)
        return errors_set(e, -E_REMOTE, "%s", second);
    if (!said)
        said = json = values_json(first);
    errors_set(e, -E_REMOTE, "%s%s%s", said ? said : "an error that cannot be shown",
               second ? "; remote traceback: " : "", second ? second : "");
    free(json);
    return e->code;
}

static void learn(double *mean, double now)
{
    *mean = *mean < 0. ? now : *mean + (now - *mean) / WEIGHT;
}

/* What is said of a message: its number, the nanoseconds that its tasks took, and all outcomes so
 * far: each is whether it went well, a count, and so many values.  0, or negative: it is something
 * else. */
static int read_outcomes(struct worker *w, struct chunk *c, struct value *all)
{
    struct map *m = w->crew->map;
    size_t n = values_count(all), at = 2, weight = m->weight, seen = 0, done = 0;
    int64_t ns = values_as_int(values_at(all, 1), -1);

    for (; at < n; seen++) {
        int64_t count = values_as_int(values_at(all, at + 1), -1);
        int ok = values_as_bool(values_at(all, at), 0);
        struct value *values;
        struct error e = {0};

        if (count < 0 || (uint64_t)count > n - at || (seen >= c->known && !c->items.first))
            return -E_MALFORMED;
        at += 2 + (size_t)count;
        if (seen < c->known)
            continue;
        values = take_values(all, at - (size_t)count, (size_t)count);
        explain(ok, values, &e);
        queue_done(m, items_take(&c->items), w, values, e.code ? &e : NULL);
        done++;
    }
    if (ns < 0 || seen < c->known)
        return -E_MALFORMED;
    w->crew->task->did += done;
    c->known = seen;
    if (done > 0) {
        learn(&w->crew->cost_us, (double)ns / 1e3 / (double)seen);
        learn(&m->size, m->weight > weight ? (double)(m->weight - weight) / (double)done : 0.);
    }
    return 0;
}

/* Those that were not begun are for others. */
static void leave_rest(struct worker *w, struct items *rest)
{
    for (struct item *it = rest->first; it; it = it->next)
        it->begun--;
    queue_return(w->crew->map, rest);
}

/* Takes the one with that future out. */
static struct chunk take_chunk(struct worker *w, const struct grapnel_future *f)
{
    struct chunk c;
    size_t i = 0;

    while (i + 1 < w->n && w->chunks[i].future != f)
        i++;
    c = w->chunks[i];
    w->n--;
    memmove(w->chunks + i, w->chunks + i + 1, (w->n - i) * sizeof *w->chunks);
    if (i == 0)
        reply_time(w);
    return c;
}

/* What says such things is given no other try. */
static void malformed(struct worker *w)
{
    struct error e = {0};

    errors_set(&e, -E_MALFORMED, "the answer is no list of outcomes");
    w->deaths = CREW_DEATHS;
    crew_lost(w, &e);
}

void reply_came(void *arg, struct grapnel_future *f)
{
    struct worker *w = arg;
    struct grapnel_error error;
    struct error e = {0};
    struct chunk c;

    if (grapnel_instance_error(w->instance, &error) < 0)
        return; /* its end follows */
    c = take_chunk(w, f);
    w->deaths = 0;
    w->crew->trip_us = link_round_trip(connection_link(w->crew->task->server));
    if (grapnel_future_error(f, &error) < 0) {
        errors_set(&e, w->expired ? -E_TIMEOUT : error.code, "%s",
                   w->expired ? "the task was stopped" : error.detail);
        chunk_refuse(w, &c.items, &e);
    } else if (read_outcomes(w, &c, (struct value *)(uintptr_t)grapnel_future_results(f)) < 0 ||
               (c.known == 0 && c.number > w->cut)) {
        malformed(w);
    }
    leave_rest(w, &c.items);
    grapnel_future_free(f);
    crew_note(w);
}

/* ---- what takes long ---- */

/* It is at one of the tasks: those before are done, those behind are for others. */
static void keep_first(struct worker *w, struct chunk *c)
{
    struct items rest = c->items;

    c->items = (struct items){0};
    if (rest.first)
        items_add(&c->items, items_take(&rest));
    leave_rest(w, &rest);
}

static void on_cut(void *arg, struct grapnel_future *f)
{
    struct worker *w = arg;
    struct value *all;
    int64_t number;

    if (grapnel_instance_error(w->instance, NULL) < 0)
        return; /* its end follows */
    all = (struct value *)(uintptr_t)grapnel_future_results(f);
    number = values_as_int(values_at(all, 0), INT64_MAX);
    for (size_t i = 0; i < w->n; i++) {
        struct chunk *c = &w->chunks[i];

        if (c->number > (uint64_t)number && c->number <= w->cut)
            leave_rest(w, &c->items);
        else if (c->number == (uint64_t)number && read_outcomes(w, c, all) == 0)
            keep_first(w, c);
        else if (c->number == (uint64_t)number)
            malformed(w);
    }
    w->asked = NULL;
    grapnel_future_free(f);
}

/* Nothing else waits for the task that it is at. */
static void cut_short(struct worker *w)
{
    struct wire_buf *to = &w->crew->map->scratch;
    struct error e = {0};

    if (w->asked || (w->n == 1 && w->chunks[0].items.count <= 1))
        return;
    wire_take(to, wire_length(to));
    if (typed_put_head(to, TYPED_UINT, w->sent) < 0)
        return;
    w->asked = call_encoded(w->function, 1, to, &e);
    if (!w->asked)
        return;
    w->cut = w->sent;
    grapnel_future_on_done(w->asked, on_cut, w);
}

static void on_expired(struct worker *w)
{
    struct error e = {0};
    struct chunk c;

    if (!w->expired) {
        w->expired = 1;
        grapnel_future_cancel(w->chunks[0].future);
        set_limit(w, STOP_MS);
        return;
    }
    errors_set(&e, -E_TIMEOUT, "the task did not stop, and its instance was ended");
    c = take_chunk(w, w->chunks[0].future);
    grapnel_future_free(c.future);
    chunk_refuse(w, &c.items, &e);
    crew_lost(w, &e);
}

void reply_late(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct worker *w = timer->data;

    (void)loop;
    (void)revents;
    if (w->crew->map->options.timeout > 0) {
        on_expired(w);
    } else {
        w->overdue = 1;
        cut_short(w);
    }
}
