/* Waiting of the worker's modules: for descriptors, children's ends and times, while other tasks
 * run.
 *
 * The functions stand at the end of a lua_CFunction, as lua_callk does: `return waitfd(…, k,
 * ctx);`. k(L, status, ctx) is called with the function's stack as it was when the wait is over:
 * status 0: it came; -E_TIMEOUT: it did not come in time; another negative code: the worker is
 * ending.  A cancelled task raises its error instead of calling k.  They may raise memory errors.
 */
#ifndef GRAPNEL_AGENT_WORKER_WAITFD_H
#define GRAPNEL_AGENT_WORKER_WAITFD_H

#include <ev.h>
#include <lua.h>

/* Waits until fd is ready for `events` (EV_READ, EV_WRITE or both: either); seconds < 0: without
 * limit.  The descriptor must stay open meanwhile, and should not block.  A descriptor that cannot
 * be watched (a file) is always ready. */
int waitfd(lua_State *L, int fd, int events, double seconds, lua_KFunction k, lua_KContext ctx);

/* Waits until some child of this process may have ended or stopped: look with waitpid(pid, …,
 * WNOHANG) before, and again in k, and wait again if it was another's.  Nobody else reaps. */
int waitfd_child(lua_State *L, double seconds, lua_KFunction k, lua_KContext ctx);

/* Waits for a time only (status 0 when it came); k may be NULL: the function then returns nothing.
 */
int waitfd_sleep(lua_State *L, double seconds, lua_KFunction k, lua_KContext ctx);

/* The worker's event loop, for watchers of a module's own, whose callbacks may tasks_wake.  NULL in
 * a state that has none. */
struct ev_loop *waitfd_loop(lua_State *L);

/* Gives the state of L its loop; the loop must live as long as the state.  Called once, by the
 * worker, before modules are used. */
void waitfd_set_loop(lua_State *L, struct ev_loop *loop);

/* Stops what watches in the loop, before it is destroyed. */
void waitfd_end(lua_State *L);

#endif
