/* The instances of the servers in the cache. */
#include <stdio.h>
#include <stdlib.h>

#include "launcher/cache/cache_impl.h"

struct grapnel_connection *cache_instances(const struct cached *s)
{
    return s->instances;
}

struct grapnel_connection *cache_instance(const struct cached *s, int number)
{
    struct grapnel_connection *i = s->instances;

    while (i && i->number != number)
        i = i->next;
    return i;
}

static struct grapnel_connection *make(struct cached *s, int number)
{
    struct grapnel_connection *i = calloc(1, sizeof *i);

    if (!i || asprintf(&i->name, "%s:%d", s->name, number) < 0) {
        free(i);
        return NULL;
    }
    i->c = s->c;
    i->of = s;
    i->number = number;
    i->generation = 1;
    i->serial = ++s->c->serial;
    i->made_us = i->used_us = context_now();
    return i;
}

struct grapnel_connection *cache_add_instance(struct cached *s, int number,
                                              const struct cache_end_class *class, void *end,
                                              struct error *e)
{
    struct grapnel_connection *i;

    if (number < 1 || number > CACHE_INSTANCE_MAX) {
        errors_set(e, -E_ARGUMENT, "%d is no instance: 1 to %d", number, CACHE_INSTANCE_MAX);
        return NULL;
    }
    if (cache_limit_instance(s->c, e) < 0)
        return NULL;
    i = make(s, number);
    if (!i) {
        errors_set(e, -E_NOMEM, "%s:%d", s->name, number);
        return NULL;
    }
    i->class = class;
    i->end = end;
    i->next = s->instances;
    s->instances = i;
    s->c->instance_count++;
    return i;
}

static void tell(struct grapnel_connection *i, const struct error *e)
{
    const struct grapnel_cache_limits *l = &i->c->limits;
    struct grapnel_error error;

    if (!l->renewed)
        return;
    if (e)
        context_error(&error, i->name, e);
    i->users++; /* it stays, whatever the callback does */
    l->renewed(l->arg, i, (int)i->generation, e ? &error : NULL);
    i->users--;
}

int cache_renew_instance(struct grapnel_connection *i, struct error *e)
{
    if (!i->of)
        return errors_set(e, -E_CLOSED, "the connection was closed");
    if (i->class->renew(i->end, e) < 0)
        return e->code;
    i->generation++;
    tell(i, NULL);
    return 0;
}

/* The newest one in use that is older than `below`.  Callbacks may close instances, so that nothing
 * but their age leads from one to the next. */
static struct grapnel_connection *next_used(const struct cached *s, uint64_t below)
{
    struct grapnel_connection *i = s->instances;

    while (i && (i->users == 0 || i->serial >= below))
        i = i->next;
    return i;
}

void cache_instance_renew_all(struct cached *s)
{
    struct grapnel_connection *i;
    uint64_t serial = UINT64_MAX;

    while ((i = next_used(s, serial))) {
        struct error e = {0};
        serial = i->serial;
        if (!i->class->alive(i->end))
            cache_renew_instance(i, &e);
    }
}

void cache_instance_tell_all(struct cached *s, const struct error *e)
{
    struct grapnel_connection *i;
    uint64_t serial = UINT64_MAX;

    while (s->c->limits.reconnect && (i = next_used(s, serial))) {
        serial = i->serial;
        tell(i, e);
    }
}

void cache_hold_instance(struct grapnel_connection *i)
{
    i->users++;
    if (i->of)
        i->of->users++;
}

static void destroy(struct grapnel_connection *i)
{
    for (struct grapnel_connection **at = &i->c->orphans; *at; at = &(*at)->next) {
        if (*at == i) {
            *at = i->next;
            break;
        }
    }
    i->class->free(i->end);
    free(i->name);
    free(i);
}

static void take_out(struct cached *s, struct grapnel_connection *i)
{
    for (struct grapnel_connection **at = &s->instances; *at; at = &(*at)->next) {
        if (*at == i) {
            *at = i->next;
            break;
        }
    }
    i->of = NULL;
    i->next = s->c->orphans;
    s->c->orphans = i;
    s->users -= i->users;
    s->c->instance_count--;
}

/* Its server stays. */
static void close_it(struct cached *s, struct grapnel_connection *i, int code, const char *text)
{
    take_out(s, i);
    i->users++; /* what fails by it may be given back */
    i->class->close(i->end, code, text);
    if (--i->users == 0)
        destroy(i);
}

void cache_done_instance(struct grapnel_connection *i)
{
    struct cached *s = i->of;

    i->users--;
    i->used_us = context_now();
    if (!s) {
        if (i->users == 0)
            destroy(i);
        return;
    }
    if (i->users == 0 && !i->class->alive(i->end)) {
        s->users++;
        close_it(s, i, -E_CLOSED, "");
        s->users--;
    } else if (i->users == 0) {
        cache_limit_unused(s); /* its server may be in use all the same */
    }
    cache_done(s);
}

void cache_close_instance(struct grapnel_connection *i)
{
    struct cached *s = i->of;

    if (!s)
        return;
    close_it(s, i, -E_CLOSED, "the connection was closed");
    cache_life_settle(s);
}

void cache_instance_close_all(struct cached *s, int code, const char *text)
{
    while (s->instances)
        close_it(s, s->instances, code, text);
}

void cache_instance_free_orphans(struct cache *c)
{
    struct grapnel_connection *i;

    while ((i = c->orphans)) {
        c->orphans = i->next;
        destroy(i);
    }
}
