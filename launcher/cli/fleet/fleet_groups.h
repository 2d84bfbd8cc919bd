/* Hosts with the same output. */
#ifndef GRAPNEL_CLI_FLEET_GROUPS_H
#define GRAPNEL_CLI_FLEET_GROUPS_H

#include <stddef.h>

struct fleet_groups;

struct fleet_group {
    char *out, *err; /* with a zero byte behind */
    size_t out_length, err_length;
    size_t *hosts;
    size_t count;
};

struct fleet_groups *fleet_groups_new(void);
void fleet_groups_free(struct fleet_groups *g);
/* A host with this output, which is copied where it is new.  0, or -1: memory is out. */
int fleet_groups_add(struct fleet_groups *g, size_t host, const char *out, size_t out_length,
                     const char *err, size_t err_length);
/* The largest first, of equal ones that with the first host; hosts in order. */
void fleet_groups_sort(struct fleet_groups *g);
/* NULL after the last. */
const struct fleet_group *fleet_groups_at(const struct fleet_groups *g, size_t i);
/* "web[01-19] (19)", for free; names: of all hosts.  NULL: memory is out. */
char *fleet_groups_title(const struct fleet_group *g, const char *const *names);
/* How the stdout of b differs from that of a, as unified diff, for free; "" when they are equal.
 * NULL: memory is out. */
char *fleet_groups_diff(const struct fleet_group *a, const char *a_title,
                        const struct fleet_group *b, const char *b_title);

#endif
