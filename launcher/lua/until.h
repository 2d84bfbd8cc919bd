/* Waiting, in Lua, until something about the connections is so. */
#ifndef GRAPNEL_LAUNCHER_LUA_UNTIL_H
#define GRAPNEL_LAUNCHER_LUA_UNTIL_H

#include <lua.h>
#include <stdint.h>

struct until;

/* As tasks_suspend, until reached(arg) is true; it is asked whenever something has happened.  k
 * begins with until_result. */
int until_suspend(lua_State *L, int (*reached)(void *arg), void *arg, uint64_t deadline_us,
                  lua_KFunction k, lua_KContext context);

/* What ended it: 0, -E_TIMEOUT, -E_CANCELLED or what the host gave.  Leaves the stack as it was at
 * until_suspend. */
int until_result(lua_State *L);

/* Raises such a result. */
int until_raise(lua_State *L, int result);

/* The member that chains those of a host. */
struct until **until_link(struct until *u);

/* Lets those go on whose condition is true; in the thread of Lua. */
void until_look(struct until *first);

#endif
