/* ssh-agent client (draft-ietf-sshm-ssh-agent): list identities and sign, without blocking.
 * One object is one connection with one request under way at a time; several may be open.
 * The agent is not trusted: what it sends is bounded (256 KiB a message, as in OpenSSH) and
 * checked, and a signature is handed out only as bytes, for the server to judge.
 *
 *   sshagent_open → sshagent_list → [poll fd, sshagent_step]... → sshagent_identity 0..count-1
 *                 → sshagent_sign → [poll fd, sshagent_step]... → sshagent_signature
 */
#ifndef GRAPNEL_LAUNCHER_SSHAGENT_H
#define GRAPNEL_LAUNCHER_SSHAGENT_H

#include <stddef.h>
#include <stdint.h>

#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"

#define SSHAGENT_MESSAGE_MAX    (256u * 1024u)
#define SSHAGENT_IDENTITIES_MAX 2048u

/* What sshagent_step wants next; positive, as errors are negative. */
enum { SSHAGENT_DONE = 0, SSHAGENT_WANT_READ = 1, SSHAGENT_WANT_WRITE = 2 };

/* Signature flags (section 3.6.1): which hash an RSA key signs with. */
enum { SSHAGENT_RSA_SHA2_256 = 2, SSHAGENT_RSA_SHA2_512 = 4 };

struct sshagent;

struct sshagent_identity {
    const uint8_t *blob; /* public key, wire form */
    size_t blob_n;
    const char *comment;        /* terminated; not safe to print as it is */
    char type[SSHKEY_NAME_MAX]; /* "ssh-ed25519"... */
};

/* Opens a socket to the agent at `path`.  On 0 the caller owns *out and frees it with
 * sshagent_free.  0, -E_IO (cannot connect; system's text), -E_LIMIT (too many are connecting just
 * now: try again a little later), -E_ARGUMENT (path too long), -E_DESCRIPTORS, -E_NOMEM. */
int sshagent_open(const char *path, struct sshagent **out, struct error *e);

/* The same on a connected stream socket, which is made non-blocking and owned by *out on 0. */
int sshagent_adopt(int fd, struct sshagent **out, struct error *e);

void sshagent_free(struct sshagent *a); /* closes the socket; NULL is legal */

int sshagent_fd(const struct sshagent *a); /* for the loop to poll */

/* Starts a request; nothing is sent before sshagent_step.  Starting one drops the last one's
 * answer.  blob: the key; data: what to sign (copied).
 * 0, -E_ARGUMENT (one is under way), -E_TOO_LARGE, -E_NOMEM, -E_CLOSED (after an error). */
int sshagent_list(struct sshagent *a);
int sshagent_sign(struct sshagent *a, const void *blob, size_t blob_n, const void *data, size_t n,
                  unsigned flags);

/* The flags for a signature algorithm: rsa-sha2-256, rsa-sha2-512; 0 for all others. */
unsigned sshagent_flags(const char *algorithm);

/* Goes on as far as it can without blocking.  SSHAGENT_DONE: the answer is there (or nothing was
 * asked).  SSHAGENT_WANT_READ / _WANT_WRITE: call again when the fd is so.  Negative:
 * -E_AUTH: the agent refused this request (locked, asked for confirmation and denied, no such
 * key); the connection stays usable.  -E_DISCONNECTED, -E_MALFORMED, -E_TOO_LARGE, -E_IO, -E_NOMEM:
 * it does not; free it. */
int sshagent_step(struct sshagent *a, struct error *e);

/* The answers; they live until the next request is started. */
size_t sshagent_count(const struct sshagent *a);
const struct sshagent_identity *sshagent_identity(const struct sshagent *a, size_t i);
/* The complete signature (string algorithm, string inner: see sshkey_signature_split).
 * NULL and *n = 0 when there is none. */
const uint8_t *sshagent_signature(const struct sshagent *a, size_t *n);

#endif
