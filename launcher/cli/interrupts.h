/* What the command does with the signals that it gets while a remote command runs: it passes them
 * on, and leaves in good time when it is told to.
 *
 *   INT                   passed on; a second within a second, or one before the connection is
 *                         ready: leave at once
 *   TERM, HUP             passed on; a command that still runs after a grace is cancelled, and
 *                         its end is waited for, but not for ever; a second one cancels at once
 *   QUIT USR1 USR2 WINCH  passed on
 *
 * A signal that was ignored when the command was started stays ignored (nohup, background jobs). */
#ifndef GRAPNEL_CLI_INTERRUPTS_H
#define GRAPNEL_CLI_INTERRUPTS_H

#include <stdatomic.h>
#include <stdint.h>

#include "launcher/grapnel.h"

struct interrupts {
    struct grapnel *g;
    _Atomic(struct grapnel_exec *) x; /* NULL: not started yet */
    const atomic_int *ready;          /* the connection is */
    atomic_int leave;                 /* the signal to leave at once for; 0: none */
    atomic_int ending;                /* the TERM or HUP that asked for the end; 0: none */
    atomic_int cancelled;             /* the command was cancelled for it */
    _Atomic int64_t deadline;         /* when to go further, by interrupts_clock; -1: no hurry */
    int64_t interrupted;              /* time of the last INT; -1: none.  Callbacks only. */
};

/* The monotonic clock, in milliseconds and in microseconds. */
int64_t interrupts_clock(void);
int64_t interrupts_clock_us(void);

/* Begins to handle signals of g (until g is freed).  *i and *ready must outlive g.  0, or a
 * negative code. */
int interrupts_begin(struct interrupts *i, struct grapnel *g, const atomic_int *ready);

/* As grapnel_on_signal, but a signal that was ignored when the command was started stays so. */
int interrupts_catch(struct grapnel *g, int number, void (*callback)(void *arg, int number),
                     void *arg);
/* The signals that ask for the end act as usual again: what is left to do is not worth waiting
 * for. */
void interrupts_release(void);
/* "INT"; "?" for one that is not passed on. */
const char *interrupts_name(int number);

/* From now on there is a command to pass signals on to. */
void interrupts_attach(struct interrupts *i, struct grapnel_exec *x);

/* Drives g until *finished, or until a signal says to leave: then the signal's number, else 0. */
int interrupts_drive(struct interrupts *i, const atomic_int *finished);

#endif
