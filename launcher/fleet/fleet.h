/* Fleets, for the bindings: what the public header does not have.  Everything here needs the
 * context's lock. */
#ifndef GRAPNEL_LAUNCHER_FLEET_FLEET_H
#define GRAPNEL_LAUNCHER_FLEET_FLEET_H

#include <stddef.h>

struct grapnel_fleet_job;
struct grapnel_value;

/* told(arg) runs in the loop whenever fleet_has_news may have become true. */
void fleet_watch(struct grapnel_fleet_job *job, void (*told)(void *arg), void *arg);
/* True when grapnel_fleet_wait_any would not wait. */
int fleet_has_news(const struct grapnel_fleet_job *job);
/* The same for grapnel_fleet_map_next. */
int fleet_has_map_news(const struct grapnel_fleet_job *job);
/* Bytes that a value takes in memory, about. */
size_t fleet_map_weight(const struct grapnel_value *v);

#endif
