/* Tasks of a map on their way to an instance, several at a time. */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/map_impl.h"
#include "launcher/remote/call.h"
#include "launcher/remote/typed.h"

#define TARGET_US   5000 /* that the tasks of a message should take, besides what the line takes */
#define GROWTH      16   /* a message has so many times more tasks than the one before, at most */
#define TASKS_MOST  4096
#define VALUES_MOST 65536
#define BYTES_MOST  (1024 * 1024) /* of arguments, and of results as expected */

/* ---- how many ---- */

double chunk_target_us(const struct worker *w)
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
    /* One that waits hides the round trip; that is not worth it where tasks take long. */
    return !w->overdue && !first->alone && w->crew->cost_us >= 0. &&
           w->crew->cost_us < chunk_target_us(w);
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
    n = least(n < TASKS_MOST ? n : TASKS_MOST, chunk_target_us(w) / (crew->cost_us + 0.01));
    n = least(n, m->size > 1. ? BYTES_MOST / m->size : TASKS_MOST);
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
    size_t values = 2;
    int rc;

    wire_take(to, wire_length(to));
    wire_trim(to, BYTES_MOST);
    rc = typed_put_head(to, TYPED_UINT, w->sent + 1);
    if (rc == 0)
        rc = typed_put_head(to, TYPED_UINT, (uint64_t)(CHUNK_OVERDUE * chunk_target_us(w) * 1e3));
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

void chunk_refuse(struct worker *w, struct items *items, const struct error *e)
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
        chunk_refuse(w, &c->items, &e);
        return 1;
    }
    for (struct item *it = c->items.first; it; it = it->next)
        it->begun++;
    c->number = ++w->sent;
    w->last = c->items.count;
    w->expired = 0;
    if (w->n++ == 0)
        reply_time(w);
    grapnel_future_on_done(c->future, reply_came, w);
    return 1;
}

/* ---- ends ---- */

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
