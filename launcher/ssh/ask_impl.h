/* What the files of ask share, and nobody else sees. */
#ifndef GRAPNEL_LAUNCHER_ASK_IMPL_H
#define GRAPNEL_LAUNCHER_ASK_IMPL_H

#include "launcher/ssh/ask.h"

#define ASK_TTY             "/dev/tty"
#define ASK_PROGRAM_DEFAULT "/usr/bin/ssh-askpass"

/* One question under way. */
struct ask {
    const struct ask_options *options;
    char *prompt;       /* safe to show */
    char *secret;       /* ASK_SECRET_MAX bytes, guarded */
    size_t n;           /* bytes of the answer so far */
    long long deadline; /* monotonic ms; 0: none */
};

/* Waits until fd can be read (or has ended).  0, -E_CANCELLED, -E_TIMEOUT or -E_SYSTEM. */
int ask_wait(const struct ask *a, int fd);

/* Appends a byte to the answer.  0 or -E_LIMIT. */
int ask_put(struct ask *a, char c);

/* Reads up to the end of a line (not kept) or of the file.  0, -E_LIMIT, or as ask_wait. */
int ask_line(struct ask *a, int fd);

/* ask_tty.c.  Results as ask_secret. */
int ask_tty(struct ask *a, struct error *e);
/* The terminal's descriptor, or -1. */
int ask_tty_open(const struct ask_options *options);

/* ask_program.c: by SSH_ASKPASS. */
int ask_program(struct ask *a, const char *program, struct error *e);
/* The program to ask with, by ssh(1)'s rules; NULL: ask on the terminal (or not at all). */
const char *ask_program_choose(const struct ask_options *options, int have_tty);

#endif
