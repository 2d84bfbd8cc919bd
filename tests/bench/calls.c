/* What calls of remote code take from C.
 *
 *   calls sync COUNT       median of a call with a small argument, in microseconds
 *   calls pipeline COUNT   calls a second, as many of them under way at once as may be
 *   calls stream BYTES COMMAND...  MB/s of a command's output, which is so many bytes
 *
 * SSHD_CONFIG tells where to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"
#include "tests/bench/bench.h"

static struct grapnel *context;

static void check(int failed, const struct grapnel_error *e)
{
    char text[1600];

    if (!failed)
        return;
    grapnel_error_format(e, text, sizeof text);
    bench_die("%s", text);
}

static struct grapnel_server *connect_server(void)
{
    struct grapnel_connect_options o = {.config_file = bench_setting("SSHD_CONFIG")};
    struct grapnel_server *s;
    struct grapnel_error e;

    context = grapnel_new(NULL, &e);
    check(!context, &e);
    s = grapnel_connect(context, "t", &o, &e);
    check(!s, &e);
    return s;
}

static struct grapnel_instance *start(struct grapnel_server *s)
{
    struct grapnel_instance *i;
    struct grapnel_error e;

    i = grapnel_instance_open(s, NULL, &e);
    check(!i, &e);
    check(grapnel_call(i, "execute", NULL, &e, "s", "function twice(x) return x + x end") < 0, &e);
    return i;
}

static void sync_calls(struct grapnel_instance *i, size_t count)
{
    size_t warmups = count / 10;
    double *us = calloc(count, sizeof *us);
    struct grapnel_value *reply;
    struct grapnel_error e;

    if (!us)
        bench_die("out of memory");
    for (size_t n = 0; n < warmups + count; n++) {
        uint64_t before = bench_now_ns();
        check(grapnel_call(i, "twice", &reply, &e, "x", (int64_t)n) < 0, &e);
        if (n >= warmups)
            us[n - warmups] = (double)(bench_now_ns() - before) / 1e3;
        if (grapnel_value_int(reply, -1) != 2 * (int64_t)n)
            bench_die("wrong answer");
        grapnel_value_free(reply);
    }
    printf("%.1f\n", bench_quantile(us, count, 0.5));
    free(us);
}

static void start_all(struct grapnel_instance *i, struct grapnel_future **f, size_t count)
{
    struct grapnel_error e;

    for (size_t n = 0; n < count; n++) {
        f[n] = grapnel_call_start(i, "twice", &e, "x", (int64_t)n);
        check(!f[n], &e);
    }
}

static void finish_all(struct grapnel_future **f, size_t count)
{
    struct grapnel_error e;

    for (size_t n = 0; n < count; n++) {
        check(grapnel_future_wait(f[n], -1, &e) < 0, &e);
        if (grapnel_value_int(grapnel_future_value(f[n]), -1) != 2 * (int64_t)n)
            bench_die("wrong answer");
        grapnel_future_free(f[n]);
    }
}

static void pipelined_calls(struct grapnel_instance *i, size_t count)
{
    struct grapnel_future **f = calloc(count, sizeof(struct grapnel_future *));
    uint64_t before;

    if (!f)
        bench_die("out of memory");
    start_all(i, f, count / 10);
    finish_all(f, count / 10);
    before = bench_now_ns();
    start_all(i, f, count);
    finish_all(f, count);
    printf("%.0f\n", (double)count * 1e9 / (double)(bench_now_ns() - before));
    free(f);
}

static size_t count_output(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    (void)x;
    (void)bytes;
    *(uint64_t *)arg += n;
    return n;
}

/* What a channel is compared with: the output of a command, read in this process as well. */
static void stream_output(struct grapnel_server *s, uint64_t bytes, char **command)
{
    struct grapnel_exec_options o = {.argv = (const char *const *)command};
    uint64_t got = 0, before = bench_now_ns();
    struct grapnel_exec_handler handler = {.out = count_output};
    struct grapnel_error e;
    struct grapnel_exec *x = grapnel_exec_start(s, &o, &handler, &got, &e);

    check(!x, &e);
    check(grapnel_exec_wait(x, -1, NULL, &e) < 0, &e);
    if (got != bytes)
        bench_die("%llu bytes came", (unsigned long long)got);
    printf("%.1f\n", (double)got * 1e3 / (double)(bench_now_ns() - before));
    grapnel_exec_free(x);
}

static void measure(struct grapnel_server *s, const char *what, size_t count)
{
    struct grapnel_instance *i = start(s);

    if (strcmp(what, "sync") == 0)
        sync_calls(i, count);
    else
        pipelined_calls(i, count);
    grapnel_instance_free(i);
}

int main(int argc, char **argv)
{
    struct grapnel_server *s;
    size_t count;

    if (argc < 3)
        bench_die("usage: calls sync|pipeline COUNT or stream BYTES COMMAND...");
    count = (size_t)bench_number(argv[2], 10);
    s = connect_server();
    if (strcmp(argv[1], "stream") == 0)
        stream_output(s, count, argv + 3);
    else
        measure(s, argv[1], count);
    grapnel_server_free(s);
    grapnel_free(context);
    return 0;
}
