/* What the files of keyfile share, and nobody else sees. */
#ifndef GRAPNEL_LAUNCHER_KEYFILE_IMPL_H
#define GRAPNEL_LAUNCHER_KEYFILE_IMPL_H

#include <openssl/types.h>

#include "launcher/ssh/keyfile.h"

enum keyfile_format { FORMAT_PUBLIC, FORMAT_OPENSSH, FORMAT_PEM };

struct keyfile {
    char *path;
    char *comment;
    char type[SSHKEY_NAME_MAX];
    uint8_t *blob;
    size_t blob_n;
    EVP_PKEY *key; /* NULL while locked */
    enum keyfile_format format;
    int encrypted;
    uint8_t *sealed; /* locked: the file's contents (encrypted, so nothing to hide) */
    size_t sealed_n;
};

/* Takes the public key over as k's.  0, or as keyfile_load says about types. */
int keyfile_set_blob(struct keyfile *k, const void *blob, size_t n, struct error *e);

/* keyfile_openssh.c: reads a text in OpenSSH's format.  Without a passphrase (NULL) an encrypted
 * one gives only the public part.  Results as keyfile_parse. */
int keyfile_openssh(struct keyfile *k, const char *text, size_t n, const void *passphrase,
                    size_t passphrase_n, struct error *e);

/* keyfile_cipher.c: derives the key from the passphrase and decrypts n bytes at `data` in place;
 * the tag, if the cipher has one, stands behind them (tag_n bytes).  0, -E_PASSPHRASE (the tag
 * does not fit), -E_MALFORMED, -E_UNSUPPORTED (cipher), -E_LIMIT (rounds), -E_NOMEM. */
struct keyfile_sealing {
    char cipher[SSHKEY_NAME_MAX];
    const uint8_t *salt;
    size_t salt_n;
    uint32_t rounds;
};
int keyfile_cipher_open(const struct keyfile_sealing *sealing, const void *passphrase,
                        size_t passphrase_n, uint8_t *data, size_t n, size_t tag_n,
                        struct error *e);
/* Block and tag size of a cipher; 0, or -E_UNSUPPORTED. */
int keyfile_cipher_sizes(const char *cipher, size_t *block, size_t *tag);

/* keyfile_pem.c: PKCS#1, SEC1, PKCS#8 through libcrypto. */
int keyfile_pem(struct keyfile *k, const char *text, size_t n, const void *passphrase,
                size_t passphrase_n, struct error *e);

/* keyfile_pkey.c: libcrypto's keys from and to SSH's fields. */
/* The private fields of an openssh-key-v1 section for `type`, read from *r.  NULL if they make no
 * key (or memory is out). */
EVP_PKEY *keyfile_pkey_read(const char *type, struct wire_reader *r);
/* The public blob, appended to out.  0, -E_UNSUPPORTED (type, size), -E_NOMEM. */
int keyfile_pkey_blob(EVP_PKEY *key, struct wire_buf *out);
/* Signs with the key and verifies with the public blob: do they belong together?
 * 0 or -E_MALFORMED. */
int keyfile_pkey_test(const struct keyfile *k);

#endif
