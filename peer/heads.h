/* Heads of CBOR items (RFC 8949, section 3), read and written one at a time.  Definite lengths
 * only: neither end of a link of this make sends others.  Inline, because a call of a few bytes
 * consists of little else. */
#ifndef GRAPNEL_PEER_HEADS_H
#define GRAPNEL_PEER_HEADS_H

#include <stdbool.h>

#include "proto/wire.h"

enum heads_major {
    HEAD_UINT,
    HEAD_NEGINT,
    HEAD_BYTES,
    HEAD_TEXT,
    HEAD_ARRAY,
    HEAD_MAP,
    HEAD_TAG,
    HEAD_SIMPLE,
};

/* Values of HEAD_SIMPLE's info. */
#define HEADS_FALSE  20
#define HEADS_TRUE   21
#define HEADS_NIL    22
#define HEADS_HALF   25
#define HEADS_SINGLE 26
#define HEADS_DOUBLE 27

#define HEADS_TAG_REF 39 /* the tag of references */
#define HEADS_MOST    9  /* bytes of the longest head */

struct head {
    uint8_t major; /* enum heads_major */
    uint8_t info;
    uint64_t v; /* the number, length, tag, or bits of a float */
};

/* Reads the head at *at and moves *at behind it.  False: it does not end before `end`, or is of a
 * form that is not used here (indefinite length, reserved). */
static inline bool heads_read(const uint8_t **at, const uint8_t *end, struct head *h)
{
    if (*at == end) {
        return false;
    }
    uint8_t first = *(*at)++;
    h->major = first >> 5;
    h->info = first & 0x1f;
    if (h->info < 24) {
        h->v = h->info;
        return true;
    }
    if (h->info > 27) {
        return false;
    }
    size_t bytes = (size_t)1 << (h->info - 24);
    if ((size_t)(end - *at) < bytes) {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++) {
        v = v << 8 | (*at)[i];
    }
    *at += bytes;
    h->v = v;
    return true;
}

/* Writes a head of the shortest form at `at` (HEADS_MOST bytes of room); returns its bytes. */
static inline size_t heads_write(uint8_t *at, enum heads_major major, uint64_t v)
{
    uint8_t top = (uint8_t)((unsigned)major << 5);
    if (v < 24) {
        at[0] = (uint8_t)(top | v);
        return 1;
    }
    unsigned wide = v > UINT32_MAX ? 3 : v > UINT16_MAX ? 2 : v > UINT8_MAX ? 1 : 0;
    size_t bytes = (size_t)1 << wide;
    at[0] = (uint8_t)(top | (24 + wide));
    for (size_t i = bytes; i > 0; i--) {
        at[i] = (uint8_t)v;
        v >>= 8;
    }
    return bytes + 1;
}

#endif
