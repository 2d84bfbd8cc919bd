/* Why a key exchange did not come about, in words. */
#ifndef GRAPNEL_LAUNCHER_SSH2_EXPLAIN_H
#define GRAPNEL_LAUNCHER_SSH2_EXPLAIN_H

#include "launcher/ssh/ssh2_algorithms.h"
#include "launcher/ssh/ssh2_session.h"
#include "launcher/ssh/sshconfig.h"

/* After each step: a server that does not speak SSH need not be waited for until it gives up.
 * 0, -E_NOT_SSH (with its first bytes), or -E_KEX (SSH 1 only). */
int ssh2_explain_greeting(const struct ssh2_session *s, struct error *e);

/* libssh2_session_handshake answered rc, or the connection is over.  -E_NOT_SSH, -E_DISCONNECTED,
 * -E_AUTH_NEEDS_OPENSSH (see ssh2_algorithms_explain) or -E_KEX. */
int ssh2_explain_failure(struct ssh2_session *s, const struct ssh2_algorithms *a,
                         const struct sshconfig *config, int rc, struct error *e);

/* It took too long.  -E_NOT_SSH, -E_MUTE or -E_KEX_TIMEOUT. */
int ssh2_explain_timeout(const struct ssh2_session *s, double seconds, struct error *e);

#endif
