/* Instances as their owners hold them: struct grapnel_instance of the public header.  Everything
 * here needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_INSTANCES_H
#define GRAPNEL_LAUNCHER_REMOTE_INSTANCES_H

#include "launcher/remote/remote.h"

struct grapnel *instances_context(const struct grapnel_instance *i);
/* The end that is in force now; it may have ended. */
struct remote *instances_remote(const struct grapnel_instance *i);
/* The calls of all instances of s that are not answered yet fail now with that code, and their
 * workers are asked to leave. */
void instances_end_all(struct grapnel_server *s, int code, const char *text);
/* As grapnel_instance_open and _reopen, with the lock held. */
struct grapnel_instance *instances_open(struct grapnel_server *s,
                                        const struct grapnel_instance_options *o, struct error *e);
int instances_reopen(struct grapnel_instance *i, struct error *e);
/* What is under way fails with that code, and the worker is asked to leave, for which
 * instances_is_over tells. */
void instances_end(struct grapnel_instance *i, int code, const char *text);
int instances_is_over(const struct grapnel_instance *i);
/* How the worker's process has ended; all zero: it has not, or that is not known. */
const struct grapnel_exec_status *instances_status(const struct grapnel_instance *i);
/* True when the worker has answered; it may have ended since. */
int instances_is_greeted(const struct grapnel_instance *i);
/* s is freed: no instance can be opened on it again. */
void instances_forget(struct grapnel_server *s);

#endif
