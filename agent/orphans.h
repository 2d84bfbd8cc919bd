/* What the processes that only watch have in common, the guardian and the keepers: they sleep, take
 * the ends of their children, and at the worst end all that descends from them. */
#ifndef GRAPNEL_AGENT_ORPHANS_H
#define GRAPNEL_AGENT_ORPHANS_H

#include <signal.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Sets *set to the signals that wake a watching process (CHLD, TERM, HUP, INT) and blocks them, so
 * that it takes them one by one with sigwaitinfo.  *before is the mask until then. */
void orphans_block(sigset_t *set, sigset_t *before);

/* Takes the ends of dead children.  When *one is among them it becomes 0, *status is set as of
 * waitpid and *usage (may be NULL) as of wait4.  True when there are no other children, and so no
 * descendants. */
int orphans_take(pid_t *one, int *status, struct rusage *usage);

/* Ends all descendants of the caller, TERM first and KILL after a grace, and returns when they are
 * gone or cannot be ended.  `set` as of orphans_block.  `orderly`: they had their grace already, so
 * those that may not be signalled are not waited for.  `fd` (-1: none) is closed a moment after
 * TERM. */
void orphans_end(const sigset_t *set, int orderly, int fd);

#endif
