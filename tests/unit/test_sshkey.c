/* Blobs, signatures, requests: boundaries of each field. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"
#include "tests/unit/unit.h"

static struct wire_buf blob;

static void begin(const char *type)
{
    wire_free(&blob);
    ck_assert_int_eq(sshkey_put_string(&blob, type, strlen(type)), 0);
}

static void field(const void *bytes, size_t n)
{
    ck_assert_int_eq(sshkey_put_string(&blob, bytes, n), 0);
}

static int check(void)
{
    return sshkey_check(wire_data(&blob), wire_length(&blob));
}

static uint8_t body[3000];

static void rsa(size_t e_n, const char *e, size_t n_n)
{
    begin("ssh-rsa");
    field(e, e_n);
    field(body, n_n);
}

START_TEST(test_check)
{
    memset(body, 0x7f, sizeof body);
    begin("ssh-ed25519");
    field(body, 32);
    ck_assert_int_eq(check(), 0);
    ck_assert_uint_eq(sshkey_bits(wire_data(&blob), wire_length(&blob)), 256);
    for (size_t cut = 0; cut < wire_length(&blob); cut++)
        ck_assert_int_eq(sshkey_check(wire_data(&blob), cut), -E_MALFORMED);
    ck_assert_int_eq(wire_put_u8(&blob, 0), 0);
    ck_assert_int_eq(check(), -E_MALFORMED);
    for (size_t n = 31; n <= 33; n += 2) {
        begin("ssh-ed25519");
        field(body, n);
        ck_assert_int_eq(check(), -E_MALFORMED);
    }
    static const struct {
        const char *type, *curve;
        size_t n;
    } curves[] = {{"ecdsa-sha2-nistp256", "nistp256", 65},
                  {"ecdsa-sha2-nistp384", "nistp384", 97},
                  {"ecdsa-sha2-nistp521", "nistp521", 133}};
    for (size_t i = 0; i < 3; i++) {
        for (int wrong = 0; wrong < 4; wrong++) {
            body[0] = wrong == 1 ? 2 : 4;
            begin(curves[i].type);
            field(curves[wrong == 2 ? (i + 1) % 3 : i].curve, 8);
            field(body, curves[i].n - (wrong == 3));
            ck_assert_int_eq(check(), wrong ? -E_MALFORMED : 0);
        }
    }
    body[0] = 0x7f;
    rsa(3, "\1\0\1", 256);
    ck_assert_int_eq(check(), 0);
    ck_assert_uint_eq(sshkey_bits(wire_data(&blob), wire_length(&blob)), 2047);
    rsa(1, "\1", 256); /* exponent 1 */
    ck_assert_int_eq(check(), -E_MALFORMED);
    rsa(0, "", 256);
    ck_assert_int_eq(check(), -E_MALFORMED);
    rsa(4, "\0\1\0\1", 256); /* a needless zero */
    ck_assert_int_eq(check(), -E_MALFORMED);
    rsa(3, "\201\0\1", 256); /* negative */
    ck_assert_int_eq(check(), -E_MALFORMED);
    rsa(3, "\1\0\1", 63); /* 503 bits */
    ck_assert_int_eq(check(), -E_MALFORMED);
    rsa(3, "\1\0\1", 2048);
    ck_assert_int_eq(check(), 0);
    rsa(3, "\1\0\1", 2049);
    ck_assert_int_eq(check(), -E_MALFORMED);
    begin("ssh-dss");
    ck_assert_int_eq(check(), -E_UNSUPPORTED);
    wire_free(&blob);
}
END_TEST

START_TEST(test_names)
{
    char name[SSHKEY_NAME_MAX], longest[SSHKEY_NAME_MAX + 1];
    memset(longest, 'x', sizeof longest);
    longest[SSHKEY_NAME_MAX - 1] = '\0';
    begin(longest);
    ck_assert_int_eq(sshkey_type(wire_data(&blob), wire_length(&blob), name), 0);
    ck_assert_str_eq(name, longest);
    longest[SSHKEY_NAME_MAX - 1] = 'x';
    longest[SSHKEY_NAME_MAX] = '\0';
    static const char *const bad[] = {"", "a b", "a,b", "a\x7f", "a\n", "\xc3\xbc"};
    begin(longest);
    ck_assert_int_eq(sshkey_type(wire_data(&blob), wire_length(&blob), name), -E_MALFORMED);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        begin(bad[i]);
        ck_assert_int_eq(sshkey_type(wire_data(&blob), wire_length(&blob), name), -E_MALFORMED);
        ck_assert_str_eq(name, "");
    }
    ck_assert_int_eq(sshkey_type(NULL, 0, name), -E_MALFORMED);
    ck_assert_int_eq(sshkey_fits("ssh-rsa", "rsa-sha2-512"), 1);
    ck_assert_int_eq(sshkey_fits("ssh-ed25519", "rsa-sha2-512"), 0);
    ck_assert_int_eq(sshkey_fits("ssh-ed25519", "ssh-ed25519"), 1);
    ck_assert_int_eq(sshkey_is_certificate("ssh-rsa-cert-v01@openssh.com"), 1);
    ck_assert_int_eq(sshkey_is_certificate("ssh-rsa"), 0);
    ck_assert_int_eq(sshkey_is_token("sk-ssh-ed25519@openssh.com"), 1);
    ck_assert_int_eq(sshkey_is_token("ssh-ed25519"), 0);
    wire_free(&blob);
}
END_TEST

START_TEST(test_signature_split)
{
    char name[SSHKEY_NAME_MAX];
    const uint8_t *inner;
    size_t n;
    begin("rsa-sha2-256");
    field("abc", 3);
    ck_assert_int_eq(sshkey_signature_split(wire_data(&blob), wire_length(&blob), name, &inner, &n),
                     0);
    ck_assert_str_eq(name, "rsa-sha2-256");
    ck_assert_mem_eq(inner, "abc", 3);
    ck_assert_uint_eq(n, 3);
    for (size_t cut = 0; cut < wire_length(&blob); cut++)
        ck_assert_int_eq(sshkey_signature_split(wire_data(&blob), cut, name, &inner, &n),
                         -E_MALFORMED);
    ck_assert_int_eq(wire_put_u8(&blob, 0), 0);
    ck_assert_int_eq(sshkey_signature_split(wire_data(&blob), wire_length(&blob), name, &inner, &n),
                     -E_MALFORMED);
    wire_free(&blob);
}
END_TEST

START_TEST(test_mpint)
{
    /* RFC 4251 section 5. */
    static const struct {
        const char *in;
        size_t in_n;
        const char *out;
        size_t out_n;
    } all[] = {
        {"", 0, "\0\0\0\0", 4},
        {"\0\0", 2, "\0\0\0\0", 4},
        {"\x09\xa3\x78", 3, "\0\0\0\3\x09\xa3\x78", 7},
        {"\x80", 1, "\0\0\0\2\0\x80", 6},
        {"\0\0\x80", 3, "\0\0\0\2\0\x80", 6},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct wire_buf b = {0};
        ck_assert_int_eq(sshkey_put_mpint(&b, all[i].in, all[i].in_n), 0);
        ck_assert_uint_eq(wire_length(&b), all[i].out_n);
        ck_assert_mem_eq(wire_data(&b), all[i].out, all[i].out_n);
        wire_free(&b);
    }
}
END_TEST

START_TEST(test_base64)
{
    /* RFC 4648 section 10. */
    static const char *const pairs[][2] = {
        {"", ""},        {"f", "Zg=="},        {"fo", "Zm8="},
        {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"foobar", "Zm9vYmFy"}};
    uint8_t out[16];
    char text[32];
    size_t n;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const char *plain = pairs[i][0], *coded = pairs[i][1];
        sshkey_base64_encode(plain, strlen(plain), text);
        ck_assert_str_eq(text, coded);
        ck_assert_uint_eq(sshkey_base64_size(strlen(plain)), strlen(coded) + 1);
        n = strlen(plain); /* exactly as much room as it takes */
        ck_assert_int_eq(sshkey_base64_decode(coded, strlen(coded), out, &n), 0);
        ck_assert_uint_eq(n, strlen(plain));
        ck_assert_mem_eq(out, plain, n);
        if (n > 0) {
            n--;
            ck_assert_int_eq(sshkey_base64_decode(coded, strlen(coded), out, &n), -E_LIMIT);
            ck_assert_uint_eq(n, 0);
        }
    }
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm 9", "Zm9-", "Zh==", "====", "Zm9v\n   "};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        n = sizeof out;
        ck_assert_msg(sshkey_base64_decode(bad[i], strlen(bad[i]), out, &n) == -E_MALFORMED, "%s",
                      bad[i]);
    }
}
END_TEST

START_TEST(test_strings)
{
    struct wire_reader r;
    const uint8_t *at;
    size_t n;
    wire_reader_init(&r, "\0\0\0\2ab\0\0\0\0\xff\xff\xff\xff", 14);
    sshkey_get_string(&r, &at, &n);
    ck_assert_uint_eq(n, 2);
    sshkey_get_string(&r, &at, &n);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(r.short_read, 0);
    sshkey_get_string(&r, &at, &n);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(r.short_read, 1);
    struct wire_buf b = {.limit = 6};
    ck_assert_int_eq(sshkey_put_string(&b, "abc", 3), -E_LIMIT);
    ck_assert_uint_eq(wire_length(&b), 0); /* nothing, not its length alone */
    ck_assert_int_eq(sshkey_put_string(&b, "ab", 2), 0);
    wire_free(&b);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sshkey");
    TCase *t = tcase_create("all");
    tcase_add_test(t, test_check);
    tcase_add_test(t, test_names);
    tcase_add_test(t, test_signature_split);
    tcase_add_test(t, test_mpint);
    tcase_add_test(t, test_base64);
    tcase_add_test(t, test_strings);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
