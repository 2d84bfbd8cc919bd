/* What a server says in plain text: in one piece, in single bytes, damaged and without an end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/ssh2_greeting.h"
#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"
#include "unit.h"

static void put_packet(struct wire_buf *b, const struct wire_buf *payload)
{
    uint8_t padding = 6;

    wire_put_u32(b, (uint32_t)(1 + wire_length(payload) + padding));
    wire_put_u8(b, padding);
    wire_put(b, wire_data(payload), wire_length(payload));
    wire_put(b, "\0\0\0\0\0\0", padding);
}

static void put_kexinit(struct wire_buf *b)
{
    struct wire_buf p = {0};
    char name[16];

    wire_put_u8(&p, 20);
    wire_put(&p, "cookiecookiecook", 16);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "list%d,x", i);
        sshkey_put_string(&p, name, i == 8 ? 0 : strlen(name));
    }
    wire_put_u8(&p, 0);
    wire_put_u32(&p, 0);
    put_packet(b, &p);
    wire_free(&p);
}

static void put_newkeys(struct wire_buf *b)
{
    struct wire_buf p = {0};

    wire_put_u8(&p, 21);
    put_packet(b, &p);
    wire_free(&p);
}

static void put_disconnect(struct wire_buf *b, const char *text)
{
    struct wire_buf p = {0};

    wire_put_u8(&p, 1);
    wire_put_u32(&p, 2);
    sshkey_put_string(&p, text, strlen(text));
    sshkey_put_string(&p, "", 0);
    put_packet(b, &p);
    wire_free(&p);
}

/* Feeds in pieces of `piece` bytes; the first result that is not 0. */
static int feed(struct ssh2_greeting *g, const struct wire_buf *b, size_t piece)
{
    size_t n = wire_length(b);
    int result = 0;

    for (size_t i = 0; i < n && !result; i += piece)
        result = ssh2_greeting_feed(g, wire_data(b) + i, n - i < piece ? n - i : piece);
    return result;
}

static const char whole[] = "a word before\r\nSSH-2.0-Server_1 comment\r\n";

START_TEST(in_pieces)
{
    static const size_t pieces[] = {1, 2, 7, 100, 100000};
    struct ssh2_greeting *g = ssh2_greeting_new();
    struct wire_buf b = {0};
    size_t n;

    wire_put(&b, whole, strlen(whole));
    put_kexinit(&b);
    put_newkeys(&b);
    wire_put(&b, "secret", 6);
    ck_assert_int_eq(feed(g, &b, pieces[_i]), 0);
    ck_assert_str_eq(ssh2_greeting_version(g), "SSH-2.0-Server_1 comment");
    ck_assert_str_eq(ssh2_greeting_names(g, SSH2_GREETING_KEX), "list0,x");
    ck_assert_str_eq(ssh2_greeting_names(g, SSH2_GREETING_COMPRESSION_IN), "list7,x");
    ck_assert_uint_eq(ssh2_greeting_behind(g), 6);
    ck_assert_ptr_null(ssh2_greeting_disconnect(g));
    ck_assert_int_eq(memcmp(ssh2_greeting_first(g, &n), whole, 1), 0);
    ck_assert_uint_ge(n, 1);
    wire_free(&b);
    ssh2_greeting_free(g);
}
END_TEST

START_TEST(says_goodbye)
{
    struct ssh2_greeting *g = ssh2_greeting_new();
    struct wire_buf b = {0};

    wire_put(&b, "SSH-2.0-x\n", 10);
    put_disconnect(&b, "not you");
    ck_assert_int_eq(feed(g, &b, 3), 0);
    ck_assert_str_eq(ssh2_greeting_disconnect(g), "not you");
    ck_assert_ptr_null(ssh2_greeting_names(g, SSH2_GREETING_KEX));
    wire_free(&b);
    ssh2_greeting_free(g);
}
END_TEST

/* Endless lines, endless text, a zero byte. */
START_TEST(no_ssh)
{
    struct ssh2_greeting *g = ssh2_greeting_new();
    int result = 0;
    size_t fed = 0;

    while (!result && fed < 100000) {
        result = ssh2_greeting_feed(g,
                                    (const uint8_t *)(_i == 0   ? "line\n"
                                                      : _i == 1 ? "text "
                                                                : "a\0b c"),
                                    5);
        fed += 5;
    }
    ck_assert_int_eq(result, -E_NOT_SSH);
    ck_assert_uint_le(fed, SSH2_GREETING_BYTES_MAX + 5);
    ck_assert_str_eq(ssh2_greeting_version(g), "");
    /* It stays as it is. */
    ck_assert_int_eq(ssh2_greeting_feed(g, (const uint8_t *)"SSH-2.0-x\n", 10), 0);
    ck_assert_str_eq(ssh2_greeting_version(g), "");
    ssh2_greeting_free(g);
}
END_TEST

/* A version line may have 255 bytes with its end (RFC 4253 section 4.2). */
START_TEST(length_of_version)
{
    char line[400];

    for (size_t n = 200; n < 300; n++) {
        struct ssh2_greeting *g = ssh2_greeting_new();
        size_t got;

        memset(line, 'v', sizeof line);
        memcpy(line, "SSH-2.0-", 8);
        line[n] = '\n';
        ck_assert_int_eq(ssh2_greeting_feed(g, (const uint8_t *)line, n + 1), 0);
        got = strlen(ssh2_greeting_version(g));
        ck_assert_uint_eq(got, n < SSH2_GREETING_TEXT_MAX ? n : 0);
        ssh2_greeting_free(g);
    }
}
END_TEST

START_TEST(bad_packets)
{
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
        {"\0\0\0\0\0", 5},                     /* no padding length */
        {"\0\0\0\1\0", 5},                     /* no payload */
        {"\0\0\0\2\2", 5},                     /* all padding */
        {"\0\0\xff\xff\4", 5},                 /* too long */
        {"\xff\xff\xff\xff\4", 5},             /* 4 GiB */
        {"\0\0\0\6\0\24abcd", 10},             /* KEXINIT without its cookie */
        {"\0\0\0\12\0\1\0\0\0\1\0\0\0\77", 14} /* DISCONNECT whose text is not there */
    };
    struct ssh2_greeting *g = ssh2_greeting_new();

    ck_assert_int_eq(ssh2_greeting_feed(g, (const uint8_t *)"SSH-2.0-x\n", 10), 0);
    ck_assert_int_eq(ssh2_greeting_feed(g, (const uint8_t *)bad[_i].bytes, bad[_i].n),
                     -E_MALFORMED);
    ck_assert_str_eq(ssh2_greeting_version(g), "SSH-2.0-x");
    ssh2_greeting_free(g);
    ssh2_greeting_free(NULL);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("ssh2_greeting");
    TCase *c = tcase_create("ssh2_greeting");

    tcase_add_loop_test(c, in_pieces, 0, 5);
    tcase_add_test(c, says_goodbye);
    tcase_add_loop_test(c, no_ssh, 0, 3);
    tcase_add_test(c, length_of_version);
    tcase_add_loop_test(c, bad_packets, 0, 7);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(suite)
