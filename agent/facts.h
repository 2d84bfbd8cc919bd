/* What the agent tells about its host and itself. */
#ifndef GRAPNEL_AGENT_FACTS_H
#define GRAPNEL_AGENT_FACTS_H

#include "proto/link.h"

struct session;

/* The facts as a map for HELLO; NULL when memory is out. */
struct value *facts_get(void);

/* Those of them that say nothing about the account, or what the host is to others. */
struct value *facts_public(void);

/* Call `facts` → the same map, as of now. */
void facts_call(struct session *session, struct link *l, uint32_t id, const struct value *args);

/* Call `usage` → {rss, guardian_rss (bytes), processes, streams, descriptors}. */
void facts_usage(struct session *session, struct link *l, uint32_t id, const struct value *args);

#endif
