/* Signing with a private key. */
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/keyfile_impl.h"

/* The hash that goes with an algorithm; *known is 0 for those that we do not sign by. */
static const EVP_MD *digest_of(const char *algorithm, int *known)
{
    static const struct {
        const char *name;
        const EVP_MD *(*md)(void);
    } all[] = {
        {"ssh-ed25519", NULL}, /* hashes by itself */
        {"ecdsa-sha2-nistp256", EVP_sha256},
        {"ecdsa-sha2-nistp384", EVP_sha384},
        {"ecdsa-sha2-nistp521", EVP_sha512},
        {"rsa-sha2-256", EVP_sha256},
        {"rsa-sha2-512", EVP_sha512},
    };
    *known = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, algorithm) == 0) {
            *known = 1;
            return all[i].md == NULL ? NULL : all[i].md();
        }
    }
    return NULL;
}

/* libcrypto's DER becomes SSH's two mpints (RFC 5656 section 3.1.2). */
static int from_der(uint8_t **sig, size_t *n)
{
    uint8_t r[66], s[66];
    const uint8_t *at = *sig;
    struct wire_buf out = {0};
    int rc = -E_SYSTEM;
    ECDSA_SIG *parts = d2i_ECDSA_SIG(NULL, &at, (long)*n);
    if (parts == NULL || BN_num_bytes(ECDSA_SIG_get0_r(parts)) > (int)sizeof r ||
        BN_num_bytes(ECDSA_SIG_get0_s(parts)) > (int)sizeof s)
        goto out;
    rc = sshkey_put_mpint(&out, r, (size_t)BN_bn2bin(ECDSA_SIG_get0_r(parts), r));
    if (rc == 0)
        rc = sshkey_put_mpint(&out, s, (size_t)BN_bn2bin(ECDSA_SIG_get0_s(parts), s));
    if (rc != 0)
        goto out;
    *n = wire_length(&out);
    free(*sig);
    *sig = malloc(*n);
    if (*sig == NULL)
        rc = -E_NOMEM;
    else
        memcpy(*sig, wire_data(&out), *n);
out:
    ECDSA_SIG_free(parts);
    wire_free(&out);
    return rc;
}

static int sign(EVP_PKEY *key, const EVP_MD *md, const void *data, size_t n, uint8_t **sig,
                size_t *sig_n)
{
    int rc = -E_SYSTEM;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL)
        return -E_NOMEM;
    if (EVP_DigestSignInit(context, NULL, md, NULL, key) != 1 ||
        EVP_DigestSign(context, NULL, sig_n, data, n) != 1)
        goto out;
    *sig = malloc(*sig_n);
    if (*sig == NULL)
        rc = -E_NOMEM;
    else if (EVP_DigestSign(context, *sig, sig_n, data, n) == 1)
        rc = EVP_PKEY_is_a(key, "EC") ? from_der(sig, sig_n) : 0;
out:
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (rc != 0) {
        free(*sig);
        *sig = NULL;
        *sig_n = 0;
    }
    return rc;
}

int keyfile_sign(const struct keyfile *k, const char *algorithm, const void *data, size_t n,
                 uint8_t **sig, size_t *sig_n, struct error *e)
{
    int known;
    const EVP_MD *md = digest_of(algorithm, &known);
    *sig = NULL;
    *sig_n = 0;
    if (k->key == NULL)
        return errors_set(e, -E_PASSPHRASE, "%s: locked", k->path);
    if (!known || !sshkey_fits(k->type, algorithm))
        return errors_set(e, -E_ARGUMENT, "%s: a %s key does not sign by %.64s", k->path, k->type,
                          algorithm);
    int rc = sign(k->key, md, data, n, sig, sig_n);
    return rc == 0 ? 0 : errors_set(e, rc, "%s: signing failed", k->path);
}

int keyfile_sign_request(const struct keyfile *k, const void *data, size_t n, uint8_t **sig,
                         size_t *sig_n, struct error *e)
{
    char algorithm[SSHKEY_NAME_MAX];
    *sig = NULL;
    *sig_n = 0;
    int rc = sshkey_request(data, n, algorithm, NULL, NULL);
    if (rc != 0)
        return errors_set(e, rc, "not an authentication request");
    return keyfile_sign(k, algorithm, data, n, sig, sig_n, e);
}
