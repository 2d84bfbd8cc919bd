/* What the OpenSSH client's last words mean: texts as OpenSSH 9.2 prints them. */
#include <stdio.h>
#include <string.h>

#include "launcher/ssh/sshwords.h"
#include "tests/unit/unit.h"

#define CLOSED "kex_exchange_identification: Connection closed by remote host"

static const struct {
    struct sshwords about;
    int before, after; /* codes */
    const char *says;
} cases[] = {
    {{255, "ssh: Could not resolve hostname x: Name or service not known", 0, NULL, NULL},
     -E_SHELL,
     -E_RESOLVE,
     "hostname x"},
    {{255, "ssh: connect to host h port 1: Connection refused", 0, NULL, NULL},
     -E_SHELL,
     -E_REFUSED,
     "port 1"},
    {{255, "ssh: connect to host h port 1: Connection timed out", 0, NULL, NULL},
     -E_SHELL,
     -E_CONNECT_TIMEOUT,
     "port 1"},
    {{255, "Connection timed out during banner exchange|Connection to h port 1 timed out", 0, NULL,
      NULL},
     -E_SHELL,
     -E_MUTE,
     "banner"},
    {{255, "u@h: Permission denied (publickey,password).", 0, NULL, NULL},
     -E_SHELL,
     -E_AUTH,
     "u@h"},
    {{255, CLOSED, 0, NULL, NULL}, -E_SHELL, -E_DISCONNECTED, "MaxStartups"},
    {{255, "kex_exchange_identification: read: Connection reset by peer", 0, NULL, NULL},
     -E_SHELL,
     -E_DISCONNECTED,
     "MaxStartups"},
    {{255, "kex_exchange_identification: banner line contains invalid characters", 0, NULL, NULL},
     -E_SHELL,
     -E_NOT_SSH,
     "invalid characters"},
    {{255, "banner exchange: Connection to h port 1: invalid format", 0, NULL, NULL},
     -E_SHELL,
     -E_NOT_SSH,
     "invalid format"},
    {{255, "Connection reset by 1.2.3.4 port 22", 0, NULL, NULL},
     -E_SHELL,
     -E_DISCONNECTED,
     "1.2.3.4 port 22"},
    {{255, "Received disconnect from h port 22:2: Too many authentication failures", 0, NULL, NULL},
     -E_SHELL,
     -E_AUTH,
     "Too many"},
    {{255, "something else", 0, NULL, NULL}, -E_SHELL, -E_TRANSPORT, "ssh: something else"},
    {{255, "", 0, NULL, NULL}, -E_SHELL, -E_TRANSPORT, "without a word"},
    /* By way of others. */
    {{255, CLOSED, 0, NULL, "nc -X 5 %h %p"},
     -E_SHELL,
     -E_PROXY,
     "; by ProxyCommand nc -X 5 %h %p"},
    {{255, "sh: 1: nc: Permission denied|" CLOSED, 0, NULL, "nc"},
     -E_SHELL,
     -E_PROXY,
     "nc: Permission denied"},
    {{255, "sh: 1: nc: not found|" CLOSED, 0, NULL, "nc"}, -E_SHELL, -E_PROXY, "not found"},
    {{255, "kex_exchange_identification: write: Broken pipe", 0, NULL, "false"},
     -E_SHELL,
     -E_PROXY,
     "by ProxyCommand false"},
    {{255, "sh: 1: nc: not found", 0, NULL, "nc"}, -E_SHELL, -E_PROXY, "by ProxyCommand nc"},
    {{255, "Connection closed by 1.2.3.4 port 22", 0, NULL, "nc"},
     -E_SHELL,
     -E_DISCONNECTED,
     "by ProxyCommand nc"},
    {{255, "ssh: connect to host gate port 22: Connection refused|" CLOSED, 0, "gate", NULL},
     -E_SHELL,
     -E_REFUSED,
     "; by way of gate (ProxyJump)"},
    {{255, "u@gate: Permission denied (publickey).|" CLOSED, 0, "u@gate", NULL},
     -E_SHELL,
     -E_AUTH,
     "by way of u@gate"},
    {{255, "channel 0: open failed: connect failed: Connection refused|stdio forwarding failed", 0,
      "gate", NULL},
     -E_SHELL,
     -E_REFUSED,
     "by way of gate"},
    {{255, "channel 0: open failed: administratively prohibited|stdio forwarding failed", 0, "gate",
      NULL},
     -E_SHELL,
     -E_PROXY,
     "administratively"},
    /* The remote shell's own status. */
    {{1, "Connection refused", 0, NULL, NULL}, -E_SHELL, -E_SHELL, "as it was"},
    {{127, "", 0, NULL, NULL}, -E_NOLOGIN, -E_NOLOGIN, "as it was"},
    /* Any other command that was to give a shell. */
    {{0, "hello", 1, NULL, NULL}, -E_SHELL, -E_SHELL, "as it was"},
    {{-1, "hello", 1, NULL, NULL}, -E_SHELL, -E_SHELL, "as it was"},
    {{3, "no such container", 1, NULL, NULL}, -E_SHELL, -E_TRANSPORT, "status 3: no such"},
    {{137, "", 1, NULL, NULL}, -E_SHELL, -E_TRANSPORT, "exit status 137, without a word"},
    {{1, "This account is not available", 1, NULL, NULL}, -E_NOLOGIN, -E_NOLOGIN, "as it was"},
    {{1, "sudo: x", 1, NULL, NULL}, -E_SUDO, -E_SUDO, "as it was"},
    {{255, "u@h: Permission denied (publickey).", 1, NULL, NULL}, -E_SHELL, -E_AUTH, "u@h"},
    {{255, CLOSED, 1, NULL, NULL}, -E_SHELL, -E_DISCONNECTED, "closed by remote"},
    {{255, "no idea", 1, NULL, NULL}, -E_SHELL, -E_TRANSPORT, "status 255: no idea"},
    {{255, "command-line: line 0: Bad configuration option: foo", 1, NULL, NULL},
     -E_SHELL,
     -E_CONFIG,
     "foo"},
};

START_TEST(words_are_told_apart)
{
    struct error e = {.code = cases[_i].before, .detail = "as it was"};

    sshwords_explain(&cases[_i].about, &e);
    ck_assert_msg(e.code == cases[_i].after, "%s: %s", cases[_i].about.said, errors_name(e.code));
    ck_assert_msg(strstr(e.detail, cases[_i].says) != NULL, "%s: %s", cases[_i].about.said,
                  e.detail);
}
END_TEST

/* Of a long text the end is shown, or what follows the alarm. */
START_TEST(long_texts_are_cut)
{
    static char long_text[3000];
    struct sshwords about = {.status = 255, .said = long_text};
    struct error e = {0};

    memset(long_text, 'x', sizeof long_text - 1);
    memcpy(long_text, "Connection refused", 18);
    memcpy(long_text + 2000, "the end", 7);
    long_text[2007] = '\0';
    sshwords_explain(&about, &e);
    ck_assert_int_eq(e.code, -E_REFUSED);
    ck_assert_uint_eq(strlen(e.detail), 500);
    ck_assert_str_eq(e.detail + 493, "the end");
    about.said =
        "@@@@@@|REMOTE HOST IDENTIFICATION HAS CHANGED|@@@|The fingerprint for x is|SHA256:y";
    sshwords_explain(&about, &e);
    ck_assert_int_eq(e.code, -E_HOSTKEY_CHANGED);
    ck_assert_str_eq(e.detail, "The fingerprint for x is|SHA256:y");
}
END_TEST

/* Between characters, at either end. */
START_TEST(characters_stay_whole)
{
    char text[1000] = "Connection refused";
    struct sshwords about = {.status = 255, .said = text};
    struct error e = {0};

    for (size_t n = strlen(text); n + 3 < sizeof text; n += 3)
        memcpy(text + n, "\xe2\x82\xac", 4);
    sshwords_explain(&about, &e);
    ck_assert_uint_eq(strlen(e.detail), 498);
    ck_assert_mem_eq(e.detail, "\xe2\x82\xac", 3);
    memcpy(text, "REVOKED HOST KEY The ", 21);
    sshwords_explain(&about, &e);
    ck_assert_int_eq(e.code, -E_HOSTKEY_REVOKED);
    ck_assert_uint_eq(strlen(e.detail), 499);
    ck_assert_mem_eq(e.detail + 496, "\xe2\x82\xac", 3);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sshwords");
    TCase *t = tcase_create("all");

    tcase_add_loop_test(t, words_are_told_apart, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(t, long_texts_are_cut);
    tcase_add_test(t, characters_stay_whole);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
