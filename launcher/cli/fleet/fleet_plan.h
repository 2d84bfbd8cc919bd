/* What would be done, before it is. */
#ifndef GRAPNEL_CLI_FLEET_PLAN_H
#define GRAPNEL_CLI_FLEET_PLAN_H

#include "launcher/cli/fleet/fleet_pick.h"
#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

/* Prints a line for each host: where it leads, with which keys, and what would be sent.  The
 * process's exit status. */
int fleet_plan_show(struct grapnel *g, const struct fleet_pick *p, const struct options *o);
/* Shows the hosts on the terminal, and asks: 0: yes, negative with *error: no, or there is no
 * terminal. */
int fleet_plan_confirm(const struct fleet_pick *p, const struct options *o,
                       struct grapnel_error *error);

#endif
