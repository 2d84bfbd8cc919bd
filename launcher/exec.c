/* Commands on a host: struct grapnel_exec of the public header. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/connection.h"
#include "proto/pump.h"
#include "proto/stream.h"

#define INPUT_QUEUE  (256 * 1024)       /* bytes of grapnel_exec_write that wait */
#define GATHER_LIMIT (64 * 1024 * 1024) /* of grapnel_run */

/* One of the two outputs: goes to a descriptor through a sink, or to a callback. */
struct output {
    struct stream *stream;  /* NULL: over */
    struct pump_sink *sink; /* NULL: none, or over */
    size_t (*callback)(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n);
};

struct grapnel_exec {
    struct grapnel *g;
    struct grapnel_server *server; /* NULL: has ended */
    char *target;
    struct output out, err;
    struct pump_source *in;
    struct grapnel_exec_handler handler;
    void *arg;
    uint32_t id; /* of the stream, for signals */
    int input_full;
    int result_came; /* status or error is filled, the sinks may still be writing */
    int done, freed, cancelled;
    int in_start; /* grapnel_exec_start is not over */
    struct grapnel_exec_status status;
    struct error error;
};

/* ---- names that outlive the values they came in ---- */

static const char *const signal_names[] = {
    "HUP",  "INT",  "QUIT",   "ILL",  "TRAP", "ABRT",   "BUS",  "FPE",  "KILL",
    "USR1", "SEGV", "USR2",   "PIPE", "ALRM", "TERM",   "XCPU", "XFSZ", "SYS",
    "CONT", "STOP", "VTALRM", "PROF", "IO",   "STKFLT", "PWR",  "POLL", "WINCH"};
static const char *const reasons[] = {"timeout", "output-limit", "cancelled"};

static const char *known_name(const char *name, const char *const *names, size_t n,
                              const char *fallback)
{
    for (size_t i = 0; name && i < n; i++) {
        if (strcmp(name, names[i]) == 0)
            return names[i];
    }
    return fallback;
}

static void read_status(struct grapnel_exec_status *to, const struct value *v)
{
    const struct value *status = values_get(v, "status");
    const char *signal = values_as_string(values_get(v, "signal"), NULL);

    to->exited = values_type(status) == VALUE_INT;
    to->exit_status = (int)(values_as_int(status, 0) & 0xff);
    if (!to->exited)
        to->signal =
            known_name(signal, signal_names, sizeof signal_names / sizeof *signal_names, "unknown");
    to->core = values_as_bool(values_get(v, "core"), 0);
    to->reason = known_name(values_as_string(values_get(v, "reason"), NULL), reasons,
                            sizeof reasons / sizeof *reasons, NULL);
    to->pid = values_as_int(values_get(v, "pid"), 0);
    to->wall_us = values_as_int(values_get(v, "wall_us"), 0);
    to->user_us = values_as_int(values_get(v, "user_us"), 0);
    to->system_us = values_as_int(values_get(v, "system_us"), 0);
    to->max_rss = values_as_int(values_get(v, "max_rss"), 0);
}

/* ---- the end ---- */

static void destroy(struct grapnel_exec *x)
{
    pump_source_free(x->in);
    pump_sink_free(x->out.sink);
    pump_sink_free(x->err.sink);
    free(x->target);
    free(x);
}

/* All is over when the streams are closed and what they delivered is written. */
static void conclude(struct grapnel_exec *x)
{
    struct grapnel_error error;

    if (x->done || x->in_start || !x->result_came || x->out.stream || x->err.stream ||
        x->out.sink || x->err.sink)
        return;
    pump_source_free(x->in);
    x->in = NULL;
    x->done = 1;
    if (x->freed) {
        destroy(x);
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
    conclude(x);
}

static void on_err_sink_ended(void *arg, int code, int number)
{
    struct grapnel_exec *x = arg;

    on_sink_ended(x, code, number);
    pump_sink_free(x->err.sink);
    x->err.sink = NULL;
    conclude(x);
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

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    output_closed(&x->err);
    conclude(x);
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct grapnel_exec *x = arg;

    (void)s;
    if (code)
        errors_set(&x->error, code, "%s", text);
    else
        read_status(&x->status, result);
    x->result_came = 1;
    x->server = NULL;
    if (x->in)
        pump_source_free(x->in);
    x->in = NULL;
    output_closed(&x->out);
    /* A command that was refused may never have claimed its stderr: do not wait for that. */
    if (code && x->err.stream)
        stream_close(x->err.stream, -E_CANCELLED, NULL, NULL);
    conclude(x);
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

    (void)code;
    (void)number;
    pump_source_free(x->in);
    x->in = NULL;
    if (x->out.stream)
        stream_eof(x->out.stream);
}

/* ---- starting ---- */

static int put_list(struct value *map, const char *key, const char *const *list)
{
    struct value *array;

    if (!list)
        return 0;
    array = values_array();
    for (size_t i = 0; array && list[i]; i++) {
        if (values_append(array, values_bytes(list[i], strlen(list[i]))) < 0) {
            values_free(array);
            return -E_NOMEM;
        }
    }
    return values_set(map, key, array);
}

static int put_env(struct value *map, const char *const *env, struct error *e)
{
    struct value *set = values_map();

    for (size_t i = 0; env && env[i]; i++) {
        const char *equals = strchr(env[i], '=');
        if (!equals || equals == env[i]) {
            values_free(set);
            return errors_set(e, -E_ARGUMENT, "\"%.100s\" is not NAME=value", env[i]);
        }
        values_set_pair(set, values_text_n(env[i], (size_t)(equals - env[i])),
                        values_bytes(equals + 1, strlen(equals + 1)));
    }
    return values_set(map, "env", set);
}

static int put_text(struct value *map, const char *key, const char *text)
{
    return text ? values_set(map, key, values_text(text)) : 0;
}

static int put_number(struct value *map, const char *key, int64_t number)
{
    return number > 0 ? values_set(map, key, values_int(number)) : 0;
}

static struct value *make_args(const struct grapnel_exec_options *o, int has_input,
                               uint32_t err_stream, struct error *e)
{
    struct value *map = values_map();
    int bad;

    bad = put_list(map, "argv", o->argv) | put_text(map, "line", o->line) |
          put_text(map, "shell", o->shell) | put_text(map, "cwd", o->cwd) |
          put_list(map, "unset", o->unset) | put_number(map, "timeout_ms", o->timeout) |
          put_number(map, "output_limit", o->output_limit) | put_number(map, "grace_ms", o->grace) |
          put_number(map, "stderr", err_stream) | values_set(map, "stdin", values_bool(has_input)) |
          values_set(map, "clean", values_bool(o->clean_env)) |
          values_set(map, "merge", values_bool(o->merge));
    if (!bad && put_env(map, o->env, e) == 0)
        return map;
    if (bad)
        errors_set(e, -E_NOMEM, "command");
    values_free(map);
    return NULL;
}

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
    args = make_args(o, has_input, x->err.stream ? stream_id(x->err.stream) : 0, e);
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
    pump_sink_free(x->out.sink);
    pump_sink_free(x->err.sink);
    x->out.sink = x->err.sink = NULL;
    x->in_start = 0;
    conclude(x);
}

struct grapnel_exec *grapnel_exec_start(struct grapnel_server *s,
                                        const struct grapnel_exec_options *options,
                                        const struct grapnel_exec_handler *handler, void *arg,
                                        struct grapnel_error *error)
{
    struct grapnel *g = connection_context(s);
    struct grapnel_exec *x = calloc(1, sizeof *x);
    struct error e = {0};

    context_lock(g);
    if (!x || (x->target = strdup(connection_target(s))) == NULL) {
        free(x);
        x = NULL;
        errors_set(&e, -E_NOMEM, "command");
        goto out;
    }
    x->g = g;
    x->server = s;
    x->in_start = 1;
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
    connection_command_opened(s);
out:
    if (e.code)
        context_error(error, connection_target(s), &e);
    context_unlock(g);
    return x;
}

/* ---- use ---- */

int64_t grapnel_exec_write(struct grapnel_exec *x, const void *bytes, size_t n)
{
    int64_t result = -E_CLOSED;

    context_lock(x->g);
    if (x->out.stream) {
        size_t queued = stream_queued(x->out.stream);
        size_t room = queued < INPUT_QUEUE ? INPUT_QUEUE - queued : 0;
        if (n > room) {
            n = room;
            x->input_full = 1;
        }
        result = n ? stream_write(x->out.stream, bytes, n) : 0;
        if (result == 0)
            result = (int64_t)n;
        if (x->input_full)
            stream_ready(x->out.stream);
    }
    context_unlock(x->g);
    return result;
}

int grapnel_exec_eof(struct grapnel_exec *x)
{
    int result = -E_CLOSED;

    context_lock(x->g);
    if (x->out.stream) {
        stream_eof(x->out.stream);
        result = 0;
    }
    context_unlock(x->g);
    return result;
}

void grapnel_exec_consumed(struct grapnel_exec *x, int which, size_t n)
{
    struct output *o = which == 2 ? &x->err : &x->out;

    context_lock(x->g);
    if (o->stream)
        stream_consumed(o->stream, n);
    context_unlock(x->g);
}

static void ignore_answer(void *arg, int code, const struct value *result, const char *text)
{
    (void)arg;
    (void)code;
    (void)result;
    (void)text;
}

/* Calls `name` [stream, extra] (extra may be NULL) about the command x. */
static int call_about(struct grapnel_exec *x, const char *name, const char *extra)
{
    struct value *args = values_array();
    uint32_t id;

    if (values_append(args, values_int(x->id)) ||
        (extra && values_append(args, values_text(extra)))) {
        values_free(args);
        return -E_NOMEM;
    }
    return link_call(connection_link(x->server), name, args, ignore_answer, NULL, &id);
}

int grapnel_exec_signal(struct grapnel_exec *x, const char *name, struct grapnel_error *error)
{
    struct error e = {0};

    context_lock(x->g);
    if (!x->server)
        errors_set(&e, -E_CLOSED, "the command has ended");
    else
        e.code = call_about(x, "signal", name);
    context_unlock(x->g);
    return e.code ? context_error(error, x->target, &e) : 0;
}

int grapnel_exec_cancel(struct grapnel_exec *x)
{
    int result = 0;

    context_lock(x->g);
    if (x->server && !x->cancelled) {
        /* Not a CLOSE: the stream stays open for the confirmation that the work has stopped. */
        x->cancelled = 1;
        result = call_about(x, "cancel", NULL);
    }
    context_unlock(x->g);
    return result;
}

static int is_done(void *arg)
{
    return ((struct grapnel_exec *)arg)->done;
}

int grapnel_exec_wait(struct grapnel_exec *x, int64_t timeout, struct grapnel_exec_status *status,
                      struct grapnel_error *error)
{
    struct error e = {0};

    context_lock(x->g);
    e.code = context_wait(x->g, is_done, x, context_deadline(timeout));
    if (!e.code)
        e = x->error;
    if (status)
        *status = x->status;
    context_unlock(x->g);
    return e.code ? context_error(error, x->target, &e) : 0;
}

void grapnel_exec_free(struct grapnel_exec *x)
{
    struct grapnel *g = x ? x->g : NULL;

    if (!x)
        return;
    context_lock(g);
    x->freed = 1;
    if (x->done) {
        destroy(x);
    } else {
        grapnel_exec_cancel(x);
        pump_source_free(x->in);
        pump_sink_free(x->out.sink);
        pump_sink_free(x->err.sink);
        x->in = NULL;
        x->out.sink = x->err.sink = NULL;
        conclude(x);
    }
    context_unlock(g);
}
