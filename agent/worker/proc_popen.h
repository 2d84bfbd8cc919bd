/* proc.popen: a command beside the code that started it. */
#ifndef GRAPNEL_AGENT_WORKER_PROC_POPEN_H
#define GRAPNEL_AGENT_WORKER_PROC_POPEN_H

#include <lua.h>

/* The function itself. */
int proc_popen(lua_State *L);

#endif
