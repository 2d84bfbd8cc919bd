/* An instance's worker on a host, and the byte pipe to it: the inner link runs over that.  What is
 * said on it is none of this file's business.
 *
 * Everything here needs the context's lock.  Callbacks run with it held, in whichever thread drives
 * the loop; they may call anything here. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_INSTANCE_H
#define GRAPNEL_LAUNCHER_REMOTE_INSTANCE_H

#include "launcher/connection.h"

struct instance;

struct instance_handler {
    /* n bytes from the worker.  They hold up those that follow until instance_consumed says that
     * they are done with (which may be within). */
    void (*bytes)(void *arg, const uint8_t *bytes, size_t n);
    /* Puts at most `room` bytes for the worker at `at`, and returns how many.  Less than room: none
     * are left, do not ask again before instance_ready. */
    size_t (*fill)(void *arg, uint8_t *at, size_t room);
    /* What the worker writes to its stderr, and programs in it to their stdout.  May be NULL. */
    void (*output)(void *arg, const uint8_t *bytes, size_t n);
    /* It has ended: -E_INSTANCE with how ("killed by signal SEGV", "exited with status 3") and the
     * last that it wrote to stderr, -E_MEMORY, -E_CPU_LIMIT, or why it could not be started or the
     * line has ended.  The last callback, once; not within instance_start. */
    void (*ended)(void *arg, const struct error *e);
};

/* Sends the worker if it is the first on s, and starts it; all of it goes out at once, before the
 * agent has answered, too.  *handler is copied, *o read.  NULL with *e filled. */
struct instance *instance_start(struct grapnel_server *s, const struct grapnel_instance_options *o,
                                const struct instance_handler *handler, void *arg, struct error *e);
/* `fill` has something again.  Cheap; may be repeated. */
void instance_ready(struct instance *i);
/* n bytes more of those that `bytes` was given are done with. */
void instance_consumed(struct instance *i, size_t n);
/* The worker sees the end of its input, and should leave by itself. */
void instance_eof(struct instance *i);
/* How the worker's process has ended, for `ended`; all zero: there was none, or that is not known.
 */
const struct grapnel_exec_status *instance_status(const struct instance *i);
/* Stops the worker and all that it has started; `ended` follows when the host confirms. */
void instance_cancel(struct instance *i);
/* Cancels it if it runs, and frees it; no callback follows.  NULL is legal. */
void instance_free(struct instance *i);

/* Cancels all instances of s. */
void instance_cancel_all(struct grapnel_server *s);

/* Of those that the broker holds, whose line is not that of s: they end, for this reason, when s
 * does; and all that is left of them goes with it. */
void instance_held_end_all(struct grapnel_server *s, const struct error *e);
void instance_held_free_all(struct grapnel_server *s);

#endif
