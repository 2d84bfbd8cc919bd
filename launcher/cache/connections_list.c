/* The connection cache of the public header: listing and closing. */
#include <stdlib.h>
#include <string.h>

#include "launcher/cache/connections.h"

#define CLOSE_MS 5000 /* for workers to leave */

/* Those of the cache that are meant. */
struct choice {
    char *place; /* NULL: any */
    char *user;  /* NULL: any */
    int number;  /* 0: any */
};

static int choose(struct choice *choice, struct grapnel *g, const char *host,
                  const struct grapnel_connect_options *options, int number, struct error *e)
{
    struct grapnel_connect_options o;
    struct cache *c = connections_cache(g, e);

    *choice = (struct choice){.number = number};
    if (!c || (number != 0 && connections_number(number, e) < 0))
        return e->code;
    if (context_in_callback(g))
        return errors_set(e, -E_ARGUMENT, "closing waits, and so is not for callbacks");
    if (host) {
        o = connections_options(host, options);
        return cache_where(c, host, &o, &choice->place, &choice->user, e);
    }
    if (options && options->user && (choice->user = strdup(options->user)) == NULL)
        return errors_set(e, -E_NOMEM, "user");
    return 0;
}

static void clear(struct choice *choice)
{
    free(choice->place);
    free(choice->user);
}

static int is_meant(const struct choice *choice, const struct cached *s)
{
    return cache_is_at(s, choice->place, choice->user);
}

/* ---- lists ---- */

void grapnel_strings_free(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

struct entry {
    const char *name;
    uint64_t serial;
};

static int newer(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    return x->serial < y->serial ? 1 : -1;
}

enum what { CONNECTIONS, DEPLOYED, LINES };

static int is_shown(const struct cached *s, enum what what)
{
    return what == LINES ? cache_state(s) != GRAPNEL_CONNECTING : cache_is_deployed(s);
}

/* Fills list, if there is one; how many there are. */
static size_t gather(struct cache *c, enum what what, struct entry *list)
{
    size_t n = 0;

    for (struct cached *s = cache_next(c, NULL); s; s = cache_next(c, s)) {
        if (!is_shown(s, what) || cache_state(s) == GRAPNEL_GONE)
            continue;
        if (what != CONNECTIONS) {
            if (list)
                list[n] = (struct entry){cache_name(s), cache_serial(s)};
            n++;
            continue;
        }
        for (struct grapnel_connection *i = cache_instances(s); i; i = i->next) {
            if (!i->class->alive(i->end))
                continue;
            if (list)
                list[n] = (struct entry){i->name, i->serial};
            n++;
        }
    }
    return n;
}

static char **list_of(struct grapnel *g, enum what what, struct grapnel_error *error)
{
    struct error e = {0};
    struct entry *entries = NULL;
    char **names = NULL;
    size_t n = 0;

    if (context_enter(g, error) < 0)
        return NULL;
    if (g->cache)
        n = gather(g->cache, what, NULL);
    entries = calloc(n + 1, sizeof *entries);
    names = calloc(n + 1, sizeof *names);
    if (!entries || !names) {
        errors_set(&e, -E_NOMEM, "list");
    } else if (n > 0) {
        gather(g->cache, what, entries);
        qsort(entries, n, sizeof *entries, newer);
        for (size_t i = 0; i < n && !e.code; i++) {
            if ((names[i] = strdup(entries[i].name)) == NULL)
                errors_set(&e, -E_NOMEM, "list");
        }
    }
    context_unlock_quiet(g);
    free(entries);
    if (!e.code)
        return names;
    grapnel_strings_free(names);
    context_error(error, "", &e);
    return NULL;
}

char **grapnel_list_connections(struct grapnel *g, struct grapnel_error *error)
{
    return list_of(g, CONNECTIONS, error);
}

char **grapnel_list_deployed_servers(struct grapnel *g, struct grapnel_error *error)
{
    return list_of(g, DEPLOYED, error);
}

char **grapnel_list_ssh_connections(struct grapnel *g, struct grapnel_error *error)
{
    return list_of(g, LINES, error);
}

/* ---- closing connections ---- */

struct closed {
    struct grapnel_connection **list; /* held */
    size_t n;
};

static int all_over(void *arg)
{
    const struct closed *closed = arg;

    for (size_t i = 0; i < closed->n; i++) {
        if (!closed->list[i]->class->over(closed->list[i]->end))
            return 0;
    }
    return 1;
}

static int close_chosen(struct grapnel *g, const struct choice *choice, struct closed *closed,
                        struct error *e)
{
    size_t n = 0;
    int code;

    for (struct cached *s = cache_next(g->cache, NULL); s; s = cache_next(g->cache, s)) {
        for (struct grapnel_connection *i = cache_instances(s); i; i = i->next)
            n++;
    }
    closed->list = calloc(n + 1, sizeof(void *));
    if (!closed->list)
        return errors_set(e, -E_NOMEM, "list");
    for (struct cached *s = cache_next(g->cache, NULL); s; s = cache_next(g->cache, s)) {
        for (struct grapnel_connection *i = cache_instances(s); i; i = i->next) {
            if (is_meant(choice, s) && (!choice->number || choice->number == i->number))
                closed->list[closed->n++] = i;
        }
    }
    for (size_t i = 0; i < closed->n; i++)
        cache_hold_instance(closed->list[i]);
    for (size_t i = 0; i < closed->n; i++)
        cache_close_instance(closed->list[i]);
    code = context_wait(g, all_over, closed, context_deadline(CLOSE_MS));
    if (code < 0)
        errors_set(e, code, "the worker does not leave");
    for (size_t i = 0; i < closed->n; i++)
        cache_done_instance(closed->list[i]);
    free(closed->list);
    return e->code;
}

int grapnel_close_connection(struct grapnel *g, const char *host,
                             const struct grapnel_connect_options *options, int instance,
                             struct grapnel_error *error)
{
    struct choice choice;
    struct closed closed = {0};
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    if (choose(&choice, g, host, options, instance, &e) == 0)
        close_chosen(g, &choice, &closed, &e);
    clear(&choice);
    context_unlock(g);
    return e.code ? context_error(error, host ? host : "", &e) : (int)closed.n;
}

int grapnel_close_connections(struct grapnel *g, struct grapnel_error *error)
{
    return grapnel_close_connection(g, NULL, NULL, 0, error);
}

/* ---- closing servers ---- */

struct leaving {
    struct cached *server; /* held */
    struct cache_waiter waiter;
    size_t *left; /* of those that are waited for */
    struct error error;
};

static void on_rest(void *arg, struct cached *s, const struct error *e)
{
    struct leaving *l = arg;

    (void)s;
    l->error = *e;
    --*l->left;
}

static int none_left(void *arg)
{
    return *(size_t *)arg == 0;
}

static int is_target(const struct choice *choice, const struct cached *s, int undeploy)
{
    return is_meant(choice, s) && (!undeploy || cache_is_deployed(s));
}

/* How many; negative with *e filled. */
static int leave_chosen(struct grapnel *g, const struct choice *choice, int undeploy,
                        struct error *e)
{
    size_t n = 0, at = 0, left = 0;
    struct leaving *list;

    for (struct cached *s = cache_next(g->cache, NULL); s; s = cache_next(g->cache, s))
        n += (size_t)is_target(choice, s, undeploy);
    list = calloc(n + 1, sizeof *list);
    if (!list)
        return errors_set(e, -E_NOMEM, "list");
    for (struct cached *s = cache_next(g->cache, NULL); s; s = cache_next(g->cache, s)) {
        if (is_target(choice, s, undeploy))
            list[at++].server = s;
    }
    for (at = 0; at < n; at++)
        cache_hold(list[at].server);
    for (at = 0; at < n; at++) {
        list[at].left = &left;
        (undeploy ? cache_undeploy : cache_close)(list[at].server);
        left += (size_t)cache_await_rest(list[at].server, &list[at].waiter, on_rest, &list[at]);
    }
    context_wait(g, none_left, &left, UINT64_MAX); /* the cache has a limit for it */
    for (at = 0; at < n; at++) {
        if (list[at].error.code && !e->code)
            errors_set(e, list[at].error.code, "%s: %s", cache_name(list[at].server),
                       list[at].error.detail);
        cache_done(list[at].server);
    }
    free(list);
    return e->code ? e->code : (int)n;
}

static int leave(struct grapnel *g, const char *host, const struct grapnel_connect_options *options,
                 int undeploy, struct grapnel_error *error)
{
    struct choice choice;
    struct error e = {0};
    int n = 0;

    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    if (choose(&choice, g, host, options, 0, &e) == 0)
        n = leave_chosen(g, &choice, undeploy, &e);
    clear(&choice);
    context_unlock(g);
    return e.code ? context_error(error, host ? host : "", &e) : n;
}

int grapnel_close_deployed_server(struct grapnel *g, const char *host,
                                  const struct grapnel_connect_options *options,
                                  struct grapnel_error *error)
{
    return leave(g, host, options, 1, error);
}

int grapnel_close_deployed_servers(struct grapnel *g, struct grapnel_error *error)
{
    return leave(g, NULL, NULL, 1, error);
}

int grapnel_close_ssh_connection(struct grapnel *g, const char *host,
                                 const struct grapnel_connect_options *options,
                                 struct grapnel_error *error)
{
    return leave(g, host, options, 0, error);
}

int grapnel_close_ssh_connections(struct grapnel *g, struct grapnel_error *error)
{
    return leave(g, NULL, NULL, 0, error);
}

/* ---- limits ---- */

int grapnel_cache_limits(struct grapnel *g, const struct grapnel_cache_limits *limits,
                         struct grapnel_error *error)
{
    static const struct grapnel_cache_limits none;
    struct error e = {0};
    struct cache *c;

    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    limits = limits ? limits : &none;
    c = connections_cache(g, &e);
    if (c && (limits->idle < 0 || limits->back_off < 0 || limits->back_off_most < 0))
        errors_set(&e, -E_ARGUMENT, "a time is negative");
    else if (c)
        cache_set_limits(c, limits);
    context_unlock(g);
    return e.code ? context_error(error, "", &e) : 0;
}
