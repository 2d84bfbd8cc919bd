#include "launcher/connection.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/bootstrap/agents.h"
#include "launcher/bootstrap/archmemory.h"
#include "launcher/cache/serverkey.h"
#include "launcher/connection_impl.h"
#include "launcher/remote/delivery.h"
#include "launcher/remote/instance.h"
#include "launcher/remote/instances.h"

#define TIMEOUT_MS 30000

struct link *connection_link(struct grapnel_server *s)
{
    return s->link;
}

struct grapnel *connection_context(struct grapnel_server *s)
{
    return s->g;
}

struct grapnel_exec **connection_execs(struct grapnel_server *s)
{
    return &s->execs;
}

struct instance **connection_instances(struct grapnel_server *s)
{
    return &s->instances;
}

struct grapnel_instance **connection_handles(struct grapnel_server *s)
{
    return &s->handles;
}

struct delivery **connection_delivery(struct grapnel_server *s)
{
    return &s->delivery;
}

int64_t connection_pid(const struct grapnel_server *s)
{
    return values_as_int(values_get(s->facts, "pid"), 0);
}

const struct agents_binary *connection_agent(const struct grapnel_server *s)
{
    return s->boot_options.agent;
}

const char *connection_target(const struct grapnel_server *s)
{
    return route_target(s->route);
}

const struct error *connection_error(const struct grapnel_server *s)
{
    return &s->error;
}

void connection_tell_phase(struct grapnel_server *s, const char *name, const char *note)
{
    /* That it begins is told to the curious only: what is chosen in it follows. */
    if (*note)
        context_trace(s->g, 1, connection_target(s), "%s: %s", name, note);
    else
        context_trace(s->g, 2, connection_target(s), "%s begins", name);
    if (s->phase)
        s->phase(s->phase_arg, name, note, (int64_t)(context_now() - s->began_us));
}

/* The end of the server, for a good or a bad reason: everything that waits learns it. */
void connection_end(struct grapnel_server *s, const struct error *e)
{
    if (s->error.code)
        return;
    s->error = *e;
    ev_timer_stop(s->g->loop, &s->deadline);
    ev_timer_stop(s->g->loop, &s->tick);
    context_trace(s->g, 2, connection_target(s), "ended: %s %s", errors_text(e->code), e->detail);
    connection_mark_dirty(s);
    connection_fail_pings(s);
    link_end(s->link, e->code, e->detail);
    instance_held_end_all(s, e);
}

void connection_end_with(struct grapnel_server *s, int code, const char *detail)
{
    struct error e = {0};

    errors_set(&e, code, "%s", detail);
    connection_end(s, &e);
}

/* ---- making and freeing ---- */

/* The one that the host needed last time, else the one for machines like this.  Where the broker is
 * asked first, it may never have to be sent. */
static const struct agents_binary *guess_agent(struct grapnel_server *s, struct error *e)
{
    const struct agents_binary *(*find)(struct agents *, const char *, struct error *) =
        s->broker_key ? agents_known : agents_find;
    const struct agents_binary *agent = NULL;
    char uname[64] = "";

    if (route_key(s->route))
        archmemory_recall(route_key(s->route), uname, sizeof uname);
    if (*uname)
        agent = find(s->g->agents, uname, NULL);
    return agent ? agent : find(s->g->agents, NULL, e);
}

struct grapnel_server *connection_new(struct grapnel *g)
{
    struct grapnel_server *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->g = g;
    s->began_us = context_now();
    ev_timer_init(&s->deadline, connection_on_deadline, 0., 0.);
    ev_timer_init(&s->tick, connection_on_tick, 0., 0.);
    s->deadline.data = s->tick.data = s;
    return s;
}

/* Nobody waits for the agent to arrive once our own time is up; a shorter lease is no reason to
 * give a slow line less. */
static unsigned patience_s(const struct grapnel_server *s)
{
    int64_t lease = s->boot_options.lease_ms;
    int64_t ms = s->timeout_ms > lease ? s->timeout_ms : lease;

    return (unsigned)((ms + 999) / 1000);
}

int connection_fill(struct grapnel_server *s, struct route *route,
                    const struct grapnel_connect_options *o, struct error *e)
{
    const char *target = route_target(route);

    s->route = route;
    if (o->lease && (o->lease < 1000 || o->lease > 86400000))
        return errors_set(e, -E_ARGUMENT, "a lease is 1 s to 24 h");
    s->boot_options.keep = o->cache_agent ? BOOTSTRAP_KEPT : BOOTSTRAP_KEEP_NOT;
    s->boot_options.lease_ms = o->lease > 0 ? (unsigned)o->lease : s->g->lease_ms;
    s->one_shot = o->one_shot;
    s->phase = o->phase;
    s->phase_arg = o->phase_arg;
    s->timeout_ms = o->connect_timeout > 0 ? o->connect_timeout : TIMEOUT_MS;
    s->boot_options.patience_s = patience_s(s);
    if (o->broker && (s->broker_key = serverkey_make(s->route, o)) == NULL)
        return errors_set(e, -E_NOMEM, "%s", target);
    s->boot_options.agent = guess_agent(s, e);
    if (!s->boot_options.agent)
        return e->code;
    s->broker_only = o->broker > 1;
    if (o->sudo_user) {
        s->boot_options.sudo_user = s->sudo_user = strdup(o->sudo_user);
        if (!s->sudo_user)
            return errors_set(e, -E_NOMEM, "%s", target);
    }
    s->link = connection_link_new(s);
    return s->link ? 0 : errors_set(e, -E_NOMEM, "%s", target);
}

void connection_release(struct grapnel_server *s)
{
    struct grapnel_server **at;

    if (!s)
        return;
    ev_timer_stop(s->g->loop, &s->deadline);
    ev_timer_stop(s->g->loop, &s->tick);
    for (at = &s->g->servers; *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    link_free(s->link);
    instance_held_free_all(s);
    connection_free_old(s);
    instances_forget(s);
    for (at = &s->g->dirty; *at; at = &(*at)->next_dirty) {
        if (*at == s) {
            *at = s->next_dirty;
            break;
        }
    }
    transport_free(s->transport);
    bootstrap_free(s->boot);
    route_free(s->route);
    wire_free(&s->early);
    delivery_free(s->delivery);
    values_free(s->facts);
    free(s->sudo_user);
    free(s->broker_key);
    free(s);
}

void connection_end_all(struct grapnel *g)
{
    for (struct grapnel_server *s = g->servers; s; s = s->next)
        connection_end_with(s, -E_CANCELLED, "");
}

void connection_free_all(struct grapnel *g)
{
    struct grapnel_server *next;

    for (struct grapnel_server *s = g->servers; s; s = next) {
        next = s->next;
        connection_end_with(s, -E_CLOSED, "");
        connection_release(s);
    }
}
