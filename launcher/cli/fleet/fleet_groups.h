/* Hosts with the same output. */
#ifndef GRAPNEL_CLI_FLEET_GROUPS_H
#define GRAPNEL_CLI_FLEET_GROUPS_H

#include "launcher/cli/fleet/fleet_store.h"

struct fleet_groups;

struct fleet_group {
    struct fleet_kept out, err;
    size_t *hosts;
    size_t count;
};

/* Texts are kept in the store, which must outlive it.  NULL: memory is out. */
struct fleet_groups *fleet_groups_new(struct fleet_store *store);
void fleet_groups_free(struct fleet_groups *g);
/* A host with this output, which is moved where it is new, and else dropped.  0, or -1 with errno.
 */
int fleet_groups_add(struct fleet_groups *g, size_t host, struct fleet_kept *out,
                     struct fleet_kept *err);
/* The largest first, of equal ones that with the first host; hosts in order. */
void fleet_groups_sort(struct fleet_groups *g);
/* NULL after the last. */
struct fleet_group *fleet_groups_at(const struct fleet_groups *g, size_t i);
/* "web[01-19] (19)", for free; names: of all hosts.  NULL: memory is out. */
char *fleet_groups_title(const struct fleet_group *g, const char *const *names);
#endif
