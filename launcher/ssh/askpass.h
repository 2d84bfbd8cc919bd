/* GRAPNEL_PASSWORD_FILE for the OpenSSH client, which takes passwords from a terminal or from an
 * askpass program only (with SSH_ASKPASS_REQUIRE, so from 8.4 on).
 *
 * The program is a script of a few lines in a memfd of ours, so that nothing is left behind and no
 * other program of grapnel's is needed.  It prints the file's first line where the account's own
 * password is asked for, which ssh's prompts tell: not for a jump host, not for a key.  Neither the
 * script nor an argument nor the environment holds the password. */
#ifndef GRAPNEL_LAUNCHER_ASKPASS_H
#define GRAPNEL_LAUNCHER_ASKPASS_H

#include "launcher/ssh/sshconfig.h"
#include "proto/errors.h"

struct askpass;

/* Makes the program for this host.  interactive: what the file does not answer goes to the user's
 * SSH_ASKPASS, if there is one.
 * On 0 the caller owns *out, which is NULL when GRAPNEL_PASSWORD_FILE is not set, and frees it with
 * askpass_free when ssh has ended.  -E_CONFIG (the file is not there, not ours, or open to others),
 * -E_UNSUPPORTED (no memfd), -E_NOMEM. */
int askpass_new(const struct sshconfig *config, int interactive, struct askpass **out,
                struct error *e);
void askpass_free(struct askpass *a); /* NULL is legal */

/* The whole environment to run ssh with; lives as long as *a. */
char *const *askpass_environment(const struct askpass *a);

#endif
