/* The targets' language above its terms: operators, and names of groups.
 *
 * Words are separated by spaces and united.  In a word terms stand between operators, which are
 * done from left to right, none before another: , (union) ! (difference) & (intersection)
 * ^ (symmetric difference).  A term is a name or a pattern of names, or begins with @ and names
 * groups, of which it may be a pattern, too.
 *
 * Behind ! & ^ a name means the target as well that an inventory gives to the host of this name,
 * if that is in the set. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_EXPRESSION_H
#define GRAPNEL_LAUNCHER_TARGETS_EXPRESSION_H

#include "launcher/targets/names.h"

/* Who knows the groups, and hosts by other names. */
struct expression_groups {
    /* Adds what is in the group to the set.  name: what follows the @, terminated.  0 or negative
     * with *e filled. */
    int (*add)(void *arg, const char *name, struct names *set, struct error *e);
    /* The target of a host that an inventory calls so, NULL when none does; until the next call.
     * Results likewise. */
    int (*target)(void *arg, const char *name, const char **target, struct error *e);
    void *arg;
};

/* Adds what n bytes of text stand for.  0 or negative with *e filled; then the set is as it was,
 * but for names that had been removed from it. */
int expression_add(struct names *set, const char *text, size_t n,
                   const struct expression_groups *groups, struct error *e);

/* As expression_add, for a line of a file of names: what follows a word that begins with # is a
 * comment. */
int expression_add_line(struct names *set, const char *line, size_t n,
                        const struct expression_groups *groups, struct error *e);

#endif
