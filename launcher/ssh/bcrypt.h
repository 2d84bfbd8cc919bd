/* The key derivation of encrypted OpenSSH private keys: PBKDF2's shape around bcrypt and SHA-512,
 * as OpenBSD's bcrypt_pbkdf(3) defines it.  It is in no packaged library that could be linked. */
#ifndef GRAPNEL_LAUNCHER_BCRYPT_H
#define GRAPNEL_LAUNCHER_BCRYPT_H

#include <stddef.h>
#include <stdint.h>

#define BCRYPT_OUT_MAX 1024 /* bytes */

/* Derives n bytes (1..BCRYPT_OUT_MAX) at `out` from a passphrase (1 byte or more), a salt and a
 * number of rounds (1 or more).  Costs about 5 ms of CPU for each round and each 32 bytes of
 * output. Intermediate values are wiped.  0, -E_ARGUMENT, -E_NOMEM. */
int bcrypt_pbkdf(const void *passphrase, size_t passphrase_n, const void *salt, size_t salt_n,
                 unsigned rounds, uint8_t *out, size_t n);

#endif
