/* What the files of a verb over many hosts share: fleet.c (beginning, signals, end) and
 * fleet_told.c (what the library tells meanwhile).  Not for anyone else. */
#ifndef GRAPNEL_CLI_FLEET_IMPL_H
#define GRAPNEL_CLI_FLEET_IMPL_H

#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/fleet/fleet_bar.h"
#include "launcher/cli/fleet/fleet_flow.h"
#include "launcher/cli/fleet/fleet_journal.h"
#include "launcher/cli/fleet/fleet_pick.h"
#include "launcher/cli/fleet/fleet_show.h"
#include "launcher/cli/fleet/fleet_tally.h"
#include "launcher/cli/reach.h"

enum host_state { NOT_BEGUN, AT_WORK, ENDED };

/* Bytes that a host may not go on before we are done with. */
struct owed {
    size_t bytes[2];
    int listed;
};

struct fleet {
    const struct options *o;
    const struct fleet_kind *kind;
    struct reach_trace trace;
    struct grapnel *g;
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job;
    struct fleet_pick pick;
    struct fleet_flow *flow;
    struct fleet_show *show;
    struct fleet_tally *tally;
    struct fleet_journal *journal;
    struct fleet_bar bar;
    int has_bar;
    unsigned char *states; /* enum host_state of each */
    struct owed *owed;
    size_t *owing; /* the hosts that are owed something */
    size_t owing_count;
    double began;
    double looked;  /* at standard output, for the last time */
    int interrupts; /* Ctrl-C, so many times */
    int ending;     /* the signal that has stopped it; 0: none */
    int leave;      /* … and that which says to leave at once */
    int output_failed;
    int log_failed;
    int over;
    char **words; /* of the host that begins just now, for free; NULL: none */
};

/* The job's callbacks, for `struct fleet`. */
struct grapnel_fleet_handler fleet_told_handler(const struct fleet *x);
/* What a callback has put is to go, or what it has noted to be looked at: the loop goes its turn.
 */
void fleet_told_wake(struct fleet *x);
/* Tells hosts that had to wait that they may go on, once there is room again. */
void fleet_told_settle(struct fleet *x);
/* Sees whether the words of the command can be made for every host, but for the user, who may take
 * time to find out: 0, or negative with *error. */
int fleet_told_check(struct fleet *x, struct grapnel_error *error);
/* The words of the command for a host, until the next call, NULL behind the last: see
 * fleet_plan_words. */
const char *const *fleet_told_words(void *fleet, size_t host, char *why, size_t why_size);
/* Frees x->words. */
void fleet_told_clear(struct fleet *x);

#endif
