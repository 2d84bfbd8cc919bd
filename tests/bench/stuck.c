/* Memory of both ends while somebody does not read any more.
 *
 *   stuck MIB
 *
 * Three cases, each with a new link: a command's stdout that the application does not take, one
 * that goes to a pipe nobody reads, and input for a command that does not read its stdin; each is
 * read as fast as it comes for MIB first (0: never), so that windows have grown.  When nothing
 * flows any more, prints how far the resident memory of the launcher and of the agent (with its
 * guardian) has risen above idle, in bytes, and how many bytes have crossed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "tests/bench/bench.h"

#define LOOK_MS  250
#define QUIET    4 /* looks without a byte: it stands still */
#define LOOK_MAX 1200

enum way { CALLBACK, PIPE, INPUT, WAYS };

struct stuck {
    struct grapnel *g;
    struct grapnel_server *server;
    struct grapnel_exec *x;
    enum way way;
    uint64_t wanted; /* bytes that are read before nothing is */
    int pipe_end;    /* PIPE: what is to be read */
};

static size_t refuse(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n)
{
    struct stuck *s = arg;

    (void)x;
    (void)bytes;
    if (n > s->wanted)
        n = s->wanted;
    s->wanted -= n;
    return n;
}

static void *read_pipe(void *arg)
{
    static uint8_t buffer[64 * 1024];
    struct stuck *s = arg;
    ssize_t n = 1;

    while (s->wanted > 0 && n > 0) {
        n = read(s->pipe_end, buffer, s->wanted < sizeof buffer ? s->wanted : sizeof buffer);
        s->wanted -= n > 0 ? (uint64_t)n : 0;
    }
    return NULL;
}

static void pour(void *arg, struct grapnel_exec *x)
{
    static uint8_t bytes[64 * 1024];

    (void)arg;
    if (bytes[0] == 0) {
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(random() | 1);
    }
    while (grapnel_exec_write(x, bytes, sizeof bytes) > 0) {
    }
}

static void on_done(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                    const struct grapnel_error *error)
{
    (void)arg;
    (void)x;
    (void)status;
    bench_die("the command ended: %s", error ? error->text : "");
}

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

static void start(struct stuck *s, int pipe_end)
{
    /* Random, as what gets smaller on the way would not fill a window. */
    static const char *const endless[] = {"cat", "/dev/urandom", NULL};
    char line[80];
    const char *const sleeper[] = {"sh", "-c", line, NULL};
    struct grapnel_exec_handler handler = {.done = on_done};
    struct grapnel_exec_options what = {.argv = s->way == INPUT ? sleeper : endless,
                                        .use_fds = s->way == PIPE,
                                        .in = -1,
                                        .out = pipe_end,
                                        .err = -1,
                                        .no_input = s->way != INPUT};
    struct grapnel_error e = {0};

    snprintf(line, sizeof line, "head -c %llu >/dev/null; sleep 1000",
             (unsigned long long)s->wanted);
    if (s->way == CALLBACK)
        handler.out = refuse;
    if (s->way == INPUT)
        handler.writable = pour;
    s->x = grapnel_exec_start(s->server, &what, &handler, s, &e);
    if (!s->x)
        bench_die("%s: %s", e.text, e.detail);
    if (s->way == INPUT)
        pour(s, s->x);
}

/* Until nothing has moved for a second. */
static void settle(struct stuck *s)
{
    struct grapnel_server_info now, before = {0};
    int quiet = 0;

    for (int i = 0; i < LOOK_MAX && quiet < QUIET; i++) {
        (void)grapnel_drive(s->g, LOOK_MS);
        grapnel_server_info(s->server, &now);
        quiet = now.link_received + now.link_sent - before.link_received - before.link_sent < 1024
                    ? quiet + 1
                    : 0;
        before = now;
    }
    if (quiet < QUIET)
        bench_die("it does not come to rest");
}

static void measure(enum way way, uint64_t wanted)
{
    static const char *const names[WAYS] = {"output left by the application",
                                            "output to a pipe that nobody reads",
                                            "input for a command that does not read"};
    struct grapnel_connect_options where = {.config_file = bench_setting("SSHD_CONFIG")};
    struct grapnel_error e = {0};
    struct stuck s = {.way = way, .wanted = wanted, .g = grapnel_new(NULL, &e)};
    struct grapnel_server_info info;
    double ours, theirs;
    pthread_t reader;
    int ends[2], reads;
    long pid;

    s.server = s.g ? grapnel_connect(s.g, "t", &where, &e) : NULL;
    if (!s.server || pipe2(ends, O_CLOEXEC) < 0)
        bench_die("%s: %s", e.text, e.detail);
    (void)grapnel_drive(s.g, LOOK_MS);
    pid = agent_of(s.server);
    ours = (double)bench_memory(getpid(), "Rss");
    theirs = (double)bench_memory(pid, "Rss") + (double)bench_memory(bench_parent(pid), "Rss");
    start(&s, ends[1]);
    s.pipe_end = ends[0];
    reads = way == PIPE && pthread_create(&reader, NULL, read_pipe, &s) == 0;
    settle(&s);
    if (reads)
        pthread_join(reader, NULL);
    grapnel_server_info(s.server, &info);
    ours = (double)bench_memory(getpid(), "Rss") - ours;
    theirs =
        (double)bench_memory(pid, "Rss") + (double)bench_memory(bench_parent(pid), "Rss") - theirs;
    printf("%.0f %.0f %lld %s\n", ours, theirs,
           (long long)(way == INPUT ? info.link_sent : info.link_received), names[way]);
    fflush(stdout);
    grapnel_exec_free(s.x);
    grapnel_server_free(s.server);
    grapnel_free(s.g);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        bench_die("usage: stuck MIB");
    for (enum way way = CALLBACK; way < WAYS; way++)
        measure(way, (uint64_t)bench_number(argv[1], 0) << 20);
    return 0;
}
