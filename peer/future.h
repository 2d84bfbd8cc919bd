/* Futures: calls that are not waited for. */
#ifndef GRAPNEL_PEER_FUTURE_H
#define GRAPNEL_PEER_FUTURE_H

#include <lua.h>

struct world;

/* Makes the metatable, and puts async, timed, call_no_reply into the table on top. */
void future_init(lua_State *L, struct world *w);

#endif
