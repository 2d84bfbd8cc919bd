/* grapnel_run: a command from start to end with its output gathered in memory. */
#include <stdlib.h>
#include <string.h>

#include "launcher/connection.h"
#include "proto/wire.h"

#define OUTPUT_LIMIT (64 * 1024 * 1024)

struct gathering {
    struct wire_buf out, err;
    const uint8_t *input;
    size_t left;
    int failed; /* memory is out */
};

static size_t keep(struct gathering *t, struct wire_buf *to, struct grapnel_exec *x,
                   const uint8_t *bytes, size_t n)
{
    if (!t->failed && wire_put(to, bytes, n) < 0) {
        t->failed = 1;
        grapnel_exec_cancel(x);
    }
    return n;
}

static size_t on_out(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    struct gathering *t = arg;

    return keep(t, &t->out, x, bytes, n);
}

static size_t on_err(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    struct gathering *t = arg;

    return keep(t, &t->err, x, bytes, n);
}

static void on_writable(void *arg, struct grapnel_exec *x)
{
    struct gathering *t = arg;
    int64_t n = grapnel_exec_write(x, t->input, t->left);

    if (n < 0)
        return;
    t->input += n;
    t->left -= (size_t)n;
    if (!t->left)
        grapnel_exec_eof(x);
}

/* Moves the bytes of a buffer to a terminated string of their own. */
static int move(struct wire_buf *from, char **text, size_t *n, struct error *e)
{
    *n = wire_length(from);
    *text = malloc(*n + 1);
    if (!*text)
        return errors_set(e, -E_NOMEM, "output");
    if (*n)
        memcpy(*text, wire_data(from), *n);
    (*text)[*n] = '\0';
    return 0;
}

int grapnel_run_input(struct grapnel_server *s, const struct grapnel_exec_options *options,
                      const void *input, size_t input_length, struct grapnel_result *result,
                      struct grapnel_error *error)
{
    static const struct grapnel_exec_handler handler = {
        .out = on_out, .err = on_err, .writable = on_writable};
    struct grapnel_exec_options o = *options;
    struct gathering t = {.input = input, .left = input ? input_length : 0};
    struct grapnel_exec *x;
    struct error e = {0};
    int code;

    memset(result, 0, sizeof *result);
    o.use_fds = 0;
    o.no_input = !t.left;
    if (!o.output_limit)
        o.output_limit = OUTPUT_LIMIT;
    x = grapnel_exec_start(s, &o, &handler, &t, error);
    if (!x)
        return error ? error->code : -E_CLOSED;
    if (t.left) {
        context_lock(connection_context(s));
        on_writable(&t, x);
        context_unlock(connection_context(s));
    }
    code = grapnel_exec_wait(x, -1, &result->status, error);
    if (code == 0 && (t.failed || move(&t.out, &result->out, &result->out_length, &e) < 0 ||
                      move(&t.err, &result->err, &result->err_length, &e) < 0)) {
        errors_set(&e, -E_NOMEM, "output");
        code = context_error(error, connection_target(s), &e);
        grapnel_result_clear(result);
    }
    grapnel_exec_free(x);
    wire_free(&t.out);
    wire_free(&t.err);
    return code;
}

int grapnel_run(struct grapnel_server *s, const struct grapnel_exec_options *options,
                struct grapnel_result *result, struct grapnel_error *error)
{
    return grapnel_run_input(s, options, NULL, 0, result, error);
}

void grapnel_result_clear(struct grapnel_result *result)
{
    if (!result)
        return;
    free(result->out);
    free(result->err);
    memset(result, 0, sizeof *result);
}
