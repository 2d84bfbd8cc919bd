/* The targets of one call of the command, as a set. */
#ifndef GRAPNEL_CLI_TARGETS_H
#define GRAPNEL_CLI_TARGETS_H

#include <stddef.h>

#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

/* What n words stand for, and the files of --hostfile, but not what --exclude says (a note
 * tells of one that excludes nothing); groups as --groups and --inventory say.  It may be empty.  Commands of the user's configuration may run,
 * and are waited for.  For grapnel_targets_free; NULL with *error filled. */
struct grapnel_targets *targets_read(const struct options *o, const char *const *words, size_t n,
                                     struct grapnel_error *error);

#endif
