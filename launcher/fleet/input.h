/* The input of all commands of a job: read once, given to each host from its beginning.  A file is
 * read where it lies; what else there is goes through an unlinked file, so that nobody has to wait
 * for the slowest host and none of it is kept in memory; but it is not read much faster than the
 * fastest host takes it.  Everything here needs the context's lock.
 */
#ifndef GRAPNEL_LAUNCHER_FLEET_INPUT_H
#define GRAPNEL_LAUNCHER_FLEET_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "proto/errors.h"

struct grapnel_fleet_job;
struct input;
struct task;

/* fd is duplicated, and its flags are left alone.  NULL with *e filled. */
struct input *input_new(struct grapnel_fleet_job *job, int fd, struct error *e);
void input_free(struct input *in);
/* t's command, which has got t->input_at bytes, takes more: it gets what it takes now, and the rest
 * when it comes. */
void input_give(struct input *in, struct task *t);
/* The piece that follows those that t has got, which counts as got: 1 with *bytes, until the next
 * such call, and *n; 0 at the end; -E_IO: t was stopped; or -E_TIMEOUT: there is none yet, and
 * work_input tells when that may have changed. */
int input_take(struct input *in, struct task *t, const uint8_t **bytes, size_t *n);

#endif
