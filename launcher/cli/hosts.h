/* grapnel hosts: which hosts targets stand for. */
#ifndef GRAPNEL_CLI_HOSTS_H
#define GRAPNEL_CLI_HOSTS_H

#include "launcher/cli/options.h"

int hosts_verb(const struct options *o);

#endif
