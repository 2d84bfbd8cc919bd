/* Logs in: decides which methods and identities are tried, in which order, and does it step by
 * step.
 *
 * One object serves a transport through all its connections: what was tried stays known when the
 * connection must be made anew.  Every step assumes that the host key has been checked. */
#ifndef GRAPNEL_LAUNCHER_SSH2_AUTH_H
#define GRAPNEL_LAUNCHER_SSH2_AUTH_H

#include "launcher/blocking.h"
#include "launcher/ssh/ssh2_identity.h"
#include "launcher/ssh/ssh2_session.h"

/* What ssh2_auth_step answers beside negative codes. */
enum {
    SSH2_AUTH_DONE = 0,
    SSH2_AUTH_AGAIN = 1,   /* when the socket is readable, or after `wake` */
    SSH2_AUTH_RESTART = 2, /* the connection is of no more use: make another one and go on there */
};

struct ssh2_auth;

struct ssh2_auth_options {
    struct ev_loop *loop;
    struct blocking *blocking;
    const struct sshconfig *config;
    struct keyring *keys;
    int interactive;
    struct asker *asker;      /* asked instead of the terminal; NULL: none */
    void (*wake)(void *arg);  /* call ssh2_auth_step; runs from the loop */
    void (*enter)(void *arg); /* around all callbacks that run from the loop: it may be freed in */
    void (*leave)(void *arg); /* `leave` only */
    void (*trace)(void *arg, int level, const char *text);
    void (*note)(void *arg, const char *text); /* "publickey ssh-ed25519 ...": is being tried */
    void *arg;
};

/* Begins to collect identities.  NULL when memory is out. */
struct ssh2_auth *ssh2_auth_new(const struct ssh2_auth_options *options);

/* How much is sent before answers have come. */
enum ssh2_auth_haste {
    SSH2_AUTH_PATIENT,
    SSH2_AUTH_HASTY, /* what follows a signature goes with it: when that does not suffice, this
                        connection cannot go on with another method */
    SSH2_AUTH_BLIND, /* also, the only key there is signs without asking whether it may */
};

/* A (new) connection. */
void ssh2_auth_attach(struct ssh2_auth *a, struct ssh2_session *s, enum ssh2_auth_haste haste);

/* The connection was lost before the server could have said that the present key is refused: on
 * the next one it counts as not tried. */
void ssh2_auth_undecided(struct ssh2_auth *a);

/* Frees.  Returns 1 when a thread is still busy with the session that was attached: that is then
 * freed with it, and is no longer the caller's.  NULL is legal (0). */
int ssh2_auth_free(struct ssh2_auth *a);

/* True when a login by key comes first, which may then begin before the server has said that logins
 * may begin.  extensions: the server's list of signature algorithms has probably come (RFC 8308):
 * RSA keys need it. */
int ssh2_auth_may_hurry(const struct ssh2_auth *a, int extensions);

/* Goes on.  SSH2_AUTH_*, or -E_AUTH, -E_AUTH_NEEDS_OPENSSH, -E_PASSPHRASE, -E_DISCONNECTED,
 * -E_NOMEM, -E_CANCELLED. */
int ssh2_auth_step(struct ssh2_auth *a, struct error *e);

/* The request that decides (a signature) is on its way. */
int ssh2_auth_decided(const struct ssh2_auth *a);
/* A person is being waited for: time limits stand still. */
int ssh2_auth_asking(const struct ssh2_auth *a);
/* A thread is using the session: nobody else may until `wake`.  NULL is legal (0). */
int ssh2_auth_busy(const struct ssh2_auth *a);

#endif
