/* From the name of a host to a running command: the stages before SSH2_RUN. */
#ifndef GRAPNEL_LAUNCHER_SSH2_SETUP_H
#define GRAPNEL_LAUNCHER_SSH2_SETUP_H

#include "launcher/ssh/ssh2_core.h"

/* Begins to connect.  Called once, from the loop.  0 or negative. */
int ssh2_setup_begin(struct ssh2 *t, struct error *e);
/* Makes another connection, patiently: the present one is no good for what comes next. */
void ssh2_setup_restart(struct ssh2 *t, struct error *e);
/* Goes on in SSH2_HANDSHAKE, _LOGIN or _OPEN.  0: there may be more to do; 1: wait; or negative. */
int ssh2_setup_step(struct ssh2 *t, struct error *e);
/* Gives back what only the login needed: a held connection needs no keys, no agent, and no list of
 * algorithms. */
void ssh2_setup_done(struct ssh2 *t);
/* The time for the present stage is over: fills e and returns its code. */
int ssh2_setup_timeout(struct ssh2 *t, struct error *e);

#endif
