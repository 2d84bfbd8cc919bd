/* Which algorithms a session offers, and what it means when the server has none of them. */
#ifndef GRAPNEL_LAUNCHER_SSH2_ALGORITHMS_H
#define GRAPNEL_LAUNCHER_SSH2_ALGORITHMS_H

#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/ssh2_session.h"
#include "launcher/ssh/sshconfig.h"

struct ssh2_algorithms;

/* Sets the session's preferences, before its handshake: ssh_config's lists cut down to what libssh2
 * can do, the host-key algorithms that known_hosts has for this host first.
 * On 0 the caller owns *out, for ssh2_algorithms_explain.  0, -E_NOMEM, -E_AUTH_NEEDS_OPENSSH
 * (libssh2 has none of those that ssh_config asks for), -E_SYSTEM. */
int ssh2_algorithms_apply(struct ssh2_session *s, const struct sshconfig *config,
                          struct knownhosts *known_hosts, struct ssh2_algorithms **out,
                          struct error *e);
void ssh2_algorithms_free(struct ssh2_algorithms *a);

/* After a failed handshake: if the two sides have no algorithm in common for something, fills e
 * with what each of them has and returns -E_AUTH_NEEDS_OPENSSH if the OpenSSH client has one that
 * the server takes, else -E_KEX.  0 when that was not the reason. */
int ssh2_algorithms_explain(const struct ssh2_algorithms *a, const struct ssh2_greeting *g,
                            const struct sshconfig *config, struct error *e);

/* True when a name is in both lists, whose names have commas between them. */
int ssh2_algorithms_common(const char *a, const char *b);

/* What was agreed: "curve25519-sha256, ssh-ed25519, chacha20-poly1305@openssh.com". */
void ssh2_algorithms_chosen(struct ssh2_session *s, char *out, size_t size);

#endif
