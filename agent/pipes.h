/* The service `pipe`: a stream that waits for another service to claim it by its id. */
#ifndef GRAPNEL_AGENT_PIPES_H
#define GRAPNEL_AGENT_PIPES_H

#include "proto/stream.h"

struct session;

/* Service: takes the stream; what comes on it before it is claimed is discarded. */
int pipes_open(struct session *session, struct stream *s, const struct value *args,
               struct error *e);

/* The unclaimed pipe of that id, for the caller to set a handler; NULL: there is none. */
struct stream *pipes_claim(struct link *l, uint32_t id);

/* Ends a claimed pipe well; its handler is not called any more. */
void pipes_close(struct stream *s);

/* The handler of a stream that nobody looks at. */
const struct stream_handler *pipes_nobody(void);

#endif
