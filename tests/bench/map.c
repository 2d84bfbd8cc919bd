/* A map over workers of this machine.
 *
 *   map ROUNDS TASKS INSTANCES
 *
 * Connects once, then maps TASKS tasks that do next to nothing over so many instances, ROUNDS
 * times, and prints for each: tasks a second from the start of the job to the last result, which
 * includes the start of the instances; the same without it, from the first result on; and the
 * processor time of this process for each task in microseconds. */
#include <sys/resource.h>

#include "launcher/grapnel.h"
#include "tests/bench/bench.h"

struct progress {
    int64_t asked, tasks, told;
    uint64_t first_us;
};

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int next(void *arg, struct grapnel_value **args)
{
    struct progress *p = arg;

    if (p->asked == p->tasks)
        return GRAPNEL_MAP_END;
    *args = grapnel_value_new_array();
    return grapnel_value_append(*args, grapnel_value_new_int(++p->asked)) == 0 ? GRAPNEL_MAP_TASK
                                                                               : -1;
}

static void on_result(void *arg, const struct grapnel_map_result *r)
{
    struct progress *p = arg;

    if (r->error || grapnel_value_int(r->value, 0) != (int64_t)r->index + 2)
        bench_die("task %lld: %s", (long long)r->index, r->error ? r->error->detail : "wrong");
    if (p->told++ == 0)
        p->first_us = bench_now_us();
}

static void once(struct grapnel_fleet *f, int64_t tasks, size_t instances)
{
    struct progress p = {.tasks = tasks};
    struct grapnel_map_options o = {.source = "function(n) return n + 1 end",
                                    .next = next,
                                    .arg = &p,
                                    .count = (uint64_t)tasks,
                                    .instances = instances};
    struct grapnel_error e = {0};
    double cpu = cpu_us();
    uint64_t began = bench_now_us(), ended;
    struct grapnel_fleet_job *job = grapnel_fleet_map(f, &o, on_result, NULL, &p, &e);

    if (!job || grapnel_fleet_wait(job, -1, &e) < 0)
        bench_die("%s: %s", e.text, e.detail);
    ended = bench_now_us();
    if (p.told != tasks)
        bench_die("%lld of %lld tasks were told of", (long long)p.told, (long long)tasks);
    grapnel_fleet_job_free(job);
    printf("%.0f %.0f %.2f\n", (double)tasks * 1e6 / (double)(ended - began),
           (double)(tasks - 1) * 1e6 / (double)(ended - p.first_us),
           (cpu_us() - cpu) / (double)tasks);
}

int main(int argc, char **argv)
{
    const char *hosts[] = {"here", NULL};
    struct grapnel_connect_options connect = {.transport = "local"};
    struct grapnel_fleet_options options = {.connect = &connect, .keep = 1};
    long rounds = argc > 3 ? bench_number(argv[1], 1) : 0;
    struct grapnel_error e = {0};
    struct grapnel *g = grapnel_new(NULL, &e);
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;

    if (!rounds || !g)
        bench_die("usage: map ROUNDS TASKS INSTANCES %s", e.text ? e.text : "");
    f = grapnel_fleet_new(g, hosts, &options, &e);
    job = f ? grapnel_fleet_ping(f, NULL, NULL, &e) : NULL;
    if (!job || grapnel_fleet_wait(job, -1, &e) < 0)
        bench_die("%s: %s", e.text, e.detail);
    grapnel_fleet_job_free(job);
    for (long i = 0; i < rounds; i++)
        once(f, bench_number(argv[2], 1), (size_t)bench_number(argv[3], 1));
    if (grapnel_fleet_close(f, 60000, &e) < 0)
        bench_die("%s: %s", e.text, e.detail);
    grapnel_fleet_free(f);
    grapnel_free(g);
    return 0;
}
