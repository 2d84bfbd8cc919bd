/* What is done with a command while it runs: struct grapnel_exec of the public header. */
#include "launcher/exec/exec.h"
#include "launcher/exec/exec_impl.h"
#include "proto/signals.h"

#define INPUT_QUEUE (256 * 1024) /* bytes of grapnel_exec_write that wait */

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

void exec_ask_writable(struct grapnel_exec *x)
{
    if (!x->out.stream)
        return;
    x->input_full = 1;
    stream_ready(x->out.stream);
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
    else if (!signals_forwarded(name))
        errors_set(&e, -E_ARGUMENT, "\"%.40s\" is no signal that is passed on", name ? name : "");
    else if ((e.code = call_about(x, "signal", name)) < 0)
        errors_set(&e, e.code, "%s", name);
    else
        sigaddset(&x->passed_on, signals_number(name));
    context_unlock(x->g);
    return e.code ? context_error(error, x->target, &e) : 0;
}

int grapnel_exec_cancel(struct grapnel_exec *x)
{
    int result = 0;

    context_lock(x->g);
    if (x->server && !x->cancelled) {
        /* Not a CLOSE: the stream stays open for the confirmation that the work has stopped. */
        result = call_about(x, "cancel", NULL);
        x->cancelled = result == 0;
    } else if (x->result_came && !x->done) {
        exec_hurry_readers(x);
    }
    context_unlock(x->g);
    return result;
}

void exec_cancel_all(struct grapnel_server *s)
{
    struct grapnel_exec *x = *connection_execs(s);

    while (x) {
        if (x->cancelled) {
            x = x->next;
            continue;
        }
        if (grapnel_exec_cancel(x) < 0)
            return; /* the line has ended, and so have they */
        x = *connection_execs(s);
    }
}

static int is_done(void *arg)
{
    return ((struct grapnel_exec *)arg)->done;
}

int grapnel_exec_wait(struct grapnel_exec *x, int64_t timeout, struct grapnel_exec_status *status,
                      struct grapnel_error *error)
{
    struct error e = {0};

    if (context_enter(x->g, error) < 0)
        return -E_ARGUMENT;
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

    if (!x || context_enter(g, NULL) < 0)
        return;
    x->freed = 1;
    if (x->done) {
        exec_destroy(x);
    } else {
        grapnel_exec_cancel(x);
        pump_source_free(x->in);
        x->in = NULL;
        exec_drop_sinks(x);
        exec_conclude(x);
    }
    context_unlock(g);
}