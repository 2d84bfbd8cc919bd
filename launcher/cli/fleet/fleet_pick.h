/* Which hosts: what the targets name, less what the options take away. */
#ifndef GRAPNEL_CLI_FLEET_PICK_H
#define GRAPNEL_CLI_FLEET_PICK_H

#include <stddef.h>

#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

struct fleet_pick {
    struct grapnel_targets
        *targets;       /* all that were named, with what the inventory knows of them */
    const char **names; /* NULL-terminated; `targets` owns the names */
    size_t count;
    size_t finished; /* hosts that were left out since they are */
    int none_again;  /* --rerun's file names no host at all */
};

/* 0, or negative with *error: an unknown group, no host at all, a file that cannot be read.  Then,
 * too, fleet_pick_clear is due.  No host may be left where some are finished, or none is
 * to be done again. */
int fleet_pick(struct fleet_pick *p, const struct options *o, struct grapnel_error *error);
void fleet_pick_clear(struct fleet_pick *p);

/* The names of these hosts, folded: "web[01-19]", for grapnel_string_free.  NULL: memory is out. */
char *fleet_pick_fold(const char *const *names, const size_t *hosts, size_t count);

#endif
