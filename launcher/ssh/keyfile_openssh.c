/* OpenSSH's private key format, "openssh-key-v1" (PROTOCOL.key of OpenSSH). */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/keyfile_impl.h"

#define BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----"
#define END   "-----END OPENSSH PRIVATE KEY-----"
#define MAGIC "openssh-key-v1" /* with its zero byte */

/* The parts of the outer structure; pointers into the decoded bytes. */
struct outer {
    struct keyfile_sealing sealing;
    const uint8_t *blob, *section;
    size_t blob_n, section_n, tag_n;
};

static int damaged(const struct keyfile *k, const char *what, struct error *e)
{
    return errors_set(e, -E_MALFORMED, "%s: %s", k->path, what);
}

static int is_text(const uint8_t *at, size_t n, const char *text)
{
    return n == strlen(text) && memcmp(at, text, n) == 0;
}

static int read_kdf(const struct keyfile *k, struct outer *o, const uint8_t *kdf, size_t kdf_n,
                    const uint8_t *options, size_t options_n, struct error *e)
{
    struct wire_reader r;
    int none = strcmp(o->sealing.cipher, "none") == 0;
    if (none)
        return is_text(kdf, kdf_n, "none") && options_n == 0 ? 0 : damaged(k, "bad KDF", e);
    if (!is_text(kdf, kdf_n, "bcrypt"))
        return errors_set(e, -E_UNSUPPORTED, "%s: unknown KDF", k->path);
    wire_reader_init(&r, options, options_n);
    sshkey_get_string(&r, &o->sealing.salt, &o->sealing.salt_n);
    o->sealing.rounds = wire_get_u32(&r);
    return r.short_read || r.left != 0 || o->sealing.salt_n == 0 ? damaged(k, "bad KDF options", e)
                                                                 : 0;
}

static int read_outer(const struct keyfile *k, const uint8_t *bytes, size_t n, struct outer *o,
                      struct error *e)
{
    struct wire_reader r;
    const uint8_t *cipher, *kdf, *options;
    size_t cipher_n, kdf_n, options_n, block;
    *o = (struct outer){0};
    if (n < sizeof MAGIC || memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return damaged(k, "not an OpenSSH key inside", e);
    wire_reader_init(&r, bytes + sizeof MAGIC, n - sizeof MAGIC);
    sshkey_get_string(&r, &cipher, &cipher_n);
    sshkey_get_string(&r, &kdf, &kdf_n);
    sshkey_get_string(&r, &options, &options_n);
    uint32_t keys = wire_get_u32(&r);
    sshkey_get_string(&r, &o->blob, &o->blob_n);
    sshkey_get_string(&r, &o->section, &o->section_n);
    if (r.short_read || cipher_n == 0 || cipher_n >= SSHKEY_NAME_MAX ||
        memchr(cipher, '\0', cipher_n) != NULL)
        return damaged(k, "cut or damaged", e);
    if (keys != 1)
        return damaged(k, "more or less than one key inside", e);
    memcpy(o->sealing.cipher, cipher, cipher_n);
    o->tag_n = r.left;
    int rc = read_kdf(k, o, kdf, kdf_n, options, options_n, e);
    if (rc != 0)
        return rc;
    /* An unknown cipher is told when somebody wants to unlock: the public part is readable. */
    size_t tag;
    if (keyfile_cipher_sizes(o->sealing.cipher, &block, &tag) == 0 &&
        (tag != o->tag_n || o->section_n % block != 0))
        return damaged(k, "the private part has a wrong size", e);
    return 0;
}

/* Reads the decrypted section; takes the key over. */
static int read_section(struct keyfile *k, const uint8_t *section, size_t n, struct error *e)
{
    struct wire_reader r;
    const uint8_t *type, *comment;
    size_t type_n, comment_n;
    wire_reader_init(&r, section, n);
    uint32_t check = wire_get_u32(&r);
    if (wire_get_u32(&r) != check || r.short_read)
        return k->encrypted ? errors_set(e, -E_PASSPHRASE, "%s: wrong passphrase", k->path)
                            : damaged(k, "the private part is damaged", e);
    sshkey_get_string(&r, &type, &type_n);
    if (!is_text(type, type_n, k->type))
        return damaged(k, "the private part is of another type than the public part", e);
    EVP_PKEY *key = keyfile_pkey_read(k->type, &r);
    sshkey_get_string(&r, &comment, &comment_n);
    int padded = key != NULL && !r.short_read && r.left < 256;
    for (size_t i = 0; padded && i < r.left; i++)
        padded = r.at[i] == (uint8_t)(i + 1);
    char *text = padded ? strndup((const char *)comment, comment_n) : NULL;
    if (text == NULL) {
        EVP_PKEY_free(key);
        return padded ? errors_set(e, -E_NOMEM, "%s", k->path)
                      : damaged(k, "the private part is damaged", e);
    }
    free(k->comment);
    k->comment = text;
    k->key = key;
    if (keyfile_pkey_test(k) != 0) {
        k->key = NULL;
        EVP_PKEY_free(key);
        return damaged(k, "public and private part do not belong together", e);
    }
    return 0;
}

/* Decodes the lines between the markers into *bytes (from sodium_malloc). */
static int decode(const struct keyfile *k, const char *text, size_t n, uint8_t **bytes, size_t *out,
                  struct error *e)
{
    const char *begin = memmem(text, n, BEGIN, strlen(BEGIN)), *stop;
    *bytes = NULL;
    if (begin == NULL)
        return damaged(k, "no OpenSSH key", e);
    begin += strlen(BEGIN);
    const char *end = memmem(begin, n - (size_t)(begin - text), END, strlen(END));
    if (end == NULL)
        return damaged(k, "no end line: cut?", e);
    size_t size = (size_t)(end - begin);
    *bytes = sodium_malloc(size + 1);
    if (*bytes == NULL)
        return errors_set(e, -E_NOMEM, "%s", k->path);
    if (sodium_base642bin(*bytes, size + 1, begin, size, " \t\r\n", out, &stop,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        stop != end) {
        sodium_free(*bytes);
        *bytes = NULL;
        return damaged(k, "bad base64", e);
    }
    return 0;
}

/* Decrypts in place; errors name the file. */
static int unseal(const struct keyfile *k, const struct outer *o, uint8_t *section,
                  const void *passphrase, size_t passphrase_n, struct error *e)
{
    struct error why = {0};
    int rc = keyfile_cipher_open(&o->sealing, passphrase, passphrase_n, section, o->section_n,
                                 o->tag_n, &why);
    return rc == 0 ? 0 : errors_set(e, rc, "%s: %.200s", k->path, why.detail);
}

int keyfile_openssh(struct keyfile *k, const char *text, size_t n, const void *passphrase,
                    size_t passphrase_n, struct error *e)
{
    uint8_t *bytes, *section;
    size_t bytes_n;
    struct outer o;
    int rc = decode(k, text, n, &bytes, &bytes_n, e);
    if (rc != 0)
        return rc;
    rc = read_outer(k, bytes, bytes_n, &o, e);
    if (rc == 0 && k->blob == NULL)
        rc = keyfile_set_blob(k, o.blob, o.blob_n, e);
    if (rc != 0)
        goto out;
    k->format = FORMAT_OPENSSH;
    k->encrypted = strcmp(o.sealing.cipher, "none") != 0;
    if (k->encrypted && passphrase == NULL)
        goto out;
    section = bytes + (o.section - bytes);
    if (k->encrypted)
        rc = unseal(k, &o, section, passphrase, passphrase_n, e);
    if (rc == 0)
        rc = read_section(k, section, o.section_n, e);
out:
    sodium_free(bytes); /* wipes it */
    return rc;
}
