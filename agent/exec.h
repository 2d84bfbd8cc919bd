/* The service `exec`: one command, its streams, its end.  PROTOCOL.md tells arguments and result.
 */
#ifndef GRAPNEL_AGENT_EXEC_H
#define GRAPNEL_AGENT_EXEC_H

#include <ev.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/reap.h"
#include "proto/stream.h"

struct session;
struct exec_set;

struct exec_options {
    struct ev_loop *loop;
    struct reap *reap;
    unsigned owner;             /* for reap */
    char *const *environment;   /* the agent's own */
    mode_t umask;               /* of commands */
    const struct rlimit *files; /* descriptor limit of commands; NULL: the agent's */
};

/* All commands of one session.  What the options point to must outlive it.  NULL: no memory. */
struct exec_set *exec_set_new(const struct exec_options *options);
/* Forgets all commands; their processes are reap's affair.  NULL is legal. */
void exec_set_free(struct exec_set *set);

/* Commands that have not come to their end. */
size_t exec_set_count(const struct exec_set *set);

/* From now on nothing new is started, and commands whose stream is lost are not ended one by one:
 * the owner ends all processes. */
void exec_set_leave(struct exec_set *set);

/* Service: starts a command for stream s.  0 (accepted), or a negative code with *e filled. */
int exec_open(struct session *session, struct stream *s, const struct value *args, struct error *e);

/* Call `signal` [stream, name]: to the command's process group. */
void exec_signal(struct session *session, struct link *l, uint32_t id, const struct value *args);

/* Call `cancel` [stream]: begins to end the command and all that descends from it.  The stream's
 * CLOSE, with the reason "cancelled", tells when that is done. */
void exec_cancel(struct session *session, struct link *l, uint32_t id, const struct value *args);

#endif
