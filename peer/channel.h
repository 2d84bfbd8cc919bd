#ifndef GRAPNEL_PEER_CHANNEL_H
#define GRAPNEL_PEER_CHANNEL_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct peer;

/* The stream of the channel at idx: 1; 0: it is no channel; -1: not one of p's that is open. */
int channel_id(lua_State *L, struct peer *p, int idx, uint32_t *stream);
/* Pushes the channel of that stream, or nil when it is gone: then false. */
bool channel_push(struct peer *p, lua_State *L, uint32_t stream);

#endif
