#include "launcher/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/agents.h"
#include "launcher/archmemory.h"
#include "launcher/bootstrap.h"
#include "launcher/route.h"
#include "launcher/transport.h"

#define ATTEMPTS_MAX 10 /* one for the architecture, one for gzip, one a temporary directory */
#define EARLY_MAX    (1024 * 1024)
#define TIMEOUT_MS   30000
#define LEASE_MS     30000
#define CLOSE_MS     5000

struct grapnel_server {
    struct grapnel_server *next, *next_dirty;
    struct grapnel *g;
    struct route *route; /* where to, and by which transport */
    struct transport *transport;
    struct bootstrap *boot; /* until the agent speaks */
    struct bootstrap_options boot_options;
    char *sudo_user;
    struct link *link;
    struct wire_buf early; /* all that was sent of the link until HELLO, for another attempt */
    size_t payload_sent, early_sent;
    int dirty, doomed, can_write, paused, again, started, greeted, closed, one_shot;
    int64_t timeout_ms;
    int attempts;
    void (*phase)(void *arg, const char *phase, const char *note, int64_t elapsed_us);
    void *phase_arg;
    uint64_t began_us;
    ev_timer deadline; /* of shell and deployment */
    ev_timer tick;     /* the link's */
    struct error error;
    struct value *facts;
};

static void flush(struct grapnel_server *s);
static void release(struct grapnel_server *s);
static int start_attempt(struct grapnel_server *s, struct error *e);

struct link *connection_link(struct grapnel_server *s)
{
    return s->link;
}

struct grapnel *connection_context(struct grapnel_server *s)
{
    return s->g;
}

const char *connection_target(const struct grapnel_server *s)
{
    return route_target(s->route);
}

const struct error *connection_error(const struct grapnel_server *s)
{
    return &s->error;
}

static void tell_phase(struct grapnel_server *s, const char *name, const char *note)
{
    context_trace(s->g, 1, connection_target(s), "%s: %s", name, note);
    if (s->phase)
        s->phase(s->phase_arg, name, note, (int64_t)(context_now() - s->began_us));
}

/* The end of the server, for a good or a bad reason: everything that waits learns it. */
static void end(struct grapnel_server *s, const struct error *e)
{
    if (s->error.code)
        return;
    s->error = *e;
    ev_timer_stop(s->g->loop, &s->deadline);
    ev_timer_stop(s->g->loop, &s->tick);
    context_trace(s->g, 2, connection_target(s), "ended: %s %s", errors_text(e->code), e->detail);
    link_end(s->link, e->code, e->detail);
}

static void end_with(struct grapnel_server *s, int code, const char *detail)
{
    struct error e = {0};

    errors_set(&e, code, "%s", detail);
    end(s, &e);
}

/* ---- link ---- */

static void mark_dirty(struct grapnel_server *s)
{
    if (s->dirty)
        return;
    s->dirty = 1;
    s->next_dirty = s->g->dirty;
    s->g->dirty = s;
}

static void on_link_wake(void *arg, struct link *l)
{
    (void)l;
    mark_dirty(arg);
}

static void schedule_tick(struct grapnel_server *s)
{
    uint64_t now = context_now(), next = link_tick(s->link, now);

    if (link_error(s->link)->code) {
        end(s, link_error(s->link));
        return;
    }
    ev_timer_stop(s->g->loop, &s->tick);
    if (next == UINT64_MAX)
        return;
    ev_timer_set(&s->tick, next > now ? (double)(next - now) / 1e6 : 0., 0.);
    ev_timer_start(s->g->loop, &s->tick);
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    schedule_tick(w->data);
}

static void on_link_hello(void *arg, struct link *l, const struct value *facts)
{
    struct grapnel_server *s = arg;
    struct wire_buf copy = {0};

    (void)l;
    s->greeted = 1;
    ev_timer_stop(s->g->loop, &s->deadline);
    wire_free(&s->early);
    if (values_encode(facts, &copy) == 0)
        values_decode(wire_data(&copy), wire_length(&copy), &s->facts);
    wire_free(&copy);
    tell_phase(s, "ready", s->boot_options.agent->name);
    schedule_tick(s);
}

/* The agent says so when it has ended everything and has nothing left to do. */
static void on_link_goodbye(void *arg, struct link *l, int code, const char *text)
{
    struct grapnel_server *s = arg;

    (void)l;
    if (code == 0)
        s->closed = 1;
    else /* whoever cancelled it, it was nobody here */
        end_with(s, code == -E_CANCELLED ? -E_LOST : code, text);
}

static const struct link_handler link_callbacks = {
    .hello = on_link_hello,
    .wake = on_link_wake,
    .goodbye = on_link_goodbye,
};

void connection_command_opened(struct grapnel_server *s)
{
    if (!s->one_shot)
        return;
    s->one_shot = 0;
    link_goodbye(s->link, 0, NULL);
}

/* ---- output ---- */

/* Gives the transport what it takes of n bytes; false when it is full. */
static int give(struct grapnel_server *s, const uint8_t *bytes, size_t n, size_t *done)
{
    *done = n ? transport_write(s->transport, bytes, n) : 0;
    if (*done < n)
        s->can_write = 0;
    return s->can_write;
}

/* The agent and the padding; true when all of it is on its way. */
static int flush_payload(struct grapnel_server *s)
{
    size_t n, done;

    if (!s->boot)
        return 1;
    if (!bootstrap_shell_runs(s->boot) && route_waits_for_shell(s->route))
        return 0;
    if (s->payload_sent == 0)
        tell_phase(s, "deploy", s->boot_options.agent->name);
    do {
        const uint8_t *piece = bootstrap_payload(s->boot, s->payload_sent, &n);
        if (n == 0)
            return 1;
        give(s, piece, n, &done);
        s->payload_sent += done;
    } while (s->can_write);
    return 0;
}

static int flush_early(struct grapnel_server *s)
{
    size_t n = wire_length(&s->early), done;

    if (s->greeted || s->early_sent == n)
        return 1;
    give(s, wire_data(&s->early) + s->early_sent, n - s->early_sent, &done);
    s->early_sent += done;
    return s->early_sent == n;
}

static void flush_link(struct grapnel_server *s)
{
    const uint8_t *bytes;
    size_t n, done;

    while (s->can_write) {
        uint64_t now = context_now();
        if (link_output(s->link, &bytes, &n, now) < 0 || n == 0)
            return;
        if (!s->greeted) {
            if (wire_length(&s->early) + n > EARLY_MAX)
                return;
            if (wire_put(&s->early, bytes, n) < 0) {
                end_with(s, -E_NOMEM, "early output");
                return;
            }
        }
        give(s, bytes, n, &done);
        /* Until HELLO the rest is sent from the copy. */
        link_sent(s->link, s->greeted ? done : n, now);
        if (!s->greeted)
            s->early_sent += done;
    }
}

static void flush(struct grapnel_server *s)
{
    if (!s->transport || !s->can_write || s->error.code)
        return;
    if (flush_payload(s) && s->can_write && flush_early(s) && s->can_write)
        flush_link(s);
    if (s->paused && !link_congested(s->link)) {
        s->paused = 0;
        transport_pause(s->transport, 0);
    }
}

void connection_flush_all(struct grapnel *g)
{
    struct grapnel_server *s;

    while ((s = g->dirty)) {
        g->dirty = s->next_dirty;
        s->dirty = 0;
        if (s->doomed)
            release(s);
        else
            flush(s);
    }
}

/* ---- transport ---- */

static void on_phase(void *arg, enum errors_phase phase, const char *note)
{
    tell_phase(arg, errors_phase_name(phase), note);
}

/* From now on the shell and the agent have their time. */
static void set_deadline(struct grapnel_server *s)
{
    ev_timer_stop(s->g->loop, &s->deadline);
    ev_timer_set(&s->deadline, (double)(s->timeout_ms + route_slack(s->route)) / 1e3, 0.);
    ev_timer_start(s->g->loop, &s->deadline);
}

static void on_opened(void *arg)
{
    struct grapnel_server *s = arg;

    s->can_write = 1;
    if (!route_unhurried(s->route) && !s->greeted)
        set_deadline(s);
    mark_dirty(s);
}

static void on_writable(void *arg)
{
    struct grapnel_server *s = arg;

    s->can_write = 1;
    mark_dirty(s);
}

static void judge(struct grapnel_server *s, enum bootstrap_result result, const struct error *e)
{
    if (result == BOOTSTRAP_FAILED)
        end(s, e);
    s->again = result == BOOTSTRAP_AGAIN;
    s->started = result == BOOTSTRAP_STARTED;
}

static void on_input(void *arg, const uint8_t *bytes, size_t n)
{
    struct grapnel_server *s = arg;
    struct error e = {0};
    size_t used = 0;

    if (s->error.code || s->again)
        return;
    if (!s->started) {
        int ran = bootstrap_shell_runs(s->boot);
        judge(s, bootstrap_input(s->boot, bytes, n, &used, &e), &e);
        if (!ran && bootstrap_shell_runs(s->boot)) {
            mark_dirty(s);
            if (!ev_is_active(&s->deadline) && !s->error.code)
                set_deadline(s); /* nobody is asked anything any more */
        }
    }
    if (!s->started)
        return;
    if (link_input(s->link, bytes + used, n - used, context_now()) < 0) {
        end(s, link_error(s->link));
    } else if (link_congested(s->link) && !s->paused) {
        s->paused = 1;
        transport_pause(s->transport, 1);
    }
}

static void on_diagnostics(void *arg, const uint8_t *bytes, size_t n)
{
    struct grapnel_server *s = arg;

    if (s->boot)
        bootstrap_diagnostics(s->boot, bytes, n);
}

/* The line has ended after the agent's goodbye. */
static void said_goodbye(struct grapnel_server *s)
{
    if (link_stream_count(s->link) > 0)
        end_with(s, -E_LOST, "the agent said goodbye before all was done");
    else
        end_with(s, -E_CLOSED, "");
}

/* The shell or the agent has ended without saying why on the line. */
static void lost(struct grapnel_server *s, int status)
{
    char said[400], detail[600];

    bootstrap_noise(s->boot, said, sizeof said);
    if (status >= 0)
        snprintf(detail, sizeof detail, "the agent ended with status %d%s%s", status,
                 *said ? ": " : "", said);
    else
        snprintf(detail, sizeof detail, "the agent's output ended%s%s", *said ? ": " : "", said);
    end_with(s, s->greeted ? -E_LOST : -E_AGENT_START, detail);
}

/* Another attempt on the same connection, when the last one has told what to change. */
static void attempt_again(struct grapnel_server *s)
{
    struct error e = {0};
    const char *uname = bootstrap_next(s->boot, &s->boot_options);

    s->again = 0;
    if (uname) {
        const struct agents_binary *agent = agents_find(s->g->agents, uname, &e);
        if (!agent) {
            end(s, &e);
            return;
        }
        s->boot_options.agent = agent;
        if (route_key(s->route))
            archmemory_note(route_key(s->route), uname);
    }
    if (start_attempt(s, &e) < 0)
        end(s, &e);
}

static void on_finished(void *arg, int status)
{
    struct grapnel_server *s = arg;
    struct error e = {0};

    if (s->error.code)
        return;
    if (s->again) {
        attempt_again(s);
    } else if (!s->started) {
        enum bootstrap_result result = bootstrap_ended(s->boot, status, &e);
        char said[BOOTSTRAP_TEXT + 1];
        bootstrap_noise(s->boot, said, sizeof said);
        if (!bootstrap_shell_runs(s->boot))
            route_explain(s->route, status, said, &e);
        judge(s, result, &e);
        if (s->again)
            attempt_again(s);
    } else if (s->closed) {
        said_goodbye(s);
    } else {
        lost(s, status);
    }
}

static void on_failed(void *arg, const struct error *e)
{
    struct grapnel_server *s = arg;
    struct error again = {0};

    if (s->error.code)
        return;
    if (s->started && s->closed) {
        said_goodbye(s);
        return;
    }
    if (!s->started && route_fall_back(s->route, e)) {
        context_trace(s->g, 1, connection_target(s), "%s (%s): trying the OpenSSH client",
                      errors_text(e->code), e->detail);
        transport_free(s->transport);
        s->transport = NULL;
        s->can_write = 0;
        if (start_attempt(s, &again) < 0)
            end(s, &again);
        return;
    }
    if (s->started) {
        errors_set(&again, -E_LOST, "%s", *e->detail ? e->detail : errors_text(e->code));
        end(s, &again);
    } else {
        end(s, e);
    }
}

static void on_trace(void *arg, int level, const char *text)
{
    struct grapnel_server *s = arg;

    context_trace(s->g, level, connection_target(s), "%s", text);
}

static const struct transport_handler transport_callbacks = {
    .phase = on_phase,
    .opened = on_opened,
    .input = on_input,
    .diagnostics = on_diagnostics,
    .writable = on_writable,
    .finished = on_finished,
    .failed = on_failed,
    .trace = on_trace,
};

static void on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct grapnel_server *s = w->data;
    int runs = s->boot && bootstrap_shell_runs(s->boot);
    char said[400], detail[500];

    (void)loop;
    (void)revents;
    bootstrap_noise(s->boot, said, sizeof said);
    snprintf(detail, sizeof detail, "no sign of it after %lld ms%s%s", (long long)s->timeout_ms,
             *said ? "; it said: " : "", said);
    end_with(s, runs ? -E_AGENT_START : -E_SHELL_TIMEOUT, detail);
}

/* ---- start ---- */

static int start_attempt(struct grapnel_server *s, struct error *e)
{
    if (++s->attempts > ATTEMPTS_MAX)
        return errors_set(e, -E_AGENT_START, "gave up after %d attempts", ATTEMPTS_MAX);
    bootstrap_free(s->boot);
    s->boot = bootstrap_new(&s->boot_options, e);
    if (!s->boot)
        return e->code;
    s->payload_sent = s->early_sent = 0;
    s->can_write = 0;
    if (s->transport)
        return transport_again(s->transport, bootstrap_command(s->boot), e);
    s->transport = route_start(s->route, bootstrap_command(s->boot), &transport_callbacks, s, e);
    return s->transport ? 0 : e->code;
}

static struct link *make_link(struct grapnel_server *s)
{
    struct link_options o = {
        .opener = 1,
        .lease_ms = s->boot_options.lease_ms,
        .features = LINK_FEATURE_DEFLATE,
        .facts = values_map(),
    };

    values_set(o.facts, "version", values_text(GRAPNEL_VERSION));
    return link_new(&o, &link_callbacks, s, context_now());
}

/* The one that the host needed last time, else the one for machines like this. */
static const struct agents_binary *guess_agent(struct grapnel_server *s, struct error *e)
{
    const struct agents_binary *agent = NULL;
    char uname[64] = "";

    if (route_key(s->route))
        archmemory_recall(route_key(s->route), uname, sizeof uname);
    if (*uname)
        agent = agents_find(s->g->agents, uname, NULL);
    return agent ? agent : agents_find(s->g->agents, NULL, e);
}

static int fill(struct grapnel_server *s, const char *target,
                const struct grapnel_connect_options *o, struct error *e)
{
    if (o->lease && (o->lease < 1000 || o->lease > 86400000))
        return errors_set(e, -E_ARGUMENT, "a lease is 1 s to 24 h");
    s->boot_options.lease_ms = o->lease > 0 ? (unsigned)o->lease : LEASE_MS;
    s->one_shot = o->one_shot;
    s->phase = o->phase;
    s->phase_arg = o->phase_arg;
    s->timeout_ms = o->connect_timeout > 0 ? o->connect_timeout : TIMEOUT_MS;
    s->route = route_new(s->g, target, o, e);
    if (!s->route)
        return e->code;
    s->boot_options.agent = guess_agent(s, e);
    if (!s->boot_options.agent)
        return e->code;
    if (o->sudo_user) {
        s->boot_options.sudo_user = s->sudo_user = strdup(o->sudo_user);
        if (!s->sudo_user)
            return errors_set(e, -E_NOMEM, "%s", target);
    }
    s->link = make_link(s);
    return s->link ? 0 : errors_set(e, -E_NOMEM, "%s", target);
}

static void release(struct grapnel_server *s)
{
    struct grapnel_server **at;

    ev_timer_stop(s->g->loop, &s->deadline);
    ev_timer_stop(s->g->loop, &s->tick);
    for (at = &s->g->servers; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    link_free(s->link);
    for (at = &s->g->dirty; *at; at = &(*at)->next_dirty) {
        if (*at == s) {
            *at = s->next_dirty;
            break;
        }
    }
    transport_free(s->transport);
    bootstrap_free(s->boot);
    route_free(s->route);
    wire_free(&s->early);
    values_free(s->facts);
    free(s->sudo_user);
    free(s);
}

struct grapnel_server *grapnel_open(struct grapnel *g, const char *target,
                                    const struct grapnel_connect_options *options,
                                    struct grapnel_error *error)
{
    static const struct grapnel_connect_options defaults;
    struct grapnel_server *s = calloc(1, sizeof *s);
    struct context_sigpipe held;
    struct error e = {0};

    if (!s) {
        errors_set(&e, -E_NOMEM, "server");
        context_error(error, target, &e);
        return NULL;
    }
    context_lock(g);
    context_hold_sigpipe(&held);
    s->g = g;
    s->began_us = context_now();
    ev_timer_init(&s->deadline, on_deadline, 0., 0.);
    ev_timer_init(&s->tick, on_tick, 0., 0.);
    s->deadline.data = s->tick.data = s;
    if (context_need_heartbeat(g) < 0)
        errors_set(&e, -E_SYSTEM, "no thread could be started");
    else if (fill(s, target, options ? options : &defaults, &e) == 0)
        start_attempt(s, &e);
    if (e.code) {
        context_error(error, target, &e);
        release(s);
        s = NULL;
    } else {
        s->next = g->servers;
        g->servers = s;
    }
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

    context_lock(g);
    e.code = context_wait(g, is_ready, s, context_deadline(timeout));
    if (!e.code && !s->greeted)
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

    context_lock(g);
    if (!s->error.code && !s->closed)
        link_goodbye(s->link, 0, NULL);
    e.code = context_wait(g, is_closed, s, context_deadline(timeout > 0 ? timeout : CLOSE_MS));
    if (!e.code && !s->closed)
        e = s->error;
    context_unlock(g);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}

void grapnel_server_free(struct grapnel_server *s)
{
    struct grapnel *g = s ? s->g : NULL;

    if (!s)
        return;
    context_lock(g);
    end_with(s, -E_CLOSED, "");
    if (context_in_callback(g)) {
        s->doomed = 1;
        mark_dirty(s); /* freed before the loop sleeps */
    } else {
        release(s);
    }
    context_unlock(g);
}

void connection_free_all(struct grapnel *g)
{
    struct grapnel_server *next;

    for (struct grapnel_server *s = g->servers; s; s = next) {
        next = s->next;
        end_with(s, -E_CLOSED, "");
        release(s);
    }
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

    context_lock(s->g);
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
