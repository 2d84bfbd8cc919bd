/* What the reader of an inventory and those who ask it share. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_INVENTORY_IMPL_H
#define GRAPNEL_LAUNCHER_TARGETS_INVENTORY_IMPL_H

#include <stdint.h>

#include "launcher/targets/inventory.h"

#define INVENTORY_NONE  UINT32_MAX
#define INVENTORY_MEMOS 16 /* more keys than a target is made of */

/* Everything has a number; lists are chained by numbers, the newest first. */
struct inventory_link {
    uint32_t what, next;
};

struct inventory_var {
    uint32_t key, value; /* strings */
    uint32_t next;
};

struct inventory_group {
    uint32_t vars;
    uint32_t hosts;        /* links, in reverse order */
    uint32_t children;     /* links, likewise */
    uint32_t parents;      /* links */
    uint32_t depth;        /* the longest way from above */
    uint32_t seen;         /* by the inquiry of this number */
    unsigned char defined; /* it has a section of its own */
    size_t line;           /* where it was mentioned first */
};

struct inventory_host {
    uint32_t vars;
    uint32_t groups; /* links */
    uint32_t target; /* its number in `targets`; NONE: not made yet */
    uint32_t seen;   /* by the inquiry of this number */
    uint32_t line;
};

/* What one key is for the hosts of a group: its value, and the group that it is a variable of;
 * NONE: it is none. */
struct inventory_best {
    uint32_t group, value;
};

/* The same for all groups. */
struct inventory_memo {
    uint32_t key;
    struct inventory_best *best; /* NULL: of no key yet */
};

struct inventory {
    char *path;
    struct names host_names, group_names, strings, targets;
    struct inventory_host *hosts; /* by their numbers in host_names */
    size_t host_room;
    struct inventory_group *groups;
    size_t group_room;
    struct inventory_link *links;
    size_t link_count, link_room;
    struct inventory_var *vars;
    size_t var_count, var_room;
    uint32_t *target_host; /* by their numbers in `targets`: the first host that has it */
    size_t target_room;
    uint32_t *order; /* groups, each behind its parents */
    size_t order_count;
    uint32_t inquiry;
    struct inventory_memo memos[INVENTORY_MEMOS];
    unsigned next_memo; /* which one is made anew for the next key */
};

/* Room for one more element in *array.  0 or -E_NOMEM. */
int inventory_room(void **array, size_t *room, size_t count, size_t size);

/* The group's number; it is made when it is not there. */
int inventory_group(struct inventory *inv, const char *name, size_t n, uint32_t *number,
                    struct error *e);

/* Puts `what` in front of a list. */
int inventory_link(struct inventory *inv, uint32_t *list, uint32_t what, struct error *e);

/* Puts the groups into `order`, and sets their depths.  0, -E_CONFIG when one is below itself. */
int inventory_sort(struct inventory *inv, struct error *e);

#endif
