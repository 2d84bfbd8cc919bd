/* Ciphers of encrypted OpenSSH key files. */
#include <limits.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <string.h>

#include "launcher/ssh/bcrypt.h"
#include "launcher/ssh/keyfile_impl.h"

enum mode { MODE_PLAIN, MODE_GCM, MODE_CHACHA };

struct cipher {
    const char *name, *evp;
    enum mode mode;
    size_t key, iv, block, tag; /* bytes */
};

static const struct cipher ciphers[] = {
    {"aes256-ctr", "AES-256-CTR", MODE_PLAIN, 32, 16, 16, 0},
    {"aes192-ctr", "AES-192-CTR", MODE_PLAIN, 24, 16, 16, 0},
    {"aes128-ctr", "AES-128-CTR", MODE_PLAIN, 16, 16, 16, 0},
    {"aes256-cbc", "AES-256-CBC", MODE_PLAIN, 32, 16, 16, 0},
    {"aes192-cbc", "AES-192-CBC", MODE_PLAIN, 24, 16, 16, 0},
    {"aes128-cbc", "AES-128-CBC", MODE_PLAIN, 16, 16, 16, 0},
    {"3des-cbc", "DES-EDE3-CBC", MODE_PLAIN, 24, 8, 8, 0},
    {"aes256-gcm@openssh.com", "AES-256-GCM", MODE_GCM, 32, 12, 16, 16},
    {"aes128-gcm@openssh.com", "AES-128-GCM", MODE_GCM, 16, 12, 16, 16},
    {"chacha20-poly1305@openssh.com", NULL, MODE_CHACHA, 64, 0, 8, 16},
};

static const struct cipher *find_cipher(const char *name)
{
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        if (strcmp(ciphers[i].name, name) == 0)
            return &ciphers[i];
    return NULL;
}

int keyfile_cipher_sizes(const char *name, size_t *block, size_t *tag)
{
    const struct cipher *cipher = find_cipher(name);
    int none = strcmp(name, "none") == 0;
    *block = cipher == NULL ? 8 : cipher->block;
    *tag = cipher == NULL ? 0 : cipher->tag;
    return cipher != NULL || none ? 0 : -E_UNSUPPORTED;
}

static int open_evp(const struct cipher *cipher, const uint8_t *key, uint8_t *data, size_t n)
{
    int rc = -E_NOMEM, done = 0, last = 0;
    EVP_CIPHER *evp = EVP_CIPHER_fetch(NULL, cipher->evp, NULL);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (evp == NULL || context == NULL ||
        EVP_DecryptInit_ex2(context, evp, key, key + cipher->key, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(context, 0) != 1 ||
        (cipher->mode == MODE_GCM &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, (int)cipher->tag, data + n) != 1) ||
        EVP_DecryptUpdate(context, data, &done, data, (int)n) != 1)
        goto out;
    rc = EVP_DecryptFinal_ex(context, data + done, &last) == 1 ? 0 : -E_PASSPHRASE;
out:
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(evp);
    return rc;
}

/* OpenSSH's variant: 64-bit nonce (0 here), the authenticator's key from block 0, data from block
 * 1; the second half of the key is for packet lengths, which there are none of. */
static int open_chacha(const uint8_t *key, uint8_t *data, size_t n)
{
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    uint8_t poly[crypto_onetimeauth_KEYBYTES];
    (void)crypto_stream_chacha20(poly, sizeof poly, nonce, key);
    int rc = crypto_onetimeauth_verify(data + n, data, n, poly) == 0 ? 0 : -E_PASSPHRASE;
    if (rc == 0)
        (void)crypto_stream_chacha20_xor_ic(data, data, n, nonce, 1, key);
    sodium_memzero(poly, sizeof poly);
    return rc;
}

int keyfile_cipher_open(const struct keyfile_sealing *sealing, const void *passphrase,
                        size_t passphrase_n, uint8_t *data, size_t n, size_t tag_n, struct error *e)
{
    uint8_t key[64 + 16];
    const struct cipher *cipher = find_cipher(sealing->cipher);
    if (cipher == NULL)
        return errors_set(e, -E_UNSUPPORTED, "encrypted by %s", sealing->cipher);
    if (tag_n != cipher->tag || n == 0 || n > INT_MAX / 2 || n % cipher->block != 0)
        return errors_set(e, -E_MALFORMED, "the encrypted part has a wrong size");
    if (sealing->rounds == 0 || sealing->rounds > KEYFILE_ROUNDS_MAX)
        return errors_set(e, -E_LIMIT, "%u rounds of bcrypt", (unsigned)sealing->rounds);
    if (passphrase_n == 0)
        return errors_set(e, -E_PASSPHRASE, "empty passphrase");
    int rc = bcrypt_pbkdf(passphrase, passphrase_n, sealing->salt, sealing->salt_n, sealing->rounds,
                          key, cipher->key + cipher->iv);
    if (rc == 0)
        rc = cipher->mode == MODE_CHACHA ? open_chacha(key, data, n)
                                         : open_evp(cipher, key, data, n);
    sodium_memzero(key, sizeof key);
    return rc == 0 ? 0 : errors_set(e, rc, rc == -E_PASSPHRASE ? "wrong passphrase" : "decryption");
}
