/* grapnel ping */
#ifndef GRAPNEL_CLI_PING_H
#define GRAPNEL_CLI_PING_H

#include "launcher/cli/options.h"

int ping_verb(const struct options *o);

#endif
