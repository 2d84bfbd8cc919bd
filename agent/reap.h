/* The commands of the agent and all that descends from them: taking their ends, and ending them.
 *
 * The agent's children are the keepers of its commands (keeper.h); a child that is none is a stray,
 * which belonged to a keeper that was killed, and is ended.
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

#include "agent/keeper.h"

struct reap;
struct reap_child;
struct reap_ending;

/* The command has ended. */
typedef void reap_exited(void *arg, const struct keeper_report *end);

/* The ending is over; `left` processes could not be ended.  The ending is gone after it. */
typedef void reap_ended(void *arg, size_t left);

/* Watches SIGCHLD in `loop`.  NULL when memory is out. */
struct reap *reap_new(struct ev_loop *loop);
/* Forgets all children and endings without running callbacks; those that reap_watch gave out are
 * the callers' still.  NULL is legal. */
void reap_free(struct reap *r);

/* Takes over a command that was started, k->report included; `owner` is a number of the caller's
 * for reap_end_owned.  Runs `exited` once when it ends (never from within this call).  Valid until
 * reap_forget.  NULL when memory is out: then the command is killed. */
struct reap_child *reap_watch(struct reap *r, const struct keeper *k, unsigned owner,
                              reap_exited *exited, void *arg);
/* keeper_end_input, if the keeper is there. */
void reap_end_input(const struct reap_child *c);
/* `exited` is not run any more; what lives of the command goes on.  NULL is legal. */
void reap_forget(struct reap_child *c);

/* Ends a command with all that descends from it, and runs `ended` later, not from within.  NULL
 * when memory is out. */
struct reap_ending *reap_end_command(struct reap *r, struct reap_child *c, unsigned grace_ms,
                                     reap_ended *ended, void *arg);

/* True when TERM has reached all of a command that is being ended, by whichever ending, or KILL
 * takes its place: two looks at the process table in a row have found nobody new. */
int reap_end_warned(const struct reap *r, const struct reap_child *c);

/* Ends all that descends from the commands of an owner, also from those that were forgotten, and
 * runs `ended` later, not from within.  Their own endings stop without a callback.  NULL when
 * memory is out. */
struct reap_ending *reap_end_owned(struct reap *r, unsigned owner, unsigned grace_ms,
                                   reap_ended *ended, void *arg);

/* Ends every descendant of this process.  All other endings stop without a callback. */
struct reap_ending *reap_end_all(struct reap *r, unsigned grace_ms, reap_ended *ended, void *arg);

/* Gives an ending up; `ended` does not run.  NULL is legal. */
void reap_stop(struct reap *r, struct reap_ending *e);

/* Sends a signal to a command's process group, whose leader may be dead. */
void reap_signal_group(struct reap *r, const struct reap_child *c, int number);

/* Number of living descendants now, keepers not counted; reads the process table. */
size_t reap_count(struct reap *r);

#endif
