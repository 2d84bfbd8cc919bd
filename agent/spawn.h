/* Starting a program, with the exact reason when it does not start. */
#ifndef GRAPNEL_AGENT_SPAWN_H
#define GRAPNEL_AGENT_SPAWN_H

#include <sys/resource.h>
#include <sys/types.h>

#include "proto/errors.h"

struct spawn_program {
    char *const *argv; /* NULL at its end; at least one */
    char *const *envp; /* NULL at its end; its PATH is searched for argv[0] */
    const char *cwd;   /* NULL: where the agent is */
    int image;         /* file that is run, instead of one that argv[0] names; -1: none */
    int in, out, err;  /* become its 0, 1 and 2; stay open here */
    mode_t umask;
    const struct rlimit *files; /* its limit of descriptors; NULL: the agent's */
};

/* Starts the program as leader of a session of its own, with all signals at their defaults, and
 * returns when it runs or has failed.  0 with *pid, a child that must be waited for; or
 * -E_NO_COMMAND, -E_NOT_EXECUTABLE, -E_CWD, -E_DESCRIPTORS, -E_NOMEM, -E_SYSTEM with *e filled:
 * then there is no child. */
int spawn_start(const struct spawn_program *program, pid_t *pid, struct error *e);

#endif
