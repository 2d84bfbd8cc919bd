/* The tasks of a map until they are done, and their results until they are told. */
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/map_impl.h"

#define PER_VALUE  64 /* what a value takes, roughly, besides its text */
#define HELD_FIRST 64

/* ---- queues ---- */

static void items_init(struct items *q)
{
    *q = (struct items){0};
    q->end = &q->first;
}

void items_add(struct items *q, struct item *it)
{
    if (!q->first)
        q->end = &q->first;
    it->next = NULL;
    *q->end = it;
    q->end = &it->next;
    q->count++;
}

struct item *items_take(struct items *q)
{
    struct item *it = q->first;

    if (!it)
        return NULL;
    q->first = it->next;
    q->count--;
    return it;
}

/* ---- memory ---- */

size_t queue_weigh(const struct value *v)
{
    const struct value *key, *item;
    size_t n = 0, bytes = PER_VALUE;

    switch (values_type(v)) {
    case VALUE_BYTES:
    case VALUE_TEXT:
        values_as_string(v, &n);
        return bytes + n;
    case VALUE_ARRAY:
        for (size_t i = 0; i < values_count(v); i++)
            bytes += queue_weigh(values_at(v, i));
        return bytes;
    case VALUE_MAP:
        for (size_t i = 0; values_pair(v, i, &key, &item); i++)
            bytes += queue_weigh(key) + queue_weigh(item);
        return bytes;
    case VALUE_NIL:
    case VALUE_BOOL:
    case VALUE_INT:
    case VALUE_FLOAT:
    case VALUE_REF:
        break;
    }
    return bytes;
}

static size_t item_weight(const struct item *it)
{
    return sizeof *it + sizeof *it->outcome + it->n;
}

static void free_outcome(struct map *m, struct outcome *o)
{
    if (!o)
        return;
    m->weight -= o->weight;
    values_free(o->values);
    if (o->error != &m->why)
        free(o->error);
    free(o);
}

/* Without its outcome. */
static void free_item(struct map *m, struct item *it)
{
    m->weight -= item_weight(it);
    free(it);
}

void queue_init(struct map *m)
{
    items_init(&m->again);
    m->ready_end = &m->ready;
    m->size = -1.;
}

void queue_free(struct map *m)
{
    struct outcome *o;
    struct item *it;

    while ((it = items_take(&m->again)) != NULL) {
        free_outcome(m, it->outcome);
        free_item(m, it);
    }
    while ((o = m->ready) != NULL) {
        m->ready = o->next;
        free_outcome(m, o);
    }
    for (size_t i = 0; i < m->held_size; i++)
        free_outcome(m, m->held[i]);
    free(m->held);
    free_outcome(m, m->taken);
}

/* ---- taking ---- */

/* What is there, and what will come of all that is under way. */
static int is_full(const struct map *m)
{
    double coming = m->size > 0. ? (double)m->under_way * m->size : 0.;

    return (double)m->weight + coming >= (double)m->job->f->options.memory;
}

static int may_pull(const struct map *m)
{
    const struct grapnel_map_options *o = &m->options;

    return !m->over.code && !m->ended && !m->later && !is_full(m) &&
           (!o->ahead || m->pulled - m->told < o->ahead);
}

int queue_has(const struct map *m)
{
    return m->again.first || may_pull(m);
}

int queue_is_done(const struct map *m)
{
    return m->ended && !m->again.first && m->under_way == 0;
}

/* NULL with m->failed filled. */
static struct item *make(struct map *m, const struct value *args)
{
    struct wire_buf bytes = {0};
    struct item *it = NULL;
    int rc = args && values_type(args) != VALUE_ARRAY ? -E_ARGUMENT : 0;

    for (size_t i = 0; i < values_count(args) && rc == 0; i++)
        rc = values_encode(values_at(args, i), &bytes);
    if (rc == 0)
        it = malloc(sizeof *it + wire_length(&bytes));
    if (it) {
        *it = (struct item){.alone = m->alone, .count = values_count(args)};
        it->n = wire_length(&bytes);
        if (it->n > 0)
            memcpy(it->bytes, wire_data(&bytes), it->n);
        it->outcome = calloc(1, sizeof *it->outcome);
    }
    wire_free(&bytes);
    if (it && it->outcome)
        return it;
    free(it);
    errors_set(&m->failed, rc ? rc : -E_NOMEM, "arguments of a task are an array, by copy");
    return NULL;
}

/* Room for the result of that index, where order is wanted.  False: memory is out. */
static int widen(struct map *m, uint64_t index)
{
    size_t size = m->held_size ? m->held_size : HELD_FIRST;
    struct outcome **wider;

    while (index - m->turn >= size)
        size *= 2;
    if (size == m->held_size)
        return 1;
    wider = calloc(size, sizeof(struct outcome *));
    if (!wider)
        return 0;
    for (size_t i = 0; i < m->held_size; i++) {
        if (m->held[i])
            wider[m->held[i]->result.index & (size - 1)] = m->held[i];
    }
    free(m->held);
    m->held = wider;
    m->held_size = size;
    return 1;
}

/* The next one that `next` gives; NULL: none. */
static struct item *pull(struct map *m)
{
    struct grapnel_value *args = NULL;
    int what = m->options.next(m->options.arg, &args);
    struct item *it = what == GRAPNEL_MAP_TASK ? make(m, (struct value *)args) : NULL;

    grapnel_value_free(args);
    if (what < 0)
        errors_set(&m->failed, -E_ARGUMENT, "the tasks' source has failed");
    if (it && m->options.ordered && !widen(m, m->pulled)) {
        errors_set(&m->failed, -E_NOMEM, "tasks");
        free(it->outcome);
        free(it);
        it = NULL;
    }
    m->later = what == GRAPNEL_MAP_LATER;
    m->ended = !it && !m->later;
    if (!it)
        return NULL;
    it->index = m->pulled++;
    m->weight += item_weight(it);
    return it;
}

struct item *queue_take(struct map *m, int fresh)
{
    struct item *it = m->again.first;

    if (it && fresh && it->alone)
        return NULL;
    it = it ? items_take(&m->again) : may_pull(m) ? pull(m) : NULL;
    if (it)
        m->under_way++;
    return it;
}

/* ---- results ---- */

static void append(struct map *m, struct outcome *o)
{
    if (!m->ready)
        m->ready_end = &m->ready;
    o->next = NULL;
    *m->ready_end = o;
    m->ready_end = &o->next;
}

/* Where order is wanted, it waits for those before it. */
static void place(struct map *m, struct outcome *o)
{
    struct outcome **at;

    if (!m->options.ordered) {
        append(m, o);
        return;
    }
    m->held[o->result.index & (m->held_size - 1)] = o;
    while (*(at = &m->held[m->turn & (m->held_size - 1)]) != NULL) {
        append(m, *at);
        *at = NULL;
        m->turn++;
    }
}

/* What is told of item it, which ends here. */
static void finish(struct map *m, struct item *it)
{
    struct outcome *o = it->outcome;
    struct grapnel_map_result *r = &o->result;

    r->index = it->index;
    r->begun = (int)it->begun;
    r->error = o->error;
    if (r->error) {
        r->thrown = (const struct grapnel_value *)values_at(o->values, 0);
    } else {
        r->results = (const struct grapnel_value *)o->values;
        r->value = (const struct grapnel_value *)values_at(o->values, 0);
    }
    o->weight =
        sizeof *o + (o->values ? queue_weigh(o->values) : 0) + (o->error ? sizeof *o->error : 0);
    m->weight += o->weight;
    free_item(m, it);
    place(m, o);
    job_look(m->job);
    if (m->job->watch)
        m->job->watch(m->job->watch_arg);
}

void queue_done(struct map *m, struct item *it, const struct worker *w, struct value *values,
                const struct error *e)
{
    struct outcome *o = it->outcome;

    m->under_way--;
    o->values = values;
    o->result.host = w->crew->task->host;
    o->result.instance = w->number;
    if (e && (o->error = malloc(sizeof *o->error)) != NULL)
        context_error(o->error, m->job->f->hosts[o->result.host].name, e);
    else if (e)
        o->error = &m->why; /* memory is out */
    finish(m, it);
}

static void drop(struct map *m, struct item *it)
{
    it->outcome->error = &m->why;
    finish(m, it);
}

void queue_drop_all(struct map *m)
{
    struct item *it;

    while ((it = items_take(&m->again)) != NULL)
        drop(m, it);
}

void queue_return(struct map *m, struct items *q)
{
    m->under_way -= q->count;
    if (q->first) {
        *q->end = m->again.first;
        m->again.end = m->again.first ? m->again.end : q->end;
        m->again.first = q->first;
        m->again.count += q->count;
    }
    items_init(q);
    if (m->over.code)
        queue_drop_all(m);
    job_look(m->job);
}

/* ---- telling ---- */

/* Of those that were promised and will not be done: made when somebody wants to know. */
static int has_promised(const struct map *m)
{
    return m->over.code && !m->ended && !m->under_way && m->pulled < m->options.count;
}

int queue_has_next(const struct map *m)
{
    return m->ready || has_promised(m);
}

static struct outcome *promised(struct map *m)
{
    struct outcome *o = has_promised(m) ? calloc(1, sizeof *o) : NULL;

    if (!o)
        return NULL;
    o->error = &m->why;
    o->result.error = o->error;
    o->result.index = m->pulled++;
    return o;
}

struct outcome *queue_next(struct map *m)
{
    struct outcome *o = m->ready;

    if (!o)
        return promised(m);
    m->ready = o->next;
    return o;
}

void queue_told(struct map *m, struct outcome *o)
{
    if (!o)
        return;
    m->told++;
    free_outcome(m, o);
}
