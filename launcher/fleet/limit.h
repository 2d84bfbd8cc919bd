/* How many hosts there are descriptors for. */
#ifndef GRAPNEL_LAUNCHER_FLEET_LIMIT_H
#define GRAPNEL_LAUNCHER_FLEET_LIMIT_H

#include <stddef.h>

/* Raises the process's limit of descriptors as far as it may by itself, and tells for how many
 * hosts more those suffice that are free: at least 1. */
size_t limit_hosts(void);

#endif
