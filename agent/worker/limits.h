/* What the code in a worker may use: memory of its Lua state, and processor time. */
#ifndef GRAPNEL_AGENT_WORKER_LIMITS_H
#define GRAPNEL_AGENT_WORKER_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "peer/tasks.h"

struct limits;

/* A state's memory of at most `memory` bytes (0: no limit).  Code that wants more gets Lua's error
 * "not enough memory", and may go on.  What is done outside of tasks may use a little more, so that
 * the worker itself lives on.  NULL when memory is out. */
struct limits *limits_new(size_t memory);

/* For lua_newstate, with the struct limits as argument. */
void *limits_alloc(void *arg, void *p, size_t old, size_t size);

/* Tells which tasks are the code that is limited; before that, nothing is code. */
void limits_set_tasks(struct limits *l, const struct tasks *t);

/* Bytes that the state uses. */
size_t limits_used(const struct limits *l);

/* After lua_close.  NULL is legal. */
void limits_free(struct limits *l);

/* Limits the process to so many seconds of processor time: it is killed by SIGXCPU then.  0, or
 * -E_SYSTEM with errno. */
int limits_cpu(uint64_t seconds);

#endif
