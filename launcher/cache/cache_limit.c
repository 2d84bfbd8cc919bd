/* What leaves the cache unasked: what nobody uses, when it was so for long, or is in the way. */
#include "launcher/cache/cache_impl.h"

/* ---- number ---- */

static struct cached *longest_unused(struct cache *c)
{
    struct cached *found = NULL;

    for (struct cached *s = c->servers; s; s = s->next) {
        if (s->users == 0 && (!found || s->used_us < found->used_us))
            found = s;
    }
    return found;
}

int cache_limit_server(struct cache *c, struct error *e)
{
    struct cached *s;

    if (c->limits.servers == 0 || c->server_count < c->limits.servers)
        return 0;
    s = longest_unused(c);
    if (!s)
        return errors_set(e, -E_LIMIT, "%zu servers, and all of them are in use",
                          c->limits.servers);
    cache_close(s);
    return 0;
}

static struct grapnel_connection *longest_unused_instance(struct cache *c)
{
    struct grapnel_connection *found = NULL;

    for (struct cached *s = c->servers; s; s = s->next) {
        for (struct grapnel_connection *i = s->instances; i; i = i->next) {
            if (i->users == 0 && (!found || i->used_us < found->used_us))
                found = i;
        }
    }
    return found;
}

int cache_limit_instance(struct cache *c, struct error *e)
{
    struct grapnel_connection *i;

    if (c->limits.connections == 0 || c->instance_count < c->limits.connections)
        return 0;
    i = longest_unused_instance(c);
    if (!i)
        return errors_set(e, -E_LIMIT, "%zu connections, and all of them are in use",
                          c->limits.connections);
    cache_close_instance(i);
    return 0;
}

/* ---- time ---- */

/* When what was used last then is to be closed; UINT64_MAX: never. */
static uint64_t due_us(int64_t idle_ms, uint64_t used_us)
{
    return idle_ms > 0 ? used_us + (uint64_t)idle_ms * 1000 : UINT64_MAX;
}

static uint64_t server_due(const struct cached *s)
{
    return s->users == 0 && s->status != CACHE_CONNECTING ? due_us(cache_kept(s), s->used_us)
                                                          : UINT64_MAX;
}

/* A server with a limit of its own goes as a whole. */
static uint64_t instance_due(const struct grapnel_connection *i)
{
    return i->users == 0 && i->of->keep_ms < 0 ? due_us(cache_kept(i->of), i->used_us) : UINT64_MAX;
}

static void schedule(struct cache *c, uint64_t due)
{
    uint64_t now = context_now();

    ev_timer_stop(c->g->loop, &c->sweep);
    c->sweep_us = due;
    if (due == UINT64_MAX)
        return;
    ev_now_update(c->g->loop);
    ev_timer_set(&c->sweep, due > now ? (double)(due - now) / 1e6 : 0., 0.);
    ev_timer_start(c->g->loop, &c->sweep);
}

/* The first thing that is due, and when the next will be. */
static int find_due(struct cache *c, uint64_t now, struct cached **server,
                    struct grapnel_connection **instance, uint64_t *next)
{
    *server = NULL;
    *instance = NULL;
    *next = UINT64_MAX;
    for (struct cached *s = c->servers; s; s = s->next) {
        uint64_t at = server_due(s);
        *server = s;
        if (at <= now)
            return 1;
        *next = at < *next ? at : *next;
        for (struct grapnel_connection *i = s->instances; i; i = i->next) {
            at = instance_due(i);
            *instance = i;
            if (at <= now)
                return 1;
            *next = at < *next ? at : *next;
        }
        *instance = NULL;
    }
    return 0;
}

void cache_limit_on_sweep(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct cache *c = w->data;
    struct cached *server;
    struct grapnel_connection *instance;
    uint64_t now = context_now(), next;

    (void)loop;
    (void)revents;
    while (find_due(c, now, &server, &instance, &next)) {
        if (instance)
            cache_close_instance(instance);
        else
            cache_close(server);
    }
    schedule(c, next);
}

void cache_limit_changed(struct cache *c)
{
    struct cached *server;
    struct grapnel_connection *instance;
    uint64_t next;

    find_due(c, 0, &server, &instance, &next);
    schedule(c, next);
}

void cache_limit_unused(struct cached *s)
{
    uint64_t due = server_due(s), at;

    if (cache_kept(s) <= 0 || s->status >= CACHE_CLOSING)
        return;
    for (struct grapnel_connection *i = s->instances; i; i = i->next) {
        at = instance_due(i);
        due = at < due ? at : due;
    }
    if (due < s->c->sweep_us)
        schedule(s->c, due);
}

/* ---- patience ---- */

int64_t cache_limit_back_off(const struct grapnel_cache_limits *l, unsigned failures,
                             uint32_t random)
{
    int64_t ms = l->back_off;

    while (failures-- > 0 && ms < l->back_off_most)
        ms = ms < l->back_off_most / 2 ? ms * 2 : l->back_off_most;
    ms = ms < l->back_off_most ? ms : l->back_off_most;
    /* Those that were lost together do not come back together. */
    return ms - (int64_t)((uint64_t)random % ((uint64_t)ms / 4 + 1));
}
