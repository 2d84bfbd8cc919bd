/* The bytes of a running command: SSH2_RUN and SSH2_CLOSING; and what the server says when none
 * runs: SSH2_IDLE. */
#ifndef GRAPNEL_LAUNCHER_SSH2_FLOW_H
#define GRAPNEL_LAUNCHER_SSH2_FLOW_H

#include "launcher/ssh/ssh2_core.h"

/* 0: there may be more to do; 1: wait; or negative. */
int ssh2_flow_step(struct ssh2 *t, struct error *e);
/* Takes up to n bytes and returns how many; the rest when there is room. */
size_t ssh2_flow_write(struct ssh2 *t, const uint8_t *bytes, size_t n);
/* The socket is to be read: also while the receiver is paused, if sending depends on what the
 * server says (its window, or new keys).  Otherwise two sides that each wait for the other to read
 * would wait for ever. */
int ssh2_flow_reads(struct ssh2 *t);

#endif
