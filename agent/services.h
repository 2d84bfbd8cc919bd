/* The services and calls of services.def, found by their names. */
#ifndef GRAPNEL_AGENT_SERVICES_H
#define GRAPNEL_AGENT_SERVICES_H

#include "proto/stream.h"

/* For link_handler.open and .call; arg is the struct session. */
int services_open(void *arg, struct stream *s, const char *name, const struct value *args,
                  struct error *e);
void services_call(void *arg, struct link *l, uint32_t id, const char *name,
                   const struct value *args);

#endif
