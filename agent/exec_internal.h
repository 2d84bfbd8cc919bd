/* What the files of the service `exec` share: exec.c (starting, calls), exec_io.c (streams and
 * pipes) and exec_end.c (what becomes of it).  Not for anyone else. */
#ifndef GRAPNEL_AGENT_EXEC_INTERNAL_H
#define GRAPNEL_AGENT_EXEC_INTERNAL_H

#include <signal.h>

#include "agent/exec.h"
#include "agent/launch.h"
#include "proto/pump.h"

struct exec_set {
    struct exec_options options;
    struct exec *first;
    int leaving;
};

/* One of the two outputs of a command. */
struct output {
    struct stream *s; /* NULL: none, or gone */
    struct pump_source *source;
    uint64_t count; /* bytes so far */
    int fd;         /* the source's, while that reads */
    int ended;      /* nothing more will come */
    int settled;    /* ... and the stream knows */
};

struct exec {
    struct exec *next;
    struct exec_set *set;
    struct output out, err;
    struct pump_sink *in;
    struct reap_child *child;
    struct reap_ending *ending;
    ev_timer limit; /* the time limit */
    ev_timer drain;
    ev_timer cut;  /* until stdin is closed */
    ev_timer eof;  /* until an output's end is told by itself */
    ev_timer kick; /* never started: fed by exec_kick */
    pid_t pid;
    uint64_t began;   /* microseconds */
    uint64_t stopped; /* microseconds: when the command had ended */
    uint64_t output_limit;
    unsigned grace_ms;
    int reaped;
    int status; /* as of waitpid */
    struct rusage usage;
    const char *reason; /* why it is being ended; NULL: it is not */
    int in_ended, in_cut, over_limit, tree_gone, eof_due;
    sigset_t passed_on; /* signals of the launcher's */
    size_t left;
    uint64_t moved, moved_at; /* bytes of output when it last grew, and when */
};

/* Something has happened to x: what follows from it is done soon, outside of all callbacks. */
void exec_kick(struct exec *x);

/* exec_io.c: hands our ends of the pipes to pumps, which own them from then on even when this
 * fails; x->out.s is accepted, x->err.s taken over.  0 or -E_NOMEM. */
int exec_connect(struct exec *x, struct launch *launch);
/* Stops reading an output: nothing more will come. */
void exec_end_output(struct output *o);

/* exec_end.c: no more input comes, but not because it is over: stdin is closed a moment later, when
 * the command has been told to end.  An end that it saw sooner it would take for that of the
 * input. */
void exec_cut_input(struct exec *x);
/* Readies a new x for the following. */
void exec_init(struct exec *x, uint64_t timeout_ms);
/* Begins to end the command with all that belongs to it; the first reason (static) counts. */
void exec_begin_end(struct exec *x, const char *reason);
/* reap_exited */
void exec_exited(void *arg, const struct keeper_report *end);
/* Frees x with its pumps; its streams are not told. */
void exec_free(struct exec *x);

#endif
