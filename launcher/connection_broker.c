/* A connection by way of the broker: the link runs over a stream of a server that is held there. */
#include <stdlib.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/connection_impl.h"
#include "launcher/transport/transport_broker.h"

static void forget_key(struct grapnel_server *s)
{
    free(s->broker_key);
    s->broker_key = NULL;
}

const char *connection_broker_key(const struct grapnel_server *s)
{
    return s->broker_key;
}

/* Worth a warning, unless there is simply none; and not for each of a thousand hosts. */
static void tell_without(const struct grapnel_server *s, const struct error *e)
{
    int known = e->code == -E_NOT_HELD || e->code == s->g->broker_told;

    context_trace(s->g, known ? 2 : 0, connection_target(s),
                  "connecting without the broker: %s: %s", errors_text(e->code), e->detail);
    if (!known)
        s->g->broker_told = e->code;
}

int connection_broker_begin(struct grapnel_server *s, struct error *why)
{
    struct error e = {0};

    if (!s->broker_key)
        return 0;
    s->transport = transport_broker(s->g, s->broker_key, s->boot_options.agent,
                                    &connection_line_callbacks, s, &e);
    if (s->transport) {
        s->by_broker = s->started = 1;
        return 1;
    }
    if (s->broker_only) {
        *why = e;
        return e.code;
    }
    tell_without(s, &e);
    forget_key(s);
    return 0;
}

/* The host needs another agent than the guessed one, with which what was written goes out again. */
static int change_agent(struct grapnel_server *s, const char *uname)
{
    struct error e = {0};

    if (connection_change_agent(s, uname, &e) == 0)
        return 0;
    connection_end(s, &e);
    return e.code;
}

int connection_broker_failed(struct grapnel_server *s, const struct error *e)
{
    struct error again = {0};

    if (!s->by_broker || s->greeted ||
        (e->code != -E_NOT_HELD && e->code != -E_ARCH && e->code != -E_BROKER) ||
        (s->broker_only && e->code != -E_ARCH))
        return 0;
    if (e->code == -E_BROKER)
        tell_without(s, e);
    else
        context_trace(s->g, 2, connection_target(s), "the broker: %s: %s", errors_text(e->code),
                      e->detail);
    transport_free(s->transport);
    s->transport = NULL;
    s->by_broker = s->started = s->paused = 0;
    ev_timer_stop(s->g->loop, &s->deadline);
    if (e->code != -E_ARCH)
        forget_key(s);
    else if (change_agent(s, e->detail) < 0)
        return 1;
    if (connection_attempt(s, &again) < 0)
        connection_end(s, &again);
    return 1;
}
