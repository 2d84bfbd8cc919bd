/* Tasks: many Lua functions that run side by side in one Lua state, in one thread.
 *
 * A task is a pooled coroutine.  Its code runs until it waits (for an answer, a descriptor, a
 * time); then others run.  Code that waits is a C function which ends with tasks_suspend; it works
 * from everywhere, also from within the coroutines of the user's code, whose library is replaced by
 * one that passes the waiting on, and from where Lua cannot yield (the main chunk, a comparator of
 * table.sort): there the other tasks, and the events from outside, run inside the wait.
 *
 * A nested wait holds the C stack: it ends only after the nested waits begun later have ended.
 *
 * Nothing here knows of links, loops or descriptors; events come through tasks_host.wait, which
 * calls what it likes: tasks_wake, tasks_start and tasks_cancel.
 *
 * Functions that take a lua_State may raise Lua errors where it is said; the others never do, and
 * may be called outside of any protected call.
 */
#ifndef GRAPNEL_PEER_TASKS_H
#define GRAPNEL_PEER_TASKS_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#define TASKS_NEST_MAX 32 /* nested waits inside each other */

struct tasks; /* of one Lua state */
struct task;

struct tasks_host {
    /* Waits for events from outside, and lets their callbacks run, until some have or the
     * monotonic time deadline_us has come (0: looks only, UINT64_MAX: no deadline).  What is to be
     * sent should be sent first; if that wakes something (tasks_woken) it only looks, too.  0, or a
     * negative code: waiting is over for good, and every nested wait ends with it.  Must not raise
     * an error, and must not run tasks. */
    int (*wait)(void *arg, uint64_t deadline_us);
    void *arg;
};

/* ---- the state ---- */

/* Gives the Lua state of L its tasks and replaces its coroutine library's functions.  *host is
 * copied; now_us tells the monotonic time.  NULL when memory is out.  To be freed with tasks_free
 * before the state is closed. */
struct tasks *tasks_new(lua_State *L, const struct tasks_host *host, uint64_t (*now_us)(void));

/* Forgets all tasks (their `done` does not run), waits and timers.  NULL is legal. */
void tasks_free(struct tasks *t);

/* Those of the state that L is a coroutine of; NULL: it has none. */
struct tasks *tasks_of(lua_State *L);

/* The main thread's lua_State, as given to tasks_new. */
lua_State *tasks_state(const struct tasks *t);

/* Monotonic microseconds. */
uint64_t tasks_now(const struct tasks *t);

/* ---- tasks ---- */

/* A task has ended; its coroutine is L.  status LUA_OK: its n results are on top of L's stack.
 * Else: the error value and below it (second from top) a traceback text or nil are on top, n = 2.
 * Pops nothing; must not raise errors: what may raise is better done at the end of the task itself.
 * `k` is invalid afterwards.  May start and cancel tasks. */
typedef void tasks_done(void *arg, struct task *k, lua_State *L, int status, int n);

/* A fresh task, from the pool.  *L is its empty coroutine: the caller pushes a function and its
 * arguments there (LUA_MINSTACK slots are free, more after lua_checkstack), then calls tasks_start
 * or tasks_drop.  NULL when memory is out. */
struct task *tasks_prepare(struct tasks *t, lua_State **L);

/* Lets a prepared task run soon (in tasks_run), with the nargs topmost values as arguments.
 * done: may be NULL; runs once, in tasks_run, also after a cancel. */
void tasks_start(struct task *k, int nargs, tasks_done *done, void *arg);

/* Gives a prepared task back instead. */
void tasks_drop(struct task *k);

/* Ends a task that has not ended: one that has not run yet never runs; a wait in it ends with
 * -E_CANCELLED; running code gets an error at its next instruction, and again soon when it goes on
 * (pcall does not save it).  Callable from everywhere, also from the task itself.  `done` runs
 * later, with LUA_ERRRUN unless the task came to its end nevertheless. */
void tasks_cancel(struct task *k);
int tasks_cancelled(const struct task *k);

/* Cancels every task that has not ended. */
void tasks_cancel_all(struct tasks *t);

/* The task whose code runs now; NULL: none (the main chunk, a callback of the host). */
struct task *tasks_current(const struct tasks *t);

/* A pointer of the user's for each task; NULL at first. */
void tasks_set_user(struct task *k, void *user);
void *tasks_user(const struct task *k);

/* For whom it works: a number that it has from the task that has prepared it; 0: nobody. */
void tasks_set_owner(struct task *k, uint64_t owner);
uint64_t tasks_owner(const struct task *k);

/* Tasks that are started and have not ended. */
size_t tasks_count(const struct tasks *t);

/* Pushes the error value of a cancelled task, a text, and raises it. */
int tasks_cancelled_error(lua_State *L);

/* ---- waiting ---- */

/* A timer calls `fire` once, in tasks_run, at or after its time.  Zeroed: not set.  Memory is the
 * user's, and must stay while it is set. */
struct tasks_timer {
    struct tasks *t;
    void (*fire)(void *arg);
    void *arg;
    uint64_t at_us;
    uint64_t order; /* equal times: first come, first served */
    size_t place;   /* in the heap, from 1; 0: not set */
};

/* Sets, or sets anew.  0, or -E_NOMEM. */
int tasks_timer_set(struct tasks *t, struct tasks_timer *timer, uint64_t at_us,
                    void (*fire)(void *arg), void *arg);
void tasks_timer_stop(struct tasks_timer *timer);

/* One waiting of one task.  Zeroed: ready for use, and again after each tasks_suspend.  Memory is
 * the user's (such as a userdata that is on the waiting function's stack), and must stay while
 * the wait lasts. */
struct tasks_wait {
    int result; /* when the wait is over: 0 woken, -E_TIMEOUT, -E_CANCELLED, or the host's code */
    int state;
    struct task *task;
    struct tasks *t;
    struct tasks_timer timer;
};

/* Ends the wait, or the next one if it has not begun.  Cheap; no Lua code runs in it. */
void tasks_wake(struct tasks_wait *w);

/* The last act of a C function: `return tasks_suspend(L, &w, deadline, k, ctx);`.  Waits until
 * tasks_wake(w), the deadline (monotonic microseconds, UINT64_MAX: none), or a cancel.  Then
 * k(L, status, ctx) is called with the function's stack as it was, and its results are the
 * function's (status: LUA_YIELD after the coroutine yielded, LUA_OK where it did not have to or
 * could not; of no matter to most).  k must look at w->result, and on -E_CANCELLED should
 * `return tasks_cancelled_error(L)`.  Raises errors: memory, nested waits too deep, waiting in a
 * finalizer (__gc). */
int tasks_suspend(lua_State *L, struct tasks_wait *w, uint64_t deadline_us, lua_KFunction k,
                  lua_KContext ctx);

/* True while something waits on w. */
int tasks_waiting(const struct tasks_wait *w);

/* A lua_CFunction: sleep(seconds). */
int tasks_sleep(lua_State *L);

/* ---- running ---- */

/* Fires timers and runs what is ready.  True when there is more that could run at once (events from
 * outside should be looked at before). */
int tasks_run(struct tasks *t);

/* When tasks_run must be called again if nothing else happens: 0 at once, UINT64_MAX never. */
uint64_t tasks_next_deadline(const struct tasks *t);

/* True when something was woken, or a task was started, since tasks_run looked last (or a nested
 * wait did): there is something to do before waiting. */
int tasks_woken(const struct tasks *t);

/* True while a task's code runs, and not a callback of the host inside a nested wait of it. */
int tasks_running(const struct tasks *t);

/* Makes the task that runs step back at its next instruction, so that others and events get their
 * turn.  For a timer's signal: safe in a signal handler of the thread that runs the tasks.  Without
 * effect unless a task runs. */
void tasks_preempt(struct tasks *t);

#endif
