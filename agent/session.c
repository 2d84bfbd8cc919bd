#include "agent/session.h"

#include <ev.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "agent/clock.h"
#include "agent/exec.h"
#include "agent/facts.h"
#include "agent/services.h"
#include "agent/single.h"

#define LAST_SECONDS 2.0 /* for the last words to reach a launcher that does not read */

enum life {
    LIFE_SERVE,
    LIFE_FINISH, /* the launcher said goodbye: streams run to their ends */
    LIFE_END,    /* all that was started is being ended */
    LIFE_LEAVE,  /* it is gone; the last words are being sent */
};

struct session {
    struct session_options options;
    struct ev_loop *loop;
    struct link *link;
    struct exec_set *execs;
    ev_timer tick, leave;
    enum life life;
    int input_over;     /* the launcher closed its direction */
    int pipe_gone;      /* nothing can be sent or received any more */
    struct error error; /* why it ends */
};

/* ---- looking ---- */

const struct error *session_error(const struct session *s)
{
    return &s->error;
}

unsigned session_number(const struct session *s)
{
    return s->options.number;
}

struct link *session_link(struct session *s)
{
    return s->link;
}

struct agent *session_agent(struct session *s)
{
    return s->options.agent;
}

struct exec_set *session_execs(struct session *s)
{
    return s->execs;
}

/* ---- the pipe ---- */

static void wake(struct session *s)
{
    s->options.pipe->wake(s->options.arg);
}

static void listen_on(struct session *s, int wanted)
{
    s->options.pipe->listen(s->options.arg, wanted);
}

static void over(struct session *s)
{
    s->options.pipe->over(s->options.arg);
}

/* ---- ending ---- */

static void on_all_ended(void *arg, size_t left)
{
    struct session *s = arg;
    int code = s->error.code;

    s->life = LIFE_LEAVE;
    if (left > 0) {
        errors_set(&s->error, -E_SYSTEM, "%zu processes of another user could not be ended", left);
    }
    if (s->pipe_gone) {
        over(s);
        return;
    }
    (void)link_goodbye(s->link, code, s->error.detail);
    ev_timer_start(s->loop, &s->leave);
    wake(s);
}

void session_end(struct session *s, int code, const char *text)
{
    if (s->life >= LIFE_END) {
        return;
    }
    s->life = LIFE_END;
    if (s->error.code == 0 && code != 0) {
        errors_set(&s->error, code, "%s", text);
    }
    exec_set_leave(s->execs);
    if (agent_end(s->options.agent, s->options.number, on_all_ended, s) != 0) {
        over(s); /* without memory the guardian does it */
    }
}

void session_leave(struct session *s)
{
    if (s->life < LIFE_END) {
        s->life = LIFE_END;
        exec_set_leave(s->execs);
    }
}

static void lose(struct session *s, int code, const char *text, int speak)
{
    if (s->pipe_gone) {
        return;
    }
    s->pipe_gone = 1;
    s->options.pipe->stop(s->options.arg, speak);
    ev_timer_stop(s->loop, &s->tick);
    link_end(s->link, code, text);
    if (s->life == LIFE_LEAVE) {
        over(s);
    } else {
        session_end(s, code, text);
    }
}

void session_lose(struct session *s, int code, const char *text)
{
    lose(s, code, text, 0);
}

void session_look(struct session *s)
{
    const struct error *e = link_error(s->link);

    if (s->pipe_gone) {
        return;
    }
    if (e->code != 0 && !(s->life == LIFE_LEAVE && link_has_output(s->link))) {
        lose(s, e->code, e->detail, 1); /* because of what came, or by its lease */
        return;
    }
    /* The launcher's own CLOSE is not waited for: that would cost it a round trip. */
    if (s->life == LIFE_FINISH && link_unclosed_count(s->link) == 0) {
        session_end(s, 0, "");
    }
    if (s->life == LIFE_LEAVE && link_finished(s->link)) {
        over(s);
    }
    listen_on(s, !link_congested(s->link) && !s->input_over);
}

static void on_leave(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    over(w->data);
}

/* ---- what comes ---- */

static void set_tick(struct session *s)
{
    uint64_t now = clock_now_us();
    uint64_t next = link_tick(s->link, now);

    ev_timer_stop(s->loop, &s->tick);
    if (next != UINT64_MAX) {
        ev_now_update(s->loop);
        ev_timer_set(&s->tick, next > now ? (double)(next - now) / 1e6 : 0.0, 0.0);
        ev_timer_start(s->loop, &s->tick);
    }
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int events)
{
    struct session *s = w->data;

    (void)loop;
    (void)events;
    if (s->options.pipe->hear != NULL) {
        s->options.pipe->hear(s->options.arg);
    }
    if (!s->pipe_gone) {
        set_tick(s);
        session_look(s);
    }
}

void session_input(struct session *s, const uint8_t *bytes, size_t n)
{
    int greeted = link_greeted(s->link);

    if (link_input(s->link, bytes, n, clock_now_us()) == 0 && !greeted && link_greeted(s->link)) {
        set_tick(s); /* the launcher's lease may be shorter than ours */
    }
    session_look(s);
}

void session_input_end(struct session *s)
{
    s->input_over = 1;
    listen_on(s, 0);
    link_input_end(s->link, clock_now_us());
    if (s->life >= LIFE_END && link_peer_goodbye(s->link)) {
        return; /* it has nothing more to say, but may still listen */
    }
    session_lose(s, link_error(s->link)->code, link_error(s->link)->detail);
}

/* ---- the link's callbacks ---- */

static void on_wake(void *arg, struct link *l)
{
    (void)l;
    wake(arg);
}

static void on_goodbye(void *arg, struct link *l, int code, const char *text)
{
    struct session *s = arg;

    (void)l;
    (void)text;
    if (code == 0 && s->life == LIFE_SERVE) {
        s->life = LIFE_FINISH;
    }
}

/* ---- life ---- */

static struct link *make_link(struct session *s, const struct agent_options *agent)
{
    int all = agent->served == NULL;
    const struct link_handler handler = {.open = all ? services_open : single_open,
                                         .call = all ? services_call : single_call,
                                         .wake = on_wake,
                                         .goodbye = on_goodbye};
    struct link_options options = {.lease_ms = agent->lease_ms,
                                   .features = s->options.features,
                                   .facts = all ? facts_get() : facts_public()};

    return link_new(&options, &handler, s, clock_now_us());
}

struct session *session_new(const struct session_options *options)
{
    struct session *s = calloc(1, sizeof *s);
    const struct agent_options *agent = agent_options(options->agent);
    struct exec_options exec = {.loop = agent_loop(options->agent),
                                .reap = agent_reap(options->agent),
                                .owner = options->number,
                                .environment = agent->environment,
                                .umask = agent->umask,
                                .files = agent->files};

    if (s == NULL) {
        return NULL;
    }
    s->options = *options;
    s->loop = exec.loop;
    ev_init(&s->tick, on_tick);
    ev_timer_init(&s->leave, on_leave, LAST_SECONDS, 0.0);
    s->tick.data = s->leave.data = s;
    s->link = make_link(s, agent);
    s->execs = exec_set_new(&exec);
    if (s->link == NULL || s->execs == NULL) {
        session_free(s);
        return NULL;
    }
    set_tick(s);
    wake(s);
    return s;
}

void session_free(struct session *s)
{
    if (s == NULL) {
        return;
    }
    ev_timer_stop(s->loop, &s->tick);
    ev_timer_stop(s->loop, &s->leave);
    link_free(s->link);
    exec_set_free(s->execs);
    free(s);
}
