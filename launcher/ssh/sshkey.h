/* SSH public keys and signatures as bytes: names, and the few encodings that the key file, agent,
 * known_hosts and transport code share (RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709).
 * A "blob" is the wire form of a public key: string type name, then the type's own fields. */
#ifndef GRAPNEL_LAUNCHER_SSHKEY_H
#define GRAPNEL_LAUNCHER_SSHKEY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

#define SSHKEY_NAME_MAX 64     /* longest type or algorithm name with its terminator */
#define SSHKEY_BLOB_MAX 16384u /* longest public key blob that is accepted, bytes */

/* Copies the type name out of a blob: printable ASCII without comma or space, terminated.
 * 0 or -E_MALFORMED (not a blob). */
int sshkey_type(const void *blob, size_t n, char name[SSHKEY_NAME_MAX]);

/* Checks that a blob of one of the plain types (ssh-ed25519, ecdsa-sha2-nistp{256,384,521},
 * ssh-rsa) has all its fields, sane, and nothing behind them.  0, -E_MALFORMED, or
 * -E_UNSUPPORTED for other types. */
int sshkey_check(const void *blob, size_t n);

/* Size of the key in bits as ssh-keygen -l shows it; 0 when not known. */
unsigned sshkey_bits(const void *blob, size_t n);

/* What a type needs: a certificate ("...-cert-v01@openssh.com"), or a FIDO token ("sk-..."). */
int sshkey_is_certificate(const char *type);
int sshkey_is_token(const char *type);

/* True when `algorithm` is one by which a key of `type` signs: the type's own name, and for
 * ssh-rsa also rsa-sha2-256 and rsa-sha2-512.  ("ssh-rsa" itself is SHA-1.) */
int sshkey_fits(const char *type, const char *algorithm);

/* Finds the signature algorithm and the key blob in the data that a "publickey" authentication
 * request signs (RFC 4252 section 7: session id, 50, user, service, "publickey", TRUE, algorithm,
 * blob): what libssh2's sign callback is given.  *blob (may be NULL with blob_n) points into
 * data.  0 or -E_MALFORMED. */
int sshkey_request(const void *data, size_t n, char algorithm[SSHKEY_NAME_MAX],
                   const uint8_t **blob, size_t *blob_n);

/* Splits a complete signature (string algorithm, string inner) as agents return it.  *inner
 * points into sig, and is what libssh2's sign callback wants.  0 or -E_MALFORMED. */
int sshkey_signature_split(const void *sig, size_t n, char algorithm[SSHKEY_NAME_MAX],
                           const uint8_t **inner, size_t *inner_n);

/* Verifies a complete signature over data with a plain public key.  0, -E_AUTH (does not match),
 * -E_MALFORMED, -E_UNSUPPORTED or -E_NOMEM. */
int sshkey_verify(const void *blob, size_t blob_n, const void *sig, size_t sig_n, const void *data,
                  size_t data_n);

/* Reading and writing RFC 4251 strings.  *at points into the reader's bytes; a string that is cut
 * sets short_read and yields 0 bytes. */
void sshkey_get_string(struct wire_reader *r, const uint8_t **at, size_t *n);
int sshkey_put_string(struct wire_buf *b, const void *bytes, size_t n); /* as wire_put */
/* Writes a big-endian number as mpint: leading zeros dropped, a zero before a set high bit. */
int sshkey_put_mpint(struct wire_buf *b, const void *bytes, size_t n);

/* Base64 (RFC 4648, padded).  encode: `out` holds sshkey_base64_size(n) bytes with terminator.
 * decode: strict, *n is the size of `out` and then the bytes written (n_text * 3 / 4 suffices);
 * 0, -E_MALFORMED or -E_LIMIT. */
size_t sshkey_base64_size(size_t n);
void sshkey_base64_encode(const void *bytes, size_t n, char *out);
int sshkey_base64_decode(const char *text, size_t n_text, uint8_t *out, size_t *n);

#endif
