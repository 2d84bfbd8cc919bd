/* Event loops of the program's own: grapnel_fd and grapnel_dispatch of the public header.
 *
 * libev tells nobody for how long it would sleep, so that its poll cannot be left to another loop.
 * It can be left to a thread: the heartbeat thread sleeps in it, and what is due when it wakes up,
 * it does not run, but makes the descriptor readable and waits until the program's thread has run
 * it.  So timers, descriptors and wake-ups are those of libev, and callbacks the program's. */
#ifndef GRAPNEL_LAUNCHER_FOREIGN_H
#define GRAPNEL_LAUNCHER_FOREIGN_H

struct grapnel;

/* With the lock held (once), not in a callback: runs in this thread what the heartbeat thread has
 * found to be due.  True if there was something. */
int foreign_run(struct grapnel *g);
/* The context is ending: the heartbeat thread waits for nobody any more. */
void foreign_end(struct grapnel *g);
void foreign_free(struct grapnel *g);

#endif
