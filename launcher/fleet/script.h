/* A script on a host: what it says and asks for comes as calls of functions of ours, so that one
 * that is not read waits, and its output can be told from its errors.  Everything here needs the
 * context's lock. */
#ifndef GRAPNEL_LAUNCHER_FLEET_SCRIPT_H
#define GRAPNEL_LAUNCHER_FLEET_SCRIPT_H

#include "launcher/fleet/fleet_impl.h"

/* What a script is to be called with, for a job: its source and arguments, an array.  NULL: memory
 * is out. */
struct value *script_start(const struct grapnel_fleet_script *o);

/* Begins t's script in t->instance, and makes t->future its end.  0 or negative with *e. */
int script_begin(struct task *t, struct error *e);
/* Has what t's instance prints, which the broker holds, come to this job.  0 or negative with *e.
 */
int script_redirect(struct task *t, struct error *e);
/* There may be more of the input. */
void script_input(struct task *t);
/* What it has said is done with. */
void script_consumed(struct task *t);
/* How it ended, when its future has failed like that: fills t->status, and then *e is none, where
 * the script itself has ended its process. */
void script_judge(struct task *t, struct error *e);
/* The task has done with it. */
void script_free(struct task *t);

#endif
