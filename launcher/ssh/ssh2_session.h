/* One libssh2 session over one socket, made safe for an event loop.
 *
 * libssh2 is never shown a full or an empty socket half-way: what it sends always goes (to the
 * socket, or into a buffer of ours), because its own handling of a partial send loses its way under
 * back-pressure and during a key exchange.  The caller keeps the buffer bounded: it stops writing
 * while ssh2_session_backlog is high.
 *
 * A call of libssh2 is wrapped so:
 *     do {
 *         ssh2_session_begin(s, budget);
 *         rc = libssh2_something(ssh2_session_raw(s), ...);
 *     } while (ssh2_session_retry(s, rc));
 * since it may answer EAGAIN for half a packet although more bytes are waiting. */
#ifndef GRAPNEL_LAUNCHER_SSH2_SESSION_H
#define GRAPNEL_LAUNCHER_SSH2_SESSION_H

#include <libssh2.h>
#include <stddef.h>
#include <stdint.h>

#include "launcher/ssh/ssh2_greeting.h"
#include "proto/errors.h"

#define SSH2_SESSION_ALL SIZE_MAX /* a budget without limit */

struct ssh2_session;

/* Prepares libssh2, once per process, from any thread.  0 or -E_SYSTEM. */
int ssh2_session_prepare(void);

/* Takes over a connected, non-blocking socket (on failure it stays the caller's).
 * NULL with *e filled (-E_NOMEM, -E_SYSTEM). */
struct ssh2_session *ssh2_session_new(int fd, struct error *e);

/* Closes the socket and frees; does not wait for the server.  NULL is legal. */
void ssh2_session_free(struct ssh2_session *s);

LIBSSH2_SESSION *ssh2_session_raw(struct ssh2_session *s);
int ssh2_session_fd(const struct ssh2_session *s);

/* The session a libssh2 callback was called for (its *abstract) carries one pointer for whoever is
 * calling libssh2 at that moment. */
void ssh2_session_set_user(struct ssh2_session *s, void *user);
void *ssh2_session_user(void *abstract);

/* The socket has become readable: reading from it is allowed until it is empty. */
void ssh2_session_readable(struct ssh2_session *s);

/* Before and after a call of libssh2, see above.  budget: bytes that this call may take from the
 * socket at most.  retry is true when rc is LIBSSH2_ERROR_EAGAIN and calling again will get on. */
void ssh2_session_begin(struct ssh2_session *s, size_t budget);
int ssh2_session_retry(const struct ssh2_session *s, long rc);

/* Sends what is buffered.  0: all gone.  1: the rest waits for the socket to become writable.
 * A large buffer is given back when it has not been needed for a while. */
int ssh2_session_flush(struct ssh2_session *s);
size_t ssh2_session_backlog(const struct ssh2_session *s);

/* Has the kernel acknowledge at once what comes next: it spares 40 ms wherever the server waits for
 * that.  It does not last, so it is to be called before every wait. */
void ssh2_session_quickack(struct ssh2_session *s);

/* The plain text part is over: reads go straight to libssh2 from now on. */
void ssh2_session_greeted(struct ssh2_session *s);
const struct ssh2_greeting *ssh2_session_greeting(const struct ssh2_session *s);
/* What was said in plain text is not asked for any more: gives its memory back. */
void ssh2_session_forget_greeting(struct ssh2_session *s);
/* 0, or how the plain text is wrong: see ssh2_greeting_feed. */
int ssh2_session_greeting_error(const struct ssh2_session *s);

/* True when our request for the authentication service has left: the key exchange is done and the
 * server has proved its host key. */
int ssh2_session_keyed(const struct ssh2_session *s);

/* The connection is over: -E_DISCONNECTED with the server's words or the system's in e.  0 while it
 * is not.  reason (may be NULL): RFC 4253's disconnect reason, 0 if none was given. */
int ssh2_session_dead(const struct ssh2_session *s, unsigned *reason, struct error *e);

uint64_t ssh2_session_sent(const struct ssh2_session *s);
uint64_t ssh2_session_received(const struct ssh2_session *s);

#endif
