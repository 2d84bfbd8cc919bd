/* The commands of a server, for the server.  Everything here needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_EXEC_EXEC_H
#define GRAPNEL_LAUNCHER_EXEC_EXEC_H

#include "launcher/grapnel.h"

/* Cancels all that run on s; each ends when the host confirms. */
void exec_cancel_all(struct grapnel_server *s);
/* The handler's `writable` runs when the link takes more input, whatever was written so far. */
void exec_ask_writable(struct grapnel_exec *x);

#endif
