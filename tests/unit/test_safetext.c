/* Text for terminals: each class of byte and character, cuts, pieces. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"
#include "proto/errors.h"
#include "tests/unit/unit.h"

static const struct {
    const char *in, *out, *lines;
} cases[] = {
    {"plain ~ text", "plain ~ text", "plain ~ text"},
    {"", "", ""},
    {"a\nb\tc", "a\\nb\\tc", "a\nb\tc"},
    {"a\r\nb\rc\r", "a\\r\\nb\\rc\\r", "a\nb\\rc\\r"},
    {"\r\r\n", "\\r\\r\\n", "\\r\n"},
    {"\x1b[31m\x07\x08\x7f", "\\x1b[31m\\a\\b\\x7f", "\\x1b[31m\\a\\b\\x7f"},
    {"back\\slash", "back\\slash", "back\\slash"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f"},
    {"\xc2\x9b"
     "31m",
     "\\u{9b}31m", "\\u{9b}31m"}, /* C1: CSI */
    {"\x9b", "\\x9b", "\\x9b"},   /* ... as a raw byte */
    {"\xe2\x80\xae"
     "evil",
     "\\u{202e}evil", "\\u{202e}evil"}, /* right to left */
    {"\xe2\x80\x8b|\xef\xbb\xbf|\xe2\x80\xa8", "\\u{200b}|\\u{feff}|\\u{2028}",
     "\\u{200b}|\\u{feff}|\\u{2028}"},
    {"\xf3\xa0\x80\x81", "\\u{e0001}", "\\u{e0001}"},       /* a tag */
    {"\xc0\xaf", "\\xc0\\xaf", "\\xc0\\xaf"},               /* overlong */
    {"\xe0\x80\xaf", "\\xe0\\x80\\xaf", "\\xe0\\x80\\xaf"}, /* overlong */
    {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf", "\\xf0\\x8f\\xbf\\xbf"},
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\\xed\\xa0\\x80"},               /* a surrogate */
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\xf4\\x90\\x80\\x80"}, /* above U+10FFFF */
    {"\xe2\x82", "\\xe2\\x82", "\\xe2\\x82"},                             /* cut at the end */
    {"\xe2\x82"
     "a",
     "\\xe2\\x82a", "\\xe2\\x82a"}, /* ... and in the middle */
    {"\xe2\xe2\x82\xac", "\\xe2\xe2\x82\xac", "\\xe2\xe2\x82\xac"},
    {"\xff\xfe", "\\xff\\xfe", "\\xff\\xfe"},
    {"\xc3\r\n", "\\xc3\\r\\n", "\\xc3\n"},
};

START_TEST(test_copy)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned flags = 0; flags < 2; flags++) {
            const char *want = flags ? cases[i].lines : cases[i].out;
            char *dup = safetext_dup(cases[i].in, strlen(cases[i].in), flags);
            ck_assert_str_eq(dup, want);
            free(dup);
        }
    }
    char out[16];
    ck_assert_uint_eq(safetext_copy(out, sizeof out, "a\0b", 3, 0), 6);
    ck_assert_str_eq(out, "a\\x00b");
}
END_TEST

/* Cut anywhere: terminated, never inside an escape or a character. */
START_TEST(test_cut)
{
    static const char in[] = "a\x1b\xe2\x82\xac"
                             "b",
                      whole[] = "a\\x1b\xe2\x82\xac"
                                "b";
    static const size_t lengths[] = {0, 0, 1, 1, 1, 1, 5, 5, 5, 8, 9, 9};
    for (size_t size = 0; size < sizeof lengths / sizeof lengths[0]; size++) {
        char out[32];
        memset(out, '#', sizeof out);
        ck_assert_uint_eq(safetext_copy(out, size, in, strlen(in), 0), strlen(whole));
        ck_assert_int_eq(out[size], '#');
        if (size == 0)
            continue;
        ck_assert_uint_eq(strlen(out), lengths[size]);
        ck_assert_int_eq(memcmp(out, whole, lengths[size]), 0);
    }
}
END_TEST

/* In pieces of each size the result is the same. */
START_TEST(test_pieces)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece < 5; piece++) {
            struct safetext st = {.flags = SAFETEXT_LINES};
            struct wire_buf out = {0};
            size_t n = strlen(cases[i].in);
            for (size_t at = 0; at < n; at += piece)
                ck_assert_int_eq(
                    safetext_feed(&st, &out, cases[i].in + at, n - at < piece ? n - at : piece), 0);
            ck_assert_int_eq(safetext_finish(&st, &out), 0);
            ck_assert_uint_eq(wire_length(&out), strlen(cases[i].lines));
            if (wire_length(&out) > 0)
                ck_assert_int_eq(memcmp(wire_data(&out), cases[i].lines, wire_length(&out)), 0);
            ck_assert_uint_eq(st.held_count, 0);
            ck_assert_uint_eq(st.cr_held, 0);
            wire_free(&out);
        }
    }
    struct safetext st = {0};
    struct wire_buf out = {.limit = 3};
    ck_assert_int_eq(safetext_feed(&st, &out, "abcd", 4), -E_LIMIT);
    wire_free(&out);
}
END_TEST

/* Whatever comes in, only printable ASCII and whole, visible characters go out. */
START_TEST(test_all_code_points)
{
    for (uint32_t c = 0x80; c < 0x110000; c++) {
        char in[4], out[16];
        size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = n - 1; i > 0; i--)
            in[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
        in[0] = (char)((n == 2 ? 0xc0u : n == 3 ? 0xe0u : 0xf0u) | c >> 6 * (n - 1));
        size_t length = safetext_copy(out, sizeof out, in, n, SAFETEXT_LINES);
        int surrogate = c >= 0xd800 && c < 0xe000;
        if (surrogate)
            ck_assert_uint_eq(length, 12);
        else if (out[0] == '\\')
            ck_assert_int_eq(out[1], 'u');
        else
            ck_assert(length == n && memcmp(in, out, n) == 0 && c >= 0xa0);
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("safetext");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, test_copy);
    tcase_add_test(t, test_cut);
    tcase_add_test(t, test_pieces);
    tcase_add_test(t, test_all_code_points);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
