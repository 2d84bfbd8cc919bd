/* The connection cache of the public header: asking for answers. */
#include <stdlib.h>
#include <string.h>

#include "launcher/cache/connections.h"

static struct grapnel_connection *find(struct grapnel *g, const char *host,
                                       const struct grapnel_connect_options *options, int instance,
                                       struct error *e)
{
    struct grapnel_connect_options o = connections_options(host, options);
    struct cache *c = connections_cache(g, e);
    struct cached *s =
        c && connections_number(instance, e) == 0 ? cache_look(c, host, &o, e) : NULL;
    struct grapnel_connection *found = s ? cache_instance(s, instance) : NULL;

    if (!found && !e->code)
        errors_set(e, -E_NOT_HELD, "%s:%d", host, instance);
    if (found)
        cache_hold_instance(found);
    return found;
}

/* Something harmless, to be answered by the code there. */
static struct grapnel_future *ask(struct grapnel_connection *c, struct grapnel_error *error)
{
    return grapnel_call_start(c->end, "eval", error, "s", "nil");
}

int grapnel_check_connection(struct grapnel *g, const char *host,
                             const struct grapnel_connect_options *options, int instance,
                             int64_t timeout, int64_t *round_trip_us, struct grapnel_error *error)
{
    struct grapnel_connection *c;
    struct grapnel_future *f;
    struct error e = {0};
    uint64_t began = context_now();
    int code;

    if (connections_host(host, &e) < 0)
        return context_error(error, "", &e);
    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    c = find(g, host, options, instance, &e);
    context_unlock(g);
    if (!c)
        return context_error(error, host, &e);
    f = ask(c, error);
    code = f ? grapnel_future_wait(f, timeout, error) : grapnel_instance_error(c->end, error);
    if (round_trip_us && code == 0)
        *round_trip_us = (int64_t)(context_now() - began);
    grapnel_future_free(f);
    grapnel_connection_release(c);
    return code;
}

struct asked {
    struct grapnel_connection *c;
    struct grapnel_future *f; /* NULL: it cannot be asked */
};

static int newer(const void *a, const void *b)
{
    const struct asked *x = a, *y = b;

    return x->c->serial < y->c->serial ? 1 : -1;
}

/* All of them, held and asked, newest first; *n of them.  NULL: memory is out. */
static struct asked *ask_all(struct cache *c, size_t *n)
{
    struct asked *list;
    size_t count = 0;

    for (struct cached *s = cache_next(c, NULL); s; s = cache_next(c, s)) {
        for (struct grapnel_connection *i = cache_instances(s); i; i = i->next)
            count += i->class == &connections_class;
    }
    *n = 0;
    list = calloc(count + 1, sizeof *list);
    if (!list)
        return NULL;
    for (struct cached *s = cache_next(c, NULL); s; s = cache_next(c, s)) {
        for (struct grapnel_connection *i = cache_instances(s); i; i = i->next) {
            if (i->class == &connections_class)
                list[(*n)++].c = i;
        }
    }
    qsort(list, count, sizeof *list, newer);
    for (size_t i = 0; i < count; i++) {
        cache_hold_instance(list[i].c);
        list[i].f = ask(list[i].c, NULL);
    }
    return list;
}

static int64_t left_until(uint64_t deadline)
{
    uint64_t now = context_now();

    if (deadline == UINT64_MAX)
        return -1;
    return now < deadline ? (int64_t)(deadline - now) / 1000 : 0;
}

/* The names of those that do not answer; gives all of them back.  NULL: memory is out. */
static char **silent_ones(struct asked *list, size_t n, uint64_t deadline)
{
    char **names = calloc(n + 1, sizeof *names);
    size_t bad = 0;
    int lost = names == NULL;

    for (size_t i = 0; i < n; i++) {
        struct asked *at = &list[i];
        int answers = at->f && grapnel_future_wait(at->f, left_until(deadline), NULL) == 0;
        if (!answers && !lost)
            lost = (names[bad++] = strdup(at->c->name)) == NULL;
        grapnel_future_free(at->f);
        grapnel_connection_release(at->c);
    }
    if (!lost)
        return names;
    grapnel_strings_free(names);
    return NULL;
}

char **grapnel_check_connections(struct grapnel *g, int64_t timeout, struct grapnel_error *error)
{
    struct asked *list = NULL;
    size_t n = 0;
    struct error e = {0};
    uint64_t deadline = context_deadline(timeout);
    char **names = NULL;

    if (context_enter(g, error) < 0)
        return NULL;
    if (connections_cache(g, &e))
        list = ask_all(g->cache, &n);
    context_unlock(g);
    if (list)
        names = silent_ones(list, n, deadline);
    free(list);
    if (!names) {
        errors_set(&e, -E_NOMEM, "list");
        context_error(error, "", &e);
    }
    return names;
}
