/* What state a server is in, and other agents on its line: struct grapnel_server of the public
 * header. */
#include <stdlib.h>

#include "launcher/connection_impl.h"

#define UNDEPLOY_MS 5000

enum grapnel_server_state grapnel_server_state(struct grapnel_server *s)
{
    enum grapnel_server_state state;

    context_lock(s->g);
    state = connection_state(s);
    context_unlock_quiet(s->g);
    return state;
}

int64_t grapnel_server_silence(struct grapnel_server *s)
{
    int64_t ms;

    context_lock(s->g);
    ms = connection_silence(s);
    context_unlock_quiet(s->g);
    return ms;
}

int grapnel_deploy(struct grapnel_server *s, struct grapnel_error *error)
{
    struct context_sigpipe held;
    struct error e = {0};

    if (context_enter(s->g, error) < 0)
        return -E_ARGUMENT;
    context_hold_sigpipe(&held);
    connection_deploy(s, &e);
    context_release_sigpipe(&held);
    context_unlock(s->g);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}

/* ---- undeploying ---- */

/* Somebody may deploy the next agent before who waits for the end of this one has looked. */
struct leaving {
    struct grapnel_server *s;
    unsigned deployed;
};

static int has_left(void *arg)
{
    const struct leaving *l = arg;

    return l->s->error.code || l->s->deployed != l->deployed;
}

int grapnel_undeploy(struct grapnel_server *s, int64_t timeout, struct grapnel_error *error)
{
    struct leaving l = {.s = s};
    struct error e = {0};

    if (context_enter(s->g, error) < 0)
        return -E_ARGUMENT;
    if (context_in_callback(s->g)) {
        errors_set(&e, -E_ARGUMENT, "undeploying waits, and so is not for callbacks");
    } else if (!s->error.code) {
        connection_undeploy(s, timeout > 0 ? timeout : UNDEPLOY_MS);
        l.deployed = s->deployed;
        context_wait(s->g, has_left, &l, UINT64_MAX);
        if (s->error.code != -E_CLOSED)
            e = s->error;
    }
    context_unlock(s->g);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}

/* ---- pinging ---- */

/* Lives until it is answered, also when the asker has gone. */
struct question {
    int answered, abandoned;
    struct error error;
    int64_t round_trip_us;
};

static void on_answered(void *arg, const struct error *e, int64_t round_trip_us)
{
    struct question *q = arg;

    if (q->abandoned) {
        free(q);
        return;
    }
    q->answered = 1;
    q->round_trip_us = round_trip_us;
    if (e)
        q->error = *e;
}

static int is_answered(void *arg)
{
    return ((struct question *)arg)->answered;
}

int grapnel_ping(struct grapnel_server *s, int64_t timeout, int64_t *round_trip_us,
                 struct grapnel_error *error)
{
    struct question *q = calloc(1, sizeof *q);
    struct error e = {0};

    if (context_enter(s->g, error) < 0) {
        free(q);
        return -E_ARGUMENT;
    }
    if (!q)
        errors_set(&e, -E_NOMEM, "ping");
    else if (connection_ping(s, on_answered, q, &e) < 0)
        free(q);
    else if ((e.code = context_wait(s->g, is_answered, q, context_deadline(timeout))) < 0) {
        errors_set(&e, e.code, "ping");
        q->abandoned = 1;
    } else {
        e = q->error;
        if (round_trip_us)
            *round_trip_us = q->round_trip_us;
        free(q);
    }
    context_unlock(s->g);
    return e.code ? context_error(error, connection_target(s), &e) : 0;
}
