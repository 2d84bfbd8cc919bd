/* Starting commands for the module proc: from the words and options of its functions. */
#ifndef GRAPNEL_AGENT_WORKER_PROC_START_H
#define GRAPNEL_AGENT_WORKER_PROC_START_H

#include <lua.h>

#include "agent/worker/child.h"

enum proc_stdio { PROC_PIPE, PROC_NULL, PROC_INHERIT, PROC_GIVEN };

struct proc_start {
    enum proc_stdio stdio[3]; /* in: what stdin, stdout, stderr are where no option says it */
    int fds[3];               /* our ends of the pipes, non-blocking; -1: no pipe */
    void (*woken)(void *arg); /* as of child_start */
    void *arg;
};

/* Starts what the function's arguments tell: index 1 a line for the shell or a table of words,
 * index 2 the options or nil. May leave values in the stack. NULL, with nil, message, errno pushed,
 * when it does not start; then no descriptor is left open. Raises errors of the arguments. */
struct child *proc_start(lua_State *L, struct proc_start *s);

/* Pushes the result of a command that has ended: {status or signal, code}. */
void proc_start_result(lua_State *L, int status);

/* The signal at this argument: a name, with or without SIG, or a number. */
int proc_start_signal(lua_State *L, int arg, const char *fallback);

#endif
