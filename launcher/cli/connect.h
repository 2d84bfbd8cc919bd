/* grapnel connect */
#ifndef GRAPNEL_CLI_CONNECT_H
#define GRAPNEL_CLI_CONNECT_H

#include "launcher/cli/options.h"

int connect_verb(const struct options *o);

#endif
