/* What the files of an instance share: instance.c (workers of our own), instance_held.c (one that
 * the broker holds).  Not for anyone else. */
#ifndef GRAPNEL_LAUNCHER_REMOTE_INSTANCE_IMPL_H
#define GRAPNEL_LAUNCHER_REMOTE_INSTANCE_IMPL_H

#include "launcher/exec/exec_impl.h"
#include "launcher/remote/instance.h"
#include "proto/stream.h"

#define INSTANCE_TAIL 1000 /* bytes of stderr that are kept for messages */

struct sockline;

struct instance {
    struct instance *next; /* of its server */
    struct grapnel *g;
    struct grapnel_server *server; /* NULL: the worker has ended */
    struct sockline *held;         /* the broker's, whose worker it is; NULL: it is our own */
    struct delivery *delivery;     /* of its worker; lives as long as the pipe */
    struct stream *pipe, *err;     /* NULL: over */
    uint32_t id;                   /* of the pipe */
    struct instance_handler handler;
    void *arg;
    int starting, freed, result_came, in_bytes;
    int over;            /* the worker has closed its end */
    int cancel_asked;    /* of the agent … */
    int cancelled;       /* … and before it ended by itself */
    int64_t cpu_seconds; /* its limit, 0: none */
    size_t consumed;     /* within `bytes` */
    char tail[INSTANCE_TAIL];
    size_t tail_length;
    struct grapnel_exec_status status;
    struct error error;
};

/* ---- instance.c ---- */

/* Tells that it has ended, when all of it has; or frees it, when nobody wants to know. */
void instance_conclude(struct instance *i);
void instance_leave_server(struct instance *i);

/* ---- instance_held.c ---- */

/* Turns to the broker for instance `number` of i's server.  0, or negative with *e filled: then
 * nothing of it is left. */
int instance_held_open(struct instance *i, int number, const struct stream_handler *handler,
                       struct error *e);
/* Its stream has ended. */
void instance_held_closed(struct instance *i, int code, const char *text);

#endif
