/* Checks the key by which a server has proved who it is. */
#ifndef GRAPNEL_LAUNCHER_SSH2_HOSTKEY_H
#define GRAPNEL_LAUNCHER_SSH2_HOSTKEY_H

#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/ssh2_session.h"
#include "launcher/ssh/sshconfig.h"

#define SSH2_HOSTKEY_NOTE_MAX 512

/* After the key exchange.  A key that is not known is added when StrictHostKeyChecking is
 * accept-new or off; one that differs from a known one is refused in any case.
 * note: "ssh-ed25519 SHA256:... (known_hosts:3)", safe to print; set on errors as well.  warning:
 * why a key that was accepted could not be added; "" if there is nothing to warn of. 0,
 * -E_HOSTKEY_UNKNOWN, -E_HOSTKEY_CHANGED, -E_HOSTKEY_REVOKED, -E_AUTH_NEEDS_OPENSSH (not
 * this key, but a @cert-authority stands for the host), -E_KEX (no sane key). */
int ssh2_hostkey_check(struct ssh2_session *s, const struct sshconfig *config,
                       struct knownhosts *known_hosts, char note[SSH2_HOSTKEY_NOTE_MAX],
                       char warning[SSH2_HOSTKEY_NOTE_MAX], struct error *e);

#endif
