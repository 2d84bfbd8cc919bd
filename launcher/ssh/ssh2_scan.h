/* A session that asks for the host's key only (transport_options.scan). */
#ifndef GRAPNEL_LAUNCHER_SSH2_SCAN_H
#define GRAPNEL_LAUNCHER_SSH2_SCAN_H

#include "launcher/ssh/ssh2_core.h"

/* Sets what the new session is to ask for, in the place of ssh2_algorithms_apply. */
int ssh2_scan_begin(struct ssh2 *t, struct error *e);
/* After each step of the handshake, which answered rc: tells the key when the server has proved
 * that it is its own, and then watches nothing any more.  early: that is known by what was sent.
 * 1, or negative. */
int ssh2_scan_step(struct ssh2 *t, int rc, int early, struct error *e);

#endif
