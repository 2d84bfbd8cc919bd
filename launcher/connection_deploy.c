/* Agents that come and go on one line. */
#include "launcher/connection_impl.h"
#include "launcher/exec/exec.h"
#include "launcher/remote/delivery.h"
#include "launcher/remote/instance.h"
#include "launcher/remote/instances.h"

enum grapnel_server_state connection_state(const struct grapnel_server *s)
{
    if (!s->error.code && !(s->final && s->closed))
        return s->greeted ? GRAPNEL_DEPLOYED : GRAPNEL_CONNECTING;
    return s->parked && !s->final ? GRAPNEL_UNDEPLOYED : GRAPNEL_GONE;
}

void connection_watch(struct grapnel_server *s,
                      void (*changed)(void *arg, struct grapnel_server *s), void *arg)
{
    s->changed = changed;
    s->changed_arg = arg;
}

void connection_ignore(struct grapnel_server *s)
{
    s->changed = NULL;
    s->phase = NULL;
}

/* ---- leaving ---- */

void connection_undeploy(struct grapnel_server *s, int64_t timeout_ms)
{
    if (s->error.code || s->leaving)
        return;
    s->leaving = s->leave_asked = 1;
    s->leave_ms = timeout_ms;
    connection_mark_dirty(s); /* what fails by it may call anything: not from within the asker */
}

static void leave(struct grapnel_server *s)
{
    s->leave_asked = 0;
    if (s->error.code)
        return;
    ev_timer_stop(s->g->loop, &s->deadline);
    ev_now_update(s->g->loop);
    ev_timer_set(&s->deadline, (double)s->leave_ms / 1e3, 0.);
    ev_timer_start(s->g->loop, &s->deadline);
    instances_end_all(s, -E_CLOSED, "the server was undeployed");
    exec_cancel_all(s);
    instance_cancel_all(s);
    if (!s->closed)
        link_goodbye(s->link, 0, NULL);
}

void connection_leave_late(struct grapnel_server *s)
{
    connection_end_with(s, -E_TIMEOUT, "the agent does not leave: the line was cut");
    transport_free(s->transport);
    s->transport = NULL;
}

void connection_finish(struct grapnel_server *s)
{
    s->final = 1;
    connection_mark_dirty(s);
    exec_cancel_all(s);
    instance_cancel_all(s);
    if (!s->error.code && !s->closed)
        link_goodbye(s->link, 0, NULL);
}

int connection_is_closed(const struct grapnel_server *s)
{
    return s->closed;
}

/* ---- coming ---- */

/* Everything of the agent before, but what callbacks that are under way still look at: that cannot
 * be one that came since the loop slept. */
static void put_away(struct grapnel_server *s, struct link *fresh)
{
    if (s->old_link) {
        link_free(s->link);
        delivery_free(s->delivery);
    } else {
        s->old_link = s->link;
        s->old_delivery = s->delivery;
    }
    s->link = fresh;
    s->delivery = NULL;
    values_free(s->facts);
    s->facts = NULL;
    wire_free(&s->early);
    s->again = s->started = s->greeted = s->closed = s->paused = 0;
    s->parked = s->leaving = s->leave_asked = 0;
    if (s->boot_options.keep == BOOTSTRAP_KEEP)
        s->boot_options.keep = BOOTSTRAP_KEPT;
    s->attempts = 0;
    s->deployed++;
    s->began_us = context_now();
    s->error = (struct error){0};
}

void connection_free_old(struct grapnel_server *s)
{
    link_free(s->old_link);
    delivery_free(s->old_delivery);
    s->old_link = NULL;
    s->old_delivery = NULL;
}

static int start(struct grapnel_server *s, struct error *e)
{
    struct link *fresh = connection_link_new(s);

    if (!fresh)
        return errors_set(e, -E_NOMEM, "%s", connection_target(s));
    put_away(s, fresh);
    connection_mark_dirty(s);
    if (connection_attempt(s, e) < 0)
        connection_end(s, e);
    return e->code;
}

int connection_deploy(struct grapnel_server *s, struct error *e)
{
    if (s->g->abandoned)
        return errors_set(e, -E_CANCELLED, "all lines were cut");
    if (connection_state(s) == GRAPNEL_GONE)
        return errors_set(e, s->error.code ? s->error.code : -E_CLOSED, "%s", s->error.detail);
    if (!s->error.code)
        return s->leaving ? errors_set(e, -E_CLOSED, "the agent has not left yet") : 0;
    return start(s, e);
}

static void drop_line(struct grapnel_server *s)
{
    transport_free(s->transport);
    s->transport = NULL;
    s->parked = s->can_write = 0;
}

int connection_revive(struct grapnel_server *s, struct error *e)
{
    s->phase = NULL;
    if (s->g->abandoned || connection_state(s) != GRAPNEL_GONE)
        return connection_deploy(s, e);
    drop_line(s);
    s->final = 0;
    return start(s, e);
}

void connection_set_asker(struct grapnel_server *s, struct asker *asker)
{
    route_set_asker(s->route, asker);
}

void connection_cut(struct grapnel_server *s, int code, const char *detail)
{
    connection_end_with(s, code, detail);
    drop_line(s);
    connection_mark_dirty(s);
}

/* ---- between callbacks ---- */

void connection_settle(struct grapnel_server *s)
{
    enum grapnel_server_state state;

    connection_free_old(s);
    if (s->leave_asked)
        leave(s);
    if (s->final && s->parked) {
        s->parked = 0;
        transport_free(s->transport);
        s->transport = NULL;
    }
    state = connection_state(s);
    if (state == s->told)
        return;
    s->told = state;
    if (!s->changed || s->doomed)
        return;
    context_wake(s->g); /* somebody may wait for what follows from it: the loop is about to sleep */
    s->changed(s->changed_arg, s);
}
