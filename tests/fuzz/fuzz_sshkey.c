/* Public keys, signatures and authentication requests, as a server or an agent may send them. */
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A key and a signature of a type, with their lengths before them as below. */
static void one_seed(seeds_sink *sink, void *arg, const char *type, const char *curve, size_t n)
{
    struct wire_buf key = {0};
    struct wire_buf sig = {0};
    struct wire_buf all = {0};
    uint8_t bytes[300];
    memset(bytes, 4, sizeof(bytes));
    int rc = sshkey_put_string(&key, type, strlen(type));
    if (curve != NULL) {
        rc |= sshkey_put_string(&key, curve, strlen(curve));
    }
    rc |= sshkey_put_string(&key, bytes, n);
    rc |= sshkey_put_string(&sig, type, strlen(type)) | sshkey_put_string(&sig, bytes, 64);
    rc |= sshkey_put_string(&all, wire_data(&key), wire_length(&key));
    rc |= sshkey_put_string(&all, wire_data(&sig), wire_length(&sig));
    if (rc == 0) {
        sink(arg, wire_data(&all), wire_length(&all));
    }
    wire_free(&key);
    wire_free(&sig);
    wire_free(&all);
}

static void request_seed(seeds_sink *sink, void *arg)
{
    struct wire_buf b = {0};
    int rc = sshkey_put_string(&b, "id", 2) | wire_put_u8(&b, 50) | sshkey_put_string(&b, "u", 1);
    rc |= sshkey_put_string(&b, "ssh-connection", 14) | sshkey_put_string(&b, "publickey", 9);
    rc |= wire_put_u8(&b, 1) | sshkey_put_string(&b, "rsa-sha2-256", 12);
    rc |= sshkey_put_string(&b, "blob", 4);
    if (rc == 0) {
        sink(arg, wire_data(&b), wire_length(&b));
    }
    wire_free(&b);
}

static void seeds(seeds_sink *sink, void *arg)
{
    one_seed(sink, arg, "ssh-ed25519", NULL, 32);
    one_seed(sink, arg, "ecdsa-sha2-nistp256", "nistp256", 65);
    one_seed(sink, arg, "ecdsa-sha2-nistp521", "nistp521", 133);
    one_seed(sink, arg, "ssh-rsa", "\1\0\1", 256);
    one_seed(sink, arg, "ssh-dss", NULL, 32);
    request_seed(sink, arg);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void check_base64(const uint8_t *data, size_t size)
{
    char *text = malloc(sshkey_base64_size(size));
    uint8_t *back = malloc(size + 3);
    size_t n = size + 3;
    MUST(text != NULL && back != NULL);
    sshkey_base64_encode(data, size, text);
    MUST(sshkey_base64_decode(text, strlen(text), back, &n) == 0 && n == size);
    MUST(size == 0 || memcmp(back, data, size) == 0);
    n = size;
    (void)sshkey_base64_decode((const char *)data, size, back, &n);
    free(text);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[SSHKEY_NAME_MAX];
    char print[KNOWNHOSTS_FINGERPRINT_MAX];
    struct wire_reader r;
    const uint8_t *at = NULL;
    const uint8_t *key;
    const uint8_t *sig;
    size_t n = 0;
    size_t key_n;
    size_t sig_n;
    wire_reader_init(&r, data, size);
    sshkey_get_string(&r, &key, &key_n);
    sshkey_get_string(&r, &sig, &sig_n);
    int typed = sshkey_type(key, key_n, name);
    MUST((typed == 0) == (name[0] != '\0') && strlen(name) < sizeof(name));
    int rc = sshkey_check(key, key_n);
    MUST(rc == 0 || rc == -E_MALFORMED || rc == -E_UNSUPPORTED);
    MUST(rc != 0 || (typed == 0 && sshkey_bits(key, key_n) >= 256));
    (void)knownhosts_fingerprint(key, key_n, print);
    (void)sshkey_verify(key, key_n, sig, sig_n, "x", 1); /* weak keys verify anything */
    if (sshkey_signature_split(sig, sig_n, name, &at, &n) == 0) {
        MUST(n > 0 && at + n == sig + sig_n);
    }
    if (sshkey_request(data, size, name, &at, &n) == 0) {
        MUST(n <= size && at + n == data + size);
    }
    check_base64(data, size);
    return 0;
}
