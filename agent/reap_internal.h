/* What the files of reap.h share: reap.c (commands, their keepers, their ends) and reap_end.c
 * (ending them).  Not for anyone else. */
#ifndef GRAPNEL_AGENT_REAP_INTERNAL_H
#define GRAPNEL_AGENT_REAP_INTERNAL_H

#include "agent/reap.h"
#include "agent/tree.h"

struct reap_child {
    struct reap_child *next;
    struct reap *reap;
    struct keeper keeper; /* its report is -1 once told */
    unsigned owner;
    ev_io heard;
    reap_exited *exited; /* NULL: nobody wants to know */
    void *arg;
    int leaving; /* nothing of the command is left, and the keeper's end comes at once */
    int gone;    /* ... was taken */
    int owned;   /* reap_forget is still to come */
};

struct reap {
    struct ev_loop *loop;
    ev_signal child_signal;
    ev_timer pass_timer;
    struct reap_child *children; /* whose keepers live */
    struct reap_ending *endings;
    struct tree tree;
    uint64_t pause_us; /* until the next pass */
};

/* Takes the ends of dead children.  True when there is no other child, and so no descendant. */
int reap_take_ends(struct reap *r);
int reap_is_keeper(const struct reap *r, pid_t pid);

/* reap_end.c: readies the passes. */
void reap_end_init(struct reap *r);
/* The keeper of c is gone; if it was killed then what it kept are our children now. */
void reap_end_keeper(struct reap *r, const struct reap_child *c, int killed);
/* Something has moved: a pass looks again soon, or at once if an ending is `over`. */
void reap_end_look(struct reap *r, int over);

#endif
