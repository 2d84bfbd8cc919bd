/* What was kept, in the order in which it is to be shown, on its way to the flow: piece by piece,
 * as that drains, so that little of it is in memory at any time. */
#ifndef GRAPNEL_CLI_FLEET_PARTS_H
#define GRAPNEL_CLI_FLEET_PARTS_H

#include "launcher/cli/fleet/fleet_flow.h"
#include "launcher/cli/fleet/fleet_lines.h"
#include "launcher/cli/fleet/fleet_store.h"

struct fleet_parts;

/* The store and the flow must outlive it.  ascii: JSON strings have no other characters.  NULL:
 * memory is out. */
struct fleet_parts *fleet_parts_new(struct fleet_store *s, struct fleet_flow *flow, int ascii);
void fleet_parts_free(struct fleet_parts *p);

/* A text, which is moved from *k, in its turn: as it is, for standard output; as a member of a JSON
 * object behind others, named key (static), or key_base64 if it is not UTF-8; as lines, each of
 * which is told with arg, which is taken for free.  0, or -1: memory is out, and nothing is moved.
 */
int fleet_parts_raw(struct fleet_parts *p, struct fleet_kept *k);
int fleet_parts_member(struct fleet_parts *p, const char *key, struct fleet_kept *k);
int fleet_parts_lines(struct fleet_parts *p, struct fleet_kept *k, fleet_lines_tell *tell,
                      void *arg);

/* Gives the flow as much as it should hold.  True while there is more. */
int fleet_parts_more(struct fleet_parts *p);

#endif
