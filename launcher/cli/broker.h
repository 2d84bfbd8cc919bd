/* grapnel __broker: the broker's process, as grapnel connect starts it. */
#ifndef GRAPNEL_CLI_BROKER_H
#define GRAPNEL_CLI_BROKER_H

#include "launcher/cli/options.h"

int broker_verb(const struct options *o);

#endif
