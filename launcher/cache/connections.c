/* The connection cache of the public header: getting (connections_check.c: asking;
 * connections_list.c: listing and closing). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launcher/cache/connections.h"
#include "launcher/remote/instances.h"
#include "launcher/remote/remote.h"

#define START_MS 30000 /* for a worker on a server that answers */

/* ---- instances in the cache ---- */

static int is_alive(void *end)
{
    return instances_remote(end)->error.code == 0;
}

static int renew(void *end, struct error *e)
{
    return instances_reopen(end, e);
}

static void close_end(void *end, int code, const char *text)
{
    instances_end(end, code, text);
}

static int is_over(void *end)
{
    return instances_is_over(end);
}

static void free_end(void *end)
{
    grapnel_instance_free(end);
}

const struct cache_end_class connections_class = {
    .alive = is_alive, .renew = renew, .close = close_end, .over = is_over, .free = free_end};

/* ---- options ---- */

static int names_user(const char *setting)
{
    return strncasecmp(setting, "user", 4) == 0 && strchr("= \t", setting[4]);
}

/* True when one of the settings that win over the target does. */
static int user_is_set(const struct grapnel_connect_options *o)
{
    size_t n = 0, early = 0;

    for (; o->ssh_options && o->ssh_options[n]; n++) {
        if (names_user(o->ssh_options[n]) && !early)
            early = n + 1;
    }
    return early > 0 && early + o->late_options <= n;
}

struct grapnel_connect_options connections_options(const char *host,
                                                   const struct grapnel_connect_options *options)
{
    static const struct grapnel_connect_options defaults;
    struct grapnel_connect_options o = options ? *options : defaults;

    o.one_shot = 0;
    if ((!o.user || !*o.user) && !strchr(host, '@') && !user_is_set(&o))
        o.user = "root";
    return o;
}

int connections_number(int instance, struct error *e)
{
    if (instance >= 1 && instance <= CACHE_INSTANCE_MAX)
        return 0;
    return errors_set(e, -E_ARGUMENT, "%d is no instance: 1 to %d", instance, CACHE_INSTANCE_MAX);
}

/* ---- getting ---- */

struct get {
    const char *host; /* for those of many */
    const struct grapnel_connect_options *options;
    int number;
    struct cached *server;                           /* held while the rest goes on */
    struct grapnel_connection *connection;           /* held */
    const struct grapnel_instance_options *instance; /* for one that is made; may be NULL */
    struct cache_waiter waiter;
    int waits; /* for the server */
    struct error error;
};

static void on_told(void *arg, struct cached *s, const struct error *e)
{
    struct get *get = arg;

    (void)s;
    get->waits = 0;
    get->error = *e;
}

/* Callbacks would be those of whoever came first, in what belongs to all. */
static struct grapnel_instance_options instance_options(const struct get *get)
{
    static const struct grapnel_instance_options defaults;
    struct grapnel_instance_options o = get->instance ? *get->instance : defaults;

    o.number = get->number;
    o.output = NULL;
    o.ended = NULL;
    return o;
}

/* The instance is there from now on, and held; that it answers is another matter. */
static void take(struct get *get)
{
    struct cached *s = get->server;
    struct grapnel_instance_options o = instance_options(get);
    struct grapnel_connection *c = cache_instance(s, get->number);
    struct grapnel_instance *i;

    if (c && c->class != &connections_class) {
        errors_set(&get->error, -E_ARGUMENT, "%s is not an instance of C", c->name);
    } else if (c) {
        cache_hold_instance(c);
        if (!is_alive(c->end) && cache_renew_instance(c, &get->error) < 0) {
            cache_done_instance(c);
            c = NULL;
        }
    } else if ((i = instances_open(cache_server(s), &o, &get->error)) != NULL) {
        c = cache_add_instance(s, get->number, &connections_class, i, &get->error);
        if (c)
            cache_hold_instance(c);
        else
            grapnel_instance_free(i);
    }
    get->connection = get->error.code ? NULL : c;
}

static int is_dead(const struct get *get)
{
    const struct grapnel_connection *c = cache_instance(get->server, get->number);

    return c && !c->class->alive(c->end);
}

static void begin(struct get *get, struct cache *c, const char *host,
                  const struct grapnel_connect_options *o)
{
    int waits;

    get->instance = o->instance;
    get->server = cache_want(c, host, o, &get->error);
    if (!get->server)
        return;
    waits = cache_await(get->server, &get->waiter, on_told, get);
    if (waits < 0)
        errors_set(&get->error, waits, "%s", cache_name(get->server));
    get->waits = waits > 0;
    /* What is opened before the agent answers travels with it.  What has died is not remade, and
     * that told, before there is something to remake it on. */
    if (waits == 0 ||
        (waits > 0 && cache_state(get->server) == GRAPNEL_CONNECTING && !is_dead(get)))
        take(get);
}

/* While its server was waited for. */
static int was_closed(const struct get *get)
{
    return get->connection && !get->connection->of;
}

static int server_is_settled(void *arg)
{
    const struct get *get = arg;

    return !get->waits || was_closed(get);
}

static int instance_is_settled(void *arg)
{
    struct grapnel_connection *c = arg;

    return instances_is_greeted(c->end) || !is_alive(c->end);
}

static void wait_for_server(struct get *get, struct grapnel *g)
{
    int code = get->waits ? context_wait(g, server_is_settled, get, UINT64_MAX) : 0;

    cache_leave(&get->waiter);
    if (was_closed(get) && !get->error.code)
        get->error = instances_remote(get->connection->end)->error;
    if (code < 0 && !get->error.code)
        errors_set(&get->error, code, "getting waits, and so is not for callbacks");
}

static void wait_for_instance(struct get *get, struct grapnel *g)
{
    struct grapnel_connection *c = get->connection;
    const struct error *e;
    int code = context_wait(g, instance_is_settled, c, context_deadline(START_MS));

    e = &instances_remote(c->end)->error;
    if (e->code)
        get->error = *e;
    else if (code < 0)
        errors_set(&get->error, code, "the instance does not answer");
}

/* It travelled with an attempt that failed, and another one did not. */
static void drop_dead(struct get *get)
{
    struct grapnel_connection *c = get->connection;

    if (!c || is_alive(c->end))
        return;
    get->connection = NULL;
    cache_done_instance(c);
}

static void finish(struct get *get, struct grapnel *g)
{
    struct cached *s = get->server;
    int waited = get->waits;

    if (!s)
        return;
    wait_for_server(get, g);
    if (!get->error.code && waited)
        drop_dead(get);
    if (!get->error.code && !get->connection)
        take(get);
    if (!get->error.code && get->connection)
        wait_for_instance(get, g);
    if (get->error.code && get->connection) {
        cache_done_instance(get->connection);
        get->connection = NULL;
    }
    cache_done(s);
}

/* One that is there, alive and heard of lately; NULL: it takes more than that. */
static struct grapnel_connection *hit(struct grapnel *g, const char *host,
                                      const struct grapnel_connect_options *o, int number)
{
    struct cached *s = g->cache ? cache_hit(g->cache, host, o) : NULL;
    struct grapnel_connection *c = s ? cache_instance(s, number) : NULL;

    if (!c || c->class != &connections_class || !is_alive(c->end) || !instances_is_greeted(c->end))
        return NULL;
    cache_hold_instance(c);
    return c;
}

struct cache *connections_cache(struct grapnel *g, struct error *e)
{
    struct cache *c = cache_of(g);

    if (!c)
        errors_set(e, -E_NOMEM, "cache");
    return c;
}

int connections_host(const void *host, struct error *e)
{
    return host ? 0 : errors_set(e, -E_ARGUMENT, "the host is NULL");
}

struct grapnel_connection *grapnel_get_connection(struct grapnel *g, const char *host,
                                                  const struct grapnel_connect_options *options,
                                                  int instance, struct grapnel_error *error)
{
    struct get get = {.number = instance};
    struct grapnel_connect_options o;
    struct context_sigpipe held;
    struct cache *c;

    if (connections_host(host, &get.error) < 0) {
        context_error(error, "", &get.error);
        return NULL;
    }
    o = connections_options(host, options);
    if (context_enter(g, error) < 0)
        return NULL;
    get.connection = hit(g, host, &o, instance);
    if (get.connection) {
        context_unlock_quiet(g);
        return get.connection;
    }
    context_hold_sigpipe(&held);
    if (connections_number(instance, &get.error) == 0 &&
        (c = connections_cache(g, &get.error)) != NULL) {
        begin(&get, c, host, &o);
        finish(&get, g);
    }
    context_release_sigpipe(&held);
    context_unlock(g);
    if (get.error.code)
        context_error(error, host, &get.error);
    return get.connection;
}

/* All of them; the first that fails, or NULL. */
static const struct get *get_all(struct grapnel *g, struct get *gets, size_t hosts, int n)
{
    const struct get *failed = NULL;
    size_t all = hosts * (size_t)n;

    for (size_t i = 0; i < all; i++) {
        struct grapnel_connect_options o = connections_options(gets[i].host, gets[i].options);
        begin(&gets[i], g->cache, gets[i].host, &o);
    }
    for (size_t i = 0; i < all; i++) {
        finish(&gets[i], g);
        if (gets[i].connection)
            cache_done_instance(gets[i].connection);
        else if (!failed)
            failed = &gets[i];
    }
    return failed;
}

int grapnel_create_connections(struct grapnel *g, const char *const *hosts,
                               const struct grapnel_connect_options *options, int n,
                               struct grapnel_error *error)
{
    size_t count = 0;
    struct get *gets;
    const struct get *failed = NULL;
    struct error e = {0};
    struct context_sigpipe held;

    if (context_forked(g, error))
        return -E_ARGUMENT;
    if (connections_number(n, &e) < 0 || connections_host(hosts, &e) < 0)
        return context_error(error, "", &e);
    while (hosts[count])
        count++;
    gets = calloc(count * (size_t)n + 1, sizeof *gets);
    for (size_t i = 0; gets && i < count * (size_t)n; i++) {
        gets[i] = (struct get){
            .host = hosts[i / (size_t)n], .options = options, .number = (int)(i % (size_t)n) + 1};
    }
    context_lock(g);
    context_hold_sigpipe(&held);
    if (!gets || !cache_of(g))
        errors_set(&e, -E_NOMEM, "connections");
    else if ((failed = get_all(g, gets, count, n)) != NULL)
        e = failed->error;
    if (e.code)
        context_error(error, gets && failed ? failed->host : "", &e);
    context_release_sigpipe(&held);
    context_unlock(g);
    free(gets);
    return e.code;
}

/* ---- one of them ---- */

void grapnel_connection_release(struct grapnel_connection *c)
{
    struct grapnel *g = c ? instances_context(c->end) : NULL;
    int last;

    if (!c || context_enter(g, NULL) < 0)
        return;
    last = c->users == 1;
    cache_done_instance(c);
    (last ? context_unlock : context_unlock_quiet)(g);
}

struct grapnel_instance *grapnel_connection_instance(struct grapnel_connection *c)
{
    return c ? c->end : NULL;
}

struct grapnel_server *grapnel_connection_server(struct grapnel_connection *c)
{
    struct grapnel *g = instances_context(c->end);
    struct grapnel_server *s;

    if (context_enter(g, NULL) < 0)
        return NULL;
    s = c->of ? cache_server(c->of) : NULL;
    context_unlock_quiet(g);
    return s;
}

const char *grapnel_connection_name(const struct grapnel_connection *c)
{
    return c->name;
}

int grapnel_connection_generation(struct grapnel_connection *c)
{
    struct grapnel *g = instances_context(c->end);
    int generation;

    if (context_enter(g, NULL) < 0)
        return -E_ARGUMENT;
    generation = (int)c->generation;
    context_unlock_quiet(g);
    return generation;
}

/* The server is there again, and the instance anew, unless that was done with it. */
static void reconnect(struct get *get, struct grapnel *g)
{
    struct grapnel_connection *c = get->connection;
    unsigned generation = c->generation;
    int waits;

    if (cache_renew(get->server, &get->error) < 0)
        return;
    waits = cache_await(get->server, &get->waiter, on_told, get);
    get->waits = waits > 0;
    if (waits < 0)
        errors_set(&get->error, waits, "%s", cache_name(get->server));
    wait_for_server(get, g);
    if (!get->error.code && c->generation == generation)
        cache_renew_instance(c, &get->error);
    if (!get->error.code)
        wait_for_instance(get, g);
}

int grapnel_connection_reconnect(struct grapnel_connection *c, struct grapnel_error *error)
{
    struct grapnel *g = c ? instances_context(c->end) : NULL;
    struct get get = {.connection = c};
    struct context_sigpipe held;

    if (!c) {
        errors_set(&get.error, -E_ARGUMENT, "the connection is NULL");
        return context_error(error, "", &get.error);
    }
    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    get.server = c->of;
    context_hold_sigpipe(&held);
    if (context_in_callback(g)) {
        errors_set(&get.error, -E_ARGUMENT, "reconnecting waits, and so is not for callbacks");
    } else if (!get.server) {
        errors_set(&get.error, -E_CLOSED, "the connection was closed");
    } else {
        cache_hold(get.server);
        reconnect(&get, g);
        cache_done(get.server);
    }
    context_release_sigpipe(&held);
    context_unlock(g);
    return get.error.code ? context_error(error, c->name, &get.error) : 0;
}
