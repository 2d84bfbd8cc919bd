#include "launcher/cache/cache.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/cache/cache_impl.h"

#define FRESH_MS      2000
#define PATIENCE_MS   5000
#define BACK_OFF_MS   500
#define BACK_OFF_MOST 60000

/* ---- the cache ---- */

struct cache *cache_of(struct grapnel *g)
{
    static const struct grapnel_cache_limits none;
    struct cache *c = g->cache;

    if (c)
        return c;
    c = g->cache = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->g = g;
    ev_timer_init(&c->sweep, cache_limit_on_sweep, 0., 0.);
    c->sweep.data = c;
    c->sweep_us = UINT64_MAX;
    cache_set_limits(c, &none);
    return c;
}

void cache_set_limits(struct cache *c, const struct grapnel_cache_limits *limits)
{
    struct grapnel_cache_limits *l = &c->limits;

    *l = *limits;
    if (l->fresh == 0)
        l->fresh = FRESH_MS;
    if (l->patience <= 0)
        l->patience = PATIENCE_MS;
    if (l->back_off <= 0)
        l->back_off = BACK_OFF_MS;
    if (l->back_off_most <= 0)
        l->back_off_most = BACK_OFF_MOST;
    cache_limit_changed(c);
}

const struct grapnel_cache_limits *cache_limits(const struct cache *c)
{
    return &c->limits;
}

void cache_free(struct cache *c)
{
    struct cached *s;

    if (!c)
        return;
    c->ending = 1;
    while (c->servers)
        cache_close(c->servers);
    while ((s = c->closing)) {
        c->closing = s->next;
        cache_destroy(s);
    }
    cache_instance_free_orphans(c);
    ev_timer_stop(c->g->loop, &c->sweep);
    wire_free(&c->typed);
    sshsources_free(c->sources);
    c->g->cache = NULL;
    free(c);
}

/* ---- servers ---- */

struct cached *cache_find(struct cache *c, const char *key)
{
    struct cached *s = c->servers;

    while (s && strcmp(s->key, key) != 0)
        s = s->next;
    return s;
}

struct cached *cache_look(struct cache *c, const char *target,
                          const struct grapnel_connect_options *o, struct error *e)
{
    struct place p;
    struct cached *s = cache_place_find(c, target, o, &p, e);

    cache_place_clear(&p);
    return s;
}

void cache_destroy(struct cached *s)
{
    ev_timer_stop(s->c->g->loop, &s->timer);
    cache_life_forget_check(s);
    grapnel_server_free(s->server);
    free(s->key);
    free(s->name);
    free(s->place);
    free(s->user);
    free(s);
}

/* *p's own are moved to it. */
static struct cached *make(struct cache *c, struct place *p,
                           const struct grapnel_connect_options *o, struct error *e)
{
    struct cached *s = calloc(1, sizeof *s);

    if (!s) {
        errors_set(e, -E_NOMEM, "server");
        return NULL;
    }
    s->c = c;
    s->keep_ms = -1;
    s->made_us = s->used_us = context_now();
    ev_timer_init(&s->timer, cache_life_on_timer, 0., 0.);
    s->timer.data = s;
    s->key = p->key;
    s->name = p->name;
    p->key = p->name = NULL;
    s->place = cache_place_of(p->route);
    if (!s->place || cache_place_user(p->route, o, &s->user) < 0 ||
        route_rename(p->route, s->name) < 0) {
        errors_set(e, -E_NOMEM, "server");
    } else {
        s->server = connection_open_route(c->g, p->route, o, e);
        p->route = NULL;
    }
    if (!s->server) {
        cache_destroy(s);
        return NULL;
    }
    connection_watch(s->server, cache_life_changed, s);
    return s;
}

static struct cached *add(struct cache *c, struct place *p, const struct grapnel_connect_options *o,
                          struct error *e)
{
    struct cached *s = cache_limit_server(c, e) == 0 ? make(c, p, o, e) : NULL;

    if (!s)
        return NULL;
    s->serial = ++c->serial;
    s->next = c->servers;
    c->servers = s;
    c->server_count++;
    return s;
}

struct cached *cache_want(struct cache *c, const char *target,
                          const struct grapnel_connect_options *o, struct error *e)
{
    struct place p;
    struct cached *s = cache_place_find(c, target, o, &p, e);

    if (!s && !e->code && (s = add(c, &p, o, e)) != NULL)
        cache_place_note(c, target, o, &p, s);
    cache_place_clear(&p);
    if (!s)
        return NULL;
    s->users++;
    if (s->status == CACHE_DOWN)
        connection_set_asker(s->server, o->asker); /* who is here now, not who was then */
    if (cache_life_want(s, e) < 0) {
        cache_done(s);
        return NULL;
    }
    return s;
}

struct cached *cache_hit(struct cache *c, const char *target,
                         const struct grapnel_connect_options *o)
{
    struct cached *s = cache_place_recall(c, target, o);
    int64_t silence = s && s->status == CACHE_READY ? connection_silence(s->server) : -1;

    return silence >= 0 && silence <= c->limits.fresh ? s : NULL;
}

void cache_hold(struct cached *s)
{
    s->users++;
}

void cache_done(struct cached *s)
{
    s->users--;
    if (s->users > 0)
        return;
    s->used_us = context_now();
    cache_life_settle(s);
}

/* ---- waiters ---- */

static int await(struct cached *s, struct cache_waiter *w,
                 void (*told)(void *arg, struct cached *s, const struct error *e), void *arg,
                 int rest)
{
    *w = (struct cache_waiter){
        .next = s->waiters, .of = s, .rest = rest, .turn = s->turn, .told = told, .arg = arg};
    s->waiters = w;
    return 1;
}

int cache_await(struct cached *s, struct cache_waiter *w,
                void (*told)(void *arg, struct cached *s, const struct error *e), void *arg)
{
    w->of = NULL;
    if (s->status == CACHE_READY)
        return 0;
    if (s->status >= CACHE_DOWN)
        return s->error.code ? s->error.code : -E_CLOSED;
    return await(s, w, told, arg, 0);
}

int cache_await_rest(struct cached *s, struct cache_waiter *w,
                     void (*told)(void *arg, struct cached *s, const struct error *e), void *arg)
{
    w->of = NULL;
    if (s->status != CACHE_UNDEPLOYING && s->status != CACHE_CLOSING)
        return 0;
    return await(s, w, told, arg, 1);
}

void cache_leave(struct cache_waiter *w)
{
    if (!w->of)
        return;
    for (struct cache_waiter **at = &w->of->waiters; *at; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            break;
        }
    }
    w->of = NULL;
}

/* ---- facts ---- */

const char *cache_key(const struct cached *s)
{
    return s->key;
}

const char *cache_name(const struct cached *s)
{
    return s->name;
}

const char *cache_place(const struct cached *s)
{
    return s->place;
}

const char *cache_user(const struct cached *s)
{
    return s->user;
}

int cache_is_at(const struct cached *s, const char *place, const char *user)
{
    return (!place || strcmp(s->place, place) == 0) &&
           (!user || (s->user && strcmp(s->user, user) == 0));
}

struct grapnel_server *cache_server(const struct cached *s)
{
    return s->server;
}

enum grapnel_server_state cache_state(const struct cached *s)
{
    return s->server ? connection_state(s->server) : GRAPNEL_GONE;
}

int cache_is_deployed(const struct cached *s)
{
    return (s->status == CACHE_READY || s->status == CACHE_CHECKING) &&
           connection_state(s->server) == GRAPNEL_DEPLOYED;
}

unsigned cache_generation(const struct cached *s)
{
    return s->generation;
}

size_t cache_users(const struct cached *s)
{
    return s->users;
}

uint64_t cache_serial(const struct cached *s)
{
    return s->serial;
}

uint64_t cache_made(const struct cached *s)
{
    return s->made_us;
}

uint64_t cache_used(const struct cached *s)
{
    return s->users > 0 ? context_now() : s->used_us;
}

void cache_keep(struct cached *s, int64_t idle_ms)
{
    s->keep_ms = idle_ms;
    cache_limit_changed(s->c);
}

int64_t cache_kept(const struct cached *s)
{
    return s->keep_ms < 0 ? s->c->limits.idle : s->keep_ms;
}

void cache_set_passing(struct cached *s, int passing)
{
    s->passing = passing;
}

void cache_set_lasting(struct cached *s, int lasting)
{
    s->lasting = lasting;
}

int cache_is_passing(const struct cached *s)
{
    return s->passing;
}

struct cached *cache_next(struct cache *c, const struct cached *s)
{
    return s ? s->next : c->servers;
}
