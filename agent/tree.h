/* The tree of processes, as the system tells it: who descends from whom.
 *
 * Neither setsid nor a double fork takes a process out of the tree: the agent is a subreaper, so
 * orphans among its descendants become its children. */
#ifndef GRAPNEL_AGENT_TREE_H
#define GRAPNEL_AGENT_TREE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tree_process {
    pid_t pid;
    pid_t parent;
    pid_t group;
    pid_t session;
    uint64_t started; /* clock ticks since the system began; with pid a name that is not reused */
    char state;       /* as in ps: R, S, D, T, Z … */
    uint8_t dead;     /* a zombie: nothing of it runs any more */
    uint8_t below;    /* descends from the process that was asked for, itself not included */
    uint8_t marked;   /* for the caller */
};

struct tree {
    struct tree_process *p; /* by rising pid */
    size_t count;
    size_t room;
};

/* Fills *t (zeroed, or filled before: its memory is used again) with all processes, and sets
 * `below` on the descendants of `root`.  0, -E_NOMEM, or -E_UNSUPPORTED when there is no /proc. */
int tree_scan(struct tree *t, pid_t root);
void tree_free(struct tree *t);

/* The entry of `pid`, or NULL. */
struct tree_process *tree_find(const struct tree *t, pid_t pid);

/* One process by its number.  0, or -E_SYSTEM when it is not there. */
int tree_look(pid_t pid, struct tree_process *p);

#endif
