#include "launcher/cli/each.h"

#include <signal.h>
#include <stdlib.h>

#include "launcher/cli/leave.h"
#include "launcher/cli/reach.h"
#include "launcher/cli/say.h"

#define AT_ONCE  32 /* connections: well under any limit of descriptors, with sockets and pipes */
#define CLOSE_MS 5000

struct host {
    struct reach reach;
    struct grapnel_server *server;
    struct grapnel_error error; /* of the attempt, when server is NULL */
};

struct asking {
    const struct options *o;
    const struct each_job *job;
    struct grapnel *g;
    struct host *hosts; /* AT_ONCE of them, a ring over the targets */
    size_t begun;       /* targets whose connection was started */
    struct leave leave;
};

static struct host *host_of(struct asking *a, size_t i)
{
    return &a->hosts[i % AT_ONCE];
}

static void begin(struct asking *a)
{
    struct host *h = host_of(a, a->begun);

    h->server =
        reach_open(&h->reach, a->g, a->o, a->o->words[a->begun], a->job->one_shot, &h->error);
    a->begun++;
}

static int fail(const struct asking *a, const char *target, const struct grapnel_error *error)
{
    struct grapnel_error ours;

    if (!a->o->json) {
        if (!leave_number(&a->leave))
            say_error(error);
    } else if (say_json(json_pack("{s:o, s:o}", "host", say_json_text(target), "error",
                                  say_json_error(error)),
                        &ours) < 0 ||
               say_flush(&ours) < 0) {
        say_error(&ours);
    }
    return SAY_FAILED;
}

static int finish(struct asking *a, size_t i)
{
    const char *target = a->o->words[i];
    struct host *h = host_of(a, i);
    struct grapnel_server *s = i < a->begun ? h->server : NULL;
    struct grapnel_error error = h->error;
    int status = 0, ready = s && grapnel_wait_ready(s, -1, &error) == 0;

    if (!ready || a->job->show(a->o, target, s, &error) < 0) {
        if (leave_number(&a->leave))
            leave_error(&error, target, leave_number(&a->leave));
        status = fail(a, target, &error);
    }
    if (ready)
        grapnel_close(s, CLOSE_MS, NULL);
    grapnel_server_free(s);
    h->server = NULL;
    return status;
}

static int ask_all(struct asking *a)
{
    size_t count = a->o->word_count;
    int number, status = 0;

    for (size_t i = 0; i < count; i++) {
        while (a->begun < count && a->begun < i + AT_ONCE && !leave_number(&a->leave))
            begin(a);
        if (finish(a, i) != 0)
            status = SAY_FAILED;
    }
    number = leave_number(&a->leave);
    if (number && number != SIGINT && !a->o->quiet)
        say_note("left on a signal; the hosts clean up by themselves");
    if (number)
        leave_now(leave_status(number));
    return status;
}

/* No target can be asked. */
static int refuse(struct asking *a, const struct grapnel_error *error)
{
    if (!a->o->json)
        return fail(a, "", error);
    for (size_t i = 0; i < a->o->word_count; i++)
        fail(a, a->o->words[i], error);
    return SAY_FAILED;
}

static int prepare(struct asking *a, struct reach_trace *trace, struct grapnel_error *error)
{
    a->hosts = calloc(AT_ONCE, sizeof *a->hosts);
    if (!a->hosts)
        return say_fail(error, "NOMEM", "out of memory");
    a->g = reach_context(trace, 0, error);
    if (!a->g)
        return -1;
    if (leave_begin(&a->leave, a->g, -1) < 0)
        return say_fail(error, "SYSTEM", "signals cannot be caught");
    return 0;
}

int each_target(const struct options *o, const struct each_job *job)
{
    struct asking a = {.o = o, .job = job};
    struct reach_trace trace = {.o = o};
    struct grapnel_error error;
    int status = prepare(&a, &trace, &error) < 0 ? refuse(&a, &error) : ask_all(&a);

    grapnel_free(a.g);
    free(a.hosts);
    return status;
}
