/* What the ssh2 transport needs of the process, and what its connections share; the transport
 * itself is in transport.h.
 *
 * These functions are the whole way into SSH in process, and into libcrypto with it.  In the
 * library they are simply there; the command has others in their place, which load a file with the
 * real ones when the first connection is to be made (cli/transport_ssh2.c). */
#ifndef GRAPNEL_LAUNCHER_TRANSPORT_SSH2_H
#define GRAPNEL_LAUNCHER_TRANSPORT_SSH2_H

#include "launcher/transport/transport.h"

/* GRAPNEL_VERSION, as it was when this was built. */
extern const char transport_ssh2_version[];

/* Lets passphrases that were given up be asked for again (keyring_forgive).  NULL is legal. */
void transport_ssh2_forgive(struct keyring *keys);
/* Wipes and frees what transport_ssh2 has left in transport_options.keys (keyring_free).  NULL is
 * legal. */
void transport_ssh2_free_keys(struct keyring *keys);

#define TRANSPORT_SSH2_SHA1 41
/* SHA-1 of n bytes as digits, for %C of ssh_config, since libcrypto is here.  0, or negative where
 * there is none. */
int transport_ssh2_sha1(const void *bytes, size_t n, char hex[TRANSPORT_SSH2_SHA1]);

struct knownhosts_change;
/* Puts keys into a file of known_hosts (knownhosts_write), whose folder is made if it is this one,
 * ~/.ssh: what is looked up and hashed takes libcrypto, too. */
int transport_ssh2_write_keys(const char *path, const char *folder,
                              struct knownhosts_change *changes, size_t n, struct error *e);

#endif
