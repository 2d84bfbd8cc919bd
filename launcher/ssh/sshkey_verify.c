/* Checking a signature with a public key, through libcrypto. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <string.h>

#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"

/* The blob's fields after the type name, as strings. */
struct fields {
    const uint8_t *at[2];
    size_t n[2];
};

static struct fields read_fields(const void *blob, size_t n)
{
    struct fields f;
    struct wire_reader r;
    const uint8_t *type;
    size_t type_n;
    wire_reader_init(&r, blob, n);
    sshkey_get_string(&r, &type, &type_n);
    for (int i = 0; i < 2; i++)
        sshkey_get_string(&r, &f.at[i], &f.n[i]);
    return f;
}

static EVP_PKEY *from_params(const char *kind, OSSL_PARAM *params)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    return key;
}

static EVP_PKEY *rsa_key(const struct fields *f)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    BIGNUM *e = BN_bin2bn(f->at[0], (int)f->n[0], NULL);
    BIGNUM *n = BN_bin2bn(f->at[1], (int)f->n[1], NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (e == NULL || n == NULL || build == NULL ||
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) != 1)
        goto out;
    params = OSSL_PARAM_BLD_to_param(build);
    if (params != NULL)
        key = from_params("RSA", params);
out:
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);
    return key;
}

static EVP_PKEY *ec_key(const struct fields *f, const char *group)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (build == NULL ||
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, f->at[1], f->n[1]) != 1)
        goto out;
    params = OSSL_PARAM_BLD_to_param(build);
    if (params != NULL)
        key = from_params("EC", params);
out:
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return key;
}

/* Two mpints to the DER that libcrypto verifies.  The caller frees *der with OPENSSL_free. */
static int ecdsa_der(const uint8_t *inner, size_t inner_n, uint8_t **der, size_t *der_n)
{
    int rc = -E_NOMEM, n;
    struct wire_reader reader;
    const uint8_t *at[2];
    size_t length[2];
    ECDSA_SIG *sig = NULL;
    BIGNUM *r = NULL, *s = NULL;

    wire_reader_init(&reader, inner, inner_n);
    sshkey_get_string(&reader, &at[0], &length[0]);
    sshkey_get_string(&reader, &at[1], &length[1]);
    if (reader.short_read || reader.left != 0 || length[0] > 67 || length[1] > 67)
        return -E_MALFORMED;
    sig = ECDSA_SIG_new();
    r = BN_bin2bn(at[0], (int)length[0], NULL);
    s = BN_bin2bn(at[1], (int)length[1], NULL);
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1)
        goto out;
    r = s = NULL; /* sig's now */
    *der = NULL;
    n = i2d_ECDSA_SIG(sig, der);
    if (n > 0) {
        *der_n = (size_t)n;
        rc = 0;
    }
out:
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return rc;
}

static int check(EVP_PKEY *key, const EVP_MD *md, const uint8_t *sig, size_t sig_n,
                 const void *data, size_t n)
{
    int rc = -E_NOMEM;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL || EVP_DigestVerifyInit(context, NULL, md, NULL, key) != 1)
        goto out;
    rc = EVP_DigestVerify(context, sig, sig_n, data, n) == 1 ? 0 : -E_AUTH;
out:
    EVP_MD_CTX_free(context);
    return rc;
}

static int verify_ec(const struct fields *f, const char *group, const EVP_MD *md,
                     const uint8_t *inner, size_t inner_n, const void *data, size_t n)
{
    uint8_t *der = NULL;
    size_t der_n = 0;
    EVP_PKEY *key = NULL;
    int rc = ecdsa_der(inner, inner_n, &der, &der_n);
    if (rc == 0) {
        key = ec_key(f, group);
        rc = key == NULL ? -E_MALFORMED : check(key, md, der, der_n, data, n);
    }
    EVP_PKEY_free(key);
    OPENSSL_free(der);
    return rc;
}

int sshkey_verify(const void *blob, size_t blob_n, const void *sig, size_t sig_n, const void *data,
                  size_t data_n)
{
    char type[SSHKEY_NAME_MAX], algorithm[SSHKEY_NAME_MAX];
    const uint8_t *inner;
    size_t inner_n;
    int rc = sshkey_check(blob, blob_n);
    if (rc == 0)
        rc = sshkey_signature_split(sig, sig_n, algorithm, &inner, &inner_n);
    if (rc != 0)
        return rc;
    (void)sshkey_type(blob, blob_n, type);
    if (!sshkey_fits(type, algorithm))
        return -E_AUTH;

    struct fields f = read_fields(blob, blob_n);
    if (strcmp(type, "ecdsa-sha2-nistp256") == 0)
        return verify_ec(&f, "P-256", EVP_sha256(), inner, inner_n, data, data_n);
    if (strcmp(type, "ecdsa-sha2-nistp384") == 0)
        return verify_ec(&f, "P-384", EVP_sha384(), inner, inner_n, data, data_n);
    if (strcmp(type, "ecdsa-sha2-nistp521") == 0)
        return verify_ec(&f, "P-521", EVP_sha512(), inner, inner_n, data, data_n);

    const EVP_MD *md = NULL; /* Ed25519 hashes by itself */
    EVP_PKEY *key;
    if (strcmp(type, "ssh-rsa") == 0) {
        md = strcmp(algorithm, "rsa-sha2-512") == 0   ? EVP_sha512()
             : strcmp(algorithm, "rsa-sha2-256") == 0 ? EVP_sha256()
                                                      : NULL;
        if (md == NULL)
            return -E_UNSUPPORTED; /* SHA-1 */
        key = rsa_key(&f);
    } else {
        key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, f.at[0], f.n[0]);
    }
    if (key == NULL)
        return -E_MALFORMED;
    rc = check(key, md, inner, inner_n, data, data_n);
    EVP_PKEY_free(key);
    return rc;
}
