/* Text from elsewhere (a server's prompt, a host's output, a name in a file) made harmless for a
 * terminal.  Printable UTF-8 passes; control characters, C1 controls, invalid UTF-8, and the
 * invisible characters that reorder or hide text (bidirectional controls, zero width, BOM, line
 * separators) become visible escapes: \n \t \r \\x1b-like "\x1b" for bytes, "\u{202e}" for code
 * points.  A backslash itself stays as it is: the result is for eyes, not for decoding. */
#ifndef GRAPNEL_LAUNCHER_SAFETEXT_H
#define GRAPNEL_LAUNCHER_SAFETEXT_H

#include <stddef.h>

#include "proto/wire.h"

/* Flags: let newline (and CR before newline is dropped) and tab through as they are. */
#define SAFETEXT_LINES 1u

/* Writes the escaped form of `n` bytes at `in` to `out` (`size` bytes, always terminated when
 * size > 0, never cut inside an escape or a character).  Returns the length that the whole result
 * has without the terminator: >= size means that it was cut. */
size_t safetext_copy(char *out, size_t size, const void *in, size_t n, unsigned flags);

/* As safetext_copy, in memory from malloc that the caller frees.  NULL when memory is out. */
char *safetext_dup(const void *in, size_t n, unsigned flags);

/* The same for a flow that comes in pieces, as a character may be cut between two of them.
 * Zero-initialise, set `flags`, feed, finish. */
struct safetext {
    unsigned flags;
    unsigned char held[4]; /* an unfinished character */
    unsigned char held_count;
    unsigned char cr_held; /* SAFETEXT_LINES: a CR whose next byte has not come yet */
};

/* Appends the escaped form of n bytes to `out`.  At most 3 bytes are held back until more come.
 * 0, -E_NOMEM or -E_LIMIT (then part of the input may have been appended). */
int safetext_feed(struct safetext *st, struct wire_buf *out, const void *in, size_t n);

/* Appends what is held back, and makes *st fresh again.  Results as safetext_feed. */
int safetext_finish(struct safetext *st, struct wire_buf *out);

#endif
