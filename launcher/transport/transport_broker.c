#include "launcher/transport/transport_broker.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/broker/dial.h"
#include "launcher/broker/sockline.h"
#include "proto/fifo.h"
#include "proto/stream.h"

#define QUEUE_MAX (256 * 1024) /* bytes that wait for the broker */
#define SILENT_S  1.           /* its HELLO costs nothing but a process that runs */

struct broker_transport {
    struct transport base;
    struct transport_handler handler;
    void *arg;
    struct grapnel *g;
    struct sockline *line;
    struct value *args;    /* of the stream, until it is opened */
    struct stream *stream; /* NULL: not yet, or it has ended */
    struct fifo out;
    struct fifo in;           /* what came while it was paused */
    ev_timer opened, resumed; /* never started: fed, so that they run from the loop */
    ev_timer silent;
    int heard; /* the agent has said something */
    int full, paused, eof, ending;
    int finished;     /* the stream ended well */
    struct error why; /* else */
    pid_t pid;        /* the broker's */
    char where[200];
};

/* ---- the stream ---- */

static void deliver(struct broker_transport *t)
{
    const uint8_t *bytes;
    size_t n;

    while (!t->paused && (bytes = fifo_data(&t->in, &n)) && n > 0) {
        t->handler.input(t->arg, bytes, n);
        fifo_take(&t->in, n);
        if (t->stream)
            stream_consumed(t->stream, n);
    }
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct broker_transport *t = arg;

    if (!t->heard) /* only now it is known that this is the way */
        t->handler.phase(t->arg, PHASE_CONNECT, t->where);
    t->heard = 1;
    if (!t->paused && fifo_length(&t->in) == 0) {
        t->handler.input(t->arg, bytes, n);
        return n;
    }
    if (fifo_put(&t->in, bytes, n) == 0)
        return 0;
    link_end(stream_link(s), -E_NOMEM, "");
    return n;
}

/* Told from the loop, when all that came before has been looked at. */
static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct broker_transport *t = arg;

    (void)result;
    t->stream = NULL;
    t->finished = code == 0;
    /* One that leaves does not greet: it has looked at nothing of ours. */
    if (code && !link_greeted(stream_link(s)) && t->why.code == 0)
        errors_set(&t->why, -E_NOT_HELD, "the broker has just left");
    else if (code && t->why.code == 0 && t->line && sockline_is_lost(t->line))
        errors_set(&t->why, -E_BROKER, "it has ended (process %d)", (int)t->pid);
    else if (code && t->why.code == 0)
        errors_set(&t->why, code, "%s", text);
    if (t->line)
        sockline_hang_up(t->line);
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct broker_transport *t = arg;
    size_t done = 0, n;
    const uint8_t *bytes;

    while (done < room && (bytes = fifo_data(&t->out, &n)) && n > 0) {
        n = n < room - done ? n : room - done;
        memcpy(at + done, bytes, n);
        fifo_take(&t->out, n);
        done += n;
    }
    if (t->eof && fifo_length(&t->out) == 0)
        stream_eof(s);
    if (t->full && fifo_length(&t->out) < QUEUE_MAX / 2) {
        t->full = 0;
        ev_feed_event(t->g->loop, &t->opened, EV_CUSTOM);
    }
    return done;
}

static const struct stream_handler stream_callbacks = {on_data, NULL, on_closed, on_fill};

/* ---- the line ---- */

static void on_wake(void *arg, struct link *l)
{
    struct broker_transport *t = arg;

    (void)l;
    if (t->line)
        sockline_wake(t->line);
}

static void on_hello(void *arg, struct link *l, const struct value *facts)
{
    struct broker_transport *t = arg;

    (void)l;
    (void)facts;
    ev_timer_stop(t->g->loop, &t->silent);
    ev_feed_event(t->g->loop, &t->opened, EV_CUSTOM);
}

static const struct link_handler link_callbacks = {.hello = on_hello, .wake = on_wake};

/* It has not greeted: it leaves, and nobody need be told, or is something else. */
static void explain(const struct broker_transport *t, const struct error *ended, struct error *e)
{
    if (ended->code == -E_LOST || ended->code == -E_CLOSED)
        errors_set(e, -E_NOT_HELD, "the broker has just left");
    else
        errors_set(e, -E_BROKER, "what listens there does not speak as it does (process %d, %s)",
                   (int)t->pid, t->where);
}

static void on_line_ended(void *arg, struct sockline *line)
{
    struct broker_transport *t = arg;
    struct error e = t->why;

    (void)line;
    if (t->ending)
        return;
    t->ending = 1;
    t->paused = 0;
    if (t->args && !e.code)
        explain(t, link_error(sockline_link(line)), &e);
    deliver(t);
    if (t->finished)
        t->handler.finished(t->arg, -1);
    else
        t->handler.failed(t->arg, &e);
}

static void on_silent(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct broker_transport *t = w->data;

    (void)loop;
    (void)revents;
    errors_set(&t->why, -E_BROKER, "it does not answer (process %d, %s)", (int)t->pid, t->where);
    link_end(sockline_link(t->line), -E_BROKER, t->why.detail);
    sockline_hang_up(t->line);
}

/* Only to who has greeted: one that does not answer now must not do later what has been done in
 * another way by then. */
static void open_stream(struct broker_transport *t)
{
    struct value *args = t->args;

    t->args = NULL;
    t->stream = stream_open(sockline_link(t->line), "server", args, &stream_callbacks, t, &t->why);
    if (t->stream)
        t->handler.opened(t->arg);
    else
        sockline_hang_up(t->line);
}

/* The first time that it runs it is writable from the start. */
static void on_writable(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct broker_transport *t = w->data;

    (void)loop;
    (void)revents;
    if (t->args)
        open_stream(t);
    else
        t->handler.writable(t->arg);
}

/* ---- the transport ---- */

static int broker_again(struct transport *base, const char *command, struct error *e)
{
    (void)base;
    (void)command;
    return errors_set(e, -E_UNSUPPORTED, "the broker starts nothing again");
}

static size_t broker_write(struct transport *base, const uint8_t *bytes, size_t n)
{
    struct broker_transport *t = (struct broker_transport *)base;
    size_t room = QUEUE_MAX - fifo_length(&t->out);
    size_t done = n < room ? n : room;

    if (!t->stream) /* its end is on its way */
        return n;
    if (fifo_put(&t->out, bytes, done) < 0)
        done = 0;
    t->full = done < n;
    stream_ready(t->stream);
    sockline_flush(t->line);
    return done;
}

static void broker_eof(struct transport *base)
{
    struct broker_transport *t = (struct broker_transport *)base;

    t->eof = 1;
    if (t->stream && fifo_length(&t->out) == 0)
        stream_eof(t->stream);
}

static void on_resumed(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    deliver(w->data);
}

static void broker_pause(struct transport *base, int paused)
{
    struct broker_transport *t = (struct broker_transport *)base;

    t->paused = paused;
    if (!paused && fifo_length(&t->in) > 0)
        ev_feed_event(t->g->loop, &t->resumed, EV_CUSTOM);
}

static void broker_free(struct transport *base)
{
    struct broker_transport *t = (struct broker_transport *)base;
    struct sockline *line = t->line;

    t->ending = 1;
    t->line = NULL;
    if (line)
        sockline_free(line);
    ev_clear_pending(t->g->loop, &t->opened);
    ev_clear_pending(t->g->loop, &t->resumed);
    ev_timer_stop(t->g->loop, &t->silent);
    fifo_free(&t->out);
    fifo_free(&t->in);
    values_free(t->args);
    free(t);
}

static struct transport_counters broker_counters(const struct transport *base)
{
    const struct broker_transport *t = (const struct broker_transport *)base;
    struct transport_counters c;

    sockline_count(t->line, &c.sent, &c.received);
    return c;
}

static const struct transport_class broker_class = {
    .name = "broker",
    .again = broker_again,
    .write = broker_write,
    .eof = broker_eof,
    .pause = broker_pause,
    .free = broker_free,
    .counters = broker_counters,
};

static int put_args(struct broker_transport *t, const char *key, const struct agents_binary *agent,
                    struct error *e)
{
    t->args = values_map();
    values_set(t->args, "key", values_text(key));
    values_set(t->args, "agent", values_text(agent->name));
    values_set(t->args, "hash", values_text(agent->hash_hex));
    return t->args ? 0 : errors_set(e, -E_NOMEM, "transport");
}

static struct broker_transport *make(struct grapnel *g, const struct transport_handler *handler,
                                     void *arg, struct error *e)
{
    struct broker_transport *t = calloc(1, sizeof *t);

    if (!t) {
        errors_set(e, -E_NOMEM, "transport");
        return NULL;
    }
    t->base.class = &broker_class;
    t->handler = *handler;
    t->arg = arg;
    t->g = g;
    ev_timer_init(&t->opened, on_writable, 0., 0.);
    ev_timer_init(&t->resumed, on_resumed, 0., 0.);
    ev_timer_init(&t->silent, on_silent, SILENT_S, 0.);
    t->opened.data = t->resumed.data = t->silent.data = t;
    return t;
}

struct transport *transport_broker(struct grapnel *g, const char *key,
                                   const struct agents_binary *agent,
                                   const struct transport_handler *handler, void *arg,
                                   struct error *e)
{
    struct broker_transport *t = make(g, handler, arg, e);
    struct sockline_options options = {
        .opener = 1, .handler = &link_callbacks, .arg = t, .ended = on_line_ended};
    int fd = t ? dial_broker(t->where, sizeof t->where, &t->pid, e) : -1;

    if (fd >= 0) {
        t->line = sockline_new(g, fd, &options);
        if (!t->line)
            errors_set(e, -E_NOMEM, "transport");
    }
    if (!t || !t->line || put_args(t, key, agent, e) < 0) {
        if (t)
            broker_free(&t->base);
        return NULL;
    }
    ev_now_update(g->loop);
    ev_timer_start(g->loop, &t->silent);
    return &t->base;
}
