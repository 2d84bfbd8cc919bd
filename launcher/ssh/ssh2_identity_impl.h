/* Shared by the files of ssh2_identity only. */
#ifndef GRAPNEL_LAUNCHER_SSH2_IDENTITY_IMPL_H
#define GRAPNEL_LAUNCHER_SSH2_IDENTITY_IMPL_H

#include "launcher/ssh/ssh2_identity.h"
#include "launcher/ssh/sshagent.h"
#include "launcher/ssh/sshkey.h"

struct ssh2_identity {
    struct keyring_key *key; /* from a file; NULL: only the agent has it */
    uint8_t *blob;           /* of one that the agent signs for; NULL: it does not */
    size_t blob_n;
    char *label;
    char type[SSHKEY_NAME_MAX];
    int rank; /* smaller is tried first; equal ones in the order in which they were found */
    int tried;
};

enum ssh2_signing {
    SSH2_SIGNING_IDLE,
    SSH2_SIGNING_WAITING,
    SSH2_SIGNING_READY,
    SSH2_SIGNING_FAILED
};

struct ssh2_identities {
    struct ssh2_identity_options o;
    struct ssh2_identity *list;
    size_t count;
    size_t current; /* count: none */
    struct sshagent *agent;
    ev_io agent_io;
    ev_timer agent_timer;
    ev_tstamp agent_until;     /* for so long it may be too busy to be connected to */
    int listing;               /* the agent's list is awaited */
    struct keyring_wait *wait; /* a passphrase is awaited */
    enum ssh2_signing signing;
    uint8_t *signature; /* _READY: what the callback returns */
    size_t signature_n;
    int has_signed;
    struct error failure;
    char beyond[512];
    char skipped[512];
    unsigned skipped_more; /* that are not in there */
};

void ssh2_identity_trace(const struct ssh2_identities *ids, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Notes what the OpenSSH client could try beyond this. */
void ssh2_identity_beyond(struct ssh2_identities *ids, const char *what, const char *where);
/* Notes an identity that cannot be used, and why, for the message when the login fails. */
void ssh2_identity_skip(struct ssh2_identities *ids, const char *why);
/* libssh2 1.10 signs with RSA keys by SHA-1 only, which no server takes any more: true, and noted.
 */
int ssh2_identity_too_old(struct ssh2_identities *ids, const char *type, const char *where);
/* Appends a copy of *i, whose memory it takes over.  0 or -E_NOMEM. */
int ssh2_identity_add(struct ssh2_identities *ids, const struct ssh2_identity *i);
/* "TYPE NAME SUFFIX", safe to print, from malloc. */
char *ssh2_identity_label(const char *type, const char *name, const char *suffix);
/* own: ssh_config names it. */
int ssh2_identity_rank(const char *type, int own);
/* All that can be known is known: drops what cannot sign at all. */
void ssh2_identity_complete(struct ssh2_identities *ids);

void ssh2_identity_agent_init(struct ssh2_identities *ids); /* first of all */
/* Begins to ask the agent for its identities; ssh2_identity_complete follows. */
void ssh2_identity_agent_start(struct ssh2_identities *ids);
void ssh2_identity_agent_close(struct ssh2_identities *ids);
/* Begins to have the present identity's signature made.  0 or -1. */
int ssh2_identity_agent_sign(struct ssh2_identities *ids, const void *data, size_t n);

#endif
