/* What the files of a connection share: connection.c (life), connection_link.c (what the link says
 * and sends), connection_line.c (what the transport says, attempts), connection_deploy.c
 * (agents that come and go on one line), connection_broker.c (by way of the broker), server.c and
 * server_state.c (the public calls).  Not for anyone else; everything needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_CONNECTION_IMPL_H
#define GRAPNEL_LAUNCHER_CONNECTION_IMPL_H

#include "launcher/bootstrap/bootstrap.h"
#include "launcher/connection.h"
#include "launcher/route.h"
#include "launcher/transport/transport.h"

struct ping;

struct grapnel_server {
    struct grapnel_server *next, *next_dirty;
    struct grapnel *g;
    struct grapnel_exec *execs;       /* list, by exec.c */
    struct instance *instances;       /* list, by instance.c */
    struct grapnel_instance *handles; /* list, by instances.c */
    struct delivery *delivery;        /* by delivery.c */
    struct route *route;              /* where to, and by which transport */
    struct transport *transport;
    struct bootstrap *boot; /* until the agent speaks */
    struct bootstrap_options boot_options;
    char *sudo_user;
    char *broker_key; /* of serverkey.h, to ask the broker for first; NULL: it is not asked */
    int broker_only;  /* there is no other way */
    int by_broker;    /* the transport is the broker's: there is no bootstrap */
    struct link *link;
    struct wire_buf early; /* all that was sent of the link until HELLO, for another attempt */
    size_t payload_sent, early_sent;
    int dirty, doomed, can_write, paused, again, started, greeted, closed, one_shot;
    int parked;            /* no agent, and the transport is idle */
    int leaving;           /* the agent is to leave: asked for … */
    int leave_asked;       /* … and not begun yet */
    int final;             /* grapnel_close: no other agent comes */
    int64_t leave_ms;      /* its limit */
    unsigned deployed;     /* times that connection_deploy began */
    struct link *old_link; /* of the agent before, while its callbacks may still be under way */
    struct delivery *old_delivery;
    struct ping *pings; /* list, by connection_ping.c */
    void (*changed)(void *arg, struct grapnel_server *s);
    void *changed_arg;
    enum grapnel_server_state told;
    int64_t timeout_ms;
    int attempts;
    void (*phase)(void *arg, const char *phase, const char *note, int64_t elapsed_us);
    void *phase_arg;
    uint64_t began_us;
    ev_timer deadline; /* of shell and deployment */
    ev_timer tick;     /* the link's */
    struct error error;
    struct value *facts;
};

/* connection.c: a server that does nothing yet, and is not in the context's list.  NULL: memory is
 * out. */
struct grapnel_server *connection_new(struct grapnel *g);
/* Takes the route over, and makes what is needed before an attempt.  0 or negative with *e filled;
 * it is to be released either way. */
int connection_fill(struct grapnel_server *s, struct route *route,
                    const struct grapnel_connect_options *o, struct error *e);
/* Frees it at once, and takes it out of the context's list.  NULL is legal. */
void connection_release(struct grapnel_server *s);
/* The end of the server, for a good or a bad reason: everything that waits learns it.  The first
 * reason counts. */
void connection_end(struct grapnel_server *s, const struct error *e);
void connection_end_with(struct grapnel_server *s, int code, const char *detail);
void connection_tell_phase(struct grapnel_server *s, const char *name, const char *note);

/* connection_deploy.c: does what was put off until no callback is under way; s is alive. */
void connection_settle(struct grapnel_server *s);
/* Frees what the agent before has left; no callback is under way. */
void connection_free_old(struct grapnel_server *s);
/* The agent was to leave, and has not within the limit. */
void connection_leave_late(struct grapnel_server *s);

/* connection_ping.c: the agent has answered; and: it will not. */
void connection_pong(struct grapnel_server *s, uint64_t token);
void connection_fail_pings(struct grapnel_server *s);

/* connection_link.c: the link, whose callbacks are about s; NULL: memory is out. */
struct link *connection_link_new(struct grapnel_server *s);
/* What the link has to send goes to the early output now, sent or not.  0 or -E_NOMEM. */
int connection_gather_early(struct grapnel_server *s);
/* There may be something to send, or s is doomed: looked at before the loop sleeps. */
void connection_mark_dirty(struct grapnel_server *s);
/* ev_timer: the link's times. */
void connection_on_tick(struct ev_loop *loop, ev_timer *w, int revents);

/* connection_line.c: begins an attempt to get the agent started: the first, or one after another.
 * 0 or negative with *e filled. */
int connection_attempt(struct grapnel_server *s, struct error *e);
/* ev_timer: shell and agent have had their time. */
void connection_on_deadline(struct ev_loop *loop, ev_timer *w, int revents);
/* What a transport tells, about s. */
extern const struct transport_handler connection_line_callbacks;
/* The host needs another agent than the one that was sent, and with it another worker.  0 or
 * negative with *e filled. */
int connection_change_agent(struct grapnel_server *s, const char *uname, struct error *e);

/* connection_broker.c: turns to the broker, when that is wanted and there is one: 1 if so, 0 if
 * not, negative with *e filled when there is no other way. */
int connection_broker_begin(struct grapnel_server *s, struct error *e);
/* The transport has failed with *e: true when that was the broker's way of saying that it is of no
 * use, and another attempt has begun. */
int connection_broker_failed(struct grapnel_server *s, const struct error *e);

#endif
