/* Instances as their owners hold them: struct grapnel_instance of the public header.  Everything
 * here needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_INSTANCES_H
#define GRAPNEL_LAUNCHER_INSTANCES_H

#include "launcher/remote.h"

struct grapnel *instances_context(const struct grapnel_instance *i);
/* The end that is in force now; it may have ended. */
struct remote *instances_remote(const struct grapnel_instance *i);
/* s is freed: no instance can be opened on it again. */
void instances_forget(struct grapnel_server *s);

#endif
