/* Streams of clients to servers and instances that are held: bytes only. */
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/broker_impl.h"
#include "launcher/broker/splice.h"

/* Lives as long as the splice, which may outlive the client while the agent cleans up. */
struct line {
    struct line *next;
    struct broker *b;
    struct cached *held;
    struct grapnel_connection *instance; /* NULL: it is to the server itself */
    struct splice *splice;
    struct cache_waiter waiter; /* until the server is ready */
    char *agent, *hash;         /* what the client expects to find there */
};

static void free_line(struct line *x)
{
    free(x->agent);
    free(x->hash);
    free(x);
}

static void on_ended(void *arg)
{
    struct line *x = arg;
    struct broker *b = x->b;
    struct line **at = &b->lines;

    while (*at != x)
        at = &(*at)->next;
    *at = x->next;
    cache_leave(&x->waiter);
    if (x->instance)
        cache_done_instance(x->instance);
    cache_done(x->held);
    free_line(x);
    broker_look(b);
}

/* Their ends come later, never from within this. */
void visitor_line_break(struct broker *b, const struct cached *held, int code, const char *text)
{
    for (struct line *x = b->lines; x; x = x->next) {
        if (x->held == held)
            splice_break(x->splice, code, text);
    }
}

/* The client would speak to another agent than it was made for. */
static int check_agent(const struct line *x, struct error *e)
{
    struct grapnel_server *s = cache_server(x->held);
    const struct agents_binary *agent = s ? connection_agent(s) : NULL;

    if (!agent)
        return errors_set(e, -E_NOT_HELD, "it was closed");
    if (strcmp(agent->name, x->agent) != 0)
        return errors_set(e, -E_ARCH, "%s", agent->uname);
    if (strcmp(agent->hash_hex, x->hash) != 0)
        return errors_set(e, -E_NOT_HELD, "it is held with the agent of another build");
    return 0;
}

static void join(struct line *x)
{
    struct error e = {0};

    if (x->instance)
        visitor_instance_join(x->instance, x->splice, &e);
    else if (check_agent(x, &e) == 0)
        splice_join(x->splice, connection_link(cache_server(x->held)), "link", NULL, &e);
    if (!x->instance && (e.code == -E_CLOSED || e.code == -E_LIMIT))
        e.code = -E_NOT_HELD; /* nothing was done there yet: the client connects by itself */
    if (e.code)
        splice_break(x->splice, e.code, e.detail);
    else
        cache_doubt(x->held); /* it may have frozen since it was heard of last */
}

/* A client that wants the server connects by itself then. */
static int code_for(const struct line *x, int code)
{
    return x->instance ? code : -E_NOT_HELD;
}

static void on_ready(void *arg, struct cached *held, const struct error *e)
{
    struct line *x = arg;

    (void)held;
    if (e->code)
        splice_break(x->splice, code_for(x, e->code), e->detail);
    else
        join(x);
}

/* One that was not heard of for long is asked first, and made anew if it has died. */
static void begin(struct line *x)
{
    struct error e = {0};
    int rc = cache_renew(x->held, &e);

    if (rc == 0)
        rc = cache_await(x->held, &x->waiter, on_ready, x);
    if (rc < 0)
        splice_break(x->splice, code_for(x, rc), e.detail);
    else if (rc == 0)
        join(x);
}

static char *copy_text(const struct value *args, const char *key)
{
    const char *text = values_as_string(values_get(args, key), NULL);

    return strdup(text ? text : "");
}

static int open_line(struct visitor *v, struct stream *near, const struct value *args,
                     struct cached *held, struct grapnel_connection *instance, struct error *e)
{
    struct line *x = calloc(1, sizeof *x);

    if (!x)
        return errors_set(e, -E_NOMEM, "a line");
    x->b = v->b;
    x->held = held;
    x->instance = instance;
    x->agent = copy_text(args, "agent");
    x->hash = copy_text(args, "hash");
    x->splice = x->agent && x->hash ? splice_new(near, on_ended, x) : NULL;
    if (!x->splice) {
        free_line(x);
        return errors_set(e, -E_NOMEM, "a line");
    }
    cache_hold(held);
    if (instance)
        cache_hold_instance(instance);
    x->next = v->b->lines;
    v->b->lines = x;
    begin(x);
    return 0;
}

static struct cached *find(struct visitor *v, const struct value *args, struct error *e)
{
    const char *key = values_as_string(values_get(args, "key"), NULL);
    struct cached *held = key && !v->b->leaving ? cache_find(v->b->cache, key) : NULL;

    if (!held)
        errors_set(e, -E_NOT_HELD, "%s", v->b->leaving ? "the broker leaves" : "");
    return held;
}

int visitor_line_open(struct visitor *v, struct stream *near, const struct value *args,
                      struct error *e)
{
    struct cached *held = find(v, args, e);

    return held ? open_line(v, near, args, held, NULL, e) : e->code;
}

int visitor_line_open_instance(struct visitor *v, struct stream *near, const struct value *args,
                               struct error *e)
{
    int64_t number = values_as_int(values_get(args, "number"), 0);
    struct cached *held = find(v, args, e);
    struct grapnel_connection *i = NULL;

    if (!held)
        return e->code;
    if (number > 0 && number <= CACHE_INSTANCE_MAX)
        i = cache_instance(held, (int)number);
    if (!i)
        return errors_set(e, -E_NOT_HELD, "%s:%lld", cache_name(held), (long long)number);
    if (visitor_instance_check(i, e) < 0)
        return e->code;
    return open_line(v, near, args, held, i, e);
}
