/* Slices of time: code that runs long steps back, so that other tasks and events get their turn. */
#ifndef GRAPNEL_AGENT_WORKER_SLICE_H
#define GRAPNEL_AGENT_WORKER_SLICE_H

#include "peer/tasks.h"

struct slice;

/* From now on tasks_preempt(t) is called (in a handler of SIGVTALRM) after each 10 ms of processor
 * time that this process has used: one that waits is never woken by it, and nothing needs to be set
 * when tasks begin and end.  The calling thread is the one that runs the tasks.  NULL: the system
 * cannot. */
struct slice *slice_start(struct tasks *t);

/* NULL is legal. */
void slice_stop(struct slice *s);

#endif
