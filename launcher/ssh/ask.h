/* Asking a person (or a file that stands in for one) for a password, a passphrase or a word.
 * BLOCKING: call it from a helper thread, never from the event loop.  Ways, in this order:
 *   1. kind ASK_PASSWORD and GRAPNEL_PASSWORD_FILE is set: the first line of that file (refused if
 *      it is open to others).  No second way is tried then.
 *   2. SSH_ASKPASS, by ssh(1)'s rules: SSH_ASKPASS_REQUIRE=force, or =prefer with DISPLAY or
 *      WAYLAND_DISPLAY set; or unset, no terminal, and a display set.  =never: not at all.
 *   3. /dev/tty, with echo off unless asked for.  The terminal is restored on every end, be it a
 *      SIGKILL: a small child process of our own sees to that.  Ctrl-C, Ctrl-\ and Ctrl-Z act on
 * the process group as usual. Nothing here is shared between calls, but a terminal is: callers ask
 * one question at a time. */
#ifndef GRAPNEL_LAUNCHER_ASK_H
#define GRAPNEL_LAUNCHER_ASK_H

#include <stddef.h>

#include "proto/errors.h"

#define ASK_PASSWORD_FILE "GRAPNEL_PASSWORD_FILE"
#define ASK_SECRET_MAX    4096 /* bytes of an answer, with its terminator */

struct asker;

enum ask_kind {
    ASK_PASSWORD,   /* an account's password */
    ASK_PASSPHRASE, /* a key's */
    ASK_PROMPT,     /* what a server wants to know (keyboard-interactive); echo may be on */
    ASK_CONFIRM,    /* a yes or no; echo is on */
};

struct ask_options {
    enum ask_kind kind;
    const char *prompt;  /* passed through safetext before it is shown */
    int echo;            /* show what is typed (ASK_PROMPT) */
    int batch;           /* BatchMode: never ask a person; the password file only */
    int cancel_fd;       /* readable (or at its end): stop asking; -1: none */
    unsigned timeout_ms; /* 0: none */
    const char *tty;     /* instead of /dev/tty (tests) */
    const char *askpass; /* instead of SSH_ASKPASS; NULL: the environment */
    struct asker *asker; /* who is asked instead of all that is said above; NULL: nobody */
};

/* Asks, and waits for the answer.  *secret is terminated, of *n bytes (n may be NULL), in guarded
 * memory: give it back to ask_free, which wipes it.  It may be empty.
 * 0, -E_CANCELLED (cancel_fd, Ctrl-C, Ctrl-D, or an askpass program that said no), -E_TIMEOUT,
 * -E_UNSUPPORTED (batch, or neither a terminal nor an askpass program), -E_CONFIG (password file
 * unreadable or open to others), -E_LIMIT (too long), -E_SYSTEM, -E_NOMEM. */
int ask_secret(const struct ask_options *options, char **secret, size_t *n, struct error *e);
void ask_free(char *secret); /* NULL is legal */

/* Looks at the password file without reading it: 1 (it may be used), 0 (none is named), or
 * -E_CONFIG (not there, not ours, open to others). */
int ask_password_file(struct error *e);

/* True when there is some way to ask for this kind: to know before the work begins.  Opens and
 * closes the terminal, shows nothing. */
int ask_possible(const struct ask_options *options);
/* Why there is none, for a message: static. */
const char *ask_why_not(const struct ask_options *options);

#endif
