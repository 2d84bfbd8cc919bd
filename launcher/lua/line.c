#include "launcher/lua/line.h"

#include <stdlib.h>
#include <string.h>

#include "peer/peer.h"
#include "proto/fifo.h"

#define OUT_MAX  (256 * 1024) /* bytes that wait for the loop to send them */
#define LEAVE_MS 2000         /* for the worker to leave by itself */

/* What is said while the program goes on without waiting is sent when so much of it is there, or so
 * many seconds after its first byte: not each call in a packet of its own. */
#define BATCH   (32 * 1024)
#define BATCH_S 0.0005

struct line {
    struct line *next;
    struct host *host;
    struct host_use use;
    struct peer *peer;
    /* as grapnel_instance_options has them */
    void (*output)(void *arg, struct grapnel_instance *i, const void *bytes, size_t n);
    void *output_arg;

    /* guarded by the context's lock */
    struct instance *instance;
    struct fifo in, out;
    ev_timer batch;
    ev_timer patience;  /* with a worker that was asked to leave */
    int full;           /* the peer has more to say than went into `out` */
    int leaving;        /* what comes is of no interest any more */
    int over;           /* it is of no use any more … */
    struct error error; /* … for this reason */
    int spoken;         /* something has come from the instance */
    int ended;          /* it has ended */
    int abandoned;      /* see line_abandon */

    int told;  /* the peer knows that */
    int heard; /* something has come from the instance */
};

struct line **line_link(struct line *line)
{
    return &line->next;
}

struct peer *line_peer(struct line *line)
{
    return line->peer;
}

const struct host_use *line_use(const struct line *line)
{
    return &line->use;
}

/* ---- the instance's side: in any thread, with the context's lock ---- */

static void on_bytes(void *arg, const uint8_t *bytes, size_t n)
{
    struct line *line = arg;

    if (line->leaving)
        instance_consumed(line->instance, n);
    if (line->leaving || line->over)
        return;
    line->spoken = 1;
    if (fifo_put(&line->in, bytes, n) < 0) {
        line->over = 1;
        errors_set(&line->error, -E_NOMEM, "bytes of the line");
    }
    host_stir(line->host);
}

static size_t on_fill(void *arg, uint8_t *at, size_t room)
{
    struct line *line = arg;
    size_t done = 0;

    while (done < room && fifo_length(&line->out) > 0) {
        size_t n;
        const uint8_t *bytes = fifo_data(&line->out, &n);
        n = n < room - done ? n : room - done;
        memcpy(at + done, bytes, n);
        fifo_take(&line->out, n);
        done += n;
    }
    if (line->full && fifo_length(&line->out) < OUT_MAX / 2)
        host_stir(line->host);
    return done;
}

static void on_output(void *arg, const uint8_t *bytes, size_t n)
{
    struct line *line = arg;

    if (line->output)
        line->output(line->output_arg, NULL, bytes, n);
}

static void on_ended(void *arg, const struct error *e)
{
    struct line *line = arg;

    if (!line->over) {
        line->over = 1;
        line->error = *e;
    }
    line->ended = 1;
    ev_timer_stop(host_context(line->host)->loop, &line->patience);
    host_stir(line->host);
}

/* ---- from outside, likewise ---- */

int line_is_lost(const struct line *line)
{
    return line->over;
}

int line_has_ended(const struct line *line)
{
    return line->ended || (line->leaving && !line->spoken);
}

void line_abandon(struct line *line)
{
    line->abandoned = 1;
    host_stir(line->host);
}

static void on_patience(struct ev_loop *loop, ev_timer *w, int events)
{
    struct line *line = w->data;

    (void)loop;
    (void)events;
    instance_cancel(line->instance);
}

void line_cut(struct line *line, int code, const char *text)
{
    struct ev_loop *loop = host_context(line->host)->loop;

    if (!line->over) {
        line->over = 1;
        errors_set(&line->error, code, "%s", text);
    }
    host_stir(line->host);
    if (line->ended || line->leaving)
        return;
    line->leaving = 1;
    instance_consumed(line->instance, fifo_length(&line->in));
    fifo_free(&line->in);
    instance_eof(line->instance);
    ev_now_update(loop);
    ev_timer_set(&line->patience, LEAVE_MS / 1e3, 0.);
    ev_timer_start(loop, &line->patience);
}

/* ---- the peer's side: in the thread of Lua ---- */

/* Moves what the peer has to say to `out`, as far as there is room; needs the context's lock. */
static void take_output(struct line *line)
{
    const uint8_t *bytes;
    size_t n;

    line->full = 0;
    while (!line->over && peer_output(line->peer, &bytes, &n) == 0 && n > 0) {
        size_t held = fifo_length(&line->out);
        if (held >= OUT_MAX) {
            line->full = 1;
            break;
        }
        n = n < OUT_MAX - held ? n : OUT_MAX - held;
        if (fifo_put(&line->out, bytes, n) < 0)
            break;
        peer_sent(line->peer, n);
        if (!peer_has_output(line->peer))
            break;
    }
}

/* What is in `out` goes on its way; needs the context's lock. */
static void send_output(struct line *line)
{
    ev_timer_stop(host_context(line->host)->loop, &line->batch);
    if (fifo_length(&line->out) > 0)
        instance_ready(line->instance);
}

static void on_batch(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop;
    (void)events;
    send_output(w->data);
}

void line_flush(struct line *line)
{
    struct grapnel *g = host_context(line->host);

    if (context_enter(g, NULL) < 0)
        return;
    take_output(line);
    send_output(line);
    context_unlock(g);
}

/* Soon, and not only when the thread waits: it may compute for long before that. */
static void on_wake(void *arg)
{
    struct line *line = arg;
    struct grapnel *g = host_context(line->host);

    if (!line->instance || context_enter(g, NULL) < 0)
        return;
    take_output(line);
    if (fifo_length(&line->out) >= BATCH) {
        send_output(line);
        context_unlock(g);
    } else if (!ev_is_active(&line->batch)) {
        ev_timer_set(&line->batch, BATCH_S, 0.);
        ev_timer_start(g->loop, &line->batch);
        context_unlock(g);
    } else {
        context_unlock_quiet(g);
    }
}

static void feed(struct line *line, struct fifo *in)
{
    const uint8_t *bytes;
    size_t n;

    while (fifo_length(in) > 0) {
        bytes = fifo_data(in, &n);
        if (peer_input(line->peer, bytes, n) < 0)
            break;
        fifo_take(in, n);
    }
    fifo_free(in);
}

void line_serve(struct line *line)
{
    struct grapnel *g = host_context(line->host);
    struct fifo in;
    struct error error;
    int over;

    /* What one that does not listen any more has said stays where it is, and so does its credit. */
    if (peer_congested(line->peer))
        return;
    context_lock(g);
    in = line->in;
    line->in = (struct fifo){0};
    over = line->over;
    error = line->error;
    if (fifo_length(&in) > 0 && !over)
        instance_consumed(line->instance, fifo_length(&in));
    context_unlock(g);
    line->heard |= fifo_length(&in) > 0;
    feed(line, &in);
    if (over && !line->told) {
        line->told = 1;
        peer_lost(line->peer, error.code, error.detail);
    }
}

void line_forsake(struct line *line)
{
    peer_lost(line->peer, -E_CLOSED, "the process was forked: what its parent has is not for it");
}

int line_over(const struct line *line)
{
    return line->told;
}

int line_settled(const struct line *line)
{
    return line->heard || line->told;
}

int line_outcome(struct line *line, struct error *e)
{
    if (!line->told)
        return 0;
    *e = line->error;
    return e->code;
}

/* ---- making and freeing ---- */

static void init_timers(struct line *line)
{
    ev_timer_init(&line->batch, on_batch, 0., 0.);
    ev_timer_init(&line->patience, on_patience, 0., 0.);
    line->batch.data = line->patience.data = line;
}

struct line *line_start(lua_State *L, struct host *h, struct grapnel_server *s,
                        const struct host_use *use, const struct grapnel_instance_options *instance,
                        const struct peer_options *options, struct error *e)
{
    static const struct host_use nothing;
    static const struct instance_handler handler = {
        .bytes = on_bytes, .fill = on_fill, .output = on_output, .ended = on_ended};
    struct grapnel *g = host_context(h);
    struct line *line = calloc(1, sizeof *line);
    struct peer_options o = *options;

    if (!line) {
        errors_set(e, -E_NOMEM, "line");
        goto failed;
    }
    line->host = h;
    line->use = use ? *use : nothing;
    line->output = instance->output;
    line->output_arg = instance->arg;
    init_timers(line);
    o.wake = on_wake;
    o.arg = line;
    line->peer = peer_new(L, host_tasks(h), &o);
    if (!line->peer) {
        errors_set(e, -E_NOMEM, "line");
        goto failed;
    }
    context_lock(g);
    line->instance = instance_start(s, instance, &handler, line, e);
    context_unlock(g);
    if (!line->instance)
        goto failed;
    host_add_line(h, line);
    line_flush(line);
    return line;
failed:
    if (line)
        peer_free(line->peer);
    free(line);
    if (use)
        host_leave_server(h, use);
    return NULL;
}

static int has_ended(void *arg)
{
    return line_has_ended(arg);
}

static int is_leaving(struct line *line)
{
    struct grapnel *g = host_context(line->host);
    int leaving;

    context_lock(g);
    leaving = line->leaving;
    context_unlock_quiet(g);
    return leaving;
}

void line_leave(struct line *line)
{
    struct grapnel *g = host_context(line->host);

    if (is_leaving(line))
        return;
    if (peer_error(line->peer, NULL) == 0)
        peer_close(line->peer);
    line_flush(line);
    context_lock(g);
    line->leaving = 1;
    instance_consumed(line->instance, fifo_length(&line->in));
    fifo_free(&line->in);
    instance_eof(line->instance);
    context_unlock(g);
}

/* One that does not leave by itself is stopped. */
static void await_end(struct line *line)
{
    struct grapnel *g = host_context(line->host);

    context_lock(g);
    if (line->heard)
        (void)context_wait(g, has_ended, line, context_deadline(LEAVE_MS));
    ev_timer_stop(g->loop, &line->batch);
    ev_timer_stop(g->loop, &line->patience);
    instance_free(line->instance);
    line->instance = NULL; /* what the peer says now is not sent */
    context_unlock(g);
}

void line_end(struct line *line)
{
    struct host *h = line->host;

    host_remove_line(h, line);
    line_leave(line);
    await_end(line);
    peer_free(line->peer);
    fifo_free(&line->in);
    fifo_free(&line->out);
    host_leave_server(h, &line->use);
    free(line);
}

int line_reap(struct line *line)
{
    struct grapnel *g = host_context(line->host);
    int due;

    context_lock(g);
    due = line->abandoned && line_has_ended(line);
    context_unlock_quiet(g);
    if (due)
        line_end(line);
    return due;
}
