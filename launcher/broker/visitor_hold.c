/* "hold": a server is to be kept for later, and numbered instances of it. */
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/broker_impl.h"
#include "launcher/broker/wishes.h"
#include "launcher/ssh/asker.h"
#include "launcher/ssh/transport_ssh2.h"

struct hold {
    struct task task;
    struct cached *held;
    struct cache_waiter waiter;
    int64_t keep_ms;      /* < 0: nothing was said of it */
    int64_t number;       /* of the instance */
    struct wishes *terms; /* of its worker; NULL: nothing was said of it */
};

static void free_hold(struct hold *h)
{
    wishes_free(h->terms);
    free(h);
}

static struct value *describe(const struct hold *h, const struct grapnel_connection *instance,
                              const struct error *before)
{
    struct value *map = values_map();
    struct grapnel_server *s = cache_server(h->held);

    values_set(map, "name", values_text(instance->name));
    values_set(map, "server", values_text(cache_name(h->held)));
    values_set(map, "instance", values_int(instance->number));
    values_set(map, "generation", values_int(cache_generation(h->held)));
    values_set(map, "workers", values_int(instance->generation));
    if (before->code)
        values_set(map, "ended", values_text(before->detail));
    if (s)
        values_set(map, "agent", values_text(connection_agent(s)->name));
    return map;
}

static void finish(struct hold *h, const struct error *failed)
{
    struct grapnel_connection *instance = NULL;
    struct error e = {0}, before = {0};

    if (failed)
        e = *failed;
    if (!e.code) {
        instance = visitor_instance_have(h->held, (int)h->number, h->terms, &before, &e);
        h->terms = NULL;
    }
    if (instance)
        cache_set_lasting(h->held, 1);
    if (!e.code && h->keep_ms >= 0)
        cache_keep(h->held, h->keep_ms);
    visitor_answer(&h->task, instance ? describe(h, instance, &before) : NULL, &e);
    cache_done(h->held);
    free_hold(h);
}

static void on_ready(void *arg, struct cached *held, const struct error *e)
{
    struct hold *h = arg;
    struct broker *b = h->task.v->b;

    (void)held;
    finish(h, e);
    broker_look(b);
}

/* Nobody wants to know any more: what nobody else wants either is not connected to. */
static void drop(struct task *t)
{
    struct hold *h = (struct hold *)t;

    cache_leave(&h->waiter);
    if (cache_state(h->held) == GRAPNEL_CONNECTING && cache_users(h->held) == 1)
        cache_close(h->held);
    cache_done(h->held);
    free_hold(h);
}

/* What leads elsewhere from here than from where the client stands must not be taken for the same.
 */
static int check_key(const struct hold *h, const struct value *args, struct error *e)
{
    const char *key = values_as_string(values_get(args, "key"), NULL);

    if (!key || !strcmp(key, cache_key(h->held)))
        return 0;
    return errors_set(e, -E_CONFIG,
                      "the broker was started with another environment, in which this means "
                      "something else");
}

/* Once it is wanted: 0, and somebody is told; or negative with *e. */
static int await(struct hold *h, struct error *e)
{
    int rc = cache_await(h->held, &h->waiter, on_ready, h);

    if (rc < 0)
        return errors_set(e, rc, "%s", "");
    if (rc == 0)
        finish(h, NULL);
    return 0;
}

static void want(struct hold *h, struct visitor *v, const char *target,
                 struct grapnel_connect_options *o, const struct value *args, struct error *e)
{
    int file = values_as_bool(values_get(args, "password_file"), 0);

    if (values_as_bool(values_get(args, "ask"), 0))
        o->asker = visitor_asker(v, file);
    transport_ssh2_forgive(v->b->g->keys);
    cache_look_anew(v->b->cache, target, o); /* the client has just done so */
    h->held = cache_want(v->b->cache, target, o, e);
    asker_free(o->asker);
}

static int begin(struct hold *h, struct visitor *v, const struct value *args, struct error *e)
{
    const char *target = values_as_string(values_get(args, "target"), NULL);
    const struct value *terms = values_get(args, "worker");
    struct wishes *w = wishes_get(values_get(args, "options"));

    h->number = values_as_int(values_get(args, "instance"), 1);
    h->keep_ms = values_as_int(values_get(args, "keep"), -1);
    if (terms)
        h->terms = wishes_get(terms);
    if (!w || (terms && !h->terms))
        errors_set(e, -E_NOMEM, "options");
    else if (!target || h->number < 1 || h->number > CACHE_INSTANCE_MAX)
        errors_set(e, -E_ARGUMENT, "an instance has a number from 1 to %d", CACHE_INSTANCE_MAX);
    else if (v->b->leaving)
        errors_set(e, -E_CLOSED, "the broker leaves");
    else
        want(h, v, target, wishes_options(w), args, e);
    wishes_free(w);
    return h->held ? check_key(h, args, e) : e->code;
}

void visitor_hold(struct visitor *v, uint32_t id, const struct value *args)
{
    struct hold *h = calloc(1, sizeof *h);
    struct error e = {0};

    if (!h) {
        link_fail(sockline_link(v->line), id, -E_NOMEM, "hold");
        return;
    }
    if (begin(h, v, args, &e) < 0) {
        link_fail(sockline_link(v->line), id, e.code, e.detail);
        if (h->held)
            drop(&h->task);
        else
            free_hold(h);
        return;
    }
    visitor_add(v, &h->task, id, drop);
    if (await(h, &e) < 0)
        finish(h, &e);
}
