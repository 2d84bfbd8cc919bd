#include "launcher/ssh/bcrypt.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#include "launcher/ssh/bcrypt_pi.h"
#include "proto/errors.h"

#define SUBKEYS    18
#define HASH_BYTES 32 /* of one bcrypt hash */
#define SHA_BYTES  64

struct blowfish {
    uint32_t p[SUBKEYS];
    uint32_t s[4][256];
};

/* Everything that is secret, in one piece, so that one call wipes it. */
struct state {
    struct blowfish cipher;
    uint8_t passphrase[SHA_BYTES]; /* hashed */
    uint8_t salt[SHA_BYTES];       /* hashed */
    uint8_t hash[HASH_BYTES];
    uint8_t sum[HASH_BYTES];
};

static inline uint32_t feistel(const struct blowfish *b, uint32_t x)
{
    return ((b->s[0][x >> 24] + b->s[1][x >> 16 & 0xff]) ^ b->s[2][x >> 8 & 0xff]) +
           b->s[3][x & 0xff];
}

static void encrypt(const struct blowfish *b, uint32_t *left, uint32_t *right)
{
    uint32_t l = *left ^ b->p[0], r = *right;
    for (int i = 1; i < 17; i += 2) {
        r ^= feistel(b, l) ^ b->p[i];
        l ^= feistel(b, r) ^ b->p[i + 1];
    }
    *left = r ^ b->p[17];
    *right = l;
}

/* The next word of a text that is read round and round; its first 64 bytes at most. */
static uint32_t next_word(const uint8_t *text, size_t *at)
{
    const uint8_t *t = text + *at;
    *at = (*at + 4) % SHA_BYTES;
    return (uint32_t)t[0] << 24 | (uint32_t)t[1] << 16 | (uint32_t)t[2] << 8 | t[3];
}

/* Mixes key and salt (NULL: none) into the subkeys and boxes. */
static void expand(struct blowfish *b, const uint8_t *key, const uint8_t *salt)
{
    uint32_t l = 0, r = 0;
    size_t key_at = 0, salt_at = 0;
    for (int i = 0; i < SUBKEYS; i++)
        b->p[i] ^= next_word(key, &key_at);
    for (int i = 0; i < SUBKEYS + 4 * 256; i += 2) {
        if (salt != NULL) {
            l ^= next_word(salt, &salt_at);
            r ^= next_word(salt, &salt_at);
        }
        encrypt(b, &l, &r);
        uint32_t *at = i < SUBKEYS ? &b->p[i] : &b->s[(i - SUBKEYS) / 256][(i - SUBKEYS) % 256];
        at[0] = l;
        at[1] = r;
    }
}

/* One bcrypt hash of the two hashed texts, into st->hash. */
static void hash(struct state *st)
{
    static const uint8_t magic[HASH_BYTES + 1] = "OxychromaticBlowfishSwatDynamite";
    struct blowfish *b = &st->cipher;
    uint32_t words[HASH_BYTES / 4];

    memcpy(b->p, bcrypt_pi, sizeof b->p);
    memcpy(b->s, bcrypt_pi + SUBKEYS, sizeof b->s);
    expand(b, st->passphrase, st->salt);
    for (int i = 0; i < 64; i++) {
        expand(b, st->salt, NULL);
        expand(b, st->passphrase, NULL);
    }
    for (size_t i = 0, at = 0; i < HASH_BYTES / 4; i++)
        words[i] = next_word(magic, &at);
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < HASH_BYTES / 4; j += 2)
            encrypt(b, &words[j], &words[j + 1]);
    for (int i = 0; i < HASH_BYTES; i++) /* little-endian, unlike all before */
        st->hash[i] = (uint8_t)(words[i / 4] >> (8 * (i % 4)));
    sodium_memzero(words, sizeof words);
}

static int sha512(const void *bytes, size_t n, uint8_t out[SHA_BYTES])
{
    return EVP_Digest(bytes, n, out, NULL, EVP_sha512(), NULL) == 1 ? 0 : -E_NOMEM;
}

/* The salt with the block's number behind it, hashed. */
static int salt_of_block(const void *salt, size_t n, uint32_t block, uint8_t out[SHA_BYTES])
{
    const uint8_t number[4] = {(uint8_t)(block >> 24), (uint8_t)(block >> 16),
                               (uint8_t)(block >> 8), (uint8_t)block};
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha512(), NULL) == 1 &&
             EVP_DigestUpdate(context, salt, n) == 1 &&
             EVP_DigestUpdate(context, number, sizeof number) == 1 &&
             EVP_DigestFinal_ex(context, out, NULL) == 1;
    EVP_MD_CTX_free(context);
    return ok ? 0 : -E_NOMEM;
}

int bcrypt_pbkdf(const void *passphrase, size_t passphrase_n, const void *salt, size_t salt_n,
                 unsigned rounds, uint8_t *out, size_t n)
{
    if (passphrase_n == 0 || salt_n == 0 || rounds == 0 || n == 0 || n > BCRYPT_OUT_MAX)
        return -E_ARGUMENT;
    struct state *st = sodium_init() < 0 ? NULL : sodium_malloc(sizeof *st);
    if (st == NULL)
        return -E_NOMEM;
    /* Byte i of block b lands at out[i * blocks + b]: no block gives a run of the key. */
    size_t blocks = (n + HASH_BYTES - 1) / HASH_BYTES;
    int rc = sha512(passphrase, passphrase_n, st->passphrase);
    for (size_t block = 0; rc == 0 && block < blocks; block++) {
        rc = salt_of_block(salt, salt_n, (uint32_t)block + 1, st->salt);
        if (rc != 0)
            break;
        hash(st);
        memcpy(st->sum, st->hash, sizeof st->sum);
        for (unsigned round = 1; rc == 0 && round < rounds; round++) {
            rc = sha512(st->hash, sizeof st->hash, st->salt);
            hash(st);
            for (int i = 0; i < HASH_BYTES; i++)
                st->sum[i] ^= st->hash[i];
        }
        for (size_t i = 0; i < HASH_BYTES && i * blocks + block < n; i++)
            out[i * blocks + block] = st->sum[i];
    }
    sodium_free(st); /* wipes it */
    return rc;
}
