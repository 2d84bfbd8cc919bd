/* How to connect, and what an instance is to have, as values: what a client of the broker wants of
 * it. */
#ifndef GRAPNEL_LAUNCHER_BROKER_WISHES_H
#define GRAPNEL_LAUNCHER_BROKER_WISHES_H

#include "launcher/grapnel.h"
#include "proto/values.h"

struct wishes; /* options with all that they point to */

/* The options as a map; files in it are named from the root on, since the broker has another
 * working directory.  NULL: memory is out. */
struct value *wishes_put(const struct grapnel_connect_options *o);
/* What is set of the worker's limits, cwd, env and unset.  NULL: memory is out. */
struct value *wishes_put_instance(const struct grapnel_instance_options *o);
/* And back, of either.  What is not there, or of the wrong type, is as if it was not given.  NULL:
 * memory is out. */
struct wishes *wishes_get(const struct value *map);
/* Lives as long as w. */
struct grapnel_connect_options *wishes_options(struct wishes *w);
const struct grapnel_instance_options *wishes_instance(const struct wishes *w);
/* True when b wants nothing that a does not. */
int wishes_cover(const struct wishes *a, const struct wishes *b);
void wishes_free(struct wishes *w); /* NULL is legal */

#endif
