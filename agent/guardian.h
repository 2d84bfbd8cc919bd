/* The guardian: the process that was started.  It keeps watch over the agent proper, and ends
 * what that leaves behind however it dies. */
#ifndef GRAPNEL_AGENT_GUARDIAN_H
#define GRAPNEL_AGENT_GUARDIAN_H

#include "proto/errors.h"

/* Forks the agent proper.
 * In the agent proper: returns 0 with *alive, a descriptor that becomes readable (end of file)
 * when the guardian is gone; the agent also gets SIGTERM then.
 * In the guardian: returns 1 after the agent proper and all that descended from it are gone, with
 * *status, to exit with.  On failure: negative with *e filled. */
int guardian_start(int *alive, int *status, struct error *e);

#endif
