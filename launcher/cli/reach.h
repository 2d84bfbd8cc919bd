/* One connection as the command makes it: the context, its options, and a record of its phases. */
#ifndef GRAPNEL_CLI_REACH_H
#define GRAPNEL_CLI_REACH_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdint.h>

#include "launcher/cli/options.h"
#include "launcher/grapnel.h"

#define REACH_PHASES 48 /* more are not recorded: a connection that tries this often has failed */

struct reach_phase {
    const char *name; /* static; NULL: a remark made meanwhile, which is no phase */
    char note[256];   /* what was chosen; harmless for terminals */
    int64_t at_us;    /* when it began, from the start of the connection; remarks: 0 */
};

/* Written by the library's callbacks: `phases` may be read up to `count`, in any thread. */
struct reach {
    struct reach_phase phases[REACH_PHASES];
    atomic_size_t count;
    atomic_int ready;
};

/* Where the library's words go. */
struct reach_trace {
    const struct options *o; /* -v and -q say how much of it goes to standard error */
    /* Takes a line in the place of standard error; NULL: that gets it. */
    void (*note)(void *arg, const char *text);
    void *note_arg;
    struct reach *record; /* its remarks are recorded here; NULL: they are not */
};

/* A context that traces as *t says, which must live as long as it does.  driven: as in
 * grapnel_options.  NULL with *error filled. */
struct grapnel *reach_context(struct reach_trace *t, int driven, struct grapnel_error *error);

/* What the options say of connections; phases go nowhere. */
struct grapnel_connect_options reach_options(const struct options *o);

/* What they say of an instance, into which it points. */
struct grapnel_instance_options reach_instance(const struct options *o);

/* Starts a connection to `target` as the options say, its phases going to *d, which is reset and
 * must outlive the server.  one_shot, result and errors as grapnel_open's. */
struct grapnel_server *reach_open(struct reach *d, struct grapnel *g, const struct options *o,
                                  const char *target, int one_shot, struct grapnel_error *error);

/* How long phase i took, in microseconds, until the next began; 0 for the last. */
int64_t reach_phase_us(const struct reach *d, size_t i);
/* The number of the last phase (not a remark); -1: there is none. */
int reach_last(const struct reach *d);

/* [{"phase", "note", "at_us"}]; NULL: memory is out. */
json_t *reach_json(const struct reach *d);

#endif
