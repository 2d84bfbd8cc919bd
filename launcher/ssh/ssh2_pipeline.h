/* Sends what follows without waiting for answers, past what libssh2's own functions allow.
 *
 * A login costs libssh2 four round trips behind the key exchange: may I use this key, here is my
 * signature, open a channel, run this.  SSH lets all four be sent at once (RFC 4252 section 7 makes
 * the first one optional, and a server reads what it was sent in order).  Functions of libssh2 that
 * its static library has, but not its header, make that possible:
 *   - the answer "yes, sign with this key" is put into its queue before the server has given it;
 *   - a request for a command is sent to a channel before the server has said that it is open, as
 *     OpenSSH's first channel always has the number 0.
 * They are used only with the release they were read from, and are looked for weakly: with a shared
 * libssh2 they are not there, and everything goes step by step. */
#ifndef GRAPNEL_LAUNCHER_SSH2_PIPELINE_H
#define GRAPNEL_LAUNCHER_SSH2_PIPELINE_H

#include "launcher/ssh/ssh2_session.h"

/* True when the functions are there and of the right release. */
int ssh2_pipeline_available(void);

/* Has libssh2 sign at once with the key that it offers next.  The server's own answer stays in the
 * queue: ssh2_pipeline_clean.  0 or -E_NOMEM. */
int ssh2_pipeline_expect_key(struct ssh2_session *s);

/* Requests `command` on the session's first channel.  0 or -E_DISCONNECTED. */
int ssh2_pipeline_exec(struct ssh2_session *s, const char *command);
/* Its answer, after something was read: 1 accepted, -1 refused, 0 not there yet. */
int ssh2_pipeline_exec_answer(struct ssh2_session *s);

/* After a login that failed so: the server did say that it takes the key. */
int ssh2_pipeline_key_accepted(struct ssh2_session *s);

/* Takes answers that nobody waits for out of the queue, after a login. */
void ssh2_pipeline_clean(struct ssh2_session *s);

#endif
