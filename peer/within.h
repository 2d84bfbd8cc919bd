/* Further links to one end, each within a stream of its first one: for others who use the same Lua
 * state.  Each has a peer of its own; the namespace, and what else belongs to the state, they have
 * in common. */
#ifndef GRAPNEL_PEER_WITHIN_H
#define GRAPNEL_PEER_WITHIN_H

#include "proto/stream.h"

struct peer;

/* The other end opens a stream to the service `link` (link_handler.open). */
int within_offer(struct peer *p, struct stream *s, struct error *e);

/* Lets those send that have something of which nobody was told. */
void within_flush(struct peer *p);

/* Frees all of them; the link of p has ended. */
void within_free(struct peer *p);

#endif
