/* SHA-1, beside libcrypto's, around each boundary of a block. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "launcher/ssh/sha1.h"
#include "tests/unit/unit.h"

START_TEST(known)
{
    char hex[SHA1_HEX];

    sha1_hex("abc", 3, hex);
    ck_assert_str_eq(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    sha1_hex("", 0, hex);
    ck_assert_str_eq(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}
END_TEST

START_TEST(every_length)
{
    uint8_t bytes[300], hash[EVP_MAX_MD_SIZE];
    char hex[SHA1_HEX], want[SHA1_HEX];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 7);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        ck_assert_int_eq(EVP_Digest(bytes, n, hash, NULL, EVP_sha1(), NULL), 1);
        for (size_t i = 0; i < 20; i++)
            snprintf(want + 2 * i, 3, "%02x", hash[i]);
        sha1_hex(bytes, n, hex);
        ck_assert_msg(strcmp(hex, want) == 0, "%zu bytes: %s, not %s", n, hex, want);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sha1");
    TCase *t = tcase_create("all");

    tcase_add_test(t, known);
    tcase_add_test(t, every_length);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
