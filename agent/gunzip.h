/* Unpacking one gzip member that is there as a whole, in pieces. */
#ifndef GRAPNEL_AGENT_GUNZIP_H
#define GRAPNEL_AGENT_GUNZIP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/errors.h"

#define GUNZIP_PIECE 16384 /* bytes of a piece, at most */

/* Takes the next piece of the plain bytes.  0, or a negative code that ends it. */
typedef int gunzip_sink(void *arg, const uint8_t *bytes, size_t n);

/* Unpacks the n bytes at `packed` into `sink`, piece by piece.  0 when they were exactly one member
 * with its right checksum; -E_MALFORMED or -E_NOMEM with *e filled; or what the sink returned, with
 * *e as the sink left it.  Whatever the bytes are, the sink decides how much comes out of them. */
int gunzip_run(const uint8_t *packed, size_t n, gunzip_sink *sink, void *arg, struct error *e);

#endif
