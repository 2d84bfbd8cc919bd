/* The line of a connection: what its transport says, and the attempts to start the agent on it. */
#include <stdio.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/bootstrap/archmemory.h"
#include "launcher/connection_impl.h"
#include "launcher/remote/delivery.h"

#define ATTEMPTS_MAX                                                                               \
    11 /* one for what is kept there, one for the architecture, one for gzip, one a                \
        * temporary directory */

static void on_phase(void *arg, enum errors_phase phase, const char *note)
{
    connection_tell_phase(arg, errors_phase_name(phase), note);
}

/* From now on the shell and the agent have their time. */
static void set_deadline(struct grapnel_server *s)
{
    if (s->leaving) /* that has a limit of its own */
        return;
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
    connection_mark_dirty(s);
}

static void on_writable(void *arg)
{
    struct grapnel_server *s = arg;

    s->can_write = 1;
    connection_mark_dirty(s);
}

static void judge(struct grapnel_server *s, enum bootstrap_result result, const struct error *e)
{
    if (result == BOOTSTRAP_FAILED)
        connection_end(s, e);
    s->again = result == BOOTSTRAP_AGAIN;
    s->started = result == BOOTSTRAP_STARTED;
}

static void tell_kept(struct grapnel_server *s)
{
    int level;
    const char *text = bootstrap_kept(s->boot, &level);

    if (text)
        context_trace(s->g, level, connection_target(s), "%s", text);
}

/* What comes before the agent speaks; *used of the bytes are not the link's. */
static void start_input(struct grapnel_server *s, const uint8_t *bytes, size_t n, size_t *used)
{
    struct error e = {0};
    int ran = bootstrap_shell_runs(s->boot);
    enum bootstrap_result result = bootstrap_input(s->boot, bytes, n, used, &e);
    int runs = !ran && bootstrap_shell_runs(s->boot);

    /* Its bytes may be on their way for long, but what fails until now is the shell's fault. */
    if (runs)
        connection_tell_phase(s, errors_phase_name(PHASE_DEPLOY), s->boot_options.agent->name);
    if (result == BOOTSTRAP_STARTED)
        tell_kept(s);
    judge(s, result, &e);
    if (!runs)
        return;
    connection_mark_dirty(s);
    if (!ev_is_active(&s->deadline) && !s->error.code)
        set_deadline(s); /* nobody is asked anything any more */
}

static void on_input(void *arg, const uint8_t *bytes, size_t n)
{
    struct grapnel_server *s = arg;
    size_t used = 0;

    if (s->error.code || s->again)
        return;
    if (!s->started)
        start_input(s, bytes, n, &used);
    if (!s->started)
        return;
    if (link_input(s->link, bytes + used, n - used, context_now()) < 0) {
        connection_end(s, link_error(s->link));
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
        connection_end_with(s, -E_LOST, "the agent said goodbye before all was done");
    else
        connection_end_with(s, -E_CLOSED, s->leaving ? "the server was undeployed" : "");
}

/* The shell or the agent has ended without saying why on the line. */
static void lost(struct grapnel_server *s, int status)
{
    char said[400], detail[600];

    bootstrap_noise(s->boot, said, sizeof said);
    if (s->by_broker)
        snprintf(detail, sizeof detail, "the agent has ended");
    else if (status >= 0)
        snprintf(detail, sizeof detail, "the agent ended with status %d%s%s", status,
                 *said ? ": " : "", said);
    else
        snprintf(detail, sizeof detail, "the agent's output ended%s%s", *said ? ": " : "", said);
    connection_end_with(s, s->greeted || s->by_broker ? -E_LOST : -E_AGENT_START, detail);
}

int connection_change_agent(struct grapnel_server *s, const char *uname, struct error *e)
{
    const struct agents_binary *agent = agents_find(s->g->agents, uname, e);

    if (!agent)
        return e->code;
    s->boot_options.agent = agent;
    if (route_key(s->route))
        archmemory_note(route_key(s->route), uname);
    if (!s->delivery)
        return 0;
    if (connection_gather_early(s) < 0)
        return errors_set(e, -E_NOMEM, "early output");
    return delivery_agent_changed(s->delivery, s, &s->early, e);
}

/* Another attempt on the same connection, when the last one has told what to change. */
static void attempt_again(struct grapnel_server *s)
{
    struct error e = {0};
    const char *uname = bootstrap_next(s->boot, &s->boot_options);

    s->again = 0;
    tell_kept(s);
    if ((uname && connection_change_agent(s, uname, &e) < 0) || connection_attempt(s, &e) < 0)
        connection_end(s, &e);
}

static void on_finished(void *arg, int status)
{
    struct grapnel_server *s = arg;
    struct error e = {0};

    if (s->error.code)
        return;
    s->parked = !s->again && transport_idle(s->transport);
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

/* The line has ended while no agent used it. */
static void lost_idle(struct grapnel_server *s, const struct error *e)
{
    context_trace(s->g, 1, connection_target(s), "%s: %s", errors_text(e->code), e->detail);
    s->parked = 0;
    s->error = *e;
    transport_free(s->transport);
    s->transport = NULL;
    connection_mark_dirty(s);
}

/* Of what the broker says: it is not that the line was lost. */
static int tells_enough(int code)
{
    return code == -E_BROKER || code == -E_CLOSED || code == -E_NOT_HELD;
}

static void on_failed(void *arg, const struct error *e)
{
    struct grapnel_server *s = arg;
    struct error again = {0};

    if (s->parked)
        lost_idle(s, e);
    if (s->error.code)
        return;
    if (s->started && s->closed) {
        said_goodbye(s);
        return;
    }
    if (connection_broker_failed(s, e))
        return;
    if (!s->started && route_fall_back(s->route, e)) {
        context_trace(s->g, 1, connection_target(s), "%s (%s): trying the OpenSSH client",
                      errors_text(e->code), e->detail);
        transport_free(s->transport);
        s->transport = NULL;
        s->can_write = 0;
        if (connection_attempt(s, &again) < 0)
            connection_end(s, &again);
        return;
    }
    if (s->started && !(s->by_broker && tells_enough(e->code))) {
        errors_set(&again, -E_LOST, "%s", *e->detail ? e->detail : errors_text(e->code));
        connection_end(s, &again);
    } else {
        connection_end(s, e);
    }
}

static void on_trace(void *arg, int level, const char *text)
{
    struct grapnel_server *s = arg;

    context_trace(s->g, level, connection_target(s), "%s", text);
}

const struct transport_handler connection_line_callbacks = {
    .phase = on_phase,
    .opened = on_opened,
    .input = on_input,
    .diagnostics = on_diagnostics,
    .writable = on_writable,
    .finished = on_finished,
    .failed = on_failed,
    .trace = on_trace,
};

void connection_on_deadline(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct grapnel_server *s = w->data;
    int runs = s->boot && bootstrap_shell_runs(s->boot);
    char said[400], detail[700];

    (void)loop;
    (void)revents;
    if (s->leaving) {
        connection_leave_late(s);
        return;
    }
    if (s->by_broker) {
        connection_end_with(s, -E_SILENT, "the agent there, which the broker holds");
        return;
    }
    bootstrap_noise(s->boot, said, sizeof said);
    snprintf(detail, sizeof detail, "no sign of it after %lld ms%s%s%s", (long long)s->timeout_ms,
             *said ? "; it said: " : "", said, runs ? "" : route_silence(s->route));
    connection_end_with(s, runs ? -E_AGENT_START : -E_SHELL_TIMEOUT, detail);
}

int connection_attempt(struct grapnel_server *s, struct error *e)
{
    int rc;

    if (++s->attempts > ATTEMPTS_MAX)
        return errors_set(e, -E_AGENT_START, "gave up after %d attempts", ATTEMPTS_MAX);
    bootstrap_free(s->boot);
    s->boot = NULL;
    s->payload_sent = s->early_sent = 0;
    s->can_write = 0;
    rc = connection_broker_begin(s, e);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!s->boot_options.agent->packed &&
        !agents_find(s->g->agents, s->boot_options.agent->uname, e))
        return e->code;
    s->boot = bootstrap_new(&s->boot_options, e);
    if (!s->boot)
        return e->code;
    if (s->transport)
        return transport_again(s->transport, bootstrap_command(s->boot), e);
    s->transport =
        route_start(s->route, bootstrap_command(s->boot), &connection_line_callbacks, s, e);
    return s->transport ? 0 : e->code;
}
