/* The tree of processes, as the system tells it: who descends from whom.
 *
 * Neither setsid nor a double fork takes a process out of the tree: guardian, agent and keepers are
 * subreapers, so orphans among the descendants of one become its children. */
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
    uint8_t marked;
};

struct tree {
    struct tree_process *p; /* by rising pid */
    size_t count;
    size_t room;
};

/* Fills *t (zeroed, or filled before: its memory is used again) with all processes, none of them
 * marked.  0, -E_NOMEM, or -E_UNSUPPORTED when there is no /proc. */
int tree_scan(struct tree *t);
void tree_free(struct tree *t);

/* Marks the descendants of `root`, itself not included, and nothing else.  Returns how many of them
 * live. */
size_t tree_mark(struct tree *t, pid_t root);
/* Marks also all descendants of what is marked.  Returns how many of the marked live. */
size_t tree_spread(struct tree *t);

/* One process by its number.  0, or -E_SYSTEM when it is not there. */
int tree_look(pid_t pid, struct tree_process *p);

/* Reads a line of /proc/PID/stat, a text, into *p (all but its pid).  0, or -E_SYSTEM when it is
 * none. */
int tree_read(const char *text, struct tree_process *p);

#endif
