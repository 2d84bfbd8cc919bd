/* What conn.lua, classic.lua and far.lua are given to work with, and what they make of it. */
#ifndef GRAPNEL_PEER_API_H
#define GRAPNEL_PEER_API_H

#include "peer/peer_impl.h"

/* For peer_world. */
void api_init(lua_State *L, struct world *w);
/* Pushes a userdata that holds the peer's memory, and whose first bytes are its address. */
void api_push_core(lua_State *L, struct peer *p);
/* A lua_CFunction: the task that tells a service. */
int api_service(lua_State *L);
/* A root was set: the service is told (on_connect). */
void api_served(struct peer *p);
/* The link has ended: what Lua has asked to know of it is told (on_disconnect). */
void api_ended(struct peer *p);

/* Raises an error object { [kind] = true, message = text }: eof, timeout, cancelled, denied. */
int api_raise(lua_State *L, const char *kind, const char *text);

/* Replaces the text on top by such an error. */
void api_push_error(lua_State *L, const char *kind);

/* Gives the table on top, which has a `message`, what makes it print as such an error. */
void api_make_error(lua_State *L);
/* Raises an error when the argument at idx can not be called. */
void api_check_callable(lua_State *L, int idx);
/* Monotonic microseconds; 0 while the state is being closed. */
uint64_t api_now(lua_State *L);
/* The seconds at idx from now, as monotonic microseconds. */
uint64_t api_deadline(lua_State *L, int idx);

#endif
