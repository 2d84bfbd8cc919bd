/* Private key files of each kind that ssh-keygen and openssl make, and damaged ones. */
#include <openssl/bn.h>
#include <stdint.h>

#include "launcher/ssh/bcrypt.h"
#include "launcher/ssh/bcrypt_pi.h"
#include "launcher/ssh/keyfile.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

#define PHRASE "pass \xc3\xbc word"
#define DATA   "some data to sign"

static void keygen(const char *name, const char *arguments, int encrypted)
{
    char line[512];
    (void)snprintf(line, sizeof line,
                   "ssh-keygen -q %s -N '%s' -a 2 -C 'a comment' -f %s </dev/null", arguments,
                   encrypted ? PHRASE : "", name);
    ck_assert_msg(sshtools_run(NULL, 0, line) == 0, "%s", line);
}

/* The blob of FILE.pub, from its text. */
static size_t public_blob(const char *name, uint8_t *blob, size_t size)
{
    char *text = sshtools_read(sshtools_path("%s.pub", name), NULL), *rest = text;
    (void)strsep(&rest, " ");
    char *key = strsep(&rest, " \n");
    ck_assert_int_eq(sshkey_base64_decode(key, strlen(key), blob, &size), 0);
    free(text);
    return size;
}

static int verifies(const struct keyfile *k, const char *algorithm, const uint8_t *sig,
                    size_t sig_n, const char *data)
{
    struct wire_buf whole = {0};
    size_t n;
    const uint8_t *blob = keyfile_blob(k, &n);
    ck_assert_int_eq(sshkey_put_string(&whole, algorithm, strlen(algorithm)), 0);
    ck_assert_int_eq(sshkey_put_string(&whole, sig, sig_n), 0);
    int rc = sshkey_verify(blob, n, wire_data(&whole), wire_length(&whole), data, strlen(data));
    wire_free(&whole);
    return rc;
}

static void check_signs(const struct keyfile *k, const char *algorithm)
{
    uint8_t *sig;
    size_t n;
    struct error e = {0};
    ck_assert_msg(keyfile_sign(k, algorithm, DATA, strlen(DATA), &sig, &n, &e) == 0, "%s",
                  e.detail);
    ck_assert_int_eq(verifies(k, algorithm, sig, n, DATA), 0);
    ck_assert_int_eq(verifies(k, algorithm, sig, n, DATA "."), -E_AUTH);
    sig[n - 1] ^= 1;
    ck_assert_int_ne(verifies(k, algorithm, sig, n, DATA), 0);
    free(sig);
}

static void check_usable(const struct keyfile *k)
{
    const char *type = keyfile_type(k);
    uint8_t *sig;
    size_t n;
    ck_assert_int_eq(keyfile_locked(k), 0);
    ck_assert_int_eq(keyfile_public_only(k), 0);
    if (strcmp(type, "ssh-rsa") == 0) {
        check_signs(k, "rsa-sha2-256");
        check_signs(k, "rsa-sha2-512");
    } else {
        check_signs(k, type);
    }
    static const char *const bad[] = {"ssh-rsa", "ssh-dss", "", "rsa-sha2-1024"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        ck_assert_int_eq(keyfile_sign(k, bad[i], DATA, 4, &sig, &n, NULL), -E_ARGUMENT);
}

/* ssh-keygen itself must take the signature: as an sshsig over a file's hash. */
static void check_with_ssh_keygen(const struct keyfile *k, const char *name)
{
    static const char namespace[] = "grapnel-test";
    struct wire_buf blob = {0}, signed_data = {0}, armored = {0};
    const char *type = keyfile_type(k);
    const char *algorithm = strcmp(type, "ssh-rsa") == 0 ? "rsa-sha2-512" : type;
    char hash[65], text[8192], line[512];
    uint8_t digest[32], *sig;
    size_t n, key_n;
    const uint8_t *key = keyfile_blob(k, &key_n);
    sshtools_write(sshtools_path("data"), DATA);
    ck_assert_int_eq(sshtools_run(hash, sizeof hash, "sha256sum data"), 0);
    for (int i = 0; i < 32; i++) {
        const char pair[3] = {hash[2 * i], hash[2 * i + 1], '\0'};
        digest[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    ck_assert_int_eq(wire_put(&signed_data, "SSHSIG", 6), 0);
    ck_assert_int_eq(sshkey_put_string(&signed_data, namespace, strlen(namespace)), 0);
    ck_assert_int_eq(sshkey_put_string(&signed_data, "", 0), 0);
    ck_assert_int_eq(sshkey_put_string(&signed_data, "sha256", 6), 0);
    ck_assert_int_eq(sshkey_put_string(&signed_data, digest, 32), 0);
    ck_assert_int_eq(keyfile_sign(k, algorithm, wire_data(&signed_data), wire_length(&signed_data),
                                  &sig, &n, NULL),
                     0);
    ck_assert_int_eq(sshkey_put_string(&blob, algorithm, strlen(algorithm)), 0);
    ck_assert_int_eq(sshkey_put_string(&blob, sig, n), 0);
    ck_assert_int_eq(wire_put(&armored, "SSHSIG", 6), 0);
    ck_assert_int_eq(wire_put_u32(&armored, 1), 0);
    ck_assert_int_eq(sshkey_put_string(&armored, key, key_n), 0);
    ck_assert_int_eq(sshkey_put_string(&armored, namespace, strlen(namespace)), 0);
    ck_assert_int_eq(sshkey_put_string(&armored, "", 0), 0);
    ck_assert_int_eq(sshkey_put_string(&armored, "sha256", 6), 0);
    ck_assert_int_eq(sshkey_put_string(&armored, wire_data(&blob), wire_length(&blob)), 0);
    int used = snprintf(text, sizeof text, "-----BEGIN SSH SIGNATURE-----\n");
    sshkey_base64_encode(wire_data(&armored), wire_length(&armored), text + used);
    strcat(text, "\n-----END SSH SIGNATURE-----\n");
    sshtools_write(sshtools_path("sig"), text);
    (void)snprintf(line, sizeof line,
                   "printf 'me ' > allowed && cat %s.pub >> allowed && "
                   "ssh-keygen -Y verify -f allowed -I me -n %s -s sig < data 2>&1",
                   name, namespace);
    ck_assert_msg(sshtools_run(text, sizeof text, line) == 0, "%s: %s", name, text);
    free(sig);
    wire_free(&blob);
    wire_free(&signed_data);
    wire_free(&armored);
}

static void check_file(const char *name, int encrypted, const char *type, int public_beside)
{
    struct keyfile *k;
    struct error e = {0};
    uint8_t blob[2048];
    size_t n, blob_n = public_beside ? public_blob(name, blob, sizeof blob) : 0;
    const char *path = sshtools_path("%s", name);
    ck_assert_msg(keyfile_load(path, NULL, 0, &k, &e) == 0, "%s: %s", name, e.detail);
    ck_assert_int_eq(keyfile_encrypted(k), encrypted);
    ck_assert_int_eq(keyfile_locked(k), encrypted);
    ck_assert_str_eq(keyfile_path(k), path);
    if (public_beside) {
        ck_assert_mem_eq(keyfile_blob(k, &n), blob, blob_n);
        ck_assert_uint_eq(n, blob_n);
    }
    if (encrypted) {
        uint8_t *sig;
        ck_assert_int_eq(keyfile_sign(k, type, DATA, 4, &sig, &n, &e), -E_PASSPHRASE);
        ck_assert_int_eq(keyfile_unlock(k, "wrong", 5, &e), -E_PASSPHRASE);
        ck_assert_ptr_nonnull(strstr(e.detail, name));
        ck_assert_int_eq(keyfile_unlock(k, "", 0, &e), -E_PASSPHRASE);
        ck_assert_int_eq(keyfile_unlock(k, NULL, 0, &e), -E_PASSPHRASE);
        ck_assert_int_eq(keyfile_locked(k), 1);
        ck_assert_msg(keyfile_unlock(k, PHRASE, strlen(PHRASE), &e) == 0, "%s", e.detail);
    }
    ck_assert_int_eq(keyfile_unlock(k, NULL, 0, &e), 0);
    ck_assert_str_eq(keyfile_type(k), type);
    check_usable(k);
    if (public_beside)
        check_with_ssh_keygen(k, name);
    keyfile_free(k);

    int rc = keyfile_load(path, PHRASE, strlen(PHRASE), &k, &e);
    ck_assert_msg(rc == 0, "%s: %s", name, e.detail);
    ck_assert_int_eq(keyfile_locked(k), 0);
    keyfile_free(k);
    rc = keyfile_load(path, "no", 2, &k, &e);
    ck_assert_int_eq(rc, encrypted ? -E_PASSPHRASE : 0);
    keyfile_free(k);
}

START_TEST(test_types)
{
    static const struct {
        const char *arguments, *type;
    } all[] = {
        {"-t ed25519", "ssh-ed25519"},
        {"-t ecdsa -b 256", "ecdsa-sha2-nistp256"},
        {"-t ecdsa -b 384", "ecdsa-sha2-nistp384"},
        {"-t ecdsa -b 521", "ecdsa-sha2-nistp521"},
        {"-t rsa -b 2048", "ssh-rsa"},
        {"-t rsa -b 1024", "ssh-rsa"},
    };
    if (!sshtools_have("ssh-keygen"))
        return;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (int encrypted = 0; encrypted < 2; encrypted++) {
            char name[32];
            (void)snprintf(name, sizeof name, "k%zu.%d", i, encrypted);
            keygen(name, all[i].arguments, encrypted);
            check_file(name, encrypted, all[i].type, 1);
        }
    }
    struct keyfile *k;
    ck_assert_int_eq(keyfile_load(sshtools_path("k0.0"), NULL, 0, &k, NULL), 0);
    ck_assert_str_eq(keyfile_comment(k), "a comment");
    keyfile_free(k);
    keyfile_free(NULL);
}
END_TEST

START_TEST(test_ciphers)
{
    static const char *const all[] = {"aes128-ctr",
                                      "aes192-ctr",
                                      "aes256-ctr",
                                      "aes128-cbc",
                                      "aes192-cbc",
                                      "aes256-cbc",
                                      "3des-cbc",
                                      "aes128-gcm@openssh.com",
                                      "aes256-gcm@openssh.com",
                                      "chacha20-poly1305@openssh.com"};
    if (!sshtools_have("ssh-keygen"))
        return;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char arguments[128], name[32];
        (void)snprintf(arguments, sizeof arguments, "-t ed25519 -Z %s", all[i]);
        (void)snprintf(name, sizeof name, "c%zu", i);
        keygen(name, arguments, 1);
        check_file(name, 1, "ssh-ed25519", 1);
    }
}
END_TEST

START_TEST(test_pem)
{
    static const struct {
        const char *arguments, *type;
    } all[] = {
        {"-t ecdsa -m PEM", "ecdsa-sha2-nistp256"},
        {"-t ecdsa -b 521 -m PEM", "ecdsa-sha2-nistp521"},
        {"-t rsa -b 2048 -m PEM", "ssh-rsa"},
        {"-t ecdsa -b 384 -m PKCS8", "ecdsa-sha2-nistp384"},
        {"-t rsa -b 2048 -m PKCS8", "ssh-rsa"},
    };
    if (!sshtools_have("ssh-keygen"))
        return;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (int encrypted = 0; encrypted < 2; encrypted++) {
            char name[32];
            (void)snprintf(name, sizeof name, "p%zu.%d", i, encrypted);
            keygen(name, all[i].arguments, encrypted);
            check_file(name, encrypted, all[i].type, 1);
            ck_assert_int_eq(unlink(sshtools_path("%s.pub", name)), 0);
            check_file(name, encrypted, all[i].type, 0);
        }
    }
    /* Without FILE.pub nothing is known of an encrypted PEM key; with another key's, it is told. */
    struct keyfile *k;
    size_t n;
    struct error e = {0};
    ck_assert_int_eq(keyfile_load(sshtools_path("p0.1"), NULL, 0, &k, &e), 0);
    ck_assert_ptr_null(keyfile_blob(k, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_str_eq(keyfile_type(k), "");
    ck_assert_int_eq(keyfile_public_only(k), 0);
    keyfile_free(k);
    keygen("q", "-t ecdsa", 0);
    ck_assert_int_eq(rename(sshtools_path("q.pub"), sshtools_path("p0.1.pub")), 0);
    ck_assert_int_eq(keyfile_load(sshtools_path("p0.1"), NULL, 0, &k, &e), 0);
    ck_assert_int_eq(keyfile_unlock(k, PHRASE, strlen(PHRASE), &e), -E_MALFORMED);
    ck_assert_int_eq(keyfile_locked(k), 1);
    keyfile_free(k);
    if (!sshtools_have("openssl"))
        return;
    ck_assert_int_eq(
        sshtools_run(NULL, 0,
                     "umask 077 && openssl genpkey -algorithm ed25519 -out o1 2>/dev/null && "
                     "openssl genpkey -algorithm ed448 -out o2 2>/dev/null"),
        0);
    check_file("o1", 0, "ssh-ed25519", 0);
    ck_assert_int_eq(keyfile_load(sshtools_path("o2"), NULL, 0, &k, &e), -E_UNSUPPORTED);
}
END_TEST

START_TEST(test_files)
{
    struct keyfile *k;
    struct error e = {0};
    size_t n, files = sshtools_open_files();
    if (!sshtools_have("ssh-keygen"))
        return;
    keygen("k", "-t ed25519", 0);
    const char *path = sshtools_path("k");
    static const mode_t open_modes[] = {0640, 0604, 0620, 0601, 0644};
    for (size_t i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        ck_assert_int_eq(chmod(path, open_modes[i]), 0);
        ck_assert_int_eq(keyfile_load(path, NULL, 0, &k, &e), -E_CONFIG);
        ck_assert_ptr_null(k);
    }
    ck_assert_int_eq(chmod(path, 0400), 0);
    ck_assert_int_eq(keyfile_load(path, NULL, 0, &k, &e), 0);
    keyfile_free(k);

    /* The public part alone: by its own name, or as what is left of a key that is elsewhere. */
    ck_assert_int_eq(keyfile_load(sshtools_path("k.pub"), NULL, 0, &k, &e), 0);
    ck_assert_int_eq(keyfile_public_only(k), 1);
    ck_assert_str_eq(keyfile_comment(k), "a comment");
    ck_assert_int_eq(keyfile_unlock(k, "x", 1, &e), -E_UNSUPPORTED);
    keyfile_free(k);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(keyfile_load(path, NULL, 0, &k, &e), 0);
    ck_assert_int_eq(keyfile_public_only(k), 1);
    ck_assert_int_eq(keyfile_locked(k), 1);
    ck_assert_ptr_nonnull(keyfile_blob(k, &n));
    keyfile_free(k);
    ck_assert_int_eq(keyfile_load(sshtools_path("none"), NULL, 0, &k, &e), -E_IO);
    ck_assert_int_eq(keyfile_load(sshtools_folder, NULL, 0, &k, &e), -E_IO);
    ck_assert_int_eq(keyfile_load_public(sshtools_path("none"), &k, &e), -E_IO);
    ck_assert_uint_eq(sshtools_open_files(), files);
}
END_TEST

/* Files that are no keys, or none of ours. */
START_TEST(test_other_files)
{
    struct keyfile *k;
    struct error e = {0};
    size_t files = sshtools_open_files();
    static const struct {
        const char *text;
        int code;
    } all[] = {
        {"", -E_MALFORMED},
        {"nothing of the sort\n", -E_MALFORMED},
        {"PuTTY-User-Key-File-3: ssh-ed25519\n", -E_UNSUPPORTED},
        {"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", -E_MALFORMED},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
         -E_MALFORMED},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", -E_MALFORMED},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\n#*!\n-----END OPENSSH PRIVATE KEY-----\n",
         -E_MALFORMED},
        {"ssh-ed25519 AAAA\n", -E_MALFORMED},
        {"ssh-ed25519\n", -E_MALFORMED},
        {"ssh-dss AAAAB3NzaC1kc3MAAAAA\n", -E_UNSUPPORTED},
        {"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t\n",
         -E_AUTH_NEEDS_OPENSSH},
        {"ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t\n",
         -E_AUTH_NEEDS_OPENSSH},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        sshtools_write(sshtools_path("bad"), all[i].text);
        int rc = keyfile_load(sshtools_path("bad"), NULL, 0, &k, &e);
        ck_assert_msg(rc == all[i].code, "%zu: %d %s", i, rc, e.detail);
        ck_assert_ptr_null(k);
        ck_assert_ptr_nonnull(strstr(e.detail, "bad"));
    }
    char *large = calloc(1, KEYFILE_SIZE_MAX + 1);
    sshtools_write_n(sshtools_path("bad"), large, KEYFILE_SIZE_MAX + 1, 0600);
    ck_assert_int_eq(keyfile_load(sshtools_path("bad"), NULL, 0, &k, &e), -E_LIMIT);
    free(large);
    ck_assert_uint_eq(sshtools_open_files(), files);
}
END_TEST

/* Each byte of an unencrypted key damaged in turn: refused, or still the same public key. */
START_TEST(test_damage)
{
    if (!sshtools_have("ssh-keygen"))
        return;
    static const char *const types[] = {"-t ed25519", "-t ecdsa", "-t rsa -b 1024"};
    for (size_t t = 0; t < 3; t++) {
        char name[16];
        (void)snprintf(name, sizeof name, "d%zu", t);
        keygen(name, types[t], 0);
        size_t n, blob_n;
        char *text = sshtools_read(sshtools_path("%s", name), &n);
        uint8_t blob[2048];
        blob_n = public_blob(name, blob, sizeof blob);
        unsigned refused = 0;
        for (size_t i = 0; i < n; i += t == 2 ? 7 : 1) {
            struct keyfile *k;
            char was = text[i];
            text[i] = was == 'A' ? 'B' : 'A';
            if (keyfile_parse("d", text, n, NULL, 0, &k, NULL) == 0) {
                size_t got;
                ck_assert_mem_eq(keyfile_blob(k, &got), blob, blob_n);
                check_usable(k);
                keyfile_free(k);
            } else {
                ck_assert_ptr_null(k);
                refused++;
            }
            text[i] = was;
            if (keyfile_parse("d", text, i, NULL, 0, &k, NULL) == 0)
                keyfile_free(k); /* only the end line's newline may be missing */
        }
        ck_assert_uint_gt(refused, (unsigned)(n / (t == 2 ? 10 : 2)));
        free(text);
    }
}
END_TEST

/* The public part of one key before the private part of another. */
START_TEST(test_mixed_parts)
{
    struct keyfile *k;
    uint8_t bytes[2][2048];
    size_t n[2];
    if (!sshtools_have("ssh-keygen"))
        return;
    for (int i = 0; i < 2; i++) {
        char name[16], *rest;
        (void)snprintf(name, sizeof name, "m%d", i);
        keygen(name, "-t ed25519", 0);
        char *text = sshtools_read(sshtools_path("%s", name), NULL), *body = strchr(text, '\n') + 1;
        size_t kept = 0;
        for (rest = body; *rest != '-'; rest++)
            if (*rest != '\n')
                body[kept++] = *rest;
        n[i] = sizeof bytes[i];
        ck_assert_int_eq(sshkey_base64_decode(body, kept, bytes[i], &n[i]), 0);
        free(text);
    }
    /* magic 15, "none" 8 twice, options 4, number 4, then the blob with its length. */
    size_t at = 15 + 8 + 8 + 4 + 4, whole = 4 + 51;
    char armored[4096];
    memcpy(bytes[0] + at, bytes[1] + at, whole);
    int used = snprintf(armored, sizeof armored, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    sshkey_base64_encode(bytes[0], n[0], armored + used);
    strcat(armored, "\n-----END OPENSSH PRIVATE KEY-----\n");
    struct error e = {0};
    ck_assert_int_eq(keyfile_parse("m", armored, strlen(armored), NULL, 0, &k, &e), -E_MALFORMED);
    ck_assert_ptr_nonnull(strstr(e.detail, "belong together"));
}
END_TEST

START_TEST(test_request)
{
    struct wire_buf b = {0};
    struct keyfile *k;
    uint8_t *sig;
    size_t n, blob_n, found_n;
    char algorithm[SSHKEY_NAME_MAX];
    const uint8_t *found;
    if (!sshtools_have("ssh-keygen"))
        return;
    keygen("r", "-t rsa -b 1024", 0);
    ck_assert_int_eq(keyfile_load(sshtools_path("r"), NULL, 0, &k, NULL), 0);
    const uint8_t *blob = keyfile_blob(k, &blob_n);
    int rc = sshkey_put_string(&b, "session id", 10) | wire_put_u8(&b, 50);
    rc |= sshkey_put_string(&b, "user", 4) | sshkey_put_string(&b, "ssh-connection", 14);
    rc |= sshkey_put_string(&b, "publickey", 9) | wire_put_u8(&b, 1);
    rc |= sshkey_put_string(&b, "rsa-sha2-256", 12) | sshkey_put_string(&b, blob, blob_n);
    ck_assert_int_eq(rc, 0);
    ck_assert_int_eq(sshkey_request(wire_data(&b), wire_length(&b), algorithm, &found, &found_n),
                     0);
    ck_assert_str_eq(algorithm, "rsa-sha2-256");
    ck_assert_mem_eq(found, blob, blob_n);
    ck_assert_int_eq(keyfile_sign_request(k, wire_data(&b), wire_length(&b), &sig, &n, NULL), 0);
    struct wire_buf whole = {0};
    ck_assert_int_eq(sshkey_put_string(&whole, algorithm, strlen(algorithm)), 0);
    ck_assert_int_eq(sshkey_put_string(&whole, sig, n), 0);
    ck_assert_int_eq(sshkey_verify(blob, blob_n, wire_data(&whole), wire_length(&whole),
                                   wire_data(&b), wire_length(&b)),
                     0);
    free(sig);
    for (size_t cut = 0; cut < wire_length(&b); cut++)
        ck_assert_int_eq(keyfile_sign_request(k, wire_data(&b), cut, &sig, &n, NULL), -E_MALFORMED);
    wire_free(&whole);
    wire_free(&b);
    keyfile_free(k);
}
END_TEST

/* atan(1/x) times 2^bits, by its series. */
static BIGNUM *arctangent(unsigned long x, int bits)
{
    BIGNUM *sum = BN_new(), *power = BN_new(), *term = BN_new();
    ck_assert_int_eq(BN_set_bit(power, bits), 1);
    (void)BN_div_word(power, x);
    for (unsigned long n = 1; !BN_is_zero(power); n += 2) {
        ck_assert_ptr_nonnull(BN_copy(term, power));
        (void)BN_div_word(term, n);
        ck_assert_int_eq(n % 4 == 1 ? BN_add(sum, sum, term) : BN_sub(sum, sum, term), 1);
        (void)BN_div_word(power, x * x);
    }
    BN_free(power);
    BN_free(term);
    return sum;
}

/* Blowfish's tables are the digits of pi: computed anew. */
START_TEST(test_pi)
{
    enum { BITS = BCRYPT_PI_WORDS * 32, GUARD = 64 };
    BIGNUM *a = arctangent(5, BITS + GUARD), *b = arctangent(239, BITS + GUARD);
    static uint8_t bytes[BITS / 8 + 8];
    ck_assert_int_eq(BN_mul_word(a, 16), 1);
    ck_assert_int_eq(BN_mul_word(b, 4), 1);
    ck_assert_int_eq(BN_sub(a, a, b), 1);
    ck_assert_int_eq(BN_rshift(a, a, GUARD), 1);
    ck_assert_int_eq(BN_bn2binpad(a, bytes, BITS / 8 + 1), BITS / 8 + 1);
    ck_assert_uint_eq(bytes[0], 3);
    for (int i = 0; i < BCRYPT_PI_WORDS; i++) {
        const uint8_t *w = bytes + 1 + 4 * i;
        uint32_t word = (uint32_t)w[0] << 24 | (uint32_t)w[1] << 16 | (uint32_t)w[2] << 8 | w[3];
        ck_assert_uint_eq(bcrypt_pi[i], word);
    }
    BN_free(a);
    BN_free(b);
}
END_TEST

START_TEST(test_bcrypt)
{
    uint8_t out[BCRYPT_OUT_MAX + 1], again[64];
    ck_assert_int_eq(bcrypt_pbkdf("", 0, "s", 1, 1, out, 32), -E_ARGUMENT);
    ck_assert_int_eq(bcrypt_pbkdf("p", 1, "", 0, 1, out, 32), -E_ARGUMENT);
    ck_assert_int_eq(bcrypt_pbkdf("p", 1, "s", 1, 0, out, 32), -E_ARGUMENT);
    ck_assert_int_eq(bcrypt_pbkdf("p", 1, "s", 1, 1, out, 0), -E_ARGUMENT);
    ck_assert_int_eq(bcrypt_pbkdf("p", 1, "s", 1, 1, out, BCRYPT_OUT_MAX + 1), -E_ARGUMENT);
    memset(out, 0xee, sizeof out);
    ck_assert_int_eq(bcrypt_pbkdf("p", 1, "s", 1, 2, out, 33), 0);
    ck_assert_uint_eq(out[33], 0xee);
    ck_assert_int_eq(bcrypt_pbkdf("p", 1, "s", 1, 2, again, 33), 0);
    ck_assert_mem_eq(out, again, 33);
    ck_assert_int_eq(bcrypt_pbkdf("q", 1, "s", 1, 2, again, 33), 0);
    ck_assert_mem_ne(out, again, 33);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("keyfile");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, sshtools_enter, sshtools_leave);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, test_types);
    tcase_add_test(t, test_ciphers);
    tcase_add_test(t, test_pem);
    tcase_add_test(t, test_files);
    tcase_add_test(t, test_other_files);
    tcase_add_test(t, test_damage);
    tcase_add_test(t, test_mixed_parts);
    tcase_add_test(t, test_request);
    tcase_add_test(t, test_pi);
    tcase_add_test(t, test_bcrypt);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
