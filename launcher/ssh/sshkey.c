#include "launcher/ssh/sshkey.h"

#include <sodium.h>
#include <string.h>

#include "proto/errors.h"

#define RSA_BITS_MAX 16384u

/* The plain key types that are understood in full. */
static const struct plain {
    const char *type;
    const char *curve; /* ECDSA: the name inside the blob */
    size_t point;      /* ECDSA: bytes of an uncompressed point; Ed25519: bytes of the key */
    unsigned bits;
} plains[] = {
    {"ssh-ed25519", NULL, 32, 256},
    {"ecdsa-sha2-nistp256", "nistp256", 65, 256},
    {"ecdsa-sha2-nistp384", "nistp384", 97, 384},
    {"ecdsa-sha2-nistp521", "nistp521", 133, 521},
    {"ssh-rsa", NULL, 0, 0},
};

static const struct plain *find_plain(const char *type)
{
    for (size_t i = 0; i < sizeof plains / sizeof plains[0]; i++)
        if (strcmp(plains[i].type, type) == 0)
            return &plains[i];
    return NULL;
}

void sshkey_get_string(struct wire_reader *r, const uint8_t **at, size_t *n)
{
    uint32_t length = wire_get_u32(r);
    if (length > r->left) {
        r->short_read = 1;
        length = 0;
    }
    *at = r->at;
    *n = length;
    if (length > 0) {
        r->at += length;
        r->left -= length;
    }
}

int sshkey_put_string(struct wire_buf *b, const void *bytes, size_t n)
{
    if (n > UINT32_MAX)
        return -E_TOO_LARGE;
    size_t before = b->end - b->start;
    int rc = wire_put_u32(b, (uint32_t)n);
    if (rc == 0 && n > 0) {
        rc = wire_put(b, bytes, n);
        if (rc != 0)
            b->end = b->start + before;
    }
    return rc;
}

int sshkey_put_mpint(struct wire_buf *b, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    while (n > 0 && *p == 0) {
        p++;
        n--;
    }
    int high = n > 0 && (*p & 0x80) != 0;
    int rc = wire_put_u32(b, (uint32_t)(n + (size_t)high));
    if (rc == 0 && high)
        rc = wire_put_u8(b, 0);
    if (rc == 0 && n > 0)
        rc = wire_put(b, p, n);
    return rc;
}

/* A name as RFC 4251 section 6 wants it, terminated. */
static int copy_name(const uint8_t *at, size_t n, char name[SSHKEY_NAME_MAX])
{
    name[0] = '\0';
    if (n == 0 || n >= SSHKEY_NAME_MAX)
        return -E_MALFORMED;
    for (size_t i = 0; i < n; i++)
        if (at[i] <= ' ' || at[i] >= 0x7f || at[i] == ',')
            return -E_MALFORMED;
    memcpy(name, at, n);
    name[n] = '\0';
    return 0;
}

int sshkey_type(const void *blob, size_t n, char name[SSHKEY_NAME_MAX])
{
    struct wire_reader r;
    const uint8_t *at;
    size_t length;
    name[0] = '\0';
    if (n > SSHKEY_BLOB_MAX)
        return -E_MALFORMED;
    wire_reader_init(&r, blob, n);
    sshkey_get_string(&r, &at, &length);
    return r.short_read ? -E_MALFORMED : copy_name(at, length, name);
}

/* Bits of a positive mpint without needless zeros in front; 0 if it is not one. */
static unsigned mpint_bits(const uint8_t *at, size_t n)
{
    if (n == 0 || (at[0] & 0x80) != 0 || (at[0] == 0 && (n == 1 || (at[1] & 0x80) == 0)))
        return 0;
    if (at[0] == 0) {
        at++;
        n--;
    }
    if (n > RSA_BITS_MAX / 8)
        return RSA_BITS_MAX + 1;
    unsigned bits = (unsigned)n * 8;
    for (unsigned top = 0x80; top != 0 && (at[0] & top) == 0; top >>= 1)
        bits--;
    return bits;
}

/* Walks over a plain blob's fields; *bits gets the size.  Results as sshkey_check. */
static int walk(const void *blob, size_t n, unsigned *bits)
{
    char type[SSHKEY_NAME_MAX];
    *bits = 0;
    int rc = sshkey_type(blob, n, type);
    if (rc != 0)
        return rc;
    const struct plain *plain = find_plain(type);
    if (plain == NULL)
        return -E_UNSUPPORTED;

    struct wire_reader r;
    const uint8_t *a, *b;
    size_t a_n, b_n;
    wire_reader_init(&r, blob, n);
    sshkey_get_string(&r, &a, &a_n);
    if (plain->point == 0) { /* RSA: e, n */
        sshkey_get_string(&r, &a, &a_n);
        sshkey_get_string(&r, &b, &b_n);
        *bits = mpint_bits(b, b_n);
        unsigned exponent = mpint_bits(a, a_n);
        if (*bits < 512 || *bits > RSA_BITS_MAX || exponent < 2 || exponent > 256)
            return -E_MALFORMED;
    } else {
        if (plain->curve != NULL) {
            sshkey_get_string(&r, &a, &a_n);
            if (a_n != strlen(plain->curve) || memcmp(a, plain->curve, a_n) != 0)
                return -E_MALFORMED;
        }
        sshkey_get_string(&r, &b, &b_n);
        if (b_n != plain->point || (plain->curve != NULL && b[0] != 4))
            return -E_MALFORMED;
        *bits = plain->bits;
    }
    return r.short_read || r.left != 0 ? -E_MALFORMED : 0;
}

int sshkey_check(const void *blob, size_t n)
{
    unsigned bits;
    return walk(blob, n, &bits);
}

unsigned sshkey_bits(const void *blob, size_t n)
{
    unsigned bits;
    return walk(blob, n, &bits) == 0 ? bits : 0;
}

int sshkey_is_certificate(const char *type)
{
    return strstr(type, "-cert-v0") != NULL;
}

int sshkey_is_token(const char *type)
{
    return strncmp(type, "sk-", 3) == 0;
}

int sshkey_fits(const char *type, const char *algorithm)
{
    if (strcmp(type, algorithm) == 0)
        return 1;
    return strcmp(type, "ssh-rsa") == 0 &&
           (strcmp(algorithm, "rsa-sha2-256") == 0 || strcmp(algorithm, "rsa-sha2-512") == 0);
}

int sshkey_request(const void *data, size_t n, char algorithm[SSHKEY_NAME_MAX],
                   const uint8_t **blob, size_t *blob_n)
{
    static const char method[] = "publickey";
    struct wire_reader r;
    const uint8_t *at, *name, *key;
    size_t length, name_n, key_n;

    algorithm[0] = '\0';
    wire_reader_init(&r, data, n);
    sshkey_get_string(&r, &at, &length); /* session id */
    uint8_t message = wire_get_u8(&r);
    sshkey_get_string(&r, &at, &length); /* user */
    sshkey_get_string(&r, &at, &length); /* service */
    sshkey_get_string(&r, &at, &length);
    int is_method = length == strlen(method) && memcmp(at, method, length) == 0;
    uint8_t signs = wire_get_u8(&r);
    sshkey_get_string(&r, &name, &name_n);
    sshkey_get_string(&r, &key, &key_n);
    if (r.short_read || r.left != 0 || message != 50 || !is_method || signs == 0)
        return -E_MALFORMED;
    if (blob != NULL) {
        *blob = key;
        *blob_n = key_n;
    }
    return copy_name(name, name_n, algorithm);
}

int sshkey_signature_split(const void *sig, size_t n, char algorithm[SSHKEY_NAME_MAX],
                           const uint8_t **inner, size_t *inner_n)
{
    struct wire_reader r;
    const uint8_t *name;
    size_t name_n;

    algorithm[0] = '\0';
    wire_reader_init(&r, sig, n);
    sshkey_get_string(&r, &name, &name_n);
    sshkey_get_string(&r, inner, inner_n);
    if (r.short_read || r.left != 0 || *inner_n == 0)
        return -E_MALFORMED;
    return copy_name(name, name_n, algorithm);
}

size_t sshkey_base64_size(size_t n)
{
    return sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL);
}

void sshkey_base64_encode(const void *bytes, size_t n, char *out)
{
    (void)sodium_bin2base64(out, sshkey_base64_size(n), bytes, n, sodium_base64_VARIANT_ORIGINAL);
}

int sshkey_base64_decode(const char *text, size_t n_text, uint8_t *out, size_t *n)
{
    size_t room = *n;
    *n = 0;
    if (n_text % 4 != 0)
        return -E_MALFORMED;
    size_t padding = n_text > 0 && text[n_text - 1] == '=';
    padding += n_text > 1 && text[n_text - 2] == '=';
    if (n_text / 4 * 3 - padding > room)
        return -E_LIMIT;
    if (sodium_base642bin(out, room, text, n_text, NULL, n, NULL, sodium_base64_VARIANT_ORIGINAL) !=
        0) {
        *n = 0;
        return -E_MALFORMED;
    }
    return 0;
}
