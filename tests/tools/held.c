/* A program that holds connections through the library, and counts what it and the agent hold open.
 *
 *   held commands CONFIG TARGET TRANSPORT   runs many commands that end in many ways on one line
 *   held connects CONFIG TARGET TRANSPORT   makes and drops many connections, good and bad ones
 *
 * Descriptors, threads and children must be as many afterwards as before: else it says what has
 * grown, and ends with 1. */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "launcher/grapnel.h"

#define TURNS   12
#define WAIT_MS 20000

static const char *config, *target, *transport;

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;

    if (!d)
        return -1;
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* Our own, once all children have been waited for, which the library does in threads. */
static int settled(void)
{
    siginfo_t info;

    while (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0)
        sched_yield(); /* it has ended: its thread is about to take it */
    return entries("/proc/self/fd");
}

static int same(const char *what, int before, int after)
{
    if (before == after)
        return 1;
    fprintf(stderr, "held: %s: %d before, %d after\n", what, before, after);
    return 0;
}

static int fail(const char *what, const struct grapnel_error *error)
{
    char text[2000];

    grapnel_error_format(error, text, sizeof text);
    fprintf(stderr, "held: %s: %s\n", what, text);
    return 0;
}

static struct grapnel_server *connect_to(struct grapnel *g, const char *where, const char *how,
                                         struct grapnel_error *error)
{
    struct grapnel_connect_options o = {
        .config_file = config, .transport = how, .connect_timeout = WAIT_MS};

    return grapnel_connect(g, where, &o, error);
}

/* ---- commands on one line ---- */

static long number_in(const char *json, const char *key)
{
    char quoted[40];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    at = json ? strstr(json, quoted) : NULL;
    return at ? strtol(at + strlen(quoted), NULL, 10) : -1;
}

/* What the agent has open when all that was cancelled without waiting has gone; -1 when that does
 * not come. */
static int settled_descriptors(struct grapnel_server *s)
{
    time_t deadline = time(NULL) + WAIT_MS / 1000;
    int n = -1;

    while (n < 0 && time(NULL) < deadline) {
        char *usage = grapnel_usage_json(s, WAIT_MS, NULL);
        if (number_in(usage, "streams") == 0)
            n = (int)number_in(usage, "descriptors");
        grapnel_string_free(usage);
    }
    return n;
}

static int run(struct grapnel_server *s, const struct grapnel_exec_options *o)
{
    struct grapnel_result result = {0};
    struct grapnel_error error;
    int code = grapnel_run_input(s, o, "some input\n", 11, &result, &error);

    grapnel_result_clear(&result);
    return code;
}

static void cancel_one(struct grapnel_server *s, int wait)
{
    const char *argv[] = {"sh", "-c", "sleep 98765 & wait", NULL};
    struct grapnel_exec_options o = {.argv = argv};
    struct grapnel_exec *x = grapnel_exec_start(s, &o, NULL, NULL, NULL);

    if (x && wait) {
        grapnel_exec_cancel(x);
        grapnel_exec_wait(x, WAIT_MS, NULL, NULL);
    }
    grapnel_exec_free(x);
}

static void many_ends(struct grapnel_server *s)
{
    static const char *const good[] = {"cat", NULL}, *const none[] = {"no-such-command", NULL},
                             *const loud[] = {"yes", NULL},
                             *const slow[] = {"sleep", "98765", NULL};
    const struct grapnel_exec_options kinds[] = {
        {.argv = good},
        {.argv = good, .cwd = "/no/such/folder"},
        {.argv = none},
        {.line = "cat >/dev/null; echo out; echo err >&2; exit 3"},
        {.line = "exec <&- >&- 2>&-; sleep 0.02"},
        {.line = "kill -KILL $$"},
        {.line = "(setsid sleep 98765 </dev/null >/dev/null 2>&1 &)"},
        {.argv = loud, .output_limit = 100000},
        {.argv = slow, .timeout = 30},
        {.argv = good, .merge = 1, .clean_env = 1},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        run(s, &kinds[i]);
    cancel_one(s, 1);
    cancel_one(s, 0);
}

static int hold_commands(struct grapnel *g)
{
    struct grapnel_error error;
    struct grapnel_server *s = connect_to(g, target, transport, &error);
    int ours, theirs, good = 0;

    if (!s)
        return fail("connect", &error);
    many_ends(s);
    ours = entries("/proc/self/fd");
    theirs = settled_descriptors(s);
    for (int i = 0; i < TURNS; i++)
        many_ends(s);
    good = theirs > 0 && same("the agent's descriptors", theirs, settled_descriptors(s)) &&
           same("descriptors", ours, entries("/proc/self/fd"));
    if (good && grapnel_close(s, WAIT_MS, &error) < 0)
        good = fail("close", &error);
    grapnel_server_free(s);
    return good;
}

/* ---- connections ---- */

static int one_round(struct grapnel *g)
{
    struct grapnel_connect_options silent = {.transport = "cat", .connect_timeout = 50};
    struct grapnel_error error;
    struct grapnel_server *s = connect_to(g, target, transport, &error);

    if (!s)
        return fail("connect", &error);
    cancel_one(s, 0);
    if (grapnel_close(s, WAIT_MS, &error) < 0)
        return fail("close", &error);
    grapnel_server_free(s);
    /* Dropped without a word, at once and while a command runs. */
    s = connect_to(g, target, transport, &error);
    if (!s)
        return fail("connect", &error);
    cancel_one(s, 0);
    grapnel_server_free(s);
    grapnel_server_free(connect_to(g, "localhost:1", "ssh2", &error));
    grapnel_server_free(connect_to(g, "x", "/no/such/transport", &error));
    grapnel_server_free(connect_to(g, "x", "false", &error));
    grapnel_server_free(grapnel_open(g, "x", &silent, &error));
    grapnel_server_free(grapnel_connect(g, "x", &silent, &error));
    return 1;
}

static int hold_connects(struct grapnel *g)
{
    int before, good = one_round(g);

    before = settled();
    for (int i = 0; good && i < TURNS / 2; i++)
        good = one_round(g);
    return good && same("descriptors", before, settled());
}

int main(int argc, char **argv)
{
    struct grapnel_error error;
    struct grapnel *g;
    int before, threads, good;

    if (argc != 5) {
        fputs("usage: held commands|connects CONFIG TARGET TRANSPORT\n", stderr);
        return 2;
    }
    config = argv[2];
    target = argv[3];
    transport = argv[4];
    /* Libraries may keep something open from their first use on. */
    grapnel_free(grapnel_new(NULL, &error));
    before = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    g = grapnel_new(NULL, &error);
    if (!g)
        return !fail("new", &error);
    good = strcmp(argv[1], "commands") == 0 ? hold_commands(g) : hold_connects(g);
    grapnel_free(g);
    if (!good || !same("descriptors at the end", before, entries("/proc/self/fd")) ||
        !same("threads", threads, entries("/proc/self/task")))
        return 1;
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
        fputs("held: there are children left\n", stderr);
        return 1;
    }
    puts("as before");
    return 0;
}
