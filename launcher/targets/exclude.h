/* Names that are to be left out, whoever logs in there. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_EXCLUDE_H
#define GRAPNEL_LAUNCHER_TARGETS_EXCLUDE_H

#include "launcher/targets/expression.h"

/* Removes from the set what `gone` names: a host without a user and a port with all users and
 * ports, anything else as it is written; and what the inventories call so.  Adds to `gone`.  0 or
 * negative with *e filled; then the set is as it was. */
int exclude_names(struct names *set, struct names *gone, const struct expression_groups *groups,
                  struct error *e);

#endif
