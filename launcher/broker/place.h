/* Where an account's broker is met: a socket in a folder that is nobody else's.
 *
 * The folder is $XDG_RUNTIME_DIR/grapnel, or else /tmp/grapnel-UID.  It must be a real folder of
 * ours, mode 0700, in one where others cannot replace it; the socket in it must be ours, too, and
 * so must be who is at its other end: anything else is refused with -E_UNSAFE, and nothing is said
 * to it.
 */
#ifndef GRAPNEL_LAUNCHER_BROKER_PLACE_H
#define GRAPNEL_LAUNCHER_BROKER_PLACE_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/errors.h"

struct place;

/* Where to look; zero: what the environment says. */
struct place_bases {
    const char *runtime;   /* instead of $XDG_RUNTIME_DIR; "": there is none */
    const char *temporary; /* instead of /tmp */
};

/* Finds the folder, and makes it when `make` is set.  1 with *p, for place_free; 0: there is none;
 * negative with *e filled: -E_UNSAFE, -E_IO, -E_NOMEM. */
int place_find(const struct place_bases *bases, int make, struct place **p, struct error *e);
void place_free(struct place *p); /* NULL is legal */

/* The path of the socket, for people. */
const char *place_socket(const struct place *p);

/* Connects to the broker, without waiting.  1 with a non-blocking socket in *fd; 0: there is no
 * broker (no socket, or a stale one); negative with *e: -E_UNSAFE, -E_SYSTEM (it takes nobody). */
int place_connect(struct place *p, int *fd, struct error *e);

/* One at a time may start a broker or end one: waits at most so long for the others.  A descriptor,
 * to be closed; -E_TIMEOUT, -E_IO with *e.  The lock ends with the process, too. */
int place_lock(struct place *p, int64_t timeout_ms, struct error *e);

/* Listens, in the place of a socket that nobody listens on any more; only with the lock.  A
 * non-blocking descriptor, or negative with *e. */
int place_listen(struct place *p, struct error *e);
/* True while the socket that is found there is the one that place_listen has made. */
int place_is_mine(const struct place *p);
/* Takes that socket away, if it is still there; only with the lock. */
void place_unlisten(struct place *p);
/* Opens the log beside the socket for appending, the old one kept when it is large: a descriptor,
 * or negative.
 */
int place_open_log(struct place *p);

/* 0 when the process at the other end of a Unix socket is of our account, *pid being its number
 * (may be NULL); else -E_UNSAFE with *e. */
int place_check_peer(int fd, pid_t *pid, struct error *e);

#endif
