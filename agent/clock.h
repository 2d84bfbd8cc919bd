/* The one clock of the agent: monotonic, in microseconds. */
#ifndef GRAPNEL_AGENT_CLOCK_H
#define GRAPNEL_AGENT_CLOCK_H

#include <stdint.h>

/* Microseconds since some moment before the process began; never goes back. */
uint64_t clock_now_us(void);

#endif
