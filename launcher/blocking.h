/* Work that would block the loop (name resolution, asking a person, decrypting keys) done in a
 * thread of its own, with the result brought back to the loop. */
#ifndef GRAPNEL_LAUNCHER_BLOCKING_H
#define GRAPNEL_LAUNCHER_BLOCKING_H

#include <ev.h>

struct blocking;
struct blocking_job;

/* One per loop.  NULL when memory or descriptors are out. */
struct blocking *blocking_new(struct ev_loop *loop);
/* Waits for running work of blocking_run to return, runs every `done` that is due with cancelled =
 * 1 so that what it owns is freed, then frees.  NULL is legal. */
void blocking_free(struct blocking *b);

/* Runs work(arg) in another thread and then done(arg, cancelled) in the thread that drives the
 * loop. `done` always runs exactly once, so that it can free arg; `cancelled` is true after
 * blocking_cancel.  NULL: no thread could be started, nothing runs. */
struct blocking_job *blocking_run(struct blocking *b, void (*work)(void *arg),
                                  void (*done)(void *arg, int cancelled), void *arg);
/* The same for work of which there may be much at once, and of which nothing says when it returns:
 * it waits until not more than BLOCKING_QUEUE_MAX of this kind run that are not cancelled, and
 * BLOCKING_QUEUE_THREADS in all.  begun(arg) runs in the loop's thread when its turn has come,
 * maybe from within blocking_queue.  One that is cancelled before its turn does not run.
 * blocking_free does not wait for work of this kind: `done` then runs in the work's own thread, at
 * some later time, and may touch nothing but arg. */
#define BLOCKING_QUEUE_MAX     16
#define BLOCKING_QUEUE_THREADS 64
struct blocking_job *blocking_queue(struct blocking *b, void (*work)(void *arg),
                                    void (*begun)(void *arg),
                                    void (*done)(void *arg, int cancelled), void *arg);
/* The caller has lost interest: done will run with cancelled = 1.  The work itself is not
 * interrupted: give it a descriptor to watch if it must be. */
void blocking_cancel(struct blocking_job *job);

#endif
