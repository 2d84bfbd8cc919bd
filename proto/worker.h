/* How a worker ends when it does not end well: what its launcher tells from its exit status.
 *
 * The limit of processor time is the system's own (RLIMIT_CPU): the worker is then killed by the
 * signal XCPU, or by KILL when it ignores that for a second. */
#ifndef GRAPNEL_PROTO_WORKER_H
#define GRAPNEL_PROTO_WORKER_H

/* Statuses that are unlikely to be a program's own.  A worker whose pipe ends leaves with 0, user
 * code's os.exit(n) with n. */
#define WORKER_EXIT_USAGE    2   /* its command line, or the system's refusal at its start */
#define WORKER_EXIT_MEMORY   187 /* the memory limit: its Lua state could not go on */
#define WORKER_EXIT_PANIC    188 /* an error outside of any protected call; stderr tells it */
#define WORKER_EXIT_PROTOCOL 189 /* its launcher broke the protocol; stderr tells how */

#endif
