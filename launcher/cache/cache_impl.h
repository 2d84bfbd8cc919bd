/* What the files of the cache share: cache.c (the table), cache_life.c (how servers come and go),
 * cache_place.c (where targets lead), cache_instance.c (instances), cache_limit.c (what leaves
 * unasked).  Not for anyone else. */
#ifndef GRAPNEL_LAUNCHER_CACHE_CACHE_IMPL_H
#define GRAPNEL_LAUNCHER_CACHE_CACHE_IMPL_H

#include "launcher/cache/cache.h"
#include "launcher/route.h"
#include "launcher/ssh/sshsources.h"
#include "proto/wire.h"

#define CACHE_MEMOS    1024 /* lists of memos */
#define CACHE_CLOSE_MS 5000 /* for an agent to leave */

enum cache_status {
    CACHE_CONNECTING,
    CACHE_CHECKING, /* ready, if it answers */
    CACHE_READY,
    CACHE_UNDEPLOYING,
    CACHE_DOWN,    /* no agent: undeployed, lost, or the attempt has failed */
    CACHE_CLOSING, /* not in the cache any more */
    CACHE_CLOSED,
};

struct cached {
    struct cached *next;
    struct cache *c;
    char *key, *name, *place, *user;
    struct grapnel_server *server; /* NULL: closed */
    enum cache_status status;
    int wanted;    /* somebody wants it ready who has not had an attempt yet */
    int kept;      /* the attempt is on a line that was there before */
    int had_agent; /* when it was closed */
    int passing;   /* see cache_set_passing */
    int lasting;   /* see cache_set_lasting */
    unsigned turn; /* of those who are told */
    size_t users;
    struct grapnel_connection *instances;
    struct cache_waiter *waiters;
    struct check *check; /* under way, or NULL */
    int64_t keep_ms;
    uint64_t serial, made_us, used_us;
    unsigned generation;
    unsigned
        failures;     /* attempts to reconnect by itself, one after another, that came to nothing */
    int unasked;      /* the last attempt was one of those … */
    uint64_t came_us; /* … and this is when its agent came */
    ev_timer timer;   /* patience of a check; back-off */
    struct error error;
};

/* What somebody typed, and what it led to. */
struct memo {
    struct memo *next;
    struct cached *to;
    struct sshsources *sources; /* what says so */
    uint64_t until_us;
    uint64_t hash;
    size_t n;
    uint8_t typed[];
};

struct cache {
    struct grapnel *g;
    struct grapnel_cache_limits limits;
    struct cached *servers; /* newest first */
    struct cached *closing; /* in the cache no more, but in memory */
    size_t server_count, instance_count;
    struct memo *memos[CACHE_MEMOS];
    struct sshsources *sources;         /* of the memo that was made last: most have the same */
    struct wire_buf typed;              /* scratch */
    struct grapnel_connection *orphans; /* closed, but in use */
    uint64_t serial;
    ev_timer sweep;
    uint64_t sweep_us; /* when it comes; UINT64_MAX: never */
    int ending;
};

/* Where a target leads. */
struct place {
    struct route *route; /* NULL: it is in the cache */
    struct sshsources *sources;
    char *key, *name;
};

/* ---- cache_place.c ---- */

/* What cache_place tells of a server on this route; to be freed.  NULL: memory is out. */
char *cache_place_of(const struct route *r);
/* Likewise *user; NULL where that is unknown.  Before the route is renamed.  0 or -E_NOMEM. */
int cache_place_user(const struct route *r, const struct grapnel_connect_options *o, char **user);
/* The server that was remembered for this; NULL: none was. */
struct cached *cache_place_recall(struct cache *c, const char *target,
                                  const struct grapnel_connect_options *o);

/* The server that this leads to; NULL with *p filled where it is not in the cache, or with *e
 * filled where it leads nowhere. */
struct cached *cache_place_find(struct cache *c, const char *target,
                                const struct grapnel_connect_options *o, struct place *p,
                                struct error *e);
void cache_place_clear(struct place *p);
/* That leads to s, by what *p says, for the next few seconds or until ssh_config changes. */
void cache_place_note(struct cache *c, const char *target, const struct grapnel_connect_options *o,
                      const struct place *p, struct cached *s);
/* Nothing leads to s any more. */
void cache_place_forget(struct cached *s);

/* ---- cache_life.c ---- */

/* It is wanted: see that it is ready or will be.  0 or negative with *e filled. */
int cache_life_want(struct cached *s, struct error *e);
/* connection_watch */
void cache_life_changed(void *arg, struct grapnel_server *server);
/* ev_timer of a server */
void cache_life_on_timer(struct ev_loop *loop, ev_timer *w, int revents);
/* Frees one that is closed and in use by nobody; or drops one that has nothing to it. */
void cache_life_settle(struct cached *s);
/* The check that is under way is of no interest any more. */
void cache_life_forget_check(struct cached *s);

/* ---- cache_instance.c ---- */

/* Frees those that are closed, whoever uses them. */
void cache_instance_free_orphans(struct cache *c);
/* All instances of s leave the cache. */
void cache_instance_close_all(struct cached *s, int code, const char *text);
/* New workers for those that are in use, after s has come back. */
void cache_instance_renew_all(struct cached *s);
/* Those in use are told that it has not. */
void cache_instance_tell_all(struct cached *s, const struct error *e);

/* ---- cache_limit.c ---- */

/* Room for one more, if need be by closing what was unused for longest.  0 or -E_LIMIT with *e. */
int cache_limit_server(struct cache *c, struct error *e);
int cache_limit_instance(struct cache *c, struct error *e);
/* It, or an instance of it, is not in use any more. */
void cache_limit_unused(struct cached *s);
/* The limits are others now. */
void cache_limit_changed(struct cache *c);
void cache_limit_on_sweep(struct ev_loop *loop, ev_timer *w, int revents);
/* Milliseconds before attempt `failures` + 1; random: any number. */
int64_t cache_limit_back_off(const struct grapnel_cache_limits *l, unsigned failures,
                             uint32_t random);

/* ---- cache.c ---- */

/* Frees it; in no list, nobody uses it, nobody waits. */
void cache_destroy(struct cached *s);

#endif
