/* The keys that one login may try, in order, and signing with them without blocking: from the key
 * files of ssh_config (through the keyring), and from an ssh-agent.
 *
 * Order: ssh_config's own identities first, whether the agent or a file signs for them, then the
 * agent's others (unless IdentitiesOnly), so that a full agent does not use up the server's
 * MaxAuthTries.  Within each part RSA keys come last: only they depend on an extension that the
 * server announces late.  Keys whose passphrase nobody could be asked for come at the very end. */
#ifndef GRAPNEL_LAUNCHER_SSH2_IDENTITY_H
#define GRAPNEL_LAUNCHER_SSH2_IDENTITY_H

#include <ev.h>
#include <libssh2.h>
#include <stddef.h>
#include <stdint.h>

#include "launcher/ssh/keyring.h"
#include "launcher/ssh/sshconfig.h"
#include "proto/errors.h"

struct ssh2_identities;

struct ssh2_identity_options {
    struct ev_loop *loop;
    const struct sshconfig *config;
    struct keyring *keys;
    int interactive; /* a person may be asked for a passphrase */
    struct asker *asker;
    /* What was waited for has happened: ask again.  Runs from the loop. */
    void (*wake)(void *arg);
    /* Around all callbacks that run from the loop: these may free everything in `leave` only. */
    void (*enter)(void *arg);
    void (*leave)(void *arg);
    void (*trace)(void *arg, int level, const char *text);
    void *arg;
};

/* Reads the key files and starts to ask the agent.  NULL when memory is out. */
struct ssh2_identities *ssh2_identities_new(const struct ssh2_identity_options *options);
void ssh2_identities_free(struct ssh2_identities *ids); /* NULL is legal */

/* False while the agent's answer is still awaited (at most 5 s); `wake` follows then. */
int ssh2_identities_ready(const struct ssh2_identities *ids);
size_t ssh2_identities_left(const struct ssh2_identities *ids); /* not tried yet */

/* The next one, or the present one, is an RSA key. */
int ssh2_identities_next_is_rsa(const struct ssh2_identities *ids);
int ssh2_identities_is_rsa(const struct ssh2_identities *ids);

/* Goes to the next identity that was not tried; call when ready.  1: there is one.  0: none is
 * left. */
int ssh2_identities_next(struct ssh2_identities *ids);
/* The present one's public key.  0, 1 (a passphrase is being asked for first; `wake` follows), or
 * negative: it cannot be used (traced). */
int ssh2_identities_blob(struct ssh2_identities *ids, const uint8_t **blob, size_t *n);
/* "ssh-ed25519 /home/u/.ssh/id_ed25519 (agent)"; safe to print; lives until the next call. */
const char *ssh2_identities_label(const struct ssh2_identities *ids);
/* The present one is the only one there is, or the only one that ssh_config names, and can sign
 * without asking anybody: so it may as well sign before the server says that it takes the key. */
int ssh2_identities_sure(const struct ssh2_identities *ids);
/* Forgets that the present one was tried; counts all RSA keys as tried. */
void ssh2_identities_untry(struct ssh2_identities *ids);
void ssh2_identities_drop_rsa(struct ssh2_identities *ids);

/* libssh2's sign callback, abstract being a struct ssh2_identities **.  Answers
 * LIBSSH2_ERROR_EAGAIN while an agent or a person is waited for; `wake` follows. */
LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(ssh2_identities_sign);
/* A signature was made since ssh2_identities_next; one is being waited for. */
int ssh2_identities_signed(const struct ssh2_identities *ids);
int ssh2_identities_signing(const struct ssh2_identities *ids);

/* Why the last signature failed: 0, -E_PASSPHRASE, ... */
int ssh2_identities_failure(const struct ssh2_identities *ids, struct error *e);
/* What the OpenSSH client could try beyond these ("a FIDO key (/home/u/.ssh/id_ed25519_sk)"), safe
 * to print; "" when there is nothing. */
const char *ssh2_identities_beyond(const struct ssh2_identities *ids);
/* Identities that were not tried, each with its reason ("/home/u/bad: not a private key, ..."),
 * safe to print; "" when there is none.  *more (may be NULL): how many others there are. */
const char *ssh2_identities_skipped(const struct ssh2_identities *ids, unsigned *more);

#endif
