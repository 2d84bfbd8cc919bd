/* Leaving on a signal, for verbs that only wait: INT, TERM, HUP and QUIT cut all lines, upon which
 * hosts clean up by themselves, and whatever waits for them fails; the verb then says what it knows
 * and leaves.  A second signal ends the process as if none were handled. */
#ifndef GRAPNEL_CLI_LEAVE_H
#define GRAPNEL_CLI_LEAVE_H

#include <stdatomic.h>

#include "launcher/grapnel.h"

struct leave {
    struct grapnel *g;
    atomic_int number; /* the signal; 0: none came */
    int tell;          /* a descriptor that gets a byte then; -1: none */
};

/* Begins to handle the signals of g (until g is freed).  *l must outlive g.  tell: for who waits
 * for something else than lines; -1: nobody does.  0, or a negative code. */
int leave_begin(struct leave *l, struct grapnel *g, int tell);
/* The signal that came, or 0. */
int leave_number(const struct leave *l);

/* The exit status of a process that leaves on this signal, as shells have it. */
int leave_status(int number);
/* Fills *error with it, for what has come to nothing because of it. */
void leave_error(struct grapnel_error *error, const char *target, int number);
/* Leaves without waiting for what the context still has under way; standard output is flushed
 * before. */
_Noreturn void leave_now(int status);

#endif
