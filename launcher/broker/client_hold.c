/* Has the broker hold servers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/broker/client_impl.h"
#include "launcher/broker/wishes.h"
#include "launcher/cache/serverkey.h"
#include "launcher/route.h"
#include "launcher/ssh/ask.h"
#include "launcher/ssh/sshconfig.h"

/* ---- what is wanted, as the broker must understand it ---- */

/* Our agent of keys, not that of whoever has started the broker. */
static char *agent_setting(const struct route *r)
{
    const struct sshconfig *config = route_config(r);
    const char *path = config && config->agent_socket ? config->agent_socket : "none";
    char *text;

    if (!config || strchr(path, '"'))
        return NULL;
    return asprintf(&text, "IdentityAgent=\"%s\"", path) < 0 ? NULL : text;
}

/* o's settings with one more before them, to be freed; NULL: memory is out. */
static const char **with_setting(const struct grapnel_connect_options *o, const char *first)
{
    size_t n = 0, at = 0;
    const char **list;

    while (o->ssh_options && o->ssh_options[n])
        n++;
    list = calloc(n + 2, sizeof *list);
    if (list && first)
        list[at++] = first;
    for (size_t i = 0; list && i < n; i++)
        list[at++] = o->ssh_options[i];
    return list;
}

static struct value *put_options(const struct grapnel_connect_options *o, const struct route *r)
{
    struct grapnel_connect_options changed = *o;
    char *agent = agent_setting(r);
    const char **list = with_setting(o, agent);
    struct value *map = NULL;

    changed.ssh_options = list;
    if (list)
        map = wishes_put(&changed);
    free(list);
    free(agent);
    return map;
}

/* What says nothing changes nothing. */
static void put_worker(struct value *map, const struct grapnel_instance_options *o)
{
    struct value *worker = o ? wishes_put_instance(o) : NULL;

    if (values_count(worker) > 0)
        values_set(map, "worker", worker);
    else
        values_free(worker);
}

/* NULL with *e filled for what is wrong with the target. */
static struct value *arguments(struct grapnel *g, const char *target,
                               const struct grapnel_hold_options *o, struct error *e)
{
    static const struct grapnel_connect_options defaults;
    const struct grapnel_connect_options *connect = o->connect ? o->connect : &defaults;
    const struct ask_options question = {.kind = ASK_PASSWORD, .cancel_fd = -1};
    struct route *r = route_new(g, target, connect, e);
    char *key = r ? serverkey_make(r, connect) : NULL;
    struct value *map = key ? values_map() : NULL;

    if (r && !map)
        errors_set(e, -E_NOMEM, "%s", target);
    if (map) {
        values_set(map, "target", values_text(target));
        values_set(map, "key", values_text(key));
        values_set(map, "options", put_options(connect, r));
        values_set(map, "instance", values_int(o->instance ? o->instance : 1));
        put_worker(map, o->worker);
        values_set(map, "keep", values_int(o->keep));
        values_set(map, "ask", values_bool(connect->interactive && ask_possible(&question)));
        values_set(map, "password_file", values_bool(ask_password_file(NULL) > 0));
    }
    free(key);
    route_free(r);
    return map;
}

/* ---- the calls ---- */

static void begin(struct client_question *q, const char *target,
                  const struct grapnel_hold_options *o)
{
    struct value *args = arguments(q->b->g, target, o, &q->error);

    if (args)
        client_ask(q, "hold", args);
    q->answered = q->error.code != 0;
}

static void tell(const struct client_question *q, size_t i, const char *target,
                 const struct grapnel_hold_options *o)
{
    struct grapnel_error error;

    if (q->error.code)
        context_error(&error, target, &q->error);
    o->each(o->arg, i, q->json, q->error.code ? &error : NULL);
}

int grapnel_broker_hold(struct grapnel_broker *b, const char *const *targets,
                        const struct grapnel_hold_options *options, struct grapnel_error *error)
{
    struct client_question *items;
    struct error e = {0};
    size_t n = 0;

    while (targets[n])
        n++;
    items = calloc(n + 1, sizeof *items);
    if (!items) {
        errors_set(&e, -E_NOMEM, "hold");
        return context_error(error, "", &e);
    }
    context_lock(b->g);
    for (size_t i = 0; i < n; i++) {
        items[i].b = b;
        begin(&items[i], targets[i], options);
    }
    for (size_t i = 0; i < n; i++) {
        client_await(items, i + 1, -1); /* in order, however they end */
        if (options->each)
            tell(&items[i], i, targets[i], options);
    }
    for (size_t i = 0; i < n; i++)
        free(items[i].json);
    context_unlock(b->g);
    free(items);
    return 0;
}
