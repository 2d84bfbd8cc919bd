/* The binaries for hosts, agents and workers, that this launcher was built with: where they lie and
 * what they must be. */
#ifndef GRAPNEL_LAUNCHER_BOOTSTRAP_AGENTS_H
#define GRAPNEL_LAUNCHER_BOOTSTRAP_AGENTS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/errors.h"

/* One agent or worker, loaded and verified. */
struct agents_binary {
    char name[48];          /* "<os>-<arch>" */
    char uname[64];         /* an agent's: what `uname -sm` prints where it runs, "Linux x86_64" */
    const char *hash_hex;   /* BLAKE2b-256 of the plain binary, 64 hex digits */
    const char *sha256_hex; /* its SHA-256, for hosts that know no other; likewise */
    uint8_t *packed;        /* gzip member (RFC 1952) */
    size_t packed_size;
    size_t plain_size;
};

struct agents;

/* A store that looks for agents in `folder` (NULL: the environment's GRAPNEL_AGENTS, then "agents"
 * beside the running program, then the installed folder), and for workers in the folder "workers"
 * in each of these or beside it.  It keeps what it has loaded.  NULL: out of memory. */
struct agents *agents_new(const char *folder);
void agents_free(struct agents *a);

/* What tells one build's set of agents and workers from another's: hex digits, terminated. */
#define AGENTS_BUILD 33
void agents_build(char text[AGENTS_BUILD]);

/* The agent for a host whose `uname -sm` is `uname` ("Linux x86_64"; NULL: a guess, namely this
 * machine's own).  The store owns the result.  NULL with *e: -E_ARCH (with the list of those that
 * there are), -E_AGENT_MISSING, -E_AGENT_TAMPERED (not the bytes of the build), -E_NOMEM. */
const struct agents_binary *agents_find(struct agents *a, const char *uname, struct error *e);

/* The same without its file: `packed` is NULL unless it was found before.  What agents_find gives
 * later for the same system is the same struct.  NULL with *e: -E_ARCH. */
const struct agents_binary *agents_known(struct agents *a, const char *uname, struct error *e);

/* The worker for a host whose agent is called `name` ("linux-x86_64").  The store owns the result.
 * NULL with *e: -E_WORKER_MISSING (also where there is none of this name), -E_WORKER_TAMPERED,
 * -E_NOMEM. */
const struct agents_binary *agents_worker(struct agents *a, const char *name, struct error *e);

/* The plain binary of b, for hosts that cannot unpack: plain_size bytes for the caller to free, or
 * NULL with *e filled. */
uint8_t *agents_unpack(const struct agents_binary *b, struct error *e);

#endif
