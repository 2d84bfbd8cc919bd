/* An agent for others: `agent serve FILE`, which sshd runs for a key of its owner's choice instead
 * of what the client asks for.
 *
 * Whoever holds the key gets the service in FILE, in a worker that was installed here, and nothing
 * else: no command, no file, no program of its own, nothing about the account. */
#ifndef GRAPNEL_AGENT_SINGLE_H
#define GRAPNEL_AGENT_SINGLE_H

#include <limits.h>

#include "proto/stream.h"

#define SINGLE_WORKERS 64 /* at a time, on one link */

struct single {
    char worker[PATH_MAX];
    const char *file;
    char *const *more; /* words for the worker behind the service, NULL at their end */
};

/* Reads the words [--worker PATH] FILE [WORD...] (NULL at their end, and kept), and looks for the
 * worker: PATH, or one that is installed where the running program is.  0 with *served, or
 * -E_ARGUMENT or -E_CONFIG with *e filled. */
int single_read(char *const *words, struct single *served, struct error *e);

/* For link_handler, with the session as their argument. */
int single_open(void *arg, struct stream *s, const char *name, const struct value *args,
                struct error *e);
void single_call(void *arg, struct link *l, uint32_t id, const char *name,
                 const struct value *args);

#endif
