/* Objects of the other end: struct grapnel_ref of the public header. */
#include <stdlib.h>
#include <string.h>

#include "launcher/remote/remote.h"
#include "proto/values.h"

#define BUCKETS_FIRST 16
#define RELEASE_MOST  1000 /* objects in one RELEASE */

struct grapnel_ref {
    struct grapnel_ref *next; /* in its bucket */
    struct remote *remote;
    int64_t id;
    int64_t received; /* times that it came */
    size_t users;     /* values and handles */
    char *name;
    char kind[VALUES_KIND_MAX + 1];
};

struct remote *ref_remote(const struct grapnel_ref *ref)
{
    return ref->remote;
}

int64_t ref_id(const struct grapnel_ref *ref)
{
    return ref->id;
}

/* ---- the table ---- */

static struct grapnel_ref **slot(struct remote *c, int64_t id)
{
    struct grapnel_ref **at = &c->objects[(size_t)id & c->object_mask];

    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

/* Makes the table twice as wide, or makes it.  -E_NOMEM: it is as it was. */
static int widen(struct remote *c)
{
    size_t old = c->objects ? c->object_mask + 1 : 0, size = old ? 2 * old : BUCKETS_FIRST;
    struct grapnel_ref **before = c->objects, **wider = calloc(size, sizeof(struct grapnel_ref *));

    if (!wider)
        return before ? 0 : -E_NOMEM;
    c->objects = wider;
    c->object_mask = size - 1;
    for (size_t i = 0; i < old; i++) {
        while (before[i]) {
            struct grapnel_ref *ref = before[i], **at;
            before[i] = ref->next;
            at = slot(c, ref->id);
            ref->next = *at;
            *at = ref;
        }
    }
    free(before);
    return 0;
}

void ref_free_table(struct remote *c)
{
    free(c->objects);
    c->objects = NULL;
}

static struct grapnel_ref *make(struct remote *c, const struct value *v)
{
    struct grapnel_ref *ref = calloc(1, sizeof *ref), **at;
    const char *name = values_ref_name(v);

    if (!ref || (name && (ref->name = strdup(name)) == NULL) ||
        (c->object_count > c->object_mask && widen(c) < 0)) {
        free(ref ? ref->name : NULL);
        free(ref);
        return NULL;
    }
    ref->remote = c;
    ref->id = values_ref_id(v);
    strncpy(ref->kind, values_ref_kind(v), VALUES_KIND_MAX);
    at = slot(c, ref->id);
    *at = ref;
    c->object_count++;
    remote_hold(c);
    return ref;
}

/* One more came.  NULL: memory is out. */
static struct grapnel_ref *receive(struct remote *c, const struct value *v)
{
    struct grapnel_ref *ref;

    if (!c->objects && widen(c) < 0)
        return NULL;
    ref = *slot(c, values_ref_id(v));
    if (!ref)
        ref = make(c, v);
    if (ref) {
        ref->received++;
        ref->users++;
    }
    return ref;
}

/* ---- giving back ---- */

void ref_send_released(struct remote *c)
{
    size_t pairs = wire_length(&c->released) / (2 * sizeof(int64_t));
    int64_t numbers[2 * RELEASE_MOST];

    /* A call that waits may name what is given back behind it. */
    while (pairs > 0 && !c->queue && !c->error.code) {
        size_t n = pairs < RELEASE_MOST ? pairs : RELEASE_MOST;
        memcpy(numbers, wire_data(&c->released), 2 * n * sizeof *numbers);
        wire_take(&c->released, 2 * n * sizeof *numbers);
        link_release(c->link, numbers, n);
        pairs -= n;
    }
}

static void give_back(struct grapnel_ref *ref)
{
    struct remote *c = ref->remote;
    int64_t pair[2] = {ref->id, ref->received};
    struct grapnel_ref **at = slot(c, ref->id);

    *at = ref->next;
    c->object_count--;
    if (!c->error.code && wire_put(&c->released, pair, sizeof pair) == 0)
        remote_wake(c); /* told with what is sent next, all at once */
    free(ref->name);
    free(ref);
    remote_release(c);
}

void grapnel_ref_free(struct grapnel_ref *ref)
{
    struct grapnel *g = ref ? ref->remote->g : NULL;

    if (!ref)
        return;
    context_lock(g);
    if (--ref->users == 0)
        give_back(ref);
    context_unlock(g);
}

static void drop(void *object)
{
    grapnel_ref_free(object);
}

/* ---- refs in values ---- */

static int bind_one(void *arg, struct value *v)
{
    struct remote *c = arg;
    const char *kind = values_ref_kind(v);

    if (!kind) { /* ours, coming home */
        struct function *f = c->functions ? refs_find(c->functions, values_ref_id(v)) : NULL;
        if (f) {
            function_hold(f);
            values_ref_bind(v, f, function_drop);
        }
    } else if (strcmp(kind, "channel") != 0) {
        struct grapnel_ref *ref = receive(c, v);
        if (!ref)
            return -E_NOMEM;
        values_ref_bind(v, ref, drop);
    }
    return 0;
}

int ref_bind(struct remote *c, struct value *v)
{
    return values_each_ref(v, bind_one, c);
}

struct grapnel_ref *ref_of(const struct value *v)
{
    return values_ref_object(v, drop);
}

/* ---- public ---- */

struct grapnel_ref *grapnel_value_ref(const struct grapnel_value *v)
{
    struct grapnel_ref *ref = ref_of((const struct value *)v);

    return ref ? grapnel_ref_share(ref) : NULL;
}

struct grapnel_ref *grapnel_ref_share(struct grapnel_ref *ref)
{
    if (!ref)
        return NULL;
    context_lock(ref->remote->g);
    ref->users++;
    context_unlock_quiet(ref->remote->g);
    return ref;
}

struct grapnel_value *grapnel_value_new_ref(struct grapnel_ref *ref)
{
    struct value *v = ref ? values_ref(ref->id, ref->kind, ref->name) : NULL;

    if (v)
        values_ref_bind(v, grapnel_ref_share(ref), drop);
    return (struct grapnel_value *)v;
}

const char *grapnel_ref_kind(const struct grapnel_ref *ref)
{
    return ref ? ref->kind : NULL;
}

const char *grapnel_ref_name(const struct grapnel_ref *ref)
{
    return ref ? ref->name : NULL;
}
