/* "list": what is held. */
#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/broker_impl.h"

#define ASK_S 2. /* for the agents to tell what they take */

struct listing {
    struct task task;
    struct value **servers; /* maps; NULL where it went into the answer */
    size_t count;
    size_t asked; /* agents that have not answered yet */
    ev_timer timer;
    struct broker *b;
};

/* An agent that was asked for its usage, or an instance; lives until it has answered. */
struct asked {
    struct listing *of;
    size_t which;
    struct value *instance; /* its map, which lives as long as the server's */
};

static const char *state_name(enum grapnel_server_state state)
{
    static const char *const names[] = {"connecting", "deployed", "undeployed", "lost"};

    return names[state];
}

static void describe_worker(struct value *map, const struct grapnel_connection *i)
{
    struct error ended = visitor_instance_why(i);

    values_set(map, "workers", values_int(i->generation));
    if (ended.code)
        values_set(map, "ended", values_text(ended.detail));
}

static void ask_instance(struct listing *x, struct value *map, const struct grapnel_connection *i);

/* Milliseconds since the last of its users was done. */
static struct value *idle(size_t users, uint64_t used_us, uint64_t now)
{
    return values_int(users ? 0 : (int64_t)(now - used_us) / 1000);
}

static struct value *instances(struct listing *x, const struct cached *held, int usage,
                               uint64_t now)
{
    struct value *array = values_array();

    for (const struct grapnel_connection *i = cache_instances(held); i; i = i->next) {
        struct value *map = values_map();
        values_set(map, "name", values_text(i->name));
        values_set(map, "instance", values_int(i->number));
        values_set(map, "serial", values_int((int64_t)i->serial));
        values_set(map, "age_ms", values_int((int64_t)(now - i->made_us) / 1000));
        values_set(map, "idle_ms", idle(i->users, i->used_us, now));
        describe_worker(map, i);
        if (values_append(array, map) == 0 && usage)
            ask_instance(x, map, i);
    }
    return array;
}

static void describe_line(struct value *map, struct grapnel_server *s)
{
    struct grapnel_server_info info;

    grapnel_server_info(s, &info);
    values_set(map, "target", values_text(info.target));
    values_set(map, "transport", values_text(info.transport));
    values_set(map, "agent", values_text(info.agent));
    values_set(map, "silence_ms", values_int(connection_silence(s)));
    values_set(map, "round_trip_us", values_int(info.round_trip_us));
    values_set(map, "sent", values_int(info.link_sent));
    values_set(map, "received", values_int(info.link_received));
    values_set(map, "streams", values_int((int64_t)link_stream_count(connection_link(s))));
    if (connection_state(s) == GRAPNEL_DEPLOYED)
        values_set(map, "pid", values_int(connection_pid(s)));
}

static struct value *describe(struct listing *x, const struct cached *held, int usage)
{
    struct value *map = values_map();
    uint64_t now = context_now();

    values_set(map, "server", values_text(cache_name(held)));
    values_set(map, "place", values_text(cache_place(held)));
    values_set(map, "state", values_text(state_name(cache_state(held))));
    values_set(map, "age_ms", values_int((int64_t)(now - cache_made(held)) / 1000));
    values_set(map, "idle_ms", idle(cache_users(held), cache_used(held), now));
    values_set(map, "keep_ms", values_int(cache_kept(held)));
    values_set(map, "users", values_int((int64_t)cache_users(held)));
    values_set(map, "generation", values_int(cache_generation(held)));
    values_set(map, "instances", instances(x, held, usage, now));
    if (cache_server(held))
        describe_line(map, cache_server(held));
    return map;
}

/* ---- the long form: the agents are asked what they take ---- */

static void free_listing(struct listing *x)
{
    ev_timer_stop(x->b->g->loop, &x->timer);
    for (size_t i = 0; i < x->count; i++)
        values_free(x->servers[i]);
    free(x->servers);
    free(x);
}

/* With what is known by now; agents that have not answered yet still hold on to x. */
static void answer(struct listing *x)
{
    struct value *array = values_array();

    ev_timer_stop(x->b->g->loop, &x->timer);
    for (size_t i = 0; i < x->count; i++) {
        values_append(array, x->servers[i]);
        x->servers[i] = NULL;
    }
    visitor_answer(&x->task, array, NULL);
    if (x->asked == 0)
        free_listing(x);
}

static void drop(struct task *t)
{
    struct listing *x = (struct listing *)t;

    if (x->asked == 0)
        free_listing(x);
    else
        ev_timer_stop(x->b->g->loop, &x->timer);
}

static void on_late(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    answer(w->data);
}

static void settle(struct asked *a)
{
    struct listing *x = a->of;

    free(a);
    x->asked--;
    if (x->task.v && x->asked == 0)
        answer(x);
    else if (!x->task.v && x->asked == 0)
        free_listing(x);
}

static void on_usage(void *arg, int code, const struct value *usage, const char *text)
{
    static const char *const keys[] = {"rss", "processes", "streams"};
    struct asked *a = arg;
    struct listing *x = a->of;
    struct value *map = x->servers[a->which];

    (void)text;
    for (size_t i = 0; map && !code && i < sizeof keys / sizeof *keys; i++)
        values_set(map, keys[i], values_int(values_as_int(values_get(usage, keys[i]), 0)));
    settle(a);
}

/* [pid, rss] */
static void on_worker(void *arg, int code, const struct value *result, const char *text)
{
    struct asked *a = arg;

    (void)text;
    if (!code && a->of->servers[a->which]) {
        values_set(a->instance, "worker_pid", values_int(values_as_int(values_at(result, 0), 0)));
        values_set(a->instance, "worker_rss", values_int(values_as_int(values_at(result, 1), 0)));
    }
    settle(a);
}

static void ask_instance(struct listing *x, struct value *map, const struct grapnel_connection *i)
{
    struct asked *a = malloc(sizeof *a);

    if (!a)
        return;
    *a = (struct asked){x, x->count, map};
    if (visitor_instance_ask(i, on_worker, a) < 0)
        free(a);
    else
        x->asked++;
}

static void ask(struct listing *x, size_t which, struct grapnel_server *s)
{
    struct asked *a = s && connection_state(s) == GRAPNEL_DEPLOYED ? malloc(sizeof *a) : NULL;
    uint32_t id;

    if (!a)
        return;
    *a = (struct asked){x, which, NULL};
    if (link_call(connection_link(s), "usage", NULL, on_usage, a, &id) < 0)
        free(a);
    else
        x->asked++;
}

static size_t count(struct cache *cache)
{
    size_t n = 0;

    for (struct cached *held = cache_next(cache, NULL); held; held = cache_next(cache, held))
        n++;
    return n;
}

void visitor_list(struct visitor *v, uint32_t id, const struct value *args)
{
    int usage = values_as_bool(values_get(args, "usage"), 0);
    struct cache *cache = v->b->cache;
    struct listing *x = calloc(1, sizeof *x);
    size_t n = count(cache);

    if (!x || (x->servers = calloc(n + 1, sizeof(struct value *))) == NULL) {
        free(x);
        link_fail(sockline_link(v->line), id, -E_NOMEM, "list");
        return;
    }
    x->b = v->b;
    ev_timer_init(&x->timer, on_late, ASK_S, 0.);
    x->timer.data = x;
    visitor_add(v, &x->task, id, drop);
    for (struct cached *held = cache_next(cache, NULL); held; held = cache_next(cache, held)) {
        x->servers[x->count] = describe(x, held, usage);
        if (usage)
            ask(x, x->count, cache_server(held));
        x->count++;
    }
    if (x->asked == 0) {
        answer(x);
        return;
    }
    ev_now_update(v->b->g->loop);
    ev_timer_start(v->b->g->loop, &x->timer);
}
