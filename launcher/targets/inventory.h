/* Inventories of Ansible's, as far as INI files go: [group], [group:children], [group:vars], hosts
 * with ranges and variables.  Values are texts as they stand there, without the quotes around them;
 * templates are not evaluated. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_INVENTORY_H
#define GRAPNEL_LAUNCHER_TARGETS_INVENTORY_H

#include <stddef.h>

#include "launcher/targets/names.h"

struct inventory;

/* Reads a file.  NULL with *e filled, which says what is wrong in which line. */
struct inventory *inventory_read(const char *path, struct error *e);
/* The same from n bytes of text; path: for errors. */
struct inventory *inventory_parse(const char *text, size_t n, const char *path, struct error *e);
void inventory_free(struct inventory *inv);

/* Adds the targets, [USER@]HOST[:PORT] by ansible_host, ansible_user and ansible_port, of a group
 * and those below it, of "all" ("*" as well) or "ungrouped", or of one host.  0 or negative with *e
 * filled. */
int inventory_add(struct inventory *inv, const char *group, struct names *set, struct error *e);

/* The target of the host that is called so, *target NULL when there is none; until the next call.
 * Results likewise. */
int inventory_target(struct inventory *inv, const char *name, const char **target, struct error *e);

/* A variable of a host, which is named as in the inventory or by a target that inventory_add has
 * made: the host's own, else that of the group that is nearest to it, else that of all hosts.
 * inventory_hostname is its name here.  NULL: there is none.  Until the inventory is freed. */
const char *inventory_value(struct inventory *inv, const char *name, const char *key);

#endif
