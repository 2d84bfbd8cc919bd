/* The cache: servers that last and are shared, found by what leads to them, and the instances of
 * each by number.  Used by the public calls (connections.c), by Lua and by the broker.
 *
 * Finding never makes anything.  Wanting does, once for all who want the same: they wait for the
 * same attempt, and all of them are told when it fails; nothing of a failure is kept.  What is in
 * use is closed by nobody but who says so.
 *
 * A server stays the same struct grapnel_server as long as it is in the cache, whatever becomes of
 * its agent and its line meanwhile.
 *
 * Everything here needs the context's lock, and never waits.  Callbacks run with the lock held, and
 * may call anything here. */
#ifndef GRAPNEL_LAUNCHER_CACHE_CACHE_H
#define GRAPNEL_LAUNCHER_CACHE_CACHE_H

#include "launcher/connection.h"

struct cache;
struct cached; /* a server in it */

/* The cache of g, made at the first call.  NULL: memory is out. */
struct cache *cache_of(struct grapnel *g);
/* Cuts all of its lines and frees it, and what its users still hold.  NULL is legal. */
void cache_free(struct cache *c);
/* *limits as the public call describes them; copied. */
void cache_set_limits(struct cache *c, const struct grapnel_cache_limits *limits);
const struct grapnel_cache_limits *cache_limits(const struct cache *c);

/* ---- servers ---- */

/* The server with this key (serverkey_make); NULL: there is none. */
struct cached *cache_find(struct cache *c, const char *key);
/* The one that this leads to, likewise.  *e is filled where it leads nowhere (bad target, bad
 * configuration), else e->code is 0. */
struct cached *cache_look(struct cache *c, const char *target,
                          const struct grapnel_connect_options *o, struct error *e);
/* The same, in use from now on (cache_done); one that is not there, or has died, or was not heard
 * of for long, is connected to, or asked for a sign of life and connected to if none comes.
 * cache_await tells when it is ready.  NULL with *e filled for what is wrong at once; -E_LIMIT:
 * there may be no more servers, and all are in use. */
struct cached *cache_want(struct cache *c, const char *target,
                          const struct grapnel_connect_options *o, struct error *e);
/* What is remembered of where this leads is not believed the next time. */
void cache_look_anew(struct cache *c, const char *target, const struct grapnel_connect_options *o);
/* What cache_want would give, without looking at anything but what was typed before, if that is
 * ready and was heard of lately; NULL else.  Not in use by it. */
struct cached *cache_hit(struct cache *c, const char *target,
                         const struct grapnel_connect_options *o);
/* One more user; one less.  A server may be closed meanwhile: it is then in no list, and of no use,
 * but stays in memory until its last user is done. */
void cache_hold(struct cached *s);
void cache_done(struct cached *s);

/* For who waits: it lies with the caller until it was told, or cache_leave was called. */
struct cache_waiter {
    struct cache_waiter *next;
    struct cached *of; /* NULL: was told */
    int rest;
    unsigned turn;
    /* *e: why it is not ready; its code is 0 when it is. */
    void (*told)(void *arg, struct cached *s, const struct error *e);
    void *arg;
};
/* 0: it is ready now.  1: told(arg) runs, once, when it is ready or the attempt has failed; never
 * within this call.  Negative: no attempt is under way.  For after cache_want. */
int cache_await(struct cached *s, struct cache_waiter *w,
                void (*told)(void *arg, struct cached *s, const struct error *e), void *arg);
/* The same for cache_close and cache_undeploy: when the agent has left.  The error tells that it
 * did not leave in good order. */
int cache_await_rest(struct cached *s, struct cache_waiter *w,
                     void (*told)(void *arg, struct cached *s, const struct error *e), void *arg);
/* Not interested any more.  Harmless for one that was told. */
void cache_leave(struct cache_waiter *w);

/* Takes it out of the cache, whoever uses it: its instances and all that runs there end, what is
 * under way fails with CLOSED, the agent leaves, and then the line is closed.  Who is not among its
 * users must not look at it afterwards. */
void cache_close(struct cached *s);
/* The same, but the server stays in the cache, and its SSH connection, where it can; one that was
 * still being connected to does not. */
void cache_undeploy(struct cached *s);
/* Reconnects one that has died, as if it was wanted.  0 or negative with *e filled. */
int cache_renew(struct cached *s, struct error *e);

/* Asks for a sign of life where it is taken to be alive, which holds up nobody; one that gives none
 * is lost. */
void cache_doubt(struct cached *s);

/* Its key; "user@host"; where it is ("name:port" after ssh_config, or the word that is its target);
 * the user, or NULL where that is unknown. */
const char *cache_key(const struct cached *s);
const char *cache_name(const struct cached *s);
const char *cache_place(const struct cached *s);
const char *cache_user(const struct cached *s);
/* True when it is at that place and of that user, as cache_where gives them; NULL: any. */
int cache_is_at(const struct cached *s, const char *place, const char *user);
/* Where a target leads, for cache_is_at: *place to be freed, and *user likewise, or NULL: that is
 * unknown.  0 or negative with *e filled. */
int cache_where(struct cache *c, const char *target, const struct grapnel_connect_options *o,
                char **place, char **user, struct error *e);
/* The server itself; NULL when it was closed. */
struct grapnel_server *cache_server(const struct cached *s);
enum grapnel_server_state cache_state(const struct cached *s);
/* True while it has an agent, that nobody has told to leave. */
int cache_is_deployed(const struct cached *s);
/* Agents that it has had. */
unsigned cache_generation(const struct cached *s);
size_t cache_users(const struct cached *s);
/* The newest has the highest, instances counted along. */
uint64_t cache_serial(const struct cached *s);
/* Microseconds (context_now): when it came into the cache, and was used last. */
uint64_t cache_made(const struct cached *s);
uint64_t cache_used(const struct cached *s);
/* An idle limit of its own, in ms, under which it is closed with all of its instances, and none of
 * them before it; 0: it has none, < 0: that of the cache. */
void cache_keep(struct cached *s, int64_t idle_ms);
/* The idle limit that it is under, in ms; 0: none. */
int64_t cache_kept(const struct cached *s);
/* One that is passing through leaves with its last user and the last of its instances, instead of
 * staying until the limits say so; for who has no use of a cache. */
void cache_set_passing(struct cached *s, int passing);
int cache_is_passing(const struct cached *s);
/* One that lasts stays when its line is lost, as long as it has instances: who wants it next makes
 * it anew, as the next generation. */
void cache_set_lasting(struct cached *s, int lasting);
/* The servers, newest first: the first with s NULL.  NULL: no more. */
struct cached *cache_next(struct cache *c, const struct cached *s);

/* ---- instances ---- */

#define CACHE_INSTANCE_MAX 65535

/* What an instance is to its owner: `end` is an instance of C, or a line of Lua's. */
struct cache_end_class {
    /* True while it can be used, as far as is known. */
    int (*alive)(void *end);
    /* A new worker in place of one that has ended.  0 or negative with *e filled. */
    int (*renew)(void *end, struct error *e);
    /* It is to end, in good order, and what is under way on it to fail now with that code. */
    void (*close)(void *end, int code, const char *text);
    /* True when it has ended. */
    int (*over)(void *end);
    void (*free)(void *end);
};

/* An instance in the cache, "user@host:N".  It stays in memory until it is closed and its last user
 * is done. */
struct grapnel_connection {
    struct grapnel_connection *next; /* of its server, newest first; or closed */
    struct cache *c;
    struct cached *of; /* NULL: was closed */
    char *name;
    int number;
    unsigned generation; /* workers that it has had */
    size_t users;
    uint64_t serial; /* the newest has the highest */
    uint64_t made_us, used_us;
    const struct cache_end_class *class;
    void *end;
};

/* Those of s, newest first, chained by `next`; NULL: it has none. */
struct grapnel_connection *cache_instances(const struct cached *s);
/* Instance `number` of s; NULL: there is none. */
struct grapnel_connection *cache_instance(const struct cached *s, int number);
/* Puts one in, which must not be there yet: `end` is the cache's then, and freed by its class.  Not
 * in use yet.  NULL with *e filled (and `end` stays the caller's); -E_LIMIT: there may be no more,
 * and all are in use. */
struct grapnel_connection *cache_add_instance(struct cached *s, int number,
                                              const struct cache_end_class *class, void *end,
                                              struct error *e);
/* A new worker in its place, and a new generation.  0 or negative with *e filled. */
int cache_renew_instance(struct grapnel_connection *i, struct error *e);
/* One more user, of its server, too; one less. */
void cache_hold_instance(struct grapnel_connection *i);
void cache_done_instance(struct grapnel_connection *i);
/* Takes it out of the cache, whoever uses it, and lets it end. */
void cache_close_instance(struct grapnel_connection *i);

#endif
