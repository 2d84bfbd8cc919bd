/* Groups of hosts: by files of ours, by commands, and by inventories of Ansible's.
 *
 * A file has lines; # begins a comment where a word may begin, and everywhere in its first column.
 *
 *     web: web[01-20]               a group; a second line with the same name adds to it
 *     prod: @web,db[1-3]!web07      groups may name groups
 *     default = slurm               where groups are looked for that are not here
 *
 *     [slurm]                       a source: @slurm:GROUP
 *     map = sinfo -h -o %N -p "$GROUP"
 *     all = sinfo -h -o %N          what @slurm:* is; without it, map of all that `list` names
 *     list = sinfo -h -o %R
 *     spare: node[90-99]            a source may have groups that stand here, too
 *
 *     [lab]
 *     inventory = lab.ini           of Ansible's; from the folder of this file on
 *
 * Commands are lines for /bin/sh; the group's name is in their environment only, as GROUP, and the
 * source's as SOURCE.  They print names, patterns and operators, but no groups. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_GROUPS_H
#define GRAPNEL_LAUNCHER_TARGETS_GROUPS_H

#include <stdint.h>

#include "launcher/targets/names.h"

struct groups;

/* Reads nothing yet.  Arguments as in struct grapnel_targets_options, copied.  NULL: memory is out.
 */
struct groups *groups_new(const char *file, const char *inventory, int64_t timeout);
void groups_free(struct groups *g);

/* expression_groups.add: arg is a struct groups.  What a group is, is found out once. */
int groups_add(void *arg, const char *name, struct names *set, struct error *e);

/* expression_groups.target: by the inventory that was given, and by those that have been read. */
int groups_target(void *arg, const char *name, const char **target, struct error *e);

/* As grapnel_targets_value; e is filled when an inventory cannot be read. */
const char *groups_value(struct groups *g, const char *name, const char *key, struct error *e);

#endif
