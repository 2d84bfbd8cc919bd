/* What programs ask of the broker: struct grapnel_broker of the public header. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/client_impl.h"
#include "launcher/broker/wishes.h"

#define GREET_MS  2000  /* for a process that runs at all */
#define ANSWER_MS 10000 /* for what costs the broker nothing */
#define CLOSE_MS  30000 /* for agents to leave */

static void on_hello(void *arg, struct link *l, const struct value *facts)
{
    struct grapnel_broker *b = arg;
    const char *build = values_as_string(values_get(facts, "build"), NULL);
    char ours[AGENTS_BUILD];

    (void)l;
    agents_build(ours);
    b->greeted = 1;
    b->stale = !build || strcmp(build, ours) != 0;
    b->leaving = values_as_bool(values_get(facts, "leaving"), 0);
    b->pid = (pid_t)values_as_int(values_get(facts, "pid"), 0);
}

static void on_wake(void *arg, struct link *l)
{
    struct grapnel_broker *b = arg;

    (void)l;
    if (b->line)
        sockline_wake(b->line);
}

static void on_call(void *arg, struct link *l, uint32_t id, const char *name,
                    const struct value *args)
{
    if (strcmp(name, "ask") == 0)
        client_asked(arg, id, args);
    else
        link_fail(l, id, -E_NO_SERVICE, name);
}

static const struct link_handler link_callbacks = {
    .hello = on_hello, .call = on_call, .wake = on_wake};

static void on_ended(void *arg, struct sockline *line)
{
    struct grapnel_broker *b = arg;

    (void)line;
    b->ended = 1;
}

/* ---- life ---- */

struct grapnel_broker *client_new(struct grapnel *g, int fd)
{
    struct grapnel_broker *b = calloc(1, sizeof *b);
    struct sockline_options options = {
        .opener = 1, .handler = &link_callbacks, .arg = b, .ended = on_ended};

    if (!b) {
        close(fd);
        return NULL;
    }
    b->g = g;
    b->line = sockline_new(g, fd, &options);
    if (!b->line) {
        free(b);
        return NULL;
    }
    return b;
}

/* The calls that are not answered yet are, by this. */
static void hang_up(struct grapnel_broker *b)
{
    struct sockline *line = b->line;

    client_ask_no_more(b);
    b->line = NULL;
    sockline_free(line);
}

void client_free(struct grapnel_broker *b)
{
    if (!b)
        return;
    hang_up(b);
    free(b);
}

static int has_greeted(void *arg)
{
    const struct grapnel_broker *b = arg;

    return b->greeted || b->ended || b->g->abandoned;
}

static int says_something_else(struct grapnel_broker *b)
{
    int code = link_error(sockline_link(b->line))->code;

    return code && code != -E_LOST && code != -E_CLOSED;
}

int client_greet(struct grapnel_broker *b, const char *where, struct error *e)
{
    int rc = context_wait(b->g, has_greeted, b, context_deadline(GREET_MS));

    if (rc == 0 && b->greeted)
        return 1;
    if (b->g->abandoned)
        return errors_set(e, -E_CANCELLED, "all lines were cut");
    if (rc == 0 && says_something_else(b))
        return errors_set(e, -E_BROKER, "what listens there does not speak as it does (%s)", where);
    return rc == 0 ? 0 : errors_set(e, -E_BROKER, "it does not answer (%s)", where);
}

void grapnel_broker_free(struct grapnel_broker *b)
{
    struct grapnel *g = b ? b->g : NULL;

    if (!b)
        return;
    context_lock(g);
    client_free(b);
    context_unlock(g);
}

/* ---- questions ---- */

/* What a server has met on its line is the answer of a broker that is well. */
static int has_left(const struct grapnel_broker *b)
{
    return !b->line || link_error(sockline_link(b->line))->code;
}

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct client_question *q = arg;

    if (q->answered)
        return;
    q->answered = 1;
    if (code && has_left(q->b))
        errors_set(&q->error, -E_BROKER, "it has left");
    else if (code)
        errors_set(&q->error, code, "%s", text ? text : "");
    else if ((q->json = values_json(result)) == NULL)
        errors_set(&q->error, -E_NOMEM, "answer");
}

void client_ask(struct client_question *q, const char *name, struct value *args)
{
    uint32_t id;
    int code;

    if (!args)
        errors_set(&q->error, -E_NOMEM, "%s", name);
    else if (!q->b->line) {
        values_free(args);
        errors_set(&q->error, -E_BROKER, "it has left");
    } else if ((code = link_call(sockline_link(q->b->line), name, args, on_answer, q, &id)) < 0)
        errors_set(&q->error, code == -E_CLOSED ? -E_BROKER : code, "%s", name);
    q->answered = q->error.code != 0;
}

struct questions {
    struct client_question *items;
    size_t count;
};

static int all_answered(void *arg)
{
    const struct questions *all = arg;

    for (size_t i = 0; i < all->count; i++) {
        if (!all->items[i].answered && !all->items[i].b->g->abandoned)
            return 0;
    }
    return 1;
}

void client_await(struct client_question *items, size_t n, int64_t timeout)
{
    struct questions all = {items, n};
    struct grapnel_broker *b = n ? items[0].b : NULL;
    int code = n ? context_wait(b->g, all_answered, &all, context_deadline(timeout)) : 0;

    if (n && b->g->abandoned)
        code = -E_CANCELLED;
    if (code == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        if (!items[i].answered)
            errors_set(&items[i].error, code, "the broker has not answered");
        items[i].answered = 1;
    }
    hang_up(b);
}

static char *ask_one(struct grapnel_broker *b, const char *name, struct value *args,
                     const char *target, int64_t timeout, struct grapnel_error *error)
{
    struct client_question q = {.b = b};

    client_ask(&q, name, args);
    client_await(&q, 1, timeout ? timeout : ANSWER_MS);
    if (q.error.code)
        context_error(error, target ? target : "", &q.error);
    return q.json;
}

char *grapnel_broker_list(struct grapnel_broker *b, int usage, struct grapnel_error *error)
{
    struct value *args = values_map();
    char *json;

    context_lock(b->g);
    values_set(args, "usage", values_bool(usage));
    json = ask_one(b, "list", args, NULL, 0, error);
    context_unlock(b->g);
    return json;
}

char *grapnel_broker_close(struct grapnel_broker *b, const char *target,
                           const struct grapnel_connect_options *options, int instance,
                           int undeploy, struct grapnel_error *error)
{
    static const struct grapnel_connect_options defaults;
    struct value *args = values_map();
    char *json;

    context_lock(b->g);
    if (target)
        values_set(args, "target", values_text(target));
    values_set(args, "all", values_bool(!target));
    values_set(args, "instance", values_int(instance));
    values_set(args, "undeploy", values_bool(undeploy));
    values_set(args, "options", wishes_put(options ? options : &defaults));
    json = ask_one(b, "close", args, target, CLOSE_MS, error);
    context_unlock(b->g);
    return json;
}

int grapnel_broker_leave(struct grapnel_broker *b, struct grapnel_error *error)
{
    char *json;

    context_lock(b->g);
    json = ask_one(b, "leave", values_map(), NULL, 0, error);
    context_unlock(b->g);
    free(json);
    return json ? 0 : -E_BROKER;
}

int64_t grapnel_broker_pid(const struct grapnel_broker *b)
{
    return b->pid;
}
