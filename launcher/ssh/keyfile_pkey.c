/* libcrypto's keys from and to the fields that SSH has. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/keyfile_impl.h"

#define RSA_BITS_MIN 1024
#define RSA_BITS_MAX 16384

static const struct curve {
    const char *type, *name, *group;
    size_t bytes; /* of a coordinate */
} curves[] = {
    {"ecdsa-sha2-nistp256", "nistp256", "prime256v1", 32},
    {"ecdsa-sha2-nistp384", "nistp384", "secp384r1", 48},
    {"ecdsa-sha2-nistp521", "nistp521", "secp521r1", 66},
};

/* A number in memory that libcrypto wipes; NULL if it is cut, negative or too large. */
static BIGNUM *read_number(struct wire_reader *r)
{
    const uint8_t *at;
    size_t n;
    sshkey_get_string(r, &at, &n);
    if (r->short_read || n == 0 || n > RSA_BITS_MAX / 8 + 1 || (at[0] & 0x80) != 0)
        return NULL;
    BIGNUM *v = BN_secure_new();
    if (v != NULL && BN_bin2bn(at, (int)n, v) == NULL) {
        BN_clear_free(v);
        return NULL;
    }
    return v;
}

static EVP_PKEY *from_build(const char *kind, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (params == NULL || context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    return key;
}

/* d modulo (prime - 1), which the file leaves out. */
static BIGNUM *crt_exponent(const BIGNUM *d, const BIGNUM *prime)
{
    BIGNUM *out = BN_secure_new(), *less = BN_secure_new();
    BN_CTX *context = BN_CTX_secure_new();
    int ok = out != NULL && less != NULL && context != NULL &&
             BN_sub(less, prime, BN_value_one()) && !BN_is_zero(less);
    if (ok) {
        BIGNUM *secret = BN_dup(d);
        ok = secret != NULL;
        if (ok) {
            BN_set_flags(secret, BN_FLG_CONSTTIME);
            ok = BN_mod(out, secret, less, context);
        }
        BN_clear_free(secret);
    }
    BN_CTX_free(context);
    BN_clear_free(less);
    if (!ok) {
        BN_clear_free(out);
        out = NULL;
    }
    return out;
}

static EVP_PKEY *read_rsa(struct wire_reader *r)
{
    enum { N, E, D, IQMP, P, Q, DP, DQ, COUNT };
    static const char *const names[COUNT] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
        OSSL_PKEY_PARAM_RSA_FACTOR1,   OSSL_PKEY_PARAM_RSA_FACTOR2,
        OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2};
    BIGNUM *v[COUNT] = {0};
    EVP_PKEY *key = NULL;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    int ok = build != NULL;
    for (int i = N; i <= Q; i++)
        ok &= (v[i] = read_number(r)) != NULL;
    if (!ok || BN_num_bits(v[N]) < RSA_BITS_MIN || BN_num_bits(v[N]) > RSA_BITS_MAX)
        goto out;
    ok = (v[DP] = crt_exponent(v[D], v[P])) != NULL && (v[DQ] = crt_exponent(v[D], v[Q])) != NULL;
    for (int i = 0; ok && i < COUNT; i++)
        ok = OSSL_PARAM_BLD_push_BN(build, names[i], v[i]) == 1;
    if (ok)
        key = from_build("RSA", build);
out:
    OSSL_PARAM_BLD_free(build);
    for (int i = 0; i < COUNT; i++)
        BN_clear_free(v[i]);
    return key;
}

static EVP_PKEY *read_ec(const struct curve *curve, struct wire_reader *r)
{
    EVP_PKEY *key = NULL;
    const uint8_t *name, *point;
    size_t name_n, point_n;
    sshkey_get_string(r, &name, &name_n);
    sshkey_get_string(r, &point, &point_n);
    BIGNUM *d = read_number(r);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (d != NULL && build != NULL && name_n == strlen(curve->name) &&
        memcmp(name, curve->name, name_n) == 0 && point_n == 1 + 2 * curve->bytes &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, point_n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1)
        key = from_build("EC", build);
    OSSL_PARAM_BLD_free(build);
    BN_clear_free(d);
    return key;
}

static EVP_PKEY *read_ed25519(struct wire_reader *r)
{
    const uint8_t *public, *both; /* the seed, then the public key again */
    size_t public_n, both_n;
    sshkey_get_string(r, &public, &public_n);
    sshkey_get_string(r, &both, &both_n);
    if (r->short_read || public_n != 32 || both_n != 64 || memcmp(public, both + 32, 32) != 0)
        return NULL;
    return EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, both, 32);
}

EVP_PKEY *keyfile_pkey_read(const char *type, struct wire_reader *r)
{
    EVP_PKEY *key = NULL;
    if (strcmp(type, "ssh-ed25519") == 0)
        key = read_ed25519(r);
    else if (strcmp(type, "ssh-rsa") == 0)
        key = read_rsa(r);
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
        if (strcmp(type, curves[i].type) == 0)
            key = read_ec(&curves[i], r);
    ERR_clear_error();
    return key;
}

static int put_bn(struct wire_buf *out, EVP_PKEY *key, const char *name)
{
    BIGNUM *v = NULL;
    int rc = -E_UNSUPPORTED;
    uint8_t bytes[RSA_BITS_MAX / 8];
    if (EVP_PKEY_get_bn_param(key, name, &v) == 1 && BN_num_bytes(v) <= (int)sizeof bytes)
        rc = sshkey_put_mpint(out, bytes, (size_t)BN_bn2bin(v, bytes));
    BN_free(v);
    return rc;
}

static int put_rsa(struct wire_buf *out, EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return -E_UNSUPPORTED;
    int rc = sshkey_put_string(out, "ssh-rsa", 7);
    if (rc == 0)
        rc = put_bn(out, key, OSSL_PKEY_PARAM_RSA_E);
    return rc == 0 ? put_bn(out, key, OSSL_PKEY_PARAM_RSA_N) : rc;
}

static int put_ec(struct wire_buf *out, EVP_PKEY *key)
{
    char group[64];
    uint8_t point[1 + 2 * 66], *x = point + 1;
    BIGNUM *bx = NULL, *by = NULL;
    const struct curve *curve = NULL;
    int rc = -E_UNSUPPORTED;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1)
        for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
            if (strcmp(group, curves[i].group) == 0)
                curve = &curves[i];
    if (curve == NULL || EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_X, &bx) != 1 ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_EC_PUB_Y, &by) != 1 ||
        BN_bn2binpad(bx, x, (int)curve->bytes) < 0 ||
        BN_bn2binpad(by, x + curve->bytes, (int)curve->bytes) < 0)
        goto out;
    point[0] = 4; /* uncompressed */
    rc = sshkey_put_string(out, curve->type, strlen(curve->type));
    if (rc == 0)
        rc = sshkey_put_string(out, curve->name, strlen(curve->name));
    if (rc == 0)
        rc = sshkey_put_string(out, point, 1 + 2 * curve->bytes);
out:
    BN_free(bx);
    BN_free(by);
    return rc;
}

int keyfile_pkey_blob(EVP_PKEY *key, struct wire_buf *out)
{
    uint8_t raw[32];
    size_t n = sizeof raw;
    int rc = -E_UNSUPPORTED;
    if (EVP_PKEY_is_a(key, "RSA")) {
        rc = put_rsa(out, key);
    } else if (EVP_PKEY_is_a(key, "EC")) {
        rc = put_ec(out, key);
    } else if (EVP_PKEY_is_a(key, "ED25519") && EVP_PKEY_get_raw_public_key(key, raw, &n) == 1) {
        rc = sshkey_put_string(out, "ssh-ed25519", 11);
        if (rc == 0)
            rc = sshkey_put_string(out, raw, n);
    }
    ERR_clear_error();
    return rc;
}

int keyfile_pkey_test(const struct keyfile *k)
{
    static const char text[] = "do both parts belong together?";
    const char *algorithm = strcmp(k->type, "ssh-rsa") == 0 ? "rsa-sha2-256" : k->type;
    struct wire_buf whole = {0};
    uint8_t *inner = NULL;
    size_t inner_n;
    int rc = keyfile_sign(k, algorithm, text, sizeof text, &inner, &inner_n, NULL);
    if (rc == 0)
        rc = sshkey_put_string(&whole, algorithm, strlen(algorithm));
    if (rc == 0)
        rc = sshkey_put_string(&whole, inner, inner_n);
    if (rc == 0)
        rc = sshkey_verify(k->blob, k->blob_n, wire_data(&whole), wire_length(&whole), text,
                           sizeof text);
    ERR_clear_error();
    wire_free(&whole);
    free(inner);
    return rc == 0 ? 0 : -E_MALFORMED;
}
