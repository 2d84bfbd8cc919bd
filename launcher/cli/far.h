/* One instance on a host, as the verbs that run code there make it. */
#ifndef GRAPNEL_CLI_FAR_H
#define GRAPNEL_CLI_FAR_H

#include "launcher/cli/leave.h"
#include "launcher/cli/options.h"
#include "launcher/cli/reach.h"
#include "launcher/grapnel.h"

#define FAR_FAILED  1   /* exit status when the code there failed */
#define FAR_TIMEOUT 124 /* as timeout(1) */

struct far {
    const struct options *o;
    struct reach_trace trace;
    struct reach reach;
    struct leave leave;
    int signalled[2]; /* a pipe that gets a byte when a signal says to leave */
    struct grapnel *g;
    struct grapnel_server *server;
    struct grapnel_error error; /* code 0: none */
    char hint[400];             /* what error.hint may point to */
};

/* Begins a connection as the options say; what is started on r->server goes out with the agent.
 * one_shot: as grapnel_open's.  signals: those that end a process make grapnel leave.  *r must stay
 * where it is.  0, or negative with r->error filled; far_end is due in both cases. */
int far_begin(struct far *r, const struct options *o, int one_shot, int signals);
/* Fills *i with what the options say of the instance, into which it points; what the code prints
 * goes to standard error. */
void far_options(struct grapnel_instance_options *i, const struct options *o);
/* The same for many hosts, which have their own output: 0, or negative with *error, where the
 * options contradict each other. */
int far_options_of_many(struct grapnel_instance_options *i, const struct options *o,
                        struct grapnel_error *error);
/* Closes what is left.  On a signal it does not return, but exits with 128 + its number. */
void far_end(struct far *r);

/* Shows r->error where errors go, and returns the exit status that belongs to it. */
int far_fail(struct far *r);

/* As far_fail, for an instance that is held, or was to be, by the words that the Lua binding has
 * for its end. */
int far_lost(struct far *r, const char *words);

/* The exit status for an instance that has ended, by the words that the Lua binding has for that:
 * what the code gave to os.exit, 128 + a signal, or -1: it was something else. */
int far_ended(const char *words);

/* Writes all of it to descriptor 1 or 2, however long the reader takes, unless a signal says to
 * leave.  0, or -1 with r->error filled. */
int far_write(struct far *r, int fd, const void *bytes, size_t n);

/* "grapnel: web1: remote code: " and the message, then the traceback (may be NULL), a line each,
 * harmless for terminals.  what: what was called; may be NULL. */
void far_say(const struct far *r, const char *what, const char *message, const char *traceback);

#endif
