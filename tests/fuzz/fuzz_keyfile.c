/* Key files.  The first byte says how the rest is taken: as a text; as the bytes inside an OpenSSH
 * key, so that mutations reach its structure; as a sealed part with one round of the key
 * derivation, which the file's own number would make too slow here; or as a public key's file. */
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/ssh/keyfile_impl.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define END   "\n-----END OPENSSH PRIVATE KEY-----\n"

/* An unencrypted Ed25519 key, made on the spot. */
static void key_seed(seeds_sink *sink, void *arg, const char *cipher, const char *kdf)
{
    uint8_t public[32];
    uint8_t secret[64];
    struct wire_buf blob = {0};
    struct wire_buf section = {0};
    struct wire_buf out = {0};
    (void)crypto_sign_seed_keypair(public, secret,
                                   (const uint8_t *)"0123456789abcdef0123456789abcde");
    int rc = sshkey_put_string(&blob, "ssh-ed25519", 11) | sshkey_put_string(&blob, public, 32);
    rc |= wire_put_u64(&section, 7ull << 32 | 7);
    rc |= wire_put(&section, wire_data(&blob), wire_length(&blob));
    rc |= sshkey_put_string(&section, secret, 64) | sshkey_put_string(&section, "c", 1);
    for (uint8_t i = 1; wire_length(&section) % 16 != 0; i++) {
        rc |= wire_put_u8(&section, i);
    }
    rc |= wire_put_u8(&out, 1) | wire_put(&out, "openssh-key-v1", 15);
    rc |=
        sshkey_put_string(&out, cipher, strlen(cipher)) | sshkey_put_string(&out, kdf, strlen(kdf));
    rc |= strcmp(kdf, "none") == 0 ? sshkey_put_string(&out, "", 0)
                                   : sshkey_put_string(&out, "\0\0\0\1s\0\0\0\1", 9);
    rc |= wire_put_u32(&out, 1);
    rc |= sshkey_put_string(&out, wire_data(&blob), wire_length(&blob));
    rc |= sshkey_put_string(&out, wire_data(&section), wire_length(&section));
    if (rc == 0) {
        sink(arg, wire_data(&out), wire_length(&out));
    }
    wire_free(&blob);
    wire_free(&section);
    wire_free(&out);
}

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "\0" BEGIN "b3BlbnNzaC1rZXktdjEA" END,
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE c\n",
        "-----BEGIN PRIVATE KEY-----\n"
        "MC4CAQAwBQYDK2VwBCIEIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\n"
        "-----END PRIVATE KEY-----\n",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        uint8_t text[512] = {0};
        size_t n = strlen(all[i] + (i == 0));
        memcpy(text + 1, all[i] + (i == 0), n);
        sink(arg, text, n + 1);
        text[0] = 3;
        sink(arg, text, n + 1);
    }
    key_seed(sink, arg, "none", "none");
    key_seed(sink, arg, "aes256-ctr", "bcrypt");
    sink(arg, (const uint8_t *)"\2\7a sealed part, sixteen and more bytes", 39);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void check_key(const struct keyfile *k)
{
    size_t n;
    const uint8_t *blob = keyfile_blob(k, &n);
    MUST((blob == NULL) == (n == 0) && (blob == NULL) == (keyfile_type(k)[0] == '\0'));
    MUST(blob == NULL || sshkey_check(blob, n) == 0);
    uint8_t *sig;
    size_t sig_n;
    int rc =
        keyfile_sign(k, strcmp(keyfile_type(k), "ssh-rsa") == 0 ? "rsa-sha2-256" : keyfile_type(k),
                     "data", 4, &sig, &sig_n, NULL);
    MUST((rc == 0) == !keyfile_locked(k)); /* what was taken signs */
    free(sig);
}

static void as_text(const void *text, size_t n, const char *passphrase)
{
    struct keyfile *k;
    struct error e = {0};
    size_t phrase_n = passphrase == NULL ? 0 : strlen(passphrase);
    if (keyfile_parse("fuzz", text, n, passphrase, phrase_n, &k, &e) == 0) {
        check_key(k);
        keyfile_free(k);
    } else {
        MUST(k == NULL && e.code < 0);
    }
}

static void as_inside(const uint8_t *data, size_t size)
{
    size_t n = strlen(BEGIN) + sshkey_base64_size(size) + strlen(END) + 1;
    char *text = malloc(n);
    MUST(text != NULL);
    (void)snprintf(text, n, "%s", BEGIN);
    sshkey_base64_encode(data, size, text + strlen(BEGIN));
    strcat(text, END);
    as_text(text, strlen(text), NULL);
    free(text);
}

static void as_sealed(const uint8_t *data, size_t size)
{
    static const char *const ciphers[] = {"aes256-ctr",
                                          "aes128-cbc",
                                          "3des-cbc",
                                          "aes256-gcm@openssh.com",
                                          "chacha20-poly1305@openssh.com",
                                          "none",
                                          "rot13"};
    size_t block;
    size_t tag;
    struct keyfile_sealing sealing = {.salt = (const uint8_t *)"salt", .salt_n = 4, .rounds = 1};
    const char *cipher = ciphers[data[0] % (sizeof(ciphers) / sizeof(ciphers[0]))];
    memcpy(sealing.cipher, cipher, strlen(cipher));
    if (keyfile_cipher_sizes(cipher, &block, &tag) != 0) {
        tag = 0;
    }
    data++;
    size--;
    if (size < tag) {
        return;
    }
    uint8_t *copy = malloc(size + 1);
    MUST(copy != NULL);
    memcpy(copy, data, size);
    int rc = keyfile_cipher_open(&sealing, "p", 1, copy, size - tag, tag, NULL);
    MUST(rc != 0 || tag == 0); /* nobody can forge a tag */
    free(copy);
}

/* Only the first line counts, and nothing makes the result sign. */
static void as_public_file(const uint8_t *data, size_t size)
{
    char path[64];
    struct keyfile *k;
    struct error e = {0};
    int fd = memfd_create("key", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int rc = keyfile_load_public(path, &k, &e);
    close(fd);
    if (rc != 0) {
        MUST(k == NULL && e.code == rc && strstr(e.detail, path) == e.detail);
        MUST(rc == -E_MALFORMED || rc == -E_UNSUPPORTED || rc == -E_AUTH_NEEDS_OPENSSH);
        return;
    }
    const char *type = keyfile_type(k);
    MUST(type[0] != '\0' && size > strlen(type) && memcmp(data, type, strlen(type)) == 0);
    MUST(strpbrk(keyfile_comment(k), "\r\n") == NULL && strcmp(keyfile_path(k), path) == 0);
    MUST(keyfile_public_only(k) && keyfile_locked(k) && !keyfile_encrypted(k));
    MUST(keyfile_unlock(k, "p", 1, NULL) == -E_UNSUPPORTED);
    check_key(k);
    keyfile_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (data[0] % 4 == 0) {
        as_text(data + 1, size - 1, NULL);
    } else if (data[0] % 4 == 1) {
        as_inside(data + 1, size - 1);
    } else if (data[0] % 4 == 2) {
        as_sealed(data + 1, size - 1);
    } else {
        as_public_file(data + 1, size - 1);
    }
    return 0;
}
