/* grapnel ls, grapnel servers */
#ifndef GRAPNEL_CLI_HELD_H
#define GRAPNEL_CLI_HELD_H

#include "launcher/cli/options.h"

int ls_verb(const struct options *o);
int servers_verb(const struct options *o);

#endif
