/* Passwords and keyboard-interactive login: both may wait for a person, so both use a thread.
 * libssh2 wants the answers to a server's questions from within its callback, so for
 * keyboard-interactive the thread owns the whole session until it is done. */
#ifndef GRAPNEL_LAUNCHER_SSH2_PROMPT_H
#define GRAPNEL_LAUNCHER_SSH2_PROMPT_H

#include "launcher/blocking.h"
#include "launcher/ssh/ssh2_session.h"
#include "launcher/ssh/sshconfig.h"

struct ssh2_prompt;

struct ssh2_prompt_options {
    struct blocking *blocking;
    const struct sshconfig *config;
    int interactive;         /* else only a password file is used */
    struct asker *asker;     /* asked instead of the terminal; NULL: none */
    void (*wake)(void *arg); /* it is done; runs from the loop */
    void *arg;
};

/* Asks for the account's password.  retry: the last one was wrong.  NULL with *e filled. */
struct ssh2_prompt *ssh2_prompt_password(const struct ssh2_prompt_options *options, int retry,
                                         struct error *e);
/* Runs keyboard-interactive on s.  NULL with *e filled. */
struct ssh2_prompt *ssh2_prompt_kbdint(const struct ssh2_prompt_options *options,
                                       struct ssh2_session *s, struct error *e);

int ssh2_prompt_running(const struct ssh2_prompt *p);
/* When it is not running: what ask_secret answered, or for keyboard-interactive 0 (logged in),
 * -E_AUTH (refused), -E_CANCELLED or others of ask_secret (a question could not be put),
 * -E_DISCONNECTED. */
int ssh2_prompt_result(const struct ssh2_prompt *p, struct error *e);
/* The password (n bytes), in guarded memory; lives as long as p. */
const char *ssh2_prompt_secret(const struct ssh2_prompt *p, size_t *n);

/* Withdraws and frees; returns 1 when the thread still has the session, which is then freed by it
 * when it ends.  NULL is legal (0). */
int ssh2_prompt_free(struct ssh2_prompt *p);

/* True when there is some way to get an answer at all. */
int ssh2_prompt_possible(const struct sshconfig *config, int interactive, struct asker *asker);
/* Why there is none: static. */
const char *ssh2_prompt_why_not(const struct sshconfig *config, int interactive);
/* True when the password comes from a file: then a wrong one will not get better. */
int ssh2_prompt_from_file(const struct asker *asker);

#endif
