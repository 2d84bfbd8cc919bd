/* The children of the agent and all that descends from them: taking their ends, and ending them.
 *
 * One pass looks after all endings that are under way: it takes the ends of dead children, reads
 * the process table once, and sends signals: TERM first, KILL once the grace is over, again and
 * again until nothing is left.  A process that may not be signalled (of another user) is counted,
 * and not waited for beyond the grace. */
#ifndef GRAPNEL_AGENT_REAP_H
#define GRAPNEL_AGENT_REAP_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

struct reap;
struct reap_child;
struct reap_ending;

/* The child has ended: status as of waitpid, *usage of it and its waited-for children. */
typedef void reap_exited(void *arg, int status, const struct rusage *usage);

/* The ending is over; `left` processes could not be ended.  The ending is gone after it. */
typedef void reap_ended(void *arg, size_t left);

/* Watches SIGCHLD in `loop`.  NULL when memory is out. */
struct reap *reap_new(struct ev_loop *loop);
/* Forgets all children and endings without running callbacks.  NULL is legal. */
void reap_free(struct reap *r);

/* Runs `exited` once when child `pid` ends (never from within this call).  The entry is freed
 * after it, or by reap_forget.  NULL when memory is out. */
struct reap_child *reap_watch(struct reap *r, pid_t pid, reap_exited *exited, void *arg);
void reap_forget(struct reap *r, struct reap_child *c);

/* Ends the command that was started as process `leader` (of a session of its own) at `since`
 * (linux_ticks): its session, its descendants, and those of them that were seen but have been
 * orphaned since.  `alone`: no other command runs, so every orphan that began after `since` is its
 * too.  Runs `ended` later, not from within.  NULL when memory is out. */
struct reap_ending *reap_end_command(struct reap *r, pid_t leader, uint64_t since, int alone,
                                     unsigned grace_ms, reap_ended *ended, void *arg);

/* Ends every descendant of this process.  All other endings stop without a callback. */
struct reap_ending *reap_end_all(struct reap *r, unsigned grace_ms, reap_ended *ended, void *arg);

/* Gives an ending up; `ended` does not run.  NULL is legal. */
void reap_stop(struct reap *r, struct reap_ending *e);

/* Sends a signal to the process group of a command's leader, who may be dead and forgotten. */
void reap_signal_group(struct reap *r, pid_t leader, int number);

/* Number of living descendants now; reads the process table. */
size_t reap_count(struct reap *r);

#endif
