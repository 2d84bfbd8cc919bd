/* The check that everything from the other end passes before anything is made of it: one CBOR item
 * of the forms that PROTOCOL.md allows ("Remote code"), and nothing after it.  Needs no Lua and
 * takes no memory, so that it can run within the link's callbacks. */
#ifndef GRAPNEL_PEER_STRICT_H
#define GRAPNEL_PEER_STRICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRICT_DEPTH_MAX 70 /* nesting: CODEC_DEPTH_MAX of a value, and what it is wrapped in */
#define STRICT_ITEMS_MAX (4u << 20) /* items of one value, all levels together */

enum strict_ref {
    STRICT_HOME,    /* an object of ours comes home */
    STRICT_FAR,     /* an object of the other end's */
    STRICT_CHANNEL, /* id is a stream's */
};

/* Told each reference, in order, while the check goes on: what is found wrong later has been told
 * already.  id is 1 or more. */
typedef void strict_told(void *arg, enum strict_ref what, int64_t id);

/* Checks exactly n bytes.  told may be NULL.  *refs (may be NULL) is set to the number of
 * references.  0, -E_MALFORMED (also: text that is not UTF-8, indefinite lengths, integers outside
 * int64, other tags and simple values, map keys that are containers, references, nil or NaN) or
 * -E_TOO_LARGE (the limits above). */
int strict_check(const void *bytes, size_t n, strict_told *told, void *arg, size_t *refs);

/* Of bytes that have passed: passes over the first `items` items, told their references, and
 * returns their bytes. */
size_t strict_tell(const void *bytes, size_t n, size_t items, strict_told *told, void *arg);

/* True when the n bytes are UTF-8; quick for ASCII. */
bool strict_is_text(const void *bytes, size_t n);

#endif
