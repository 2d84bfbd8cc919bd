/* What became of the hosts: one verdict for each, and the summary of them all. */
#ifndef GRAPNEL_CLI_FLEET_TALLY_H
#define GRAPNEL_CLI_FLEET_TALLY_H

#include <jansson.h>

#include "launcher/cli/fleet/fleet_flow.h"
#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

struct fleet_tally;

/* names: of `count` hosts; late: what is said of code that its time limit has stopped, NULL: it is
 * a command.  Both must outlive it.  NULL: memory is out. */
struct fleet_tally *fleet_tally_new(const char *const *names, size_t count, const char *late);
void fleet_tally_free(struct fleet_tally *t);

/* A host has ended.  write_error: errno of its files in a folder; 0: none.  Returns its exit
 * status. */
int fleet_tally_add(struct fleet_tally *t, const struct grapnel_fleet_result *r, int write_error);
/* {"host", "exit", "failed", "attempts", "phase_us", what verdict_json gives, "error"} of a host
 * that was added; NULL: memory is out. */
json_t *fleet_tally_json(const struct fleet_tally *t, const struct grapnel_fleet_result *r);

/* The highest of all exit statuses. */
int fleet_tally_exit(const struct fleet_tally *t);
/* True when something has failed, or was left out. */
int fleet_tally_uneven(const struct fleet_tally *t);
/* Hosts that failed or were not begun, in order: an array for free; *n many.  NULL: memory is out.
 */
size_t *fleet_tally_failed(const struct fleet_tally *t, size_t *n);
/* Says how many there were. */
void fleet_tally_say(const struct fleet_tally *t, struct fleet_flow *flow, double seconds);
/* Says which failed, by cause; only_errors: not those whose command ended with another status than
 * 0. */
void fleet_tally_say_causes(const struct fleet_tally *t, struct fleet_flow *flow, int only_errors);
/* Says which hosts have confirmed their end after all was stopped. */
void fleet_tally_say_stopped(const struct fleet_tally *t, struct fleet_flow *flow);
/* Says how long each phase took. */
void fleet_tally_say_phases(const struct fleet_tally *t, struct fleet_flow *flow);

#endif
