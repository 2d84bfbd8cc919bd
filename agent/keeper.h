/* The keeper of a command: a process of its own between the agent and the command.
 *
 * It is the subreaper for whatever the command starts, so that all of it stays below the keeper,
 * however it forks and whatever session it calls its own: what descends from the keeper belongs to
 * the command, and nothing else does.  It does nothing but tell the command's end, and leaves when
 * nothing of the command lives any more.  It also holds the command's input open, so that the death
 * of the agent does not look like the end of that.  Should agent and guardian both be killed, it
 * ends all that it keeps; should the keeper itself be killed, the command dies with it. */
#ifndef GRAPNEL_AGENT_KEEPER_H
#define GRAPNEL_AGENT_KEEPER_H

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/spawn.h"

struct keeper {
    pid_t pid;    /* a child of the agent, to be waited for */
    pid_t leader; /* the command: the keeper's child, leader of its session and group */
    int report;   /* where its end is told; CLOEXEC, non-blocking, of the caller to close */
};

/* How the command ended. */
struct keeper_report {
    int status;          /* as of waitpid */
    int last;            /* nothing of it is left, and the keeper is about to leave */
    uint64_t at;         /* clock_now_us */
    struct rusage usage; /* of the command and those that it waited for */
};

/* Starts a program with its keeper; returns when it runs or has failed.  `input` is our end of its
 * stdin's pipe (-1: none), which the keeper holds, too, until keeper_end_input.  0 with *k; or
 * negative as of spawn_start, with *e filled and nothing left. */
int keeper_start(const struct spawn_program *program, int input, struct keeper *k, struct error *e);

/* The input is over, or is cut: it ends once the caller has closed its end, too.  The keeper must
 * not have been waited for. */
void keeper_end_input(const struct keeper *k);

/* 1 with *r once the command has ended; 0 while nothing is told; negative: the keeper is gone, and
 * nothing more will be told. */
int keeper_hear(int report, struct keeper_report *r);

#endif
