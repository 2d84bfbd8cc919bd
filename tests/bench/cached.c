/* What the connection cache takes.
 *
 *   cached hit COUNT    median of getting a connection that is there, and giving it back, in
 *                       microseconds
 *   cached next COUNT   median of getting the next instance on a live server, with its first call,
 *                       in milliseconds
 *   cached get COUNT    gets so many instances, one after the other, and prints nothing
 *
 * SSHD_CONFIG and SSHD_USER tell where to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"
#include "tests/bench/bench.h"

#define BATCH 1000 /* hits a sample: one is about what reading the clock takes */

static struct grapnel *context;
static struct grapnel_connect_options options;

static struct grapnel_connection *get(int instance)
{
    struct grapnel_error e;
    struct grapnel_connection *c = grapnel_get_connection(context, "t", &options, instance, &e);

    if (!c)
        bench_die("%s: %s", e.text, e.detail);
    return c;
}

static double hits(void)
{
    uint64_t before = bench_now_ns();

    for (int i = 0; i < BATCH; i++)
        grapnel_connection_release(get(1));
    return (double)(bench_now_ns() - before) / BATCH / 1e3;
}

static double next(int instance)
{
    uint64_t before = bench_now_ns();
    struct grapnel_connection *c = get(instance);
    struct grapnel_value *reply;
    struct grapnel_error e;
    double took;

    if (grapnel_call(grapnel_connection_instance(c), "eval", &reply, &e, "s", "6 * 7") < 0)
        bench_die("%s: %s", e.text, e.detail);
    took = (double)(bench_now_ns() - before) / 1e6;
    if (grapnel_value_int(reply, -1) != 42)
        bench_die("wrong answer");
    grapnel_value_free(reply);
    grapnel_connection_release(c);
    return took;
}

static void measure(const char *what, size_t count)
{
    double *took = calloc(count, sizeof *took);

    if (!took)
        bench_die("out of memory");
    next(2);
    for (size_t i = 0; i < count; i++)
        took[i] = strcmp(what, "hit") == 0 ? hits() : next((int)i + 3);
    printf("%.3f\n", bench_quantile(took, count, 0.5));
    free(took);
}

int main(int argc, char **argv)
{
    struct grapnel_cache_limits limits = {.fresh = 60000};
    size_t count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    int gets;

    if (!count || (strcmp(argv[1], "hit") != 0 && strcmp(argv[1], "next") != 0 &&
                   strcmp(argv[1], "get") != 0))
        bench_die("usage: cached hit|next|get COUNT");
    gets = strcmp(argv[1], "get") == 0;
    options.config_file = bench_setting("SSHD_CONFIG");
    options.user = bench_setting("SSHD_USER");
    context = grapnel_new(NULL, NULL);
    if (!context || grapnel_cache_limits(context, &limits, NULL) < 0)
        bench_die("no context");
    for (int i = 1; i <= (gets ? (int)count : 1); i++)
        grapnel_connection_release(get(i));
    if (!gets)
        measure(argv[1], count);
    grapnel_close_ssh_connections(context, NULL);
    grapnel_free(context);
    return 0;
}
