/* The processes of the host, as /proc tells them. */
#ifndef GRAPNEL_AGENT_WORKER_PROC_LIST_H
#define GRAPNEL_AGENT_WORKER_PROC_LIST_H

#include <lua.h>

/* The functions of the module proc. */
int proc_list(lua_State *L);
int proc_list_info(lua_State *L);

#endif
