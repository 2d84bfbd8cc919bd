/* Signals by their names without "SIG", as they go over the wire. */
#ifndef GRAPNEL_AGENT_SIGNALS_H
#define GRAPNEL_AGENT_SIGNALS_H

#include <stddef.h>

/* The name of a signal; one without a name is written as its number into text[size]. */
const char *signals_name(int number, char *text, size_t size);

/* The number of a signal that may be forwarded to a command, or 0. */
int signals_forwarded(const char *name);

#endif
