/* The transport "broker": a stream of a server that this account's broker holds.  There is no shell
 * and no bootstrap: what is written is the link's, from the first byte on, and so is what comes. */
#ifndef GRAPNEL_LAUNCHER_TRANSPORT_TRANSPORT_BROKER_H
#define GRAPNEL_LAUNCHER_TRANSPORT_TRANSPORT_BROKER_H

#include "launcher/context.h"
#include "launcher/transport/transport.h"

struct agents_binary;

/* Turns to the broker for the server of this key (serverkey.h) with this agent.  NULL with *e
 * filled: -E_NOT_HELD when there is no broker, -E_UNSAFE and others when it cannot be trusted or
 * used.  Later `failed` gets
 *   -E_NOT_HELD  it does not hold the server, or not with this agent: nothing was done there
 *   -E_ARCH      it holds it with the agent that e->detail names: nothing was done there
 *   -E_BROKER    it does not answer
 *   others       the line was lost. */
struct transport *transport_broker(struct grapnel *g, const char *key,
                                   const struct agents_binary *agent,
                                   const struct transport_handler *handler, void *arg,
                                   struct error *e);

#endif
