/* Counts primes, on all processors of this machine, or of those hosts: whichever is free takes the
 * next numbers.
 *
 *     cc primes.c $(pkg-config --cflags --libs grapnel) -o primes && ./primes 1000000 web1 web2
 */
#include <grapnel.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define STEP 10000 /* numbers in a task */

static const char source[] = "function(first, last)\n"
                             "    local count = 0\n"
                             "    for n = math.max(first, 2), last do\n"
                             "        local prime = true\n"
                             "        for d = 2, math.floor(n ^ 0.5) do\n"
                             "            if n % d == 0 then prime = false break end\n"
                             "        end\n"
                             "        if prime then count = count + 1 end\n"
                             "    end\n"
                             "    return count\n"
                             "end";

struct range {
    int64_t next, last;
};

/* The arguments of the next task. */
static int next_step(void *arg, struct grapnel_value **args)
{
    struct range *r = arg;
    int64_t first = r->next, last = first + STEP - 1;

    if (first > r->last)
        return GRAPNEL_MAP_END;
    r->next += STEP;
    *args = grapnel_value_new_array();
    if (grapnel_value_append(*args, grapnel_value_new_int(first)) < 0 ||
        grapnel_value_append(*args, grapnel_value_new_int(last < r->last ? last : r->last)) < 0)
        return -1;
    return GRAPNEL_MAP_TASK;
}

static int fail(const struct grapnel_error *error)
{
    char text[1600];

    grapnel_error_format(error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    return 1;
}

static int count(struct grapnel_fleet *f, int64_t last, struct grapnel_error *error)
{
    struct range range = {.last = last};
    struct grapnel_map_options map = {.source = source, .next = next_step, .arg = &range};
    struct grapnel_fleet_job *job = grapnel_fleet_map(f, &map, NULL, NULL, NULL, error);
    struct grapnel_map_result r;
    int64_t primes = 0, failed = 0;

    if (!job)
        return fail(error);
    while (grapnel_fleet_map_next(job, -1, &r, error) == 0) {
        primes += grapnel_value_int(r.value, 0);
        failed += r.error != NULL && fail(r.error);
    }
    grapnel_fleet_job_free(job);
    if (range.next <= last) /* nobody was left to ask for more */
        return fail(error);
    printf("%" PRId64 "\n", primes);
    return failed != 0;
}

int main(int argc, char **argv)
{
    const char *const here[] = {"here", NULL};
    int local = argc < 3 || getenv("TRANSPORT") != NULL;
    struct grapnel_connect_options connect = {.transport = local ? "local" : NULL};
    struct grapnel_fleet_options options = {.connect = &connect};
    struct grapnel_error error = {0};
    struct grapnel *g;
    struct grapnel_fleet *f;
    int status;

    if (argc < 2) {
        fprintf(stderr, "usage: primes LAST [HOST...]\n");
        return 2;
    }
    g = grapnel_new(NULL, &error);
    if (!g)
        return fail(&error);
    f = grapnel_fleet_new(g, argc < 3 ? here : (const char *const *)argv + 2, &options, &error);
    status = f ? count(f, strtoll(argv[1], NULL, 10), &error) : fail(&error);
    grapnel_fleet_free(f);
    grapnel_free(g);
    return status;
}
