/* Children of the worker that its modules started: each is waited for by its own number, so that
 * those which others wait for (os.execute, io.popen) are left to these; and none is left a zombie,
 * also when nobody asks for its end. */
#ifndef GRAPNEL_AGENT_WORKER_CHILD_H
#define GRAPNEL_AGENT_WORKER_CHILD_H

#include <lua.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/spawn.h"

struct child;

/* To be called before anything else, and before there are objects that hold children. */
void child_open(lua_State *L);

/* Starts the program; `woken` (may be NULL) runs in the loop once the child has ended, until
 * child_forget. NULL, with *e filled, when it did not start. Raises no Lua error. */
struct child *child_start(lua_State *L, const struct spawn_program *program,
                          void (*woken)(void *arg), void *arg, struct error *e);

/* The link within that has this number has ended (tasks_owner): those that its tasks have started
 * and that nobody has any more are ended, by TERM, and KILL two seconds later; and each other of
 * them when that is so. */
void child_left(lua_State *L, uint64_t owner);

/* Not of interest any more: what is left of it when it ends is cleared away. NULL is legal. */
void child_forget(struct child *c);

pid_t child_pid(const struct child *c);

/* True once it has ended; looks itself. *status (may be NULL) as of waitpid. */
int child_ended(struct child *c, int *status);

/* Sends a signal to it and to all of its process group. 0, or -1 with errno; ESRCH when it has
 * ended. */
int child_signal(struct child *c, int number);

#endif
