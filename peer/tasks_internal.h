/* Shared by the files of the scheduler only. */
#ifndef GRAPNEL_PEER_TASKS_INTERNAL_H
#define GRAPNEL_PEER_TASKS_INTERNAL_H

#include <signal.h>

#include "peer/tasks.h"

enum task_state {
    TASK_POOLED,
    TASK_PREPARED,
    TASK_READY,   /* in the queue, or about to be */
    TASK_RUNNING, /* on the C stack, perhaps deep below nested waits */
    TASK_WAITING, /* its coroutine has yielded */
    TASK_STEPPED, /* preempted: its coroutine has yielded, but it could go on */
    TASK_KILLED,  /* its coroutine has yielded, and must not go on */
    TASK_ENDED,
};

enum wait_state { WAIT_IDLE, WAIT_WOKEN, WAIT_WAITING };

struct task {
    struct tasks *t;
    lua_State *L;
    struct task *next;      /* in a queue, or in the pool */
    struct task *up, *down; /* among all of the state's */
    tasks_done *done;
    void *arg, *user;
    uint64_t owner;
    struct tasks_wait *wait; /* that it waits on; NULL: it does not wait */
    int nargs;
    enum task_state state;
    int started; /* its function has begun */
    int cancel;
    unsigned raised; /* so many times the cancel's error was raised in its code */
    unsigned stuck;  /* slices that it has used up where it could not be left */
    int exposed;     /* user code has seen its thread, which so cannot be used again */
};

struct queue {
    struct task *first, *last;
};

struct tasks {
    lua_State *L;
    lua_State *service; /* a thread whose stack is ours, for what may fail */
    struct tasks_host host;
    uint64_t (*now_us)(void);
    struct tasks **box; /* in the registry: how the state finds us */

    struct queue ready;
    struct queue later; /* preempted ones: after the next look at what came from outside */
    struct task *pool, *all;
    size_t pooled, count;

    /* What runs.  `running` is the coroutine of current's code that runs, or of the main chunk's
     * code; it is read by the signal handler. */
    struct task *current;
    lua_State *volatile running;
    int passes;     /* every lua_resume between current's thread and `running` can yield */
    int suspending; /* the yield under way is a wait's, not the user's */
    int nesting;
    int woken;   /* something was, since the last look at what is ready */
    int refused; /* the C stack was too full to go on with a task */

    lua_CFunction xpcall; /* the library's */

    /* The hook by which running code is reached. */
    volatile sig_atomic_t preempt; /* it should step back */
    lua_State *volatile armed;     /* who has our hook */
    lua_Hook saved;                /* the user's own, meanwhile */
    int saved_mask, saved_count;

    struct tasks_timer **heap; /* from 1 */
    size_t timers, heap_room;
    uint64_t order;
};

/* What of the parts of a wait is saved while others run inside it. */
struct tasks_saved {
    struct task *current;
    lua_State *running;
    int passes;
};

/* ---- tasks_run.c ---- */

/* Puts k at the end of the ready ones. */
void tasks_ready(struct task *k);

/* Runs what is ready, from L's place on the C stack, at most until *until is over (NULL: none).
 * True when there is more. */
int tasks_run_from(struct tasks *t, lua_State *from, const struct tasks_wait *until);

/* Takes what runs off, and puts it back, around a nested wait. */
struct tasks_saved tasks_set_aside(struct tasks *t);
void tasks_put_back(struct tasks *t, const struct tasks_saved *s);

/* ---- tasks_wait.c ---- */

/* Ends a wait that lasts with -E_CANCELLED. */
void tasks_wait_cancel(struct tasks_wait *w);

/* What k waited on is over, and k goes on. */
void tasks_leave_wait(struct task *k);

/* ---- tasks_timer.c ---- */

void tasks_fire_timers(struct tasks *t);
void tasks_forget_timers(struct tasks *t);

/* ---- tasks_switch.c ---- */

/* From now on the code of L runs (NULL: none). */
void tasks_enter(struct tasks *t, lua_State *L);

/* Reaches `current` with the cancel when it runs right now. */
void tasks_arm_current(struct tasks *t);

/* True when L can yield up to the task whose code it runs. */
int tasks_can_yield(const struct tasks *t, lua_State *L);

/* A coroutine that has yielded because of a wait carries a mark on its stack's top. */
void tasks_mark(lua_State *co);
int tasks_marked(lua_State *co);
void tasks_unmark(lua_State *co);

/* Makes the error value of cancelled tasks; may raise errors. */
void tasks_prepare_cancelled(lua_State *L);
/* Pushes it; needs no memory. */
void tasks_push_cancelled(lua_State *L);

/* ---- tasks_coroutine.c ---- */

/* Replaces the functions of the table `coroutine`; the tasks' box is on top of L's stack, and
 * stays.  May raise errors. */
void tasks_coroutine_install(lua_State *L);

/* Closes the variables of a dead or suspended coroutine; its code may wait.  As lua_closethread. */
int tasks_close_thread(struct tasks *t, lua_State *co, lua_State *from);

#endif
