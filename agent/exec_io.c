#include "agent/exec_internal.h"

void exec_end_output(struct output *o)
{
    pump_source_free(o->source);
    o->source = NULL;
    o->fd = -1;
    o->ended = 1;
}

static void on_out_ended(void *arg, int code, int number)
{
    struct exec *x = arg;

    (void)code;
    (void)number;
    x->out.ended = 1;
    x->out.fd = -1;
    exec_kick(x);
}

static void on_err_ended(void *arg, int code, int number)
{
    struct exec *x = arg;

    (void)code;
    (void)number;
    x->err.ended = 1;
    x->err.fd = -1;
    exec_kick(x);
}

/* A command may close its stdin at any time: what still comes is discarded by the sink. */
static void on_in_ended(void *arg, int code, int number)
{
    struct exec *x = arg;

    (void)code;
    (void)number;
    if (code == 0) {
        x->in_ended = 1;
        exec_kick(x);
    }
}

/* One byte more than the limit is asked for, to tell output that just fits from more. */
static size_t fill(struct exec *x, struct output *o, uint8_t *at, size_t room)
{
    uint64_t left = UINT64_MAX;
    size_t n;

    if (o->source == NULL || o->ended || x->over_limit) {
        return 0;
    }
    if (x->output_limit != 0) {
        left = x->output_limit - x->out.count - x->err.count;
    }
    n = pump_source_fill(o->source, at, room <= left ? room : (size_t)left + 1);
    if (n > left) {
        n = (size_t)left;
        x->over_limit = 1;
        exec_kick(x);
    }
    o->count += n;
    return n;
}

static size_t on_fill_out(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct exec *x = arg;

    (void)s;
    return fill(x, &x->out, at, room);
}

static size_t on_fill_err(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct exec *x = arg;

    (void)s;
    return fill(x, &x->err, at, room);
}

static size_t on_data(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct exec *x = arg;

    (void)s;
    return x->in != NULL && !x->in_cut ? pump_sink_data(x->in, bytes, n) : n;
}

static void on_eof(void *arg, struct stream *s)
{
    struct exec *x = arg;

    (void)s;
    if (x->in != NULL && !x->in_cut) {
        pump_sink_eof(x->in);
    }
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct exec *x = arg;

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    x->out.s = NULL;
    exec_cut_input(x);
    exec_end_output(&x->out);
    exec_end_output(&x->err);
    exec_begin_end(x, "cancelled");
    exec_kick(x);
}

/* Nobody wants stderr any more: the command finds its pipe broken, as in a shell. */
static void on_err_closed(void *arg, struct stream *s, int code, const struct value *result,
                          const char *text)
{
    struct exec *x = arg;

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    x->err.s = NULL;
    exec_end_output(&x->err);
    exec_kick(x);
}

static const struct stream_handler out_handler = {
    .data = on_data, .eof = on_eof, .closed = on_closed, .fill = on_fill_out};
static const struct stream_handler err_handler = {.closed = on_err_closed, .fill = on_fill_err};

int exec_connect(struct exec *x, struct launch *launch)
{
    struct ev_loop *loop = x->set->options.loop;
    int with_stdin = launch->in >= 0;

    stream_accept(x->out.s, &out_handler, x);
    x->out.fd = launch->out;
    x->out.source = pump_source_new(loop, launch->out, 0, x->out.s, on_out_ended, x);
    x->err.ended = x->err.settled = x->err.s == NULL;
    if (x->err.s != NULL) {
        stream_set_handler(x->err.s, &err_handler, x);
        x->err.fd = launch->err;
        x->err.source = pump_source_new(loop, launch->err, 0, x->err.s, on_err_ended, x);
    }
    if (with_stdin) {
        x->in = pump_sink_new(loop, launch->in, 0, x->out.s, on_in_ended, x);
    }
    launch->in = launch->out = launch->err = -1;
    if (x->out.source == NULL || (x->err.s != NULL && x->err.source == NULL) ||
        (with_stdin && x->in == NULL)) {
        return -E_NOMEM;
    }
    return 0;
}
