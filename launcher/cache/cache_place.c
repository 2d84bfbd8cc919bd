/* Where targets lead: from what was typed to a key, and what is remembered of that. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cache/cache_impl.h"
#include "launcher/cache/serverkey.h"
#include "launcher/ssh/sshconfig.h"

/* For so long, changes are not noticed of what ssh_config's files do not tell: who we are, what a
 * Match exec finds. */
#define MEMO_US 5000000

/* ---- what was typed ---- */

static int put_text(struct wire_buf *b, const char *text)
{
    /* The terminating zero separates; what is not there differs from what is empty. */
    return wire_put_u8(b, text != NULL) | (text ? wire_put(b, text, strlen(text) + 1) : 0);
}

static int put_list(struct wire_buf *b, const char *const *list)
{
    int bad = 0;

    for (size_t i = 0; list && list[i]; i++)
        bad |= put_text(b, list[i]);
    return bad | put_text(b, NULL);
}

/* All that decides where it leads, in c->typed.  0 or -E_NOMEM. */
static int write_typed(struct cache *c, const char *target, const struct grapnel_connect_options *o)
{
    struct wire_buf *b = &c->typed;

    wire_take(b, wire_length(b));
    return put_text(b, target) | put_text(b, o->user) | wire_put_u32(b, o->port) |
                   put_text(b, o->config_file) | put_text(b, o->transport) |
                   put_text(b, o->sudo_user) | wire_put_u64(b, (uint64_t)o->lease) |
                   wire_put_u64(b, o->late_options) | wire_put_u8(b, o->broker != 0) |
                   put_list(b, o->identity_files) | put_list(b, o->ssh_options)
               ? -E_NOMEM
               : 0;
}

/* FNV-1a.  Who may choose what is hashed here may do anything else here, too. */
static uint64_t hash_of(const uint8_t *bytes, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return h;
}

/* ---- memos ---- */

/* The memo of what stands in c->typed, or what points to the end of its list. */
static struct memo **find_memo(struct cache *c, uint64_t hash)
{
    struct memo **at = &c->memos[hash % CACHE_MEMOS];
    size_t n = wire_length(&c->typed);

    while (*at && ((*at)->hash != hash || (*at)->n != n ||
                   memcmp((*at)->typed, wire_data(&c->typed), n) != 0))
        at = &(*at)->next;
    return at;
}

static void drop_memo(struct memo **at)
{
    struct memo *m = *at;

    *at = m->next;
    sshsources_free(m->sources);
    free(m);
}

struct cached *cache_place_recall(struct cache *c, const char *target,
                                  const struct grapnel_connect_options *o)
{
    uint64_t now = context_now();
    struct memo **at;

    if (write_typed(c, target, o) < 0)
        return NULL;
    at = find_memo(c, hash_of(wire_data(&c->typed), wire_length(&c->typed)));
    if (!*at)
        return NULL;
    if ((*at)->until_us > now && !sshsources_changed((*at)->sources, now))
        return (*at)->to;
    drop_memo(at);
    return NULL;
}

void cache_look_anew(struct cache *c, const char *target, const struct grapnel_connect_options *o)
{
    struct memo **at;

    if (write_typed(c, target, o) < 0)
        return;
    at = find_memo(c, hash_of(wire_data(&c->typed), wire_length(&c->typed)));
    if (*at)
        drop_memo(at);
}

/* Those of *p, or the ones in the same state that we have; to be freed. */
static struct sshsources *share_sources(struct cache *c, const struct place *p)
{
    if (!sshsources_same(c->sources, p->sources) ||
        sshsources_changed(c->sources, context_now())) {
        sshsources_free(c->sources);
        c->sources = sshsources_hold(p->sources);
    }
    return sshsources_hold(c->sources);
}

/* Without memory nothing is noted, which costs time only. */
void cache_place_note(struct cache *c, const char *target, const struct grapnel_connect_options *o,
                      const struct place *p, struct cached *s)
{
    size_t n;
    uint64_t hash, now = context_now();
    struct memo *m, **at;

    if (write_typed(c, target, o) < 0 || sshsources_changed(p->sources, now))
        return;
    n = wire_length(&c->typed);
    hash = hash_of(wire_data(&c->typed), n);
    at = find_memo(c, hash);
    if (*at)
        drop_memo(at);
    if ((m = malloc(sizeof *m + n)) == NULL)
        return;
    *m = (struct memo){
        .to = s, .sources = share_sources(c, p), .until_us = now + MEMO_US, .hash = hash, .n = n};
    memcpy(m->typed, wire_data(&c->typed), n);
    at = &c->memos[hash % CACHE_MEMOS];
    m->next = *at;
    *at = m;
}

void cache_place_forget(struct cached *s)
{
    for (size_t i = 0; i < CACHE_MEMOS; i++) {
        for (struct memo **at = &s->c->memos[i]; *at;) {
            if ((*at)->to == s)
                drop_memo(at);
            else
                at = &(*at)->next;
        }
    }
}

/* ---- places ---- */

void cache_place_clear(struct place *p)
{
    route_free(p->route);
    sshsources_free(p->sources);
    free(p->key);
    free(p->name);
    *p = (struct place){0};
}

/* A line by way of the broker is not the one that goes there directly.  NULL: memory is out. */
static char *key_of(const struct route *r, const struct grapnel_connect_options *o)
{
    char *key = serverkey_make(r, o), *whole;

    if (!key || !o->broker)
        return key;
    if (asprintf(&whole, "broker\n%s", key) < 0)
        whole = NULL;
    free(key);
    return whole;
}

struct cached *cache_place_find(struct cache *c, const char *target,
                                const struct grapnel_connect_options *o, struct place *p,
                                struct error *e)
{
    struct cached *s = cache_place_recall(c, target, o);

    *p = (struct place){0};
    if (s)
        return s;
    p->route = route_new(c->g, target, o, e);
    if (!p->route)
        return NULL;
    p->sources = route_take_sources(p->route);
    p->key = key_of(p->route, o);
    p->name = serverkey_name(p->route, o);
    if (!p->key || !p->name) {
        errors_set(e, -E_NOMEM, "%s", target);
        cache_place_clear(p);
        return NULL;
    }
    s = cache_find(c, p->key);
    if (s) {
        cache_place_note(c, target, o, p, s);
        cache_place_clear(p);
    }
    return s;
}

static char *lower(const char *text)
{
    char *copy = strdup(text);

    for (char *at = copy; at && *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return copy;
}

char *cache_place_of(const struct route *r)
{
    const char *at = strrchr(route_target(r), '@');

    if (route_key(r))
        return lower(route_key(r));
    return strdup(at ? at + 1 : route_target(r));
}

int cache_place_user(const struct route *r, const struct grapnel_connect_options *o, char **user)
{
    const struct sshconfig *config = route_config(r);
    const char *target = route_target(r), *at = config ? NULL : strrchr(target, '@');

    *user = NULL;
    if (config)
        *user = strdup(config->user);
    else if (o->user && *o->user)
        *user = strdup(o->user);
    else if (at)
        *user = strndup(target, (size_t)(at - target));
    else
        return 0;
    return *user ? 0 : -E_NOMEM;
}

int cache_where(struct cache *c, const char *target, const struct grapnel_connect_options *o,
                char **place, char **user, struct error *e)
{
    struct route *r = route_new(c->g, target, o, e);

    *place = *user = NULL;
    if (!r)
        return e->code;
    *place = cache_place_of(r);
    if (!*place || cache_place_user(r, o, user) < 0) {
        errors_set(e, -E_NOMEM, "%s", target);
        free(*place);
        *place = NULL;
    }
    route_free(r);
    return e->code;
}
