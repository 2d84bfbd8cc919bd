/* What an `exec` asks for: its arguments read, checked and made ready to start. */
#ifndef GRAPNEL_AGENT_PLAN_H
#define GRAPNEL_AGENT_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "agent/deliver.h"
#include "proto/errors.h"
#include "proto/values.h"

struct plan {
    char **argv; /* NULL at its end */
    int has_blob;
    uint8_t blob[DELIVER_HASH]; /* hash of the blob that is run, whatever argv[0] says */
    char **envp;                /* NULL at its end */
    char *cwd;                  /* or NULL */
    int with_stdin;
    int merge;             /* stderr goes where stdout goes */
    uint32_t stderr_id;    /* stream that gets stderr; 0: none */
    uint64_t timeout_ms;   /* 0: none */
    uint64_t output_limit; /* bytes of stdout and stderr together; 0: none */
    unsigned grace_ms;
    /* private */
    char **texts; /* what argv and envp point to, and NULL */
    size_t text_count;
};

#define PLAN_GRACE_MS     2000u
#define PLAN_GRACE_MOST   600000
#define PLAN_TIMEOUT_MOST (INT64_C(1000) * 86400 * 366)

/* Reads args, a map as PROTOCOL.md tells under `exec`; base is the agent's own environment.
 * 0 with *plan, for plan_free; or -E_ARGUMENT or -E_NOMEM with *e filled. */
int plan_read(const struct value *args, char *const *base, struct plan *plan, struct error *e);
void plan_free(struct plan *plan);

/* The login shell: of the environment, or of the account, or /bin/sh.  May return static storage;
 * valid until the next call. */
const char *plan_shell(char *const *environment);

#endif
