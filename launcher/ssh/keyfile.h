/* Private key files: read (and decrypted) once a run, used for signing many times.
 *
 * Handled here:
 *   - OpenSSH's own format ("openssh-key-v1"), plain or encrypted (bcrypt with aes128/192/256-ctr,
 *     -cbc, aes128/256-gcm@openssh.com, chacha20-poly1305@openssh.com);
 *   - PEM: PKCS#1, SEC1, PKCS#8, plain or encrypted, through libcrypto.
 *   - key types ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa (1024 to 16384 bits; signs
 *     rsa-sha2-256 and rsa-sha2-512; SHA-1 is refused).
 * Answered -E_AUTH_NEEDS_OPENSSH with the reason: FIDO keys (sk-...), certificates.
 * Answered -E_UNSUPPORTED: DSA, XMSS, Ed448, unknown ciphers, formats (PuTTY).
 * The public part of an encrypted OpenSSH-format key is readable, so a key can be offered to a
 * server before anyone is asked for the passphrase; for encrypted PEM it comes from FILE.pub.
 * Secrets are wiped when they are no longer needed. */
#ifndef GRAPNEL_LAUNCHER_KEYFILE_H
#define GRAPNEL_LAUNCHER_KEYFILE_H

#include <stddef.h>
#include <stdint.h>

#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"

#define KEYFILE_SIZE_MAX   (1u << 20) /* bytes of a file */
#define KEYFILE_ROUNDS_MAX 4096u      /* bcrypt rounds that are accepted (16 or 24 are usual) */

struct keyfile;

/* Reads a private key file.  passphrase (n bytes; NULL: none) is tried if the file is encrypted;
 * without one an encrypted key comes back locked: with its public part (if it can be known), and
 * keyfile_locked() true.  Decrypting takes 0.1 to 0.3 s of CPU: call it outside the event loop.
 * If only FILE.pub exists (the private part may be in an agent), the result is locked for ever
 * (keyfile_public_only).
 * On 0 the caller owns *out and frees it with keyfile_free.
 * 0, -E_IO (not there or unreadable; e has the system's text), -E_CONFIG (owned by us and open to
 * others: ssh refuses those as well), -E_PASSPHRASE (wrong), -E_MALFORMED (not a key, damaged),
 * -E_LIMIT, -E_UNSUPPORTED, -E_AUTH_NEEDS_OPENSSH (both as above), -E_NOMEM. */
int keyfile_load(const char *path, const void *passphrase, size_t n, struct keyfile **out,
                 struct error *e);

/* The same from memory (n bytes at data, not kept): no permissions, no .pub side file.
 * `name` is for error texts. */
int keyfile_parse(const char *name, const void *data, size_t n, const void *passphrase,
                  size_t passphrase_n, struct keyfile **out, struct error *e);

/* Reads a public key file (one line: type, base64, comment; RFC 4716 is not handled).  The result
 * is public only.  Results as keyfile_load. */
int keyfile_load_public(const char *path, struct keyfile **out, struct error *e);

/* Decrypts a locked key in place.  0 (also if it was not locked), -E_PASSPHRASE (wrong: stays
 * locked, may be tried again), -E_MALFORMED (damaged, or the private part is not that of the public
 * part), -E_UNSUPPORTED (public only), -E_NOMEM. */
int keyfile_unlock(struct keyfile *k, const void *passphrase, size_t n, struct error *e);

void keyfile_free(struct keyfile *k);

/* The wire blob of the public key (lives as long as k); NULL and *n = 0 while it is not known
 * (locked PEM without .pub). */
const uint8_t *keyfile_blob(const struct keyfile *k, size_t *n);
const char *keyfile_type(const struct keyfile *k);    /* "ssh-ed25519"...; "" when not known */
const char *keyfile_comment(const struct keyfile *k); /* as in the file: not safe to print; "" */
const char *keyfile_path(const struct keyfile *k);
int keyfile_encrypted(const struct keyfile *k);   /* the file is encrypted */
int keyfile_locked(const struct keyfile *k);      /* cannot sign (yet) */
int keyfile_public_only(const struct keyfile *k); /* ... and no passphrase will change that */

/* Signs n bytes of data by `algorithm` (one that sshkey_fits the type; not SHA-1).  *sig is the
 * inner signature (without the algorithm name), which is what libssh2's sign callback returns:
 * raw bytes for RSA and Ed25519, two mpints for ECDSA.  It comes from malloc; the caller (or
 * libssh2) frees it.  Takes 0.05 ms (Ed25519, P-256) to 2 ms (RSA 4096).
 * Thread-safe on one key.  0, -E_PASSPHRASE (locked), -E_ARGUMENT (algorithm), -E_NOMEM,
 * -E_SYSTEM (libcrypto failed). */
int keyfile_sign(const struct keyfile *k, const char *algorithm, const void *data, size_t n,
                 uint8_t **sig, size_t *sig_n, struct error *e);

/* The same for the data of a "publickey" authentication request, which names the algorithm
 * itself (sshkey_request).  Further: -E_MALFORMED. */
int keyfile_sign_request(const struct keyfile *k, const void *data, size_t n, uint8_t **sig,
                         size_t *sig_n, struct error *e);

#endif
