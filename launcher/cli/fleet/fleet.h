/* A verb over many hosts. */
#ifndef GRAPNEL_CLI_FLEET_H
#define GRAPNEL_CLI_FLEET_H

#include <jansson.h>
#include <stdio.h>

#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

/* What a verb does on each host, and how it shows what came of it. */
struct fleet_kind {
    /* Starts the job.  arg of the handler is to be passed on.  NULL with *error. */
    struct grapnel_fleet_job *(*start)(const struct fleet_kind *kind, const struct options *o,
                                       struct grapnel_fleet *f,
                                       const struct grapnel_fleet_handler *handler, void *arg,
                                       struct grapnel_error *error);
    /* Lines of text for a value, and its members of a JSON object; NULL: there are no values, but
     * output. */
    void (*text)(FILE *f, const struct options *o, const struct grapnel_fleet_result *r);
    void (*json)(json_t *object, const struct grapnel_fleet_result *r);
    int commands;     /* what is started is a command, whose words may be different for each host */
    const char *late; /* what is said of code that --timeout has stopped; NULL: it is a command */
    const void *with; /* for `start` */
    /* Told of each host that has ended, and when all have and their lines are gone, which is not if
     * the process leaves on a signal; stopped: one has ended the work early.  names: of all hosts.
     * Returns an exit status: the higher one counts.  NULL: values are shown by `text`. */
    void (*ended)(void *arg, const struct grapnel_fleet_result *r);
    int (*finish)(void *arg, const struct options *o, const char *const *names, int stopped);
    void *arg;
};

/* Does it on all hosts that the options name.  The process's exit status. */
int fleet_verb(const struct options *o, const struct fleet_kind *kind);

#endif
