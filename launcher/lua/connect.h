/* From a target to a connection, in Lua. */
#ifndef GRAPNEL_LAUNCHER_LUA_CONNECT_H
#define GRAPNEL_LAUNCHER_LUA_CONNECT_H

#include <lua.h>
#include <stdbool.h>

#include "launcher/grapnel.h"
#include "launcher/lua/line.h"

/* A lua_CFunction: connect(target [, options]); other tasks run while it waits. */
int connect_to(lua_State *L);
/* A lua_CFunction: (options or nil, userdata of held.h, userdata of wanted.h for its server, name
 * for errors): gives it a line, and returns the connection of that.  Likewise. */
int connect_held(lua_State *L);

/* Starts a line for an instance on s, as *o says; *use, `host` and e as in line_start.  `name` is
 * for errors: "root@web1:1". */
struct line *connect_start(lua_State *L, struct host *h, struct grapnel_server *s,
                           const struct host_use *use, const char *name,
                           const struct grapnel_instance_options *o, bool teleport,
                           struct error *e);
/* Pushes the connection of a line: the one that lives as long as the line, and has its methods
 * `close` and `facts`, if it is `alone`: not in the cache.  Else a new one, by which it is used. */
void connect_push(lua_State *L, struct line *line, int alone);
/* Pushes what the agent of a server has told of its host; raises an error where that is not known.
 * s may be NULL. */
int connect_facts(lua_State *L, struct grapnel_server *s);
/* Raises an error about `host`. */
int connect_fail(lua_State *L, const char *host, const struct error *e);

#endif
