/* A fleet's jobs in Lua: their results, as they come. */
#ifndef GRAPNEL_LAUNCHER_LUA_FLEETJOB_H
#define GRAPNEL_LAUNCHER_LUA_FLEETJOB_H

#include <lua.h>

#include "launcher/grapnel.h"

/* Makes the type known. */
void fleetjob_add(lua_State *L);
/* Pushes the job, which is taken over, and what else a generic `for` takes: how many values that
 * is. The fleet, whose value is at index 1, lives as long. */
int fleetjob_push(lua_State *L, struct grapnel_fleet *f, struct grapnel_fleet_job *job);

/* For other kinds of jobs: push a table of that. */
void fleetjob_push_result(lua_State *L, const struct grapnel_fleet *f,
                          const struct grapnel_fleet_result *r);
void fleetjob_push_error(lua_State *L, const struct grapnel_error *e);
void fleetjob_push_counts(lua_State *L, struct grapnel_fleet_job *job);

#endif
