/* grapnel close, grapnel undeploy */
#ifndef GRAPNEL_CLI_LETGO_H
#define GRAPNEL_CLI_LETGO_H

#include "launcher/cli/options.h"

int close_verb(const struct options *o);
int undeploy_verb(const struct options *o);

#endif
