/* The ssh2 transport's own state, and what all its parts do with it.
 *
 *   transport_ssh2  the public face: begins, is driven by the loop, ends
 *   ssh2_setup      from the name of a host to a command that runs
 *   ssh2_flow       the running command's bytes
 */
#ifndef GRAPNEL_LAUNCHER_SSH2_CORE_H
#define GRAPNEL_LAUNCHER_SSH2_CORE_H

#include <ev.h>
#include <stdint.h>

#include "launcher/ssh/dial.h"
#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/ssh2_algorithms.h"
#include "launcher/ssh/ssh2_auth.h"
#include "launcher/ssh/ssh2_channel.h"
#include "launcher/ssh/ssh2_proxy.h"
#include "launcher/ssh/ssh2_session.h"
#include "launcher/ssh/sshconfig.h"
#include "launcher/transport/transport.h"

enum ssh2_stage {
    SSH2_DIAL,      /* resolving and connecting */
    SSH2_HANDSHAKE, /* key exchange */
    SSH2_LOGIN,
    SSH2_OPEN, /* channel and command */
    SSH2_RUN,
    SSH2_CLOSING, /* its output has ended: how did it end? */
    SSH2_IDLE,    /* it has; the connection lives, and its channel stays for looking after it */
    SSH2_FAILED
};

struct ssh2 {
    struct transport base;
    struct transport_options o;
    struct transport_handler on;
    void *arg;
    char *command;
    struct knownhosts *known, *own_known; /* own: not given by the caller */
    int64_t timeout_ms;

    enum ssh2_stage stage;
    struct dial *dial;
    struct ssh2_proxy *proxy; /* in its place */
    struct ssh2_session *session;
    struct ssh2_algorithms *algorithms;
    struct ssh2_auth *auth;
    struct ssh2_channel *channel;
    int hasty; /* 1: do not wait for answers where that is sound (see ssh2_setup) */
    int restarts;
    int greeted; /* the server's version has been looked at */
    char login[600];
    uint64_t sent, received; /* by connections that are gone */

    ev_io readable, writable;
    ev_timer deadline, kick;
    int paused, wants_room, wants_eof, sent_eof;
    int broken;        /* writing failed */
    int depth, doomed; /* callbacks under way; to be freed when they have returned */

    void (*drive)(struct ssh2 *t); /* goes on as far as it can, in whatever stage it is */
};

/* Tells the caller, unless the transport was freed meanwhile.  trace: printf-formatted; made safe.
 */
void ssh2_core_trace(struct ssh2 *t, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ssh2_core_phase(struct ssh2 *t, enum errors_phase which, const char *note);
/* Ends it: nothing is watched any more, and the caller hears of it, once. */
void ssh2_core_fail(struct ssh2 *t, const struct error *e);

/* Around everything that may call the caller back: a transport that was freed in there goes with
 * the last `leave`. */
void ssh2_core_enter(struct ssh2 *t);
void ssh2_core_leave(struct ssh2 *t);

void ssh2_core_quiet(struct ssh2 *t); /* watches nothing */
void ssh2_core_kick(struct ssh2 *t);  /* has it driven in the loop's next turn */
void ssh2_core_deadline(struct ssh2 *t, double seconds);

/* Lets go of the connection, not of what was learnt from it. */
void ssh2_core_drop(struct ssh2 *t);
/* Why the connection is over: fills e and returns its code. */
int ssh2_core_lost(struct ssh2 *t, struct error *e);

#endif
