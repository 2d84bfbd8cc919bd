/* Servers: struct grapnel_server of the public header. */
#include <stdlib.h>

#include "launcher/connection_impl.h"
#include "launcher/exec/exec.h"
#include "launcher/remote/instance.h"

#define CLOSE_MS 5000

struct grapnel_server *connection_open_route(struct grapnel *g, struct route *route,
                                             const struct grapnel_connect_options *options,
                                             struct error *e)
{
    struct grapnel_server *s = connection_new(g);

    if (!s) {
        errors_set(e, -E_NOMEM, "server");
        route_free(route);
        return NULL;
    }
    if (connection_fill(s, route, options, e) == 0) {
        if (g->abandoned)
            errors_set(e, -E_CANCELLED, "all lines were cut");
        else if (!g->options.driven && context_need_heartbeat(g) < 0)
            errors_set(e, -E_SYSTEM, "no thread could be started");
        else
            connection_attempt(s, e);
    }
    if (e->code) {
        connection_release(s);
        return NULL;
    }
    s->next = g->servers;
    g->servers = s;
    return s;
}

struct grapnel_server *connection_open(struct grapnel *g, const char *target,
                                       const struct grapnel_connect_options *options,
                                       struct error *e)
{
    static const struct grapnel_connect_options defaults;
    const struct grapnel_connect_options *o = options ? options : &defaults;
    struct route *route = NULL;

    if (target)
        route = route_new(g, target, o, e);
    else
        errors_set(e, -E_ARGUMENT, "the target is NULL");
    return route ? connection_open_route(g, route, o, e) : NULL;
}

struct grapnel_server *grapnel_open(struct grapnel *g, const char *target,
                                    const struct grapnel_connect_options *options,
                                    struct grapnel_error *error)
{
    struct grapnel_server *s;
    struct context_sigpipe held;
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return NULL;
    context_hold_sigpipe(&held);
    s = connection_open(g, target, options, &e);
    if (!s)
        context_error(error, target ? target : "", &e);
    context_release_sigpipe(&held);
    context_unlock(g);
    return s;
}

static int is_ready(void *arg)
{
    struct grapnel_server *s = arg;

    return s->greeted || s->error.code;
}

int grapnel_wait_ready(struct grapnel_server *s, int64_t timeout, struct grapnel_error *error)
{
    struct grapnel *g = s->g;
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    e.code = context_wait(g, is_ready, s, context_deadline(timeout));
    /* What has ended as it was to end may have been ready; that it was so once is enough then. */
    if (!e.code && (!s->greeted || s->leaving || s->error.code != -E_CLOSED))
        e = s->error;
    context_unlock(g);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}

struct grapnel_server *grapnel_connect(struct grapnel *g, const char *target,
                                       const struct grapnel_connect_options *options,
                                       struct grapnel_error *error)
{
    struct grapnel_server *s = grapnel_open(g, target, options, error);

    if (s && grapnel_wait_ready(s, -1, error) < 0) {
        grapnel_server_free(s);
        s = NULL;
    }
    return s;
}

/* ---- end ---- */

static int is_closed(void *arg)
{
    struct grapnel_server *s = arg;

    return s->closed || s->error.code;
}

int grapnel_close(struct grapnel_server *s, int64_t timeout, struct grapnel_error *error)
{
    struct grapnel *g = s->g;
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return -E_ARGUMENT;
    if (context_in_callback(g)) {
        errors_set(&e, -E_ARGUMENT, "closing waits, and so is not for callbacks");
    } else {
        connection_finish(s);
        e.code = context_wait(g, is_closed, s, context_deadline(timeout > 0 ? timeout : CLOSE_MS));
        if (!e.code && !s->closed)
            e = s->error;
    }
    context_unlock(g);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}

void grapnel_server_free(struct grapnel_server *s)
{
    struct grapnel *g = s ? s->g : NULL;

    if (!s || context_enter(g, NULL) < 0)
        return;
    s->changed = NULL;
    connection_end_with(s, -E_CLOSED, "");
    if (context_in_callback(g)) {
        s->doomed = 1;
        connection_mark_dirty(s); /* freed before the loop sleeps */
    } else {
        connection_release(s);
    }
    context_unlock(g);
}

/* ---- questions ---- */

/* Lives until it is answered, also when the asker has gone. */
struct question {
    int answered, abandoned;
    struct error error;
    char *json;
};

static void on_answer(void *arg, int code, const struct value *result, const char *text)
{
    struct question *q = arg;

    if (q->abandoned) {
        free(q);
        return;
    }
    q->answered = 1;
    if (code)
        errors_set(&q->error, code, "%s", text ? text : "");
    else if ((q->json = values_json(result)) == NULL)
        errors_set(&q->error, -E_NOMEM, "answer");
}

static int question_answered(void *arg)
{
    return ((struct question *)arg)->answered;
}

/* Calls the agent and waits for the answer as JSON. */
static char *ask(struct grapnel_server *s, const char *name, int64_t timeout,
                 struct grapnel_error *error)
{
    struct question *q = calloc(1, sizeof *q);
    struct error e = {0};
    char *json = NULL;
    uint32_t id;
    int code = q ? 0 : -E_NOMEM;

    if (context_enter(s->g, error) < 0) {
        free(q);
        return NULL;
    }
    if (s->error.code)
        e = s->error;
    else if (!q || (code = link_call(s->link, name, NULL, on_answer, q, &id)) < 0)
        errors_set(&e, code, "%s", name);
    if (!q || e.code) {
        free(q);
    } else if ((code = context_wait(s->g, question_answered, q, context_deadline(timeout))) < 0) {
        errors_set(&e, code, "%s", name);
        q->abandoned = 1;
    } else {
        e = q->error;
        json = q->json;
        free(q);
    }
    context_unlock(s->g);
    if (e.code)
        context_error(error, connection_target(s), &e);
    return json;
}

char *grapnel_facts_json(struct grapnel_server *s, int anew, int64_t timeout,
                         struct grapnel_error *error)
{
    struct error e = {0};
    char *json = NULL;

    if (anew)
        return ask(s, "facts", timeout, error);
    context_lock(s->g);
    if (s->facts && (json = values_json(s->facts)) == NULL)
        errors_set(&e, -E_NOMEM, "facts");
    else if (!s->facts)
        errors_set(&e, s->error.code ? s->error.code : -E_TIMEOUT, "%s", s->error.detail);
    context_unlock(s->g);
    if (!json)
        context_error(error, connection_target(s), &e);
    return json;
}

char *grapnel_usage_json(struct grapnel_server *s, int64_t timeout, struct grapnel_error *error)
{
    return ask(s, "usage", timeout, error);
}

void grapnel_string_free(char *s)
{
    free(s);
}

void grapnel_server_info(struct grapnel_server *s, struct grapnel_server_info *info)
{
    struct link_counters frames;
    struct transport_counters line = {0};
    size_t payload = 0;

    context_lock(s->g);
    frames = link_counters(s->link);
    if (s->transport)
        line = transport_counters(s->transport);
    if (s->boot)
        payload = bootstrap_payload_size(s->boot);
    *info = (struct grapnel_server_info){
        .target = connection_target(s),
        .transport = s->transport ? transport_name(s->transport) : "",
        .agent = s->boot_options.agent->name,
        .agent_bytes = (int64_t)payload,
        .boot_attempts = s->attempts,
        .round_trip_us = (int64_t)link_round_trip(s->link),
        .link_sent = (int64_t)frames.sent,
        .link_received = (int64_t)frames.received,
        .line_sent = (int64_t)line.sent,
        .line_received = (int64_t)line.received,
        .early_bytes = (int64_t)s->early_sent,
    };
    context_unlock(s->g);
}
