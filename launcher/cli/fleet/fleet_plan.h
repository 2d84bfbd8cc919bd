/* What would be done, before it is. */
#ifndef GRAPNEL_CLI_FLEET_PLAN_H
#define GRAPNEL_CLI_FLEET_PLAN_H

#include "launcher/cli/fleet/fleet_pick.h"
#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

/* The words of the command for a host, NULL behind the last, until the next call; NULL with
 * why[]. */
typedef const char *const *fleet_plan_words(void *arg, size_t host, char *why, size_t why_size);

/* Prints a line for each host: where it leads, with which keys, what would be sent, and, unless
 * `words` is NULL, the command.  The process's exit status. */
int fleet_plan_show(struct grapnel *g, const struct fleet_pick *p, const struct options *o,
                    fleet_plan_words *words, void *arg);
/* Shows the hosts on the terminal, and asks: 0: yes, negative with *error: no, or there is no
 * terminal. */
int fleet_plan_confirm(const struct fleet_pick *p, const struct options *o,
                       struct grapnel_error *error);

#endif
