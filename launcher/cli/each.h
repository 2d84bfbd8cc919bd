/* Verbs that do the same on each of their targets, which are connected to at the same time. */
#ifndef GRAPNEL_CLI_EACH_H
#define GRAPNEL_CLI_EACH_H

#include "launcher/cli/options.h"

struct each_job {
    int one_shot; /* as grapnel_open's */
    /* Does it on one target, which is ready, and prints what comes of it.  Negative with *error. */
    int (*show)(const struct options *o, const char *target, struct grapnel_server *s,
                struct grapnel_error *error);
};

/* In the order of the targets.  The process's exit status. */
int each_target(const struct options *o, const struct each_job *job);

#endif
