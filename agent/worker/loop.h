/* The worker's event loop: its tasks, its inner link's pipe, and what its modules watch. */
#ifndef GRAPNEL_AGENT_WORKER_LOOP_H
#define GRAPNEL_AGENT_WORKER_LOOP_H

#include <ev.h>
#include <stdint.h>

#include "peer/peer.h"
#include "peer/tasks.h"

struct loop;

/* A loop over two descriptors (one may be the other), which are made non-blocking.  NULL when
 * memory or descriptors are out. */
struct loop *loop_new(int input, int output);

/* The event loop, for modules. */
struct ev_loop *loop_events(struct loop *l);

/* Monotonic microseconds, for tasks_new. */
uint64_t loop_now_us(void);

/* For struct tasks_host, with the struct loop as argument: sends what is to be sent, then waits. */
int loop_wait(void *arg, uint64_t deadline_us);

/* The peer at this end of the pipe, and the tasks of its state.  From now on the pipe is read. */
void loop_attach(struct loop *l, struct peer *p, struct tasks *t);

/* Runs the tasks until the pipe has ended or the link has: 0 when the launcher closed it or said
 * goodbye, else the code it ended with.  Then the tasks are cancelled, and get a moment to end. */
int loop_run(struct loop *l);

/* Sends what can be sent without waiting for the launcher for more than a moment: the process is
 * about to end. */
void loop_last_words(struct loop *l);

/* NULL is legal; the descriptors stay open. */
void loop_free(struct loop *l);

#endif
