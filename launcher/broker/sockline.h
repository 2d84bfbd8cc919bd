/* A link over a connected Unix socket, in a context's loop: one end of the line between the broker
 * and those who use it.  Needs the context's lock.
 */
#ifndef GRAPNEL_LAUNCHER_BROKER_SOCKLINE_H
#define GRAPNEL_LAUNCHER_BROKER_SOCKLINE_H

#include "launcher/context.h"
#include "proto/link.h"

struct sockline;

struct sockline_options {
    int opener;          /* as of the link: who connected */
    struct value *facts; /* body of HELLO; taken over */
    /* The link's callbacks, whose wake is to be sockline_wake's caller; with their arg. */
    const struct link_handler *handler;
    void *arg;
    /* The line is of no use any more, link_error says why; once, in the loop, from nothing that
     * this file was called for.  It may free the line. */
    void (*ended)(void *arg, struct sockline *line);
};

/* Takes fd, non-blocking, over.  NULL: memory is out (fd is closed). */
struct sockline *sockline_new(struct grapnel *g, int fd, const struct sockline_options *options);
struct link *sockline_link(struct sockline *line);
/* For link_handler.wake: what there is to send goes out before the loop sleeps. */
void sockline_wake(struct sockline *line);
/* Sends what the socket takes at once. */
void sockline_flush(struct sockline *line);
/* No more is to be said and heard: `ended` runs soon, when what was said is out. */
void sockline_hang_up(struct sockline *line);
/* True when the other end has gone, rather than what was open on the line. */
int sockline_is_lost(const struct sockline *line);
/* Bytes that went out and came in. */
void sockline_count(const struct sockline *line, uint64_t *sent, uint64_t *received);
/* Closes and frees, from anywhere but a callback of the link.  NULL is legal. */
void sockline_free(struct sockline *line);

#endif
