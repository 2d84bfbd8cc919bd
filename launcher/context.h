/* The context behind struct grapnel: the lock, the loop and who drives it, and what all servers of
 * it share.  Not public. */
#ifndef GRAPNEL_LAUNCHER_CONTEXT_H
#define GRAPNEL_LAUNCHER_CONTEXT_H

#include <ev.h>
#include <pthread.h>
#include <signal.h>

#include "launcher/grapnel.h"
#include "launcher/wakeup.h"
#include "proto/errors.h"

struct agents;
struct blocking;
struct cache;
struct foreign;
struct keyring;
struct sshfiles;

/* One mutex (recursive, as callbacks call back) guards everything that hangs on a context.  The
 * thread that waits drives the loop; others that wait sleep until something has happened.  When
 * nobody waits the heartbeat thread drives it, so that leases never lapse by accident. */
struct grapnel {
    struct grapnel_options options;
    pthread_mutex_t lock;
    pthread_cond_t happened; /* followers: an iteration is over, or the lead is free */
    pthread_cond_t resting;  /* heartbeat thread: the lead is free */
    struct ev_loop *loop;
    struct wakeup awake; /* others have changed what the leading thread watches … */
    ev_io wake;          /* … which this tells it */
    ev_prepare before_poll;
    int led;       /* a thread is in the loop */
    int followers; /* threads that wait while another leads */
    int depth;     /* callbacks under way in the leading thread */
    pthread_t leader;
    pthread_t heartbeat;
    int heartbeat_runs, heartbeat_leads, heartbeat_rests, ending;
    struct foreign *foreign; /* by foreign.c: a loop of the program's own calls; NULL: none does */
    unsigned lease_ms;       /* of servers where none is asked for */
    int stopped;             /* grapnel_stop */
    int abandoned;           /* grapnel_abandon */
    int broker_told;         /* why the broker was of no use, when that was last said */
    struct blocking *blocking;
    struct agents *agents;
    struct keyring *keys; /* by transport_ssh2; NULL: none yet */
    struct sshfiles *files;
    struct cache *cache;            /* by cache.c; NULL: none yet */
    unsigned forks;                 /* when it was made: a child of fork has no part in it */
    struct grapnel_server *servers; /* list, by connection.c */
    struct grapnel_server *dirty;   /* those with output to flush before the next poll */
    struct context_signal *signals;
};

/* True in a child of fork: it has no part in the lines, and nobody there would ever release the
 * lock, so that locking does nothing then.  *to (may be NULL) is filled. */
int context_forked(const struct grapnel *g, struct grapnel_error *to);
/* The same as an inner error: 0, or -E_ARGUMENT in a child of fork, with *e filled. */
int context_refuse_forked(const struct grapnel *g, struct error *e);

void context_lock(struct grapnel *g);
/* The same for what a child of fork must not do: 0; or -E_ARGUMENT there, with *error (may be NULL)
 * filled, and nothing is locked. */
int context_enter(struct grapnel *g, struct grapnel_error *error);
/* Also makes the leading thread notice changed watchers. */
void context_unlock(struct grapnel *g);
/* The same where nothing was changed that the leading thread must know. */
void context_unlock_quiet(struct grapnel *g);

/* With the lock held: lets the leading thread look again at what it waits for. */
void context_wake(struct grapnel *g);

/* With the lock held once: drives the loop (or waits for who does) until reached(arg) is true or
 * the monotonic deadline (µs; UINT64_MAX: none) has passed.  0, -E_TIMEOUT, or -E_ARGUMENT when
 * called from a callback or in a child of fork. */
int context_wait(struct grapnel *g, int (*reached)(void *arg), void *arg, uint64_t deadline_us);

/* True in the thread that drives the loop, while it is not asleep: what the callers of the present
 * callback still use must not be freed now. */
int context_in_callback(const struct grapnel *g);

/* A write to a pipe whose reader has gone must not end the application: between these two calls
 * SIGPIPE does not reach the calling thread, and one that arose is taken back.  context_wait does
 * it by itself. */
struct context_sigpipe {
    sigset_t before;
};
void context_hold_sigpipe(struct context_sigpipe *held);
void context_release_sigpipe(const struct context_sigpipe *held);

/* Starts the heartbeat thread if it does not run: somebody depends on the loop. */
int context_need_heartbeat(struct grapnel *g);

/* Ends the handling of signals. */
void context_free_signals(struct grapnel *g);

/* Monotonic microseconds; and a deadline so many milliseconds from now (< 0: UINT64_MAX). */
uint64_t context_now(void);
uint64_t context_deadline(int64_t timeout_ms);

/* Trace text (printf) about `host` (may be NULL) when `level` is wanted. */
void context_trace(struct grapnel *g, int level, const char *host, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Fills a public error from an inner one; returns inner->code.  `to` may be NULL. */
int context_error(struct grapnel_error *to, const char *host, const struct error *inner);

#endif
