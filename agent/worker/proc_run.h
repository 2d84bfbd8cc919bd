/* proc.run: a command from its begin to its end. */
#ifndef GRAPNEL_AGENT_WORKER_PROC_RUN_H
#define GRAPNEL_AGENT_WORKER_PROC_RUN_H

#include <lua.h>

/* The function itself. */
int proc_run(lua_State *L);

#endif
