/* One "session" channel of an SSH connection, that runs one command (RFC 4254 sections 5 and 6).
 * Functions that answer SSH2_CHANNEL_AGAIN are to be called again when the socket was readable. */
#ifndef GRAPNEL_LAUNCHER_SSH2_CHANNEL_H
#define GRAPNEL_LAUNCHER_SSH2_CHANNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/ssh/ssh2_session.h"
#include "proto/errors.h"

/* The receive window: it bounds how much can be under way, and so the speed over a long line.
 * libssh2 renews it when a quarter is used. */
#define SSH2_CHANNEL_WINDOW (32u << 20)
/* Bytes waiting for the socket from which on nothing more is taken for sending. */
#define SSH2_CHANNEL_BACKLOG (512u << 10)
/* Bytes that are read ahead of a paused receiver, when that is what sending depends on. */
#define SSH2_CHANNEL_AHEAD (2u << 20)

enum { SSH2_CHANNEL_DONE = 0, SSH2_CHANNEL_AGAIN = 1 };

struct ssh2_channel;

/* NULL when memory is out.  The session is borrowed, the command copied. */
struct ssh2_channel *ssh2_channel_new(struct ssh2_session *s, const char *command);
/* Frees our side of it.  NULL is legal. */
void ssh2_channel_free(struct ssh2_channel *c);

/* Opens it and requests the command.  early: the command is requested without waiting for the
 * channel (ssh2_pipeline); only for the first channel of a session with an OpenSSH server.
 * DONE, AGAIN, or negative: -E_SHELL (refused, with the reason), -E_DISCONNECTED. */
int ssh2_channel_open(struct ssh2_channel *c, int early, struct error *e);

/* The command was requested early.  NULL is legal (0). */
int ssh2_channel_early(const struct ssh2_channel *c);

/* Reads at most n bytes of stdout (stream 0) or stderr (1) into buffer.  The number, 0 at their
 * end, -EAGAIN (errno's) when there is nothing now, or another negative number: the connection is
 * lost. */
ssize_t ssh2_channel_read(struct ssh2_channel *c, int stream, void *buffer, size_t n);
/* Lets window adjustments in without reading: while the receiver is paused. */
void ssh2_channel_drain(struct ssh2_channel *c);
/* More may be read ahead for ssh2_channel_drain. */
int ssh2_channel_may_drain(struct ssh2_channel *c);

/* Takes up to n bytes for the command's stdin and returns how many.  Less than n: again when
 * ssh2_channel_room is true.  -1: the connection is lost. */
ssize_t ssh2_channel_write(struct ssh2_channel *c, const uint8_t *bytes, size_t n);
/* Something could be written now.  Also goes on with what a key exchange held up. */
int ssh2_channel_room(struct ssh2_channel *c);
/* Writing waits for the host, not for the socket. */
int ssh2_channel_starved(struct ssh2_channel *c);
/* Ends the command's stdin, after what was taken.  DONE, AGAIN (a key exchange is under way), or
 * negative: the connection is lost. */
int ssh2_channel_send_eof(struct ssh2_channel *c);

/* After the end of both streams: waits for the host to close, and then says how the command ended:
 * exit status, or 128 + signal.  (A host that says nothing cannot be told from status 0.)
 * DONE, AGAIN, or -E_DISCONNECTED. */
int ssh2_channel_finish(struct ssh2_channel *c, int *status);

/* After that, while no other channel is open: closes our side, and takes in what the server says of
 * the connection, so that its keepalives are answered and new keys are made.  AGAIN, or
 * -E_DISCONNECTED. */
int ssh2_channel_rest(struct ssh2_channel *c);

#endif
