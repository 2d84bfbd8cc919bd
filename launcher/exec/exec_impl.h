/* What the files of commands share: exec.c (from start to end), exec_calls.c (what is done with one
 * meanwhile) and exec_values.c (what is said over the link, also by instance.c).  Not for anyone
 * else; everything needs the context's lock. */
#ifndef GRAPNEL_LAUNCHER_EXEC_EXEC_IMPL_H
#define GRAPNEL_LAUNCHER_EXEC_EXEC_IMPL_H

#include <signal.h>

#include "launcher/connection.h"
#include "proto/pump.h"
#include "proto/stream.h"
#include "proto/values.h"

/* One of the two outputs: goes to a descriptor through a sink, or to a callback. */
struct output {
    struct stream *stream;  /* NULL: over */
    struct pump_sink *sink; /* NULL: none, or over */
    size_t (*callback)(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n);
};

struct grapnel_exec {
    struct grapnel_exec *next; /* of its server */
    struct grapnel *g;
    struct grapnel_server *server; /* NULL: has ended */
    char *target;
    struct output out, err;
    struct pump_source *in;
    struct grapnel_exec_handler handler;
    void *arg;
    uint32_t id; /* of the stream, for signals */
    int input_full;
    int input_tty;   /* in is a terminal */
    int result_came; /* status or error is filled, the sinks may still be writing */
    int done, freed, cancelled;
    sigset_t passed_on; /* by grapnel_exec_signal */
    int in_start;       /* grapnel_exec_start is not over */
    ev_timer stall;
    size_t stalled; /* bytes that waited for a reader when it was started */
    struct grapnel_exec_status status;
    struct error error;
};

/* exec.c: runs `done`, or frees x where nobody wants it any more, if all is over. */
void exec_conclude(struct grapnel_exec *x);
/* It was stopped, or is not waited for any more: readers who take nothing get no more. */
void exec_hurry_readers(struct grapnel_exec *x);
/* What the readers have not taken is dropped. */
void exec_drop_sinks(struct grapnel_exec *x);
/* Frees one that is done. */
void exec_destroy(struct grapnel_exec *x);

/* exec_values.c: the arguments of the service `exec`; NULL with *e filled.  err_stream: id of the
 * stream for stderr, 0: none. */
struct value *exec_args(const struct grapnel_exec_options *o, int has_input, uint32_t err_stream,
                        struct error *e);
/* Reads its result, which may be anything, into *to.  Strings in *to are static. */
void exec_read_status(struct grapnel_exec_status *to, const struct value *v);

#endif
