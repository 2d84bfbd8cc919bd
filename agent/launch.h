/* A planned command is started with its pipes. */
#ifndef GRAPNEL_AGENT_LAUNCH_H
#define GRAPNEL_AGENT_LAUNCH_H

#include <sys/resource.h>
#include <sys/types.h>

#include "agent/keeper.h"
#include "agent/plan.h"

/* A command that runs, and our ends of its pipes (-1: it has none), for the caller to close. */
struct launch {
    struct keeper keeper;
    int in, out, err;
};

/* Starts what `plan` says, or else the program in the file `image` (-1: none; it stays the
 * caller's) with the plan's argv, with that umask and limit of descriptors (NULL: the agent's own).
 * 0 with *launch; or negative as of keeper_start, with *e filled and nothing left open. */
int launch_start(const struct plan *plan, int image, mode_t umask, const struct rlimit *files,
                 struct launch *launch, struct error *e);

/* Closes what is still open of our ends. */
void launch_close(struct launch *launch);

#endif
