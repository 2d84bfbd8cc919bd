/* The worker's binary on its way to a server: sent once, ahead of the first instance.  Everything
 * here needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_DELIVERY_H
#define GRAPNEL_LAUNCHER_REMOTE_DELIVERY_H

#include "launcher/connection.h"
#include "proto/wire.h"

#define DELIVERY_HASH 32 /* bytes of BLAKE2b-256 */

struct delivery;
struct agents_binary;

/* The worker for the architecture of the agent of s is at the host before what is opened next, or
 * *delivery_error tells later why not.  Asks for no round trip, also before the agent has answered;
 * does nothing if it was done before and did not fail.  0, or negative with *e filled. */
int delivery_ensure(struct grapnel_server *s, struct error *e);

/* The hash of what was sent, as `exec` wants it; after delivery_ensure only. */
const uint8_t *delivery_hash(struct grapnel_server *s);
/* Why the host did not take it; code 0: it has, or has not answered yet. */
const struct error *delivery_error(const struct delivery *d);

/* The next attempt takes another agent: rewrites what `early` says of the worker for it.  `early`
 * holds all that has left the link.  d may be NULL.  0 (also when there is no worker for it, which
 * is then *delivery_error), or negative with *e filled. */
int delivery_agent_changed(struct delivery *d, struct grapnel_server *s, struct wire_buf *early,
                           struct error *e);

/* When its stream has ended.  NULL is legal. */
void delivery_free(struct delivery *d);

#endif
