/* Memory of links that are held and idle.
 *
 *   links COUNT
 *
 * Opens COUNT links to one server in this process and prints, in bytes: what each adds to our
 * resident memory and to what malloc has given out (from the first quarter to the last), then the
 * resident and the private memory of the agent and of its guardian (median of all). */
#include <malloc.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "tests/bench/bench.h"

static double heap_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return (double)m.uordblks + (double)m.hblkhd;
}

/* The agent proper's process, from the facts. */
static long agent_of(struct grapnel_server *s)
{
    struct grapnel_error e = {0};
    char *facts = grapnel_facts_json(s, 0, 0, &e);
    const char *at = facts ? strstr(facts, "\"pid\":") : NULL;
    long pid = at ? strtol(at + strlen("\"pid\":"), NULL, 10) : 0;

    grapnel_string_free(facts);
    if (pid <= 0)
        bench_die("the agent does not tell its pid: %s", e.text ? e.text : "");
    return pid;
}

static struct grapnel_server *open_one(struct grapnel *g)
{
    struct grapnel_connect_options where = {.config_file = bench_setting("SSHD_CONFIG")};
    struct grapnel_error e = {0};
    struct grapnel_server *s = grapnel_connect(g, "t", &where, &e);

    if (!s)
        bench_die("%s: %s", e.text, e.detail);
    return s;
}

static void show_agents(struct grapnel_server **servers, size_t n)
{
    static const char *const field[] = {"Rss", "Private_Dirty"};
    double *values = calloc(n, sizeof *values);

    for (size_t f = 0; values && f < sizeof field / sizeof *field; f++) {
        for (int guardian = 0; guardian < 2; guardian++) {
            for (size_t i = 0; i < n; i++) {
                long pid = agent_of(servers[i]);
                values[i] = (double)bench_memory(guardian ? bench_parent(pid) : pid, field[f]);
            }
            printf("%.0f %s of %s\n", bench_quantile(values, n, 0.5), field[f],
                   guardian ? "the guardian" : "the agent");
        }
    }
    free(values);
}

int main(int argc, char **argv)
{
    size_t count = argc == 2 ? (size_t)bench_number(argv[1], 4) : 0, first = count / 4;
    struct grapnel_server **servers = calloc(count + 1, sizeof *servers);
    struct grapnel_error e = {0};
    struct grapnel *g = grapnel_new(NULL, &e);
    double resident = 0, heap = 0;

    if (!count || !servers || !g)
        bench_die("usage: links COUNT %s", e.text ? e.text : "");
    for (size_t i = 0; i < count; i++) {
        servers[i] = open_one(g);
        if (i + 1 == first) {
            (void)grapnel_drive(g, 200);
            resident = (double)bench_memory(getpid(), "Rss");
            heap = heap_in_use();
        }
    }
    (void)grapnel_drive(g, 500); /* let all that is under way arrive */
    resident = (double)bench_memory(getpid(), "Rss") - resident;
    heap = heap_in_use() - heap;
    printf("%.0f resident a link\n", resident / (double)(count - first));
    printf("%.0f from malloc a link\n", heap / (double)(count - first));
    show_agents(servers, count);
    for (size_t i = 0; i < count; i++)
        grapnel_server_free(servers[i]);
    grapnel_free(g);
    free(servers);
    return 0;
}
