/* Bytes that wait their turn, in pieces: what is queued is what is held, within a piece or two.  (A
 * wire_buf holds twice as much after it has grown, and has to be moved about.)
 *
 * The struct is public so that it can be a member; all zero is empty.  Its members are fifo.c's. */
#ifndef GRAPNEL_PROTO_FIFO_H
#define GRAPNEL_PROTO_FIFO_H

#include <stddef.h>
#include <stdint.h>

struct fifo_piece;

struct fifo {
    struct fifo_piece *first, *last;
    size_t length;
};

/* Queues a copy of n bytes.  0, or -E_NOMEM: then none of them. */
int fifo_put(struct fifo *f, const void *bytes, size_t n);

/* The first bytes, *n of them (0: it is empty), until the next call of fifo_put or fifo_take. */
const uint8_t *fifo_data(const struct fifo *f, size_t *n);

/* Drops the first n bytes, at most fifo_length. */
void fifo_take(struct fifo *f, size_t n);

size_t fifo_length(const struct fifo *f);

/* Drops all; it is empty and usable afterwards. */
void fifo_free(struct fifo *f);

#endif
