/* What grapnel has left on a host: found by a command that is run there. */
#ifndef GRAPNEL_CLI_RESIDUE_H
#define GRAPNEL_CLI_RESIDUE_H

#include <jansson.h>

#include "launcher/grapnel.h"

/* What one look saw.  Arrays of JSON strings. */
struct residue {
    json_t *self;   /* pids of the agent that looked, and of its guardian */
    json_t *alive;  /* those of the pids asked about that are still there */
    json_t *agents; /* pids of other agents of the same user */
    json_t *files;  /* paths of what bears our name in the folders for temporary files */
};

/* Looks, through s; `pids` (array of strings, may be NULL) are asked about.  0, or negative with
 * *error filled; residue_clear is due in both cases. */
int residue_look(struct residue *r, struct grapnel_server *s, const json_t *pids, int64_t timeout,
                 struct grapnel_error *error);
void residue_clear(struct residue *r);

#endif
