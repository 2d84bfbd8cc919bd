/* Fleets of hosts that are held.
 *
 *   fleet ROUNDS FANOUT HOST...
 *
 * Runs `true` on all of them, at most FANOUT at a time (0: no limit), which connects to them; then
 * ROUNDS times more, and prints for each of these: hosts a second, and the processor time of this
 * process for each host in microseconds.  SSHD_CONFIG says how to reach them. */
#include <sys/resource.h>

#include "launcher/grapnel.h"
#include "tests/bench/bench.h"

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void on_ended(void *arg, const struct grapnel_fleet_result *r)
{
    const struct grapnel_fleet *f = arg;

    if (r->failed)
        bench_die("%s: %s: %s", grapnel_fleet_name(f, r->host),
                  r->error ? r->error->text : "status", r->error ? r->error->detail : "");
}

static void once(struct grapnel_fleet *f)
{
    static const struct grapnel_fleet_handler handler = {.ended = on_ended};
    const char *argv[] = {"true", NULL};
    struct grapnel_exec_options command = {.argv = argv};
    struct grapnel_error e = {0};
    struct grapnel_fleet_job *job = grapnel_fleet_run(f, &command, &handler, f, &e);

    if (!job || grapnel_fleet_wait(job, -1, &e) < 0)
        bench_die("%s: %s", e.text, e.detail);
    grapnel_fleet_job_free(job);
}

int main(int argc, char **argv)
{
    struct grapnel_connect_options connect = {.config_file = bench_setting("SSHD_CONFIG")};
    struct grapnel_fleet_options options = {.connect = &connect, .keep = 1};
    long rounds = argc > 3 ? bench_number(argv[1], 1) : 0;
    struct grapnel_error e = {0};
    struct grapnel *g = grapnel_new(NULL, &e);
    struct grapnel_fleet *f;

    if (!rounds || !g)
        bench_die("usage: fleet ROUNDS FANOUT HOST... %s", e.text ? e.text : "");
    options.fanout = (size_t)bench_number(argv[2], 0);
    f = grapnel_fleet_new(g, (const char *const *)argv + 3, &options, &e);
    if (!f)
        bench_die("%s: %s", e.text, e.detail);
    once(f);
    for (long i = 0; i < rounds; i++) {
        double cpu = cpu_us(), hosts = (double)(argc - 3);
        uint64_t began = bench_now_us();

        once(f);
        printf("%.1f %.1f\n", hosts * 1e6 / (double)(bench_now_us() - began),
               (cpu_us() - cpu) / hosts);
    }
    if (grapnel_fleet_close(f, 60000, &e) < 0)
        bench_die("%s: %s", e.text, e.detail);
    grapnel_fleet_free(f);
    grapnel_free(g);
    return 0;
}
