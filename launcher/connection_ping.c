/* Signs of life of an agent, for who asks. */
#include <stdlib.h>

#include "launcher/connection_impl.h"

struct ping {
    struct ping *next;
    uint64_t token, began_us;
    connection_answered *answered;
    void *arg;
};

int64_t connection_silence(const struct grapnel_server *s)
{
    uint64_t now = context_now(), heard = link_last_heard(s->link);

    if (connection_state(s) != GRAPNEL_DEPLOYED)
        return -1;
    return now > heard ? (int64_t)(now - heard) / 1000 : 0;
}

int connection_ping(struct grapnel_server *s, connection_answered *answered, void *arg,
                    struct error *e)
{
    struct ping *p;

    if (s->error.code) {
        *e = s->error;
        return e->code;
    }
    p = calloc(1, sizeof *p);
    if (!p)
        return errors_set(e, -E_NOMEM, "ping");
    p->answered = answered;
    p->arg = arg;
    p->began_us = context_now();
    p->token = link_probe(s->link, p->began_us);
    if (!p->token) {
        free(p);
        *e = *link_error(s->link);
        return e->code;
    }
    p->next = s->pings;
    s->pings = p;
    return 0;
}

void connection_pong(struct grapnel_server *s, uint64_t token)
{
    struct ping **at = &s->pings, *p;

    while (*at && (*at)->token != token)
        at = &(*at)->next;
    if ((p = *at) == NULL)
        return;
    *at = p->next;
    p->answered(p->arg, NULL, (int64_t)(context_now() - p->began_us));
    free(p);
}

void connection_fail_pings(struct grapnel_server *s)
{
    struct ping *p;

    while ((p = s->pings) != NULL) {
        s->pings = p->next;
        p->answered(p->arg, &s->error, 0);
        free(p);
    }
}
