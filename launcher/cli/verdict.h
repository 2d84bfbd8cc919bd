/* What the end of a command amounts to. */
#ifndef GRAPNEL_CLI_VERDICT_H
#define GRAPNEL_CLI_VERDICT_H

#include <jansson.h>

#include "launcher/grapnel.h"

/* The exit status that stands for it: the command's own; 128 + the signal's number; 124 when its
 * time was up; 255.  *error is filled when there is something to say of it: its code is not 0 then,
 * and detail and host are left as they are. */
int verdict_of(const struct grapnel_exec_status *s, struct grapnel_error *error);
/* Fills *error (but for detail and host) with what stands here.  SAY_FAILED. */
int verdict_say(struct grapnel_error *error, const char *name, const char *phase, const char *text,
                const char *hint);
/* "status", "signal", "reason", "left" and so on into an object. */
void verdict_json(json_t *object, const struct grapnel_exec_status *s);

#endif
