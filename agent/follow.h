/* Which processes belong to a command: followed from one look at the process table to the next, so
 * that those that lost their parents in between are still known. */
#ifndef GRAPNEL_AGENT_FOLLOW_H
#define GRAPNEL_AGENT_FOLLOW_H

#include <stdint.h>
#include <sys/types.h>

#include "agent/tree.h"

struct follow_known {
    pid_t pid;
    uint64_t started;
};

struct follow {
    pid_t leader;   /* of the command's session; 0: every descendant of ours is followed */
    uint64_t since; /* linux_ticks when it began */
    int alone;      /* no other command runs: orphans that began after `since` are its own */
    struct follow_known *known; /* by rising pid */
    size_t known_count;
};

/* Sets `marked` on what belongs to the command, of the descendants of this process in *t, and on
 * nothing else.  is_leader(arg, pid) is true for the first processes of other commands, which are
 * never its orphans.  Returns how many of the marked live. */
size_t follow_mark(const struct follow *f, struct tree *t, int (*is_leader)(void *arg, pid_t pid),
                   void *arg);

/* True when p was among the living ones that follow_keep saw last. */
int follow_knows(const struct follow *f, const struct tree_process *p);

/* Keeps the living marked processes of *t for the next look; without memory the old ones stay. */
void follow_keep(struct follow *f, const struct tree *t);

/* Frees what is kept. */
void follow_free(struct follow *f);

#endif
