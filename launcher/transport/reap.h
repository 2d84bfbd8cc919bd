/* The end of child processes. */
#ifndef GRAPNEL_LAUNCHER_TRANSPORT_REAP_H
#define GRAPNEL_LAUNCHER_TRANSPORT_REAP_H

#include <sys/types.h>

/* Waits for a child whose pipes are gone, kills it when it has not ended within ten seconds, and
 * collects it.  BLOCKS: for threads.  Its exit status, 128 + signal, or -1: not known. */
int reap_wait(pid_t pid);

#endif
