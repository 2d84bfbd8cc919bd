/* What the files of a connection share: connection.c (life), connection_link.c (what the link says
 * and sends), connection_line.c (what the transport says, attempts), server.c (the public
 * calls).  Not for anyone else; everything needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_CONNECTION_IMPL_H
#define GRAPNEL_LAUNCHER_CONNECTION_IMPL_H

#include "launcher/bootstrap.h"
#include "launcher/connection.h"
#include "launcher/route.h"
#include "launcher/transport.h"

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
    struct link *link;
    struct wire_buf early; /* all that was sent of the link until HELLO, for another attempt */
    size_t payload_sent, early_sent;
    int dirty, doomed, can_write, paused, again, started, greeted, closed, one_shot;
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
/* Works out where and how, and makes what is needed before an attempt.  0 or negative with *e
 * filled; it is to be released either way. */
int connection_fill(struct grapnel_server *s, const char *target,
                    const struct grapnel_connect_options *o, struct error *e);
/* Frees it at once, and takes it out of the context's list.  NULL is legal. */
void connection_release(struct grapnel_server *s);
/* The end of the server, for a good or a bad reason: everything that waits learns it.  The first
 * reason counts. */
void connection_end(struct grapnel_server *s, const struct error *e);
void connection_end_with(struct grapnel_server *s, int code, const char *detail);
void connection_tell_phase(struct grapnel_server *s, const char *name, const char *note);

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

#endif
