#include "proto/fifo.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"

#define PIECE_ROOM (64 * 1024 - 64) /* with its head, and malloc's, within 16 pages */

struct fifo_piece {
    struct fifo_piece *next;
    size_t start, end;
    uint8_t bytes[PIECE_ROOM];
};

static void free_pieces(struct fifo_piece *p)
{
    while (p != NULL) {
        struct fifo_piece *next = p->next;
        free(p);
        p = next;
    }
}

/* Empty pieces with room for n bytes together; NULL: no memory. */
static struct fifo_piece *make_pieces(size_t n)
{
    struct fifo_piece *first = NULL;
    for (size_t room = 0; room < n; room += PIECE_ROOM) {
        struct fifo_piece *p = malloc(sizeof(*p));
        if (p == NULL) {
            free_pieces(first);
            return NULL;
        }
        p->start = p->end = 0;
        p->next = first;
        first = p;
    }
    return first;
}

static size_t fill(struct fifo_piece *p, const uint8_t *bytes, size_t n)
{
    size_t room = PIECE_ROOM - p->end;
    n = n < room ? n : room;
    memcpy(p->bytes + p->end, bytes, n);
    p->end += n;
    return n;
}

int fifo_put(struct fifo *f, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    size_t room = f->last != NULL ? PIECE_ROOM - f->last->end : 0;
    struct fifo_piece *more = n > room ? make_pieces(n - room) : NULL;
    if (n > room && more == NULL) {
        return -E_NOMEM;
    }
    f->length += n;
    if (f->last != NULL) {
        size_t done = fill(f->last, at, n);
        at += done;
        n -= done;
    }
    while (n > 0) {
        struct fifo_piece *p = more;
        assert(p != NULL);
        more = p->next;
        p->next = NULL;
        *(f->last != NULL ? &f->last->next : &f->first) = p;
        f->last = p;
        size_t done = fill(p, at, n);
        at += done;
        n -= done;
    }
    return 0;
}

const uint8_t *fifo_data(const struct fifo *f, size_t *n)
{
    *n = f->first != NULL ? f->first->end - f->first->start : 0;
    return f->first != NULL ? f->first->bytes + f->first->start : NULL;
}

void fifo_take(struct fifo *f, size_t n)
{
    assert(n <= f->length);
    f->length -= n;
    while (n > 0) {
        struct fifo_piece *p = f->first;
        assert(p != NULL);
        size_t part = p->end - p->start;
        if (n < part) {
            p->start += n;
            return;
        }
        n -= part;
        f->first = p->next;
        f->last = f->first != NULL ? f->last : NULL;
        free(p);
    }
}

size_t fifo_length(const struct fifo *f)
{
    return f->length;
}

void fifo_free(struct fifo *f)
{
    free_pieces(f->first);
    *f = (struct fifo){0};
}
