#include "agent/agent.h"

#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/deliver.h"
#include "agent/line.h"
#include "agent/nested.h"
#include "agent/session.h"

#define GRACE_MS 2000u

struct agent {
    const struct agent_options *options;
    struct ev_loop *loop;
    struct reap *reap;
    struct deliver_set *blobs;
    struct nested_set *nested;
    struct line *line;
    int ending;
    ev_io guardian;
    ev_signal told[3]; /* to end */
};

/* ---- for sessions and services ---- */

const struct agent_options *agent_options(const struct agent *a)
{
    return a->options;
}

struct ev_loop *agent_loop(struct agent *a)
{
    return a->loop;
}

struct deliver_set *agent_blobs(struct agent *a)
{
    return a->blobs;
}

struct reap *agent_reap(struct agent *a)
{
    return a->reap;
}

struct nested_set *agent_nested(struct agent *a)
{
    return a->nested;
}

int agent_end(struct agent *a, unsigned number, reap_ended *ended, void *arg)
{
    if (a->ending) {
        return 0;
    }
    if (number == 0) {
        a->ending = 1;
        nested_set_leave(a->nested);
        return reap_end_all(a->reap, GRACE_MS, ended, arg) != NULL ? 0 : -E_NOMEM;
    }
    if (reap_end_owned(a->reap, number, GRACE_MS, ended, arg) == NULL) {
        session_end(line_session(a->line), -E_NOMEM, "ending a session");
    }
    return 0;
}

/* ---- ends that come from elsewhere ---- */

static void end(struct agent *a, const char *text)
{
    session_end(line_session(a->line), -E_CANCELLED, text);
}

static void on_told(struct ev_loop *loop, ev_signal *w, int events)
{
    (void)loop;
    (void)events;
    end(w->data, "the agent was told to end by a signal");
}

static void on_guardian_gone(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    ev_io_stop(loop, w);
    end(w->data, "the agent's guardian was killed");
}

/* ---- life ---- */

static void start_watchers(struct agent *a)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGINT};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        ev_signal_init(&a->told[i], on_told, signals[i]);
        a->told[i].data = a;
        ev_signal_start(a->loop, &a->told[i]);
    }
    if (a->options->guardian >= 0) {
        ev_io_init(&a->guardian, on_guardian_gone, a->options->guardian, EV_READ);
        a->guardian.data = a;
        ev_io_start(a->loop, &a->guardian);
    }
}

/* libev aborts the process when it lacks the descriptors of its own pipe. */
static int has_descriptors(void)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) {
        return 0;
    }
    close(ends[0]);
    close(ends[1]);
    return 1;
}

static int set_up(struct agent *a)
{
    a->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    if (a->loop == NULL) {
        return -E_NOMEM;
    }
    if (!has_descriptors()) {
        return -E_DESCRIPTORS;
    }
    start_watchers(a);
    a->reap = reap_new(a->loop);
    a->blobs = deliver_set_new();
    a->nested = nested_set_new(a);
    if (a->reap == NULL || a->blobs == NULL || a->nested == NULL) {
        return -E_NOMEM;
    }
    a->line = line_new(a);
    return a->line == NULL ? -E_NOMEM : 0;
}

static void tear_down(struct agent *a)
{
    line_free(a->line);
    nested_set_free(a->nested);
    deliver_set_free(a->blobs);
    reap_free(a->reap);
    if (a->loop != NULL) {
        ev_loop_destroy(a->loop);
    }
    if (a->options->guardian >= 0) {
        close(a->options->guardian);
    }
}

int agent_run(const struct agent_options *options, struct error *e)
{
    struct agent a = {.options = options};
    const struct error *why;
    int result = set_up(&a);

    if (result != 0) {
        errors_set(e, result, "the agent");
        goto out;
    }
    ev_run(a.loop, 0);
    why = session_error(line_session(a.line));
    if (why->code != 0) {
        result = errors_set(e, why->code, "%s", why->detail);
    }
out:
    tear_down(&a);
    return result;
}
