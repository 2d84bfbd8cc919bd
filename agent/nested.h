/* The service `link`: further sessions, each of which has a stream of the agent's own link for its
 * pipe.  They share the agent and its blobs; what one of them starts ends with it, and with nothing
 * else. */
#ifndef GRAPNEL_AGENT_NESTED_H
#define GRAPNEL_AGENT_NESTED_H

#include "proto/stream.h"

#define NESTED_MOST 256 /* sessions at a time */

struct agent;
struct nested_set;
struct session;

/* The sessions of an agent, which must outlive them.  NULL: no memory. */
struct nested_set *nested_set_new(struct agent *a);
/* The agent's own link must have ended.  NULL is legal. */
void nested_set_free(struct nested_set *set);

size_t nested_set_count(const struct nested_set *set);

/* From now on nothing new is started in any of them: the caller ends all processes. */
void nested_set_leave(struct nested_set *set);

/* Service: begins a session on stream s; E_NO_SERVICE within one.  0 (accepted), or a negative code
 * with *e filled. */
int nested_open(struct session *session, struct stream *s, const struct value *args,
                struct error *e);

#endif
