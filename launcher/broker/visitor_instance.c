/* Instances that outlive those who use them: the broker has the first link to a worker, on which it
 * says nothing, and opens a further one on it for each client. */
#include <stdlib.h>

#include "launcher/broker/broker_impl.h"
#include "launcher/broker/splice.h"
#include "launcher/broker/wishes.h"
#include "launcher/remote/instances.h"

struct slot {
    struct wishes *terms;            /* what its worker is to have */
    struct grapnel_instance *worker; /* NULL: nobody has needed it yet */
};

/* ---- as the cache sees it ---- */

/* One that has died stays, so that whoever counts on what was in it is told. */
static int is_alive(void *end)
{
    (void)end;
    return 1;
}

/* It is started when it is needed. */
static int renew(void *end, struct error *e)
{
    struct slot *slot = end;

    (void)e;
    grapnel_instance_free(slot->worker);
    slot->worker = NULL;
    return 0;
}

static void close_slot(void *end, int code, const char *text)
{
    struct slot *slot = end;

    if (slot->worker)
        instances_end(slot->worker, code, text);
}

static int is_over(void *end)
{
    const struct slot *slot = end;

    return !slot->worker || instances_is_over(slot->worker);
}

static void free_slot(void *end)
{
    struct slot *slot = end;

    grapnel_instance_free(slot->worker);
    wishes_free(slot->terms);
    free(slot);
}

static const struct cache_end_class class = {
    .alive = is_alive,
    .renew = renew,
    .close = close_slot,
    .over = is_over,
    .free = free_slot,
};

/* ---- having one ---- */

struct error visitor_instance_why(const struct grapnel_connection *i)
{
    const struct slot *slot = i->end;
    struct error e = slot->worker ? instances_remote(slot->worker)->error : (struct error){0};

    if (e.code && e.code != -E_MEMORY && e.code != -E_CPU_LIMIT && e.code != -E_INSTANCE) {
        struct error cause = e;
        errors_set(&e, -E_INSTANCE, "%s%s%s", errors_text(cause.code), *cause.detail ? ": " : "",
                   cause.detail);
    }
    return e;
}

int visitor_instance_check(const struct grapnel_connection *i, struct error *e)
{
    struct error before = visitor_instance_why(i);

    return before.code ? errors_set(e, before.code, "earlier: %s", before.detail) : 0;
}

static struct grapnel_connection *add(struct cached *held, int number, struct wishes *terms,
                                      struct error *e)
{
    struct slot *slot = calloc(1, sizeof *slot);
    struct grapnel_connection *i = NULL;

    if (slot)
        slot->terms = terms ? terms : wishes_get(NULL);
    if (!slot || !slot->terms)
        errors_set(e, -E_NOMEM, "an instance");
    else
        i = cache_add_instance(held, number, &class, slot, e);
    if (i)
        return i;
    if (slot)
        free_slot(slot);
    else
        wishes_free(terms);
    return NULL;
}

struct grapnel_connection *visitor_instance_have(struct cached *held, int number,
                                                 struct wishes *terms, struct error *before,
                                                 struct error *e)
{
    struct grapnel_connection *i = cache_instance(held, number);
    struct slot *slot;

    if (!i)
        return add(held, number, terms, e);
    slot = i->end;
    *before = visitor_instance_why(i);
    if (before->code)
        cache_renew_instance(i, e);
    if (terms && slot->worker && !wishes_cover(slot->terms, terms)) {
        errors_set(e, -E_ARGUMENT,
                   "%s has a worker with other limits, or another environment: close it first",
                   i->name);
        i = NULL;
    } else if (terms && !slot->worker) {
        wishes_free(slot->terms);
        slot->terms = terms;
        return i;
    }
    wishes_free(terms);
    return i;
}

/* ---- using it ---- */

int visitor_instance_join(struct grapnel_connection *i, struct splice *p, struct error *e)
{
    struct slot *slot = i->end;
    struct grapnel_server *s = i->of ? cache_server(i->of) : NULL;
    struct grapnel_instance_options o = *wishes_instance(slot->terms);

    if (!s)
        return errors_set(e, -E_NOT_HELD, "%s was closed", i->name);
    o.number = i->number;
    if (!slot->worker)
        slot->worker = instances_open(s, &o, e);
    if (!slot->worker)
        return e->code;
    if (visitor_instance_check(i, e) < 0)
        return e->code;
    return splice_join(p, instances_remote(slot->worker)->link, "link", NULL, e);
}

int visitor_instance_ask(const struct grapnel_connection *i, link_answered *answered, void *arg)
{
    static const char source[] = "local p = require 'proc'\n"
                                 "local pid = p.pid()\n"
                                 "return pid, p.info(pid).rss";
    const struct slot *slot = i->end;
    struct value *args;
    uint32_t id;

    if (!slot->worker || instances_remote(slot->worker)->error.code)
        return -E_CLOSED;
    args = values_array();
    values_append(args, values_int(1)); /* copies of the results */
    values_append(args, values_text("execute"));
    values_append(args, values_text(source));
    return link_call(instances_remote(slot->worker)->link, "call", args, answered, arg, &id);
}
