/* Tasks of a map on their way to an instance, several at a time, and what comes back. */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/map_impl.h"
#include "launcher/remote/call.h"
#include "launcher/remote/typed.h"

#define TARGET_US                                                                                  \
    5000 /* that the tasks of a message should take, besides the line's round trip … */
#define OVERDUE     4  /* … after so many times that the instance leaves the others to somebody */
#define GROWTH      16 /* a message has so many times more tasks than the one before, at most */
#define TASKS_MOST  4096
#define VALUES_MOST 65536
#define BYTES_MOST  (1024 * 1024) /* of arguments, and of results as expected */
#define WEIGHT      4             /* a mean gives the latest one so much less than all before */
#define STOP_MS     2000          /* for a task to stop when its time is up */

/* ---- how many ---- */

static double target_us(const struct worker *w)
{
    return TARGET_US + 2. * (double)w->crew->trip_us;
}

int chunk_wanted(const struct worker *w)
{
    const struct item *first = w->chunks[0].items.first;

    if (!w->function || w->dead || w->n == CHUNKS_MOST)
        return 0;
    if (w->n == 0)
        return 1;
    /* One that waits hides the round trip; where tasks take long that is not worth that it waits.
     */
    return !first->alone && w->crew->cost_us >= 0. && w->crew->cost_us < target_us(w);
}

static size_t least(size_t a, double b)
{
    return (double)a < b ? a : b < 1. ? 1 : (size_t)b;
}

static size_t how_many(const struct worker *w)
{
    const struct crew *crew = w->crew;
    const struct map *m = crew->map;
    size_t n = w->last ? GROWTH * w->last : GROWTH;

    if (m->alone || crew->cost_us < 0.)
        return 1;
    n = least(n < TASKS_MOST ? n : TASKS_MOST, target_us(w) / (crew->cost_us + 0.01));
    n = least(n, BYTES_MOST / (crew->size + 1.));
    if (m->options.count > m->pulled) /* the last ones are for all */
        n = least(n, (double)(m->options.count - m->pulled + m->again.count) /
                         (double)(CHUNKS_MOST * m->workers));
    return n;
}

/* ---- there ---- */

static int put_item(struct wire_buf *to, const struct item *it)
{
    int rc = typed_put_head(to, TYPED_UINT, it->count);

    return rc < 0 ? rc : wire_put(to, it->bytes, it->n);
}

/* The call for these items.  NULL with *e. */
static struct grapnel_future *call(struct worker *w, const struct items *items, struct error *e)
{
    struct wire_buf *to = &w->crew->map->scratch;
    size_t values = 1;
    int rc;

    wire_take(to, wire_length(to));
    wire_trim(to, BYTES_MOST);
    rc = typed_put_head(to, TYPED_UINT, (uint64_t)(OVERDUE * target_us(w) * 1e3));
    for (const struct item *it = items->first; it && rc == 0; it = it->next) {
        rc = put_item(to, it);
        values += 1 + it->count;
    }
    if (rc < 0) {
        errors_set(e, rc, "tasks");
        return NULL;
    }
    return call_encoded(w->function, values, to, e);
}

static void collect(struct worker *w, struct items *items)
{
    struct map *m = w->crew->map;
    size_t most = how_many(w), values = 0, bytes = 0;
    struct item *it;

    while (items->count < most && values < VALUES_MOST && bytes < BYTES_MOST) {
        it = queue_take(m, items->count > 0 || w->n > 0);
        if (!it)
            return;
        items_add(items, it);
        values += it->count + 1;
        bytes += it->n;
        if (it->alone)
            return;
    }
}

/* They cannot be sent, or not be answered; the instance lives.  Whose fault that is, is seen when
 * each is alone. */
static void refuse(struct worker *w, struct items *items, const struct error *e)
{
    struct map *m = w->crew->map;

    if (items->count == 1) {
        queue_done(m, items_take(items), w, NULL, e);
        return;
    }
    for (struct item *it = items->first; it; it = it->next)
        it->alone = 1;
    queue_return(m, items);
}

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

static void on_answered(void *arg, struct grapnel_future *f);

int chunk_send(struct worker *w)
{
    struct map *m = w->crew->map;
    struct items items = {0};
    struct chunk *c = &w->chunks[w->n];
    struct error e = {0};
    struct grapnel_error ended;

    collect(w, &items);
    if (items.count == 0)
        return 0;
    if (m->job->cancelled) { /* by `next` */
        queue_return(m, &items);
        return 0;
    }
    *c = (struct chunk){.items = items, .future = call(w, &items, &e)};
    if (!c->future && grapnel_instance_error(w->instance, &ended) < 0) {
        queue_return(m, &c->items); /* its end follows */
        return 0;
    } else if (!c->future) {
        refuse(w, &c->items, &e);
        return 1;
    }
    for (struct item *it = c->items.first; it; it = it->next)
        it->begun++;
    w->n++;
    w->last = c->items.count;
    w->expired = 0;
    set_limit(w, m->options.timeout);
    grapnel_future_on_done(c->future, on_answered, w);
    return 1;
}

/* ---- and back ---- */

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
    char *json = said || ok ? NULL : values_json(first);

    if (!values)
        errors_set(e, -E_NOMEM, "a result");
    else if (ok && (values_type(first) != VALUE_NIL || !second))
        return 0;
    else if (ok)
        errors_set(e, -E_REMOTE, "%s", second);
    else
        errors_set(e, -E_REMOTE, "%s%s%s",
                   said   ? said
                   : json ? json
                          : "an error that cannot be shown",
                   second ? "; remote traceback: " : "", second ? second : "");
    free(json);
    return e->code;
}

static void learn(double *mean, double now)
{
    *mean = *mean < 0. ? now : *mean + (now - *mean) / WEIGHT;
}

/* Outcomes are whether it went well, a count, and so many values.  Negative: they are not. */
static int read_outcomes(struct worker *w, struct chunk *c, struct value *all)
{
    struct map *m = w->crew->map;
    size_t n = values_count(all), at = 1, before = c->items.count, weight = m->weight, done;
    int64_t ns = values_as_int(values_at(all, 0), -1);

    while (at < n) {
        int64_t count = values_as_int(values_at(all, at + 1), -1);
        int ok = values_as_bool(values_at(all, at), 0);
        struct value *values;
        struct error e = {0};

        if (count < 0 || (uint64_t)count > n - at || !c->items.first)
            return -E_MALFORMED;
        values = take_values(all, at + 2, (size_t)count);
        explain(ok, values, &e);
        queue_done(m, items_take(&c->items), w, values, e.code ? &e : NULL);
        w->crew->task->did++;
        at += 2 + (size_t)count;
    }
    done = before - c->items.count;
    if (ns < 0 || done == 0)
        return -E_MALFORMED;
    learn(&w->crew->cost_us, (double)ns / 1e3 / (double)done);
    learn(&w->crew->size, m->weight > weight ? (double)(m->weight - weight) / (double)done : 0.);
    for (struct item *it = c->items.first; it; it = it->next)
        it->begun--; /* they were not: their turn did not come in time */
    queue_return(m, &c->items);
    return 0;
}

/* The one with that future, taken out. */
static struct chunk leave(struct worker *w, const struct grapnel_future *f)
{
    struct chunk c;
    size_t i = 0;

    while (i + 1 < w->n && w->chunks[i].future != f)
        i++;
    c = w->chunks[i];
    w->n--;
    memmove(w->chunks + i, w->chunks + i + 1, (w->n - i) * sizeof *w->chunks);
    return c;
}

static void on_answered(void *arg, struct grapnel_future *f)
{
    struct worker *w = arg;
    struct grapnel_error error;
    struct error e = {0};
    struct chunk c;
    struct value *all;

    if (grapnel_instance_error(w->instance, &error) < 0)
        return; /* its end follows */
    c = leave(w, f);
    set_limit(w, 0);
    if (grapnel_future_error(f, &error) < 0) {
        errors_set(&e, w->expired ? -E_TIMEOUT : error.code, "%s",
                   w->expired ? "the task was stopped" : error.detail);
        refuse(w, &c.items, &e);
    } else {
        all = (struct value *)(uintptr_t)grapnel_future_results(f);
        w->crew->trip_us = link_round_trip(connection_link(w->crew->task->server));
        if (read_outcomes(w, &c, all) < 0) {
            errors_set(&e, -E_MALFORMED, "the answer is no list of outcomes");
            refuse(w, &c.items, &e);
            crew_lost(w, &e);
        }
    }
    grapnel_future_free(f);
    w->deaths = 0;
    crew_note(w);
}

/* ---- ends ---- */

void chunk_expired(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct worker *w = timer->data;
    struct error e = {0};
    struct chunk c;

    (void)loop;
    (void)revents;
    if (!w->expired) {
        w->expired = 1;
        grapnel_future_cancel(w->chunks[0].future);
        set_limit(w, STOP_MS);
        return;
    }
    errors_set(&e, -E_TIMEOUT, "the task did not stop, and its instance was ended");
    c = leave(w, w->chunks[0].future);
    grapnel_future_free(c.future);
    refuse(w, &c.items, &e);
    crew_lost(w, &e);
}

void chunk_lost(struct worker *w, const struct error *why)
{
    struct map *m = w->crew->map;
    struct items again = {0};
    struct error e = {0};

    for (size_t i = 0; i < w->n; i++) {
        struct item *it;

        grapnel_future_free(w->chunks[i].future);
        while ((it = items_take(&w->chunks[i].items)) != NULL) {
            it->alone = 1;
            if (it->begun <= m->redo || m->over.code) {
                items_add(&again, it);
                continue;
            }
            errors_set(&e, -E_LOST, "it was begun %u times, and each time its instance ended: %s",
                       it->begun, why->detail);
            queue_done(m, it, w, NULL, &e);
        }
    }
    w->n = 0;
    queue_return(m, &again);
}
