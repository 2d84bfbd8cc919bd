/* grapnel keys scan: the keys of hosts, and writing them down. */
#ifndef GRAPNEL_CLI_KEYS_H
#define GRAPNEL_CLI_KEYS_H

#include "launcher/cli/options.h"

/* Returns the process's exit status. */
int keys_verb(const struct options *o);

#endif
