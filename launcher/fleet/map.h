/* Maps, as jobs of a fleet: what its other files must know of them.  Everything here needs the
 * context's lock. */
#ifndef GRAPNEL_LAUNCHER_FLEET_MAP_H
#define GRAPNEL_LAUNCHER_FLEET_MAP_H

struct crew;
struct grapnel_error;
struct grapnel_fleet_job;
struct map;
struct task;

/* Tells results, and gives tasks to who can do them. */
void map_look(struct map *m);
/* All hosts have ended: so do all tasks, which are told. */
void map_end(struct map *m);
/* A host has ended with that error. */
void map_host_failed(struct map *m, const struct grapnel_error *error);
/* NULL is legal. */
void map_free(struct map *m);

/* t's host is ready: its instances are started, and t->crew is set unless that has failed. */
void crew_begin(struct task *t);
/* Ends them; what they have not done others may do.  NULL is legal. */
void crew_free(struct crew *crew);

#endif
