/* The agent proper: its loop and its life, and what all its sessions share. */
#ifndef GRAPNEL_AGENT_AGENT_H
#define GRAPNEL_AGENT_AGENT_H

#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/reap.h"
#include "proto/errors.h"

#define AGENT_LEASE_MS 30000u /* silence after which the launcher is given up */

struct agent;
struct deliver_set;
struct nested_set;
struct single;

struct agent_options {
    int input, output; /* the byte pipe; made non-blocking */
    int guardian;      /* becomes readable when the guardian is gone; -1: there is none */
    uint32_t lease_ms;
    mode_t umask;               /* of commands */
    const struct rlimit *files; /* descriptor limit of commands; NULL: the agent's own */
    char *const *environment;
    const struct single *served; /* NULL: every service; else a worker for that, and nothing else */
    int introduced;              /* something comes before the link: see intro.h */
};

/* Serves until the line ends, the launcher says goodbye, a signal (TERM, HUP, INT) comes or the
 * guardian dies; by then every descendant has been ended.  0 after a proper goodbye, else a
 * negative code with *e filled. */
int agent_run(const struct agent_options *options, struct error *e);

/* What is there for sessions and services. */
const struct agent_options *agent_options(const struct agent *a);
struct ev_loop *agent_loop(struct agent *a);
struct deliver_set *agent_blobs(struct agent *a);
struct nested_set *agent_nested(struct agent *a);
struct reap *agent_reap(struct agent *a);

/* Ends what session `number` has started, or for 0 every descendant of the agent, and runs `ended`
 * later, unless the agent itself ends before.  0, or -E_NOMEM: it does not run. */
int agent_end(struct agent *a, unsigned number, reap_ended *ended, void *arg);

#endif
