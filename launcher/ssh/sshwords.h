/* What the OpenSSH client says when it fails, told apart. */
#ifndef GRAPNEL_LAUNCHER_SSHWORDS_H
#define GRAPNEL_LAUNCHER_SSHWORDS_H

#include "proto/errors.h"

/* A program that gives a shell has ended before the shell ran. */
struct sshwords {
    int status;       /* 0..255, 128 + signal, or -1: unknown */
    const char *said; /* its last words, lines joined by "|"; "" if none */
    int any_command;  /* it need not be ssh: then every status but 0 is a failure of its own, else
                         only ssh's 255 is, others being the remote shell's */
    const char *proxy_jump, *proxy_command; /* how ssh was to get there; NULL: directly */
};

/* *e holds what is to be said if the remote shell was at fault: it is changed where the program
 * itself has failed, to the code that its words mean.  A more exact code than -E_SHELL stays,
 * unless ssh's own words say better. */
void sshwords_explain(const struct sshwords *about, struct error *e);

#endif
