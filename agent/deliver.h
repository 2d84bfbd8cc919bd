/* The service `deliver`: blobs named by their hash, kept until the agent ends. */
#ifndef GRAPNEL_AGENT_DELIVER_H
#define GRAPNEL_AGENT_DELIVER_H

#include <stdint.h>

#include "proto/stream.h"

#define DELIVER_HASH 32                  /* bytes of BLAKE2b-256 */
#define DELIVER_MOST (64u * 1024 * 1024) /* bytes of all blobs together */

struct session;
struct deliver_set;

/* All blobs of one agent.  NULL when memory is out; free takes NULL and forgets the blobs.  Streams
 * that are still delivering must have ended before. */
struct deliver_set *deliver_set_new(void);
void deliver_set_free(struct deliver_set *set);

/* Service: takes a blob, args {hash, size} and perhaps {data, encoding}: then it is held, or
 * refused, when this returns.  0 (accepted) or negative with *e filled. */
int deliver_open(struct session *session, struct stream *s, const struct value *args,
                 struct error *e);

/* The file of the blob of that hash (DELIVER_HASH bytes), which stays the set's; -1: not held. */
int deliver_file(const struct deliver_set *set, const uint8_t *hash);

#endif
