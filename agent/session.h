/* A session: one link with a launcher, the commands that it has started, and its life.
 *
 * What carries the link is the session's pipe: whoever owns that feeds the session what comes,
 * takes from the link what is to go, and frees the session when it is over. */
#ifndef GRAPNEL_AGENT_SESSION_H
#define GRAPNEL_AGENT_SESSION_H

#include "proto/link.h"

struct agent;
struct exec_set;
struct session;

struct session_pipe {
    /* The link has something to send: session_look is due when it has been taken.  May run within
     * any callback of the link. */
    void (*wake)(void *arg);
    /* Whether more input is wanted now. */
    void (*listen)(void *arg, int wanted);
    /* Passes on what has come already, so that it counts when the lease is judged.  May be NULL. */
    void (*hear)(void *arg);
    /* Nothing more is carried; if `speak` then but for what the link still has to say, if that can
     * be sent at once. */
    void (*stop)(void *arg, int speak);
    /* All that the session has started has ended, and what was to be said is said, or cannot be.
     * May come more than once. */
    void (*over)(void *arg);
};

struct session_options {
    struct agent *agent;
    unsigned number; /* 0: the agent's own, which ends all that there is; else it is alone in having
                        it */
    uint32_t features; /* of the link */
    const struct session_pipe *pipe;
    void *arg; /* of the pipe */
};

/* Begins a link, as its accepter; the pipe is woken at once.  What the options point to must
 * outlive it.  NULL: no memory. */
struct session *session_new(const struct session_options *options);
/* Ends the link, and forgets the commands.  Not within a callback of the link.  NULL is legal. */
void session_free(struct session *s);

/* ---- for the pipe ---- */

/* n bytes came. */
void session_input(struct session *s, const uint8_t *bytes, size_t n);
/* Nothing more comes. */
void session_input_end(struct session *s);
/* Nothing can be sent or received any more; code 0 or negative, with a text. */
void session_lose(struct session *s, int code, const char *text);
/* What follows from the state of the link after it was fed or emptied otherwise. */
void session_look(struct session *s);

/* ---- for others ---- */

/* Ends all that was started, then the link with `code` (0 or negative) and text; the first cause
 * counts. */
void session_end(struct session *s, int code, const char *text);
/* The same without ending anything: somebody ends all processes. */
void session_leave(struct session *s);
/* Why it ends; code 0: it does not, or as it should. */
const struct error *session_error(const struct session *s);

unsigned session_number(const struct session *s);
struct link *session_link(struct session *s);
struct agent *session_agent(struct session *s);
struct exec_set *session_execs(struct session *s);

#endif
