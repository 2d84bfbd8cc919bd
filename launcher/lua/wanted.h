/* Servers of the cache that code of Lua waits for: userdata, each of which holds one. */
#ifndef GRAPNEL_LAUNCHER_LUA_WANTED_H
#define GRAPNEL_LAUNCHER_LUA_WANTED_H

#include <lua.h>

#include "launcher/cache/cache.h"
#include "launcher/lua/host.h"

struct wanted;

/* Pushes a userdata: what cache_want gives.  `passing`: for a connection that is not the cache's
 * (see cache_set_passing).  NULL with *e filled, and nothing is pushed.  May raise errors. */
struct wanted *wanted_push(lua_State *L, struct host *h, const char *target,
                           const struct grapnel_connect_options *o, int passing, struct error *e);
/* The same for a server that is in the cache, as if it was wanted. */
struct wanted *wanted_push_again(lua_State *L, struct host *h, struct cached *s, struct error *e);
/* The one at that index, which must be such a userdata. */
struct wanted *wanted_at(lua_State *L, int index);

struct cached *wanted_server(struct wanted *w);
/* True when the attempt is over; false if there is no telling yet (arg is a wanted). */
int wanted_settled(void *arg);
/* True when an instance can be started on it: it is ready, or on its way with nothing before. */
int wanted_takes(struct wanted *w);
/* Of a settled one: 0, or negative with *e filled. */
int wanted_outcome(struct wanted *w, struct error *e);
/* Gives it back, as host_leave_server does.  Also by itself when it is collected, but then without
 * waiting; and as a to-be-closed variable.  May be repeated. */
void wanted_leave(struct wanted *w);

#endif
