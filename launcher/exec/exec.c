/* Commands on a host, from start to end: struct grapnel_exec of the public header. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/exec/exec_impl.h"
#include "proto/signals.h"

#define STALL_MS 500 /* for a reader to take more of the output of what was stopped */

/* ---- the end ---- */

void exec_destroy(struct grapnel_exec *x)
{
    pump_source_free(x->in);
    pump_sink_free(x->out.sink);
    pump_sink_free(x->err.sink);
    free(x->target);
    free(x);
}

void exec_drop_sinks(struct grapnel_exec *x)
{
    pump_sink_free(x->out.sink);
    pump_sink_free(x->err.sink);
    x->out.sink = x->err.sink = NULL;
}

/* All is over when the streams are closed and what they delivered is written. */
void exec_conclude(struct grapnel_exec *x)
{
    struct grapnel_error error;

    if (x->done || x->in_start || !x->result_came || x->out.stream || x->err.stream ||
        x->out.sink || x->err.sink)
        return;
    pump_source_free(x->in);
    x->in = NULL;
    ev_timer_stop(x->g->loop, &x->stall);
    x->done = 1;
    if (x->freed) {
        exec_destroy(x);
        return;
    }
    context_error(&error, x->target, &x->error);
    if (x->handler.done)
        x->handler.done(x->arg, x, x->error.code ? NULL : &x->status,
                        x->error.code ? &error : NULL);
}

static void on_sink_ended(void *arg, int code, int number)
{
    struct grapnel_exec *x = arg;
    (void)code;
    if (number && !x->status.local_error) {
        x->status.local_error = number;
        /* As with a pipe to a local command, the producer need not go on. */
        grapnel_exec_cancel(x);
    }
}

static void on_out_sink_ended(void *arg, int code, int number)
{
    struct grapnel_exec *x = arg;

    on_sink_ended(x, code, number);
    pump_sink_free(x->out.sink);
    x->out.sink = NULL;
    exec_conclude(x);
}

static void on_err_sink_ended(void *arg, int code, int number)
{
    struct grapnel_exec *x = arg;

    on_sink_ended(x, code, number);
    pump_sink_free(x->err.sink);
    x->err.sink = NULL;
    exec_conclude(x);
}

static size_t waiting_for_readers(const struct grapnel_exec *x)
{
    return (x->out.sink ? pump_sink_queued(x->out.sink) : 0) +
           (x->err.sink ? pump_sink_queued(x->err.sink) : 0);
}

static void on_stall(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct grapnel_exec *x = w->data;

    (void)loop;
    (void)revents;
    if (waiting_for_readers(x) < x->stalled) {
        exec_hurry_readers(x);
        return;
    }
    exec_drop_sinks(x);
    exec_conclude(x);
}

void exec_hurry_readers(struct grapnel_exec *x)
{
    if (ev_is_active(&x->stall))
        return;
    x->stalled = waiting_for_readers(x);
    ev_now_update(x->g->loop);
    ev_timer_init(&x->stall, on_stall, STALL_MS / 1e3, 0.);
    x->stall.data = x;
    ev_timer_start(x->g->loop, &x->stall);
}

/* Up to its limit of output all of it was asked for. */
static int was_stopped(const struct grapnel_exec *x)
{
    if (x->status.signal && sigismember(&x->passed_on, signals_number(x->status.signal)) == 1)
        return 1;
    return x->cancelled || (x->status.reason && strcmp(x->status.reason, "output-limit") != 0);
}

static void output_closed(struct output *o)
{
    o->stream = NULL;
    if (o->sink) {
        pump_sink_detach(o->sink);
        pump_sink_eof(o->sink);
    }
}

/* ---- stream callbacks ---- */

static size_t deliver(struct grapnel_exec *x, struct output *o, const uint8_t *bytes, size_t n)
{
    if (o->sink)
        return pump_sink_data(o->sink, bytes, n);
    return o->callback && !x->freed ? o->callback(x->arg, x, bytes, n) : n;
}

static size_t on_out(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct grapnel_exec *x = arg;

    (void)s;
    return deliver(x, &x->out, bytes, n);
}

static size_t on_err(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct grapnel_exec *x = arg;

    (void)s;
    return deliver(x, &x->err, bytes, n);
}

static void on_err_closed(void *arg, struct stream *s, int code, const struct value *result,
                          const char *text)
{
    struct grapnel_exec *x = arg;

    (void)code;
    (void)result;
    (void)text;
    stream_answer_late(s);
    output_closed(&x->err);
    exec_conclude(x);
}

/* It has nothing to do with its server any more. */
static void leave_server(struct grapnel_exec *x)
{
    struct grapnel_exec **at;

    for (at = connection_execs(x->server); *at; at = &(*at)->next) {
        if (*at == x) {
            *at = x->next;
            break;
        }
    }
    x->server = NULL;
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct grapnel_exec *x = arg;

    stream_answer_late(s); /* the agent has done with the command */
    if (code)
        errors_set(&x->error, code, "%s", text);
    else
        exec_read_status(&x->status, result);
    x->result_came = 1;
    leave_server(x);
    if (x->in)
        pump_source_free(x->in);
    x->in = NULL;
    output_closed(&x->out);
    /* A command that was refused may never have claimed its stderr: do not wait for that. */
    if (code && x->err.stream)
        stream_close(x->err.stream, -E_CANCELLED, NULL, NULL);
    if (was_stopped(x))
        exec_hurry_readers(x);
    exec_conclude(x);
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct grapnel_exec *x = arg;

    (void)s;
    if (x->in)
        return pump_source_fill(x->in, at, room);
    if (x->input_full && !x->freed) {
        x->input_full = 0;
        if (x->handler.writable)
            x->handler.writable(x->arg, x);
    }
    return 0;
}

static void on_input_ended(void *arg, int code, int number)
{
    struct grapnel_exec *x = arg;

    pump_source_free(x->in);
    x->in = NULL;
    /* A terminal whose foreground will never be ours again has nothing more to say. */
    if (code && !(x->input_tty && number == EIO)) {
        x->status.input_error = number;
        grapnel_exec_cancel(x);
    } else if (x->out.stream) {
        stream_eof(x->out.stream);
    }
}

/* ---- starting ---- */

static int duplicate(int fd, struct error *e)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

    return copy >= 0 ? copy
                     : errors_set_system(e, errno == EMFILE ? -E_DESCRIPTORS : -E_IO, errno,
                                         "descriptor %d", fd);
}

static int open_sink(struct grapnel_exec *x, struct output *o, int fd, pump_sink_ended *ended,
                     struct error *e)
{
    int copy = duplicate(fd, e);

    if (copy < 0)
        return copy;
    o->sink = pump_sink_new(x->g->loop, copy, PUMP_SHARED, o->stream, ended, x);
    return o->sink ? 0 : errors_set(e, -E_NOMEM, "output");
}

static int open_pumps(struct grapnel_exec *x, const struct grapnel_exec_options *o, struct error *e)
{
    int fd;

    if (!o->use_fds)
        return 0;
    if (o->out >= 0 && open_sink(x, &x->out, o->out, on_out_sink_ended, e) < 0)
        return e->code;
    if (x->err.stream && open_sink(x, &x->err, o->err, on_err_sink_ended, e) < 0)
        return e->code;
    if (o->in < 0)
        return 0;
    if ((fd = duplicate(o->in, e)) < 0)
        return fd;
    x->input_tty = isatty(fd);
    x->in = pump_source_new(x->g->loop, fd, PUMP_SHARED, x->out.stream, on_input_ended, x);
    return x->in ? 0 : errors_set(e, -E_NOMEM, "input");
}

static int open_streams(struct grapnel_exec *x, const struct grapnel_exec_options *o,
                        struct error *e)
{
    static const struct stream_handler out_handler = {
        .data = on_out, .closed = on_closed, .fill = on_fill};
    static const struct stream_handler err_handler = {.data = on_err, .closed = on_err_closed};
    struct link *l = connection_link(x->server);
    int has_input = o->use_fds ? o->in >= 0 : !o->no_input;
    struct value *args;

    if (!o->merge && (o->use_fds ? o->err >= 0 : x->err.callback != NULL)) {
        x->err.stream = stream_open(l, "pipe", NULL, &err_handler, x, e);
        if (!x->err.stream)
            return e->code;
    }
    args = exec_args(o, has_input, x->err.stream ? stream_id(x->err.stream) : 0, e);
    if (!args)
        return e->code;
    x->out.stream = stream_open(l, "exec", args, &out_handler, x, e);
    if (!x->out.stream)
        return e->code;
    x->id = stream_id(x->out.stream);
    return 0;
}

static int check_options(const struct grapnel_exec_options *o, struct error *e)
{
    if (!o->argv == !o->line)
        return errors_set(e, -E_ARGUMENT, "give either argv or line");
    if (o->argv && !o->argv[0])
        return errors_set(e, -E_ARGUMENT, "argv is empty");
    return 0;
}

/* What was opened before something went wrong is closed; the streams' last callbacks come later,
 * or now if the link has ended, and must find x alive. */
static void give_up(struct grapnel_exec *x)
{
    x->freed = 1;
    x->result_came = 1;
    if (x->err.stream)
        stream_close(x->err.stream, -E_CANCELLED, NULL, NULL);
    if (x->out.stream)
        stream_close(x->out.stream, -E_CANCELLED, NULL, NULL);
    exec_drop_sinks(x);
    x->in_start = 0;
    exec_conclude(x);
}

struct grapnel_exec *grapnel_exec_start(struct grapnel_server *s,
                                        const struct grapnel_exec_options *options,
                                        const struct grapnel_exec_handler *handler, void *arg,
                                        struct grapnel_error *error)
{
    struct grapnel *g = connection_context(s);
    struct grapnel_exec *x;
    struct error e = {0};

    if (context_enter(g, error) < 0)
        return NULL;
    x = calloc(1, sizeof *x);
    if (!x || (x->target = strdup(connection_target(s))) == NULL) {
        free(x);
        x = NULL;
        errors_set(&e, -E_NOMEM, "command");
        goto out;
    }
    x->g = g;
    x->server = s;
    x->in_start = 1;
    sigemptyset(&x->passed_on);
    if (handler)
        x->handler = *handler;
    x->arg = arg;
    x->out.callback = options->use_fds ? NULL : x->handler.out;
    x->err.callback = options->use_fds ? NULL : x->handler.err;
    e = *connection_error(s);
    if (e.code || check_options(options, &e) < 0 || open_streams(x, options, &e) < 0 ||
        open_pumps(x, options, &e) < 0) {
        give_up(x);
        x = NULL;
        goto out;
    }
    x->in_start = 0;
    x->next = *connection_execs(s);
    *connection_execs(s) = x;
    connection_command_opened(s);
out:
    if (e.code)
        context_error(error, connection_target(s), &e);
    context_unlock(g);
    return x;
}
