/* "close": instances, servers, or agents are let go. */
#include <stdlib.h>
#include <string.h>

#include "launcher/broker/broker_impl.h"
#include "launcher/broker/wishes.h"

/* One server on its way out. */
struct leaving {
    struct leaving *next;
    struct closing *of;
    struct cached *held;
    struct cache_waiter waiter;
    struct value *told; /* its entry in the answer */
};

struct closing {
    struct task task;
    struct leaving *leaving;
    struct value *result; /* array of {name, error} */
    /* What is to be closed. */
    int all, undeploy;
    int64_t number; /* of the instance; 0: the whole server */
    char *place, *user;
};

static void free_closing(struct closing *c)
{
    struct leaving *l;

    while ((l = c->leaving)) {
        c->leaving = l->next;
        cache_leave(&l->waiter);
        cache_done(l->held);
        values_free(l->told);
        free(l);
    }
    values_free(c->result);
    free(c->place);
    free(c->user);
    free(c);
}

static void drop(struct task *t)
{
    free_closing((struct closing *)t);
}

static void answer_when_done(struct closing *c)
{
    struct broker *b = c->task.v->b;
    struct value *result = c->result;

    if (c->leaving)
        return;
    c->result = NULL;
    visitor_answer(&c->task, result, NULL);
    free_closing(c);
    broker_look(b);
}

static struct value *entry(const char *name)
{
    struct value *map = values_map();

    values_set(map, "name", values_text(name));
    return map;
}

static void on_rest(void *arg, struct cached *held, const struct error *e)
{
    struct leaving *l = arg;
    struct closing *c = l->of;
    struct leaving **at = &c->leaving;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (e->code) {
        values_set(l->told, "error", values_text(errors_name(e->code)));
        values_set(l->told, "detail", values_text(e->detail));
    }
    values_append(c->result, l->told);
    cache_done(held);
    free(l);
    answer_when_done(c);
}

static void close_instance(struct closing *c, struct cached *held)
{
    struct grapnel_connection *i = cache_instance(held, (int)c->number);

    if (!i)
        return;
    values_append(c->result, entry(i->name));
    cache_close_instance(i);
}

static void close_server(struct closing *c, struct cached *held)
{
    struct leaving *l = calloc(1, sizeof *l);

    if (!l)
        return;
    l->of = c;
    l->held = held;
    l->told = entry(cache_name(held));
    cache_hold(held);
    visitor_line_break(c->task.v->b, held, -E_CLOSED,
                       c->undeploy ? "the server was undeployed" : "the connection was closed");
    if (c->undeploy)
        cache_undeploy(held);
    else
        cache_close(held);
    l->next = c->leaving;
    c->leaving = l;
    if (cache_await_rest(held, &l->waiter, on_rest, l) == 0) {
        c->leaving = l->next;
        values_append(c->result, l->told);
        cache_done(held);
        free(l);
    }
}

static int begin(struct closing *c, struct visitor *v, const struct value *args, struct error *e)
{
    const char *target = values_as_string(values_get(args, "target"), NULL);
    struct wishes *w = wishes_get(values_get(args, "options"));
    int rc;

    c->all = values_as_bool(values_get(args, "all"), 0);
    c->undeploy = values_as_bool(values_get(args, "undeploy"), 0);
    c->number = values_as_int(values_get(args, "instance"), 0);
    c->result = values_array();
    if (!w || !c->result)
        rc = errors_set(e, -E_NOMEM, "close");
    else if (c->number < 0 || c->number > CACHE_INSTANCE_MAX)
        rc =
            errors_set(e, -E_ARGUMENT, "an instance has a number from 1 to %d", CACHE_INSTANCE_MAX);
    else if (!target && !c->all)
        rc = errors_set(e, -E_ARGUMENT, "nothing is named");
    else
        rc = target ? cache_where(v->b->cache, target, wishes_options(w), &c->place, &c->user, e)
                    : 0;
    wishes_free(w);
    return rc;
}

static void close_what_fits(struct closing *c, struct cache *cache)
{
    struct cached *held = cache_next(cache, NULL), *next;

    for (; held; held = next) {
        next = cache_next(cache, held);
        if (!c->all && !cache_is_at(held, c->place, c->user))
            continue;
        if (c->number)
            close_instance(c, held);
        else if (!c->undeploy || cache_state(held) != GRAPNEL_UNDEPLOYED)
            close_server(c, held);
    }
}

void visitor_close(struct visitor *v, uint32_t id, const struct value *args)
{
    struct closing *c = calloc(1, sizeof *c);
    struct error e = {0};

    if (!c || begin(c, v, args, &e) < 0) {
        link_fail(sockline_link(v->line), id, c ? e.code : -E_NOMEM, e.detail);
        if (c)
            free_closing(c);
        return;
    }
    visitor_add(v, &c->task, id, drop);
    close_what_fits(c, v->b->cache);
    answer_when_done(c);
}
