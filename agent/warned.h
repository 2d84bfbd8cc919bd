/* Which processes have had their TERM: remembered from one look at the process table to the next,
 * so that none gets it twice. */
#ifndef GRAPNEL_AGENT_WARNED_H
#define GRAPNEL_AGENT_WARNED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/tree.h"

struct warned_process {
    pid_t pid;
    uint64_t started;
};

/* Zeroed: nobody. */
struct warned {
    struct warned_process *list; /* by rising pid */
    size_t count;
};

/* True when p was among the living marked ones of the tree that warned_keep saw last. */
int warned_has(const struct warned *w, const struct tree_process *p);

/* Keeps the living marked processes of *t for the next look; without memory the old ones stay. */
void warned_keep(struct warned *w, const struct tree *t);

/* Frees what is kept. */
void warned_free(struct warned *w);

#endif
