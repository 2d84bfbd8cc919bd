/* The agent's own file: is it the one that was sent, and away with it. */
#ifndef GRAPNEL_AGENT_SELFDELETE_H
#define GRAPNEL_AGENT_SELFDELETE_H

#include "proto/errors.h"

/* Compares the BLAKE2b-256 of the running program's own file with `hex` (64 digits, as
 * `b2sum -l 256` prints them).  0, -E_AGENT_TAMPERED, or -E_SYSTEM with *e filled. */
int selfdelete_check(const char *hex, struct error *e);

/* Deletes the program's own file, and the directory it stands in if that was made for it (its
 * name begins with ".grapnel-").  0, or -E_SYSTEM with *e filled. */
int selfdelete_run(struct error *e);

#endif
