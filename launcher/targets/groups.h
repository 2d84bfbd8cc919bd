/* Groups of hosts: by files of ours, by commands, and by inventories of Ansible's. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_GROUPS_H
#define GRAPNEL_LAUNCHER_TARGETS_GROUPS_H

#include <stdint.h>

#include "launcher/targets/names.h"

struct groups;

/* Reads nothing yet.  Arguments as in struct grapnel_targets_options, copied.  NULL: memory is out.
 */
struct groups *groups_new(const char *file, const char *inventory, int64_t timeout);
void groups_free(struct groups *g);

/* expression_groups.add: arg is a struct groups. */
int groups_add(void *arg, const char *name, struct names *set, struct error *e);

/* As grapnel_targets_value. */
const char *groups_value(const struct groups *g, const char *name, const char *key);

#endif
