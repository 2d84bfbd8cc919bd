#include "launcher/remote/instance.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/remote/delivery.h"
#include "launcher/remote/instance_impl.h"
#include "proto/worker.h"

#define ARGUMENTS 8

/* ---- the end ---- */

/* The last line or lines of stderr, on one line. */
static void last_words(const struct instance *i, char *text, size_t size)
{
    size_t n = i->tail_length, from = 0, at = 0;

    while (n > 0 && i->tail[n - 1] == '\n')
        n--;
    from = n >= size ? n - size + 1 : 0;
    while (from < n) {
        char c = i->tail[from++];
        text[at++] = c == '\n' ? '|' : c;
    }
    text[at] = '\0';
}

static int code_of(const struct instance *i)
{
    const struct grapnel_exec_status *status = &i->status;

    if (!status->exited && i->cpu_seconds > 0 &&
        (strcmp(status->signal, "XCPU") == 0 ||
         status->user_us + status->system_us >= i->cpu_seconds * 1000000))
        return -E_CPU_LIMIT;
    return status->exited && status->exit_status == WORKER_EXIT_MEMORY ? -E_MEMORY : -E_INSTANCE;
}

/* How it ended, when all of its stderr has come. */
static void explain(struct instance *i)
{
    const struct grapnel_exec_status *status = &i->status;
    char how[80], said[700];

    if (i->cancelled)
        snprintf(how, sizeof how, "it was stopped from here");
    else if (status->exited)
        snprintf(how, sizeof how, "exited with status %d", status->exit_status);
    else
        snprintf(how, sizeof how, "killed by signal %s%s", status->signal,
                 status->core ? " (core dumped)" : "");
    last_words(i, said, sizeof said);
    errors_set(&i->error, i->cancelled ? -E_CANCELLED : code_of(i), "%s%s%s", how,
               *said ? "; its last words: " : "", said);
}

void instance_conclude(struct instance *i)
{
    if (i->starting || !i->result_came || i->pipe || i->err || i->held)
        return;
    if (i->freed) {
        free(i);
        return;
    }
    if (!i->error.code)
        explain(i);
    i->handler.ended(i->arg, &i->error);
}

void instance_leave_server(struct instance *i)
{
    struct instance **at;

    for (at = connection_instances(i->server); *at; at = &(*at)->next) {
        if (*at == i) {
            *at = i->next;
            break;
        }
    }
    i->server = NULL;
}

/* ---- stopping ---- */

static void ignore_answer(void *arg, int code, const struct value *result, const char *text)
{
    (void)arg;
    (void)code;
    (void)result;
    (void)text;
}

static void ask_cancel(struct instance *i)
{
    struct value *args;
    uint32_t id;

    if (!i->server || i->cancel_asked)
        return;
    args = values_array();
    /* Not a CLOSE: the stream stays open for the confirmation that all of it has ended. */
    if (values_append(args, values_int(i->id)) == 0)
        i->cancel_asked =
            link_call(connection_link(i->server), "cancel", args, ignore_answer, NULL, &id) == 0;
    else
        values_free(args);
}

void instance_cancel(struct instance *i)
{
    i->cancelled = i->cancelled || !i->over;
    if (!i->held)
        ask_cancel(i);
    else if (i->pipe)
        stream_close(i->pipe, -E_CANCELLED, NULL, NULL);
}

const struct grapnel_exec_status *instance_status(const struct instance *i)
{
    return &i->status;
}

/* ---- stream callbacks ---- */

static size_t on_bytes(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct instance *i = arg;
    size_t done = n;

    (void)s;
    if (!i->freed) {
        i->in_bytes = 1;
        i->consumed = 0;
        i->handler.bytes(i->arg, bytes, n);
        i->in_bytes = 0;
        done = i->freed ? n : i->consumed;
    }
    return done;
}

static size_t on_fill(void *arg, struct stream *s, uint8_t *at, size_t room)
{
    struct instance *i = arg;

    (void)s;
    return i->freed ? 0 : i->handler.fill(i->arg, at, room);
}

static size_t on_err(void *arg, struct stream *s, const uint8_t *bytes, size_t n)
{
    struct instance *i = arg;
    size_t keep = n < INSTANCE_TAIL ? n : INSTANCE_TAIL;
    size_t old = i->tail_length < INSTANCE_TAIL - keep ? i->tail_length : INSTANCE_TAIL - keep;

    (void)s;
    memmove(i->tail, i->tail + i->tail_length - old, old);
    memcpy(i->tail + old, bytes + n - keep, keep);
    i->tail_length = old + keep;
    if (!i->freed && i->handler.output)
        i->handler.output(i->arg, bytes, n);
    return n;
}

/* The worker has closed its end, as it does by ending.  What it has started may live and hold its
 * stderr open: that must not keep its end from being told. */
static void on_eof(void *arg, struct stream *s)
{
    struct instance *i = arg;

    (void)s;
    i->over = 1;
    if (!i->held)
        ask_cancel(i);
}

static void on_err_closed(void *arg, struct stream *s, int code, const struct value *result,
                          const char *text)
{
    struct instance *i = arg;

    (void)s;
    (void)code;
    (void)result;
    (void)text;
    i->err = NULL;
    instance_conclude(i);
}

static void on_closed(void *arg, struct stream *s, int code, const struct value *result,
                      const char *text)
{
    struct instance *i = arg;
    const struct error *delivery;

    (void)s;
    if (i->held) {
        instance_held_closed(i, code, text);
        return;
    }
    delivery = delivery_error(i->delivery);
    if (code && delivery->code)
        i->error = *delivery; /* it is not there, or not the right one, because of that */
    else if (code)
        errors_set(&i->error, code, "%s", text);
    else
        exec_read_status(&i->status, result);
    i->result_came = 1;
    i->pipe = NULL;
    instance_leave_server(i);
    if (code && i->err) /* it may never have been claimed */
        stream_close(i->err, -E_CANCELLED, NULL, NULL);
    instance_conclude(i);
}

/* ---- starting ---- */

struct command {
    const char *argv[ARGUMENTS];
    char texts[ARGUMENTS][64];
    int n;
};

__attribute__((format(printf, 2, 3))) static void argument(struct command *c, const char *format,
                                                           ...)
{
    va_list list;

    va_start(list, format);
    vsnprintf(c->texts[c->n], sizeof c->texts[c->n], format, list);
    va_end(list);
    c->argv[c->n] = c->texts[c->n];
    c->n++;
}

static struct value *arguments(struct instance *i, const struct grapnel_instance_options *o,
                               struct error *e)
{
    struct command c = {.argv = {"worker", "instance"}, .n = 2};
    struct grapnel_exec_options run = {
        .argv = c.argv, .cwd = o->cwd, .env = o->env, .unset = o->unset};
    struct value *map;

    if (o->memory > 0)
        argument(&c, "memory=%lld", (long long)o->memory);
    if (o->cpu_seconds > 0)
        argument(&c, "cpu=%lld", (long long)o->cpu_seconds);
    if (o->depth > 0)
        argument(&c, "depth=%d", o->depth);
    map = exec_args(&run, 1, stream_id(i->err), e);
    if (map && values_set(map, "blob", values_bytes(delivery_hash(i->server), DELIVERY_HASH)) < 0) {
        errors_set(e, -E_NOMEM, "instance");
        values_free(map);
        map = NULL;
    }
    return map;
}

static const struct stream_handler pipe_handler = {
    .data = on_bytes, .eof = on_eof, .closed = on_closed, .fill = on_fill};

static int open_streams(struct instance *i, const struct grapnel_instance_options *o,
                        struct error *e)
{
    static const struct stream_handler err_handler = {.data = on_err, .closed = on_err_closed};
    struct link *l = connection_link(i->server);
    struct value *args;

    if (delivery_ensure(i->server, e) < 0)
        return e->code;
    i->delivery = *connection_delivery(i->server);
    i->err = stream_open(l, "pipe", NULL, &err_handler, i, e);
    if (!i->err || (args = arguments(i, o, e)) == NULL)
        return e->code;
    i->pipe = stream_open(l, "exec", args, &pipe_handler, i, e);
    if (!i->pipe)
        return e->code;
    i->id = stream_id(i->pipe);
    return 0;
}

struct instance *instance_start(struct grapnel_server *s, const struct grapnel_instance_options *o,
                                const struct instance_handler *handler, void *arg, struct error *e)
{
    struct instance *i;

    if (connection_error(s)->code) {
        *e = *connection_error(s);
        return NULL;
    }
    if ((i = calloc(1, sizeof *i)) == NULL) {
        errors_set(e, -E_NOMEM, "instance");
        return NULL;
    }
    i->g = connection_context(s);
    i->server = s;
    i->handler = *handler;
    i->arg = arg;
    i->starting = 1;
    i->cpu_seconds = o->cpu_seconds;
    i->next = *connection_instances(s);
    *connection_instances(s) = i;
    if ((o->held ? instance_held_open(i, o->number, &pipe_handler, e) : open_streams(i, o, e)) <
        0) {
        instance_leave_server(i);
        i->freed = i->result_came = 1; /* what was opened is freed when it is closed */
        if (i->err)
            stream_close(i->err, -E_CANCELLED, NULL, NULL);
        i->starting = 0;
        instance_conclude(i);
        return NULL;
    }
    i->starting = 0;
    if (!o->held)
        connection_command_opened(s);
    return i;
}

/* ---- meanwhile ---- */

void instance_ready(struct instance *i)
{
    if (i->pipe)
        stream_ready(i->pipe);
}

void instance_consumed(struct instance *i, size_t n)
{
    if (i->in_bytes)
        i->consumed += n;
    else if (i->pipe)
        stream_consumed(i->pipe, n);
}

void instance_eof(struct instance *i)
{
    if (i->pipe)
        stream_eof(i->pipe);
}

void instance_cancel_all(struct grapnel_server *s)
{
    for (struct instance *i = *connection_instances(s); i; i = i->next)
        instance_cancel(i);
}

void instance_free(struct instance *i)
{
    if (!i)
        return;
    i->freed = 1;
    if (i->result_came && !i->pipe && !i->err && !i->held)
        free(i);
    else
        instance_cancel(i);
}
