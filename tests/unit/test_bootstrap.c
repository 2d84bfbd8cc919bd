/* The bootstrap's script run by real shells, with a shell script in the agent's place. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bootrig.h"
#include "unit.h"

START_TEST(starts_from_every_shell)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};
    struct bootrig_attempt a = bootrig_try(bootrig_shells[_i], &o, NULL, 0);

    bootrig_expect_started(&a);
}
END_TEST

START_TEST(starts_unpacked)
{
    struct bootstrap_options o = {.agent = &bootrig_agent, .plain = 1};
    struct bootrig_attempt a = bootrig_try(bootrig_shells[_i], &o, NULL, 0);

    bootrig_expect_started(&a);
}
END_TEST

START_TEST(does_without_head_and_mktemp)
{
    static const char *const have[] = {"uname", "dd", "gzip", "mkdir", "rm", "chmod", "tr", NULL};
    struct bootstrap_options o = {.agent = &bootrig_agent};
    char folder[100];
    struct bootrig_attempt a;

    bootrig_tools(folder, sizeof folder, have);
    a = bootrig_try(bootrig_sh, &o, folder, 0);
    bootrig_remove_tools(folder);
    bootrig_expect_started(&a);
}
END_TEST

START_TEST(asks_for_the_plain_agent_without_gzip)
{
    static const char *const have[] = {"uname", "head", "cat", "mkdir", "rm", "chmod", "tr", NULL};
    struct bootstrap_options o = {.agent = &bootrig_agent};
    char folder[100];
    struct bootrig_attempt a, b;

    bootrig_tools(folder, sizeof folder, have);
    a = bootrig_try(bootrig_sh, &o, folder, 0);
    b = bootrig_try(bootrig_sh, &a.next, folder, 0);
    bootrig_remove_tools(folder);
    ck_assert_int_eq(a.result, BOOTSTRAP_AGAIN);
    ck_assert_int_eq(a.next.plain, 1);
    bootrig_expect_started(&b);
}
END_TEST

START_TEST(tells_the_architecture_when_the_guess_was_wrong)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};
    char real[64];
    struct bootrig_attempt a;

    snprintf(real, sizeof real, "%s", bootrig_agent.uname);
    snprintf(bootrig_agent.uname, sizeof bootrig_agent.uname, "Plan9 mips");
    a = bootrig_try(bootrig_sh, &o, NULL, 0);
    snprintf(bootrig_agent.uname, sizeof bootrig_agent.uname, "%s", real);
    ck_assert_int_eq(a.result, BOOTSTRAP_AGAIN);
    ck_assert_str_eq(a.uname, real);
    ck_assert_uint_eq(bootrig_entries_left(), 0);
}
END_TEST

START_TEST(a_line_cut_in_the_upload_leaves_nothing)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};
    struct bootrig_attempt a = bootrig_try(bootrig_sh, &o, NULL, bootrig_agent.packed_size / 2);

    ck_assert_int_ne(a.result, BOOTSTRAP_STARTED);
    ck_assert_uint_eq(bootrig_entries_left(), 0);
}
END_TEST

START_TEST(a_shell_that_is_none_is_told)
{
    static const char *const nologin[] = {
        "sh", "-c", "echo This account is currently not available.; exit 1", NULL};
    static const char *const silent[] = {"false", NULL};
    struct bootstrap_options o = {.agent = &bootrig_agent};
    struct bootrig_attempt a = bootrig_try(nologin, &o, NULL, 0),
                           b = bootrig_try(silent, &o, NULL, 0);

    ck_assert_int_eq(a.result, BOOTSTRAP_FAILED);
    ck_assert_int_eq(a.error.code, -E_NOLOGIN);
    ck_assert_int_eq(a.ran, 0);
    ck_assert_int_eq(b.error.code, -E_SHELL);
    ck_assert_ptr_nonnull(strstr(b.error.detail, "status 1"));
}
END_TEST

/* ---- answers, byte by byte ---- */

static const char *nonce_of(const struct bootstrap *b)
{
    return strstr(bootstrap_command(b), "n=") + 2;
}

static enum bootstrap_result feed(struct bootstrap *b, const char *text, size_t piece, size_t *rest,
                                  struct error *e)
{
    size_t n = strlen(text), at = 0;
    enum bootstrap_result result = BOOTSTRAP_MORE;

    while (at < n && result == BOOTSTRAP_MORE) {
        size_t used, now = n - at < piece ? n - at : piece;
        result = bootstrap_input(b, (const uint8_t *)text + at, now, &used, e);
        at += used;
    }
    *rest = n - at;
    return result;
}

START_TEST(noise_is_skipped_in_any_cut)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};

    for (size_t piece = 1; piece < 200; piece++) {
        struct error e = {0};
        struct bootstrap *b = bootstrap_new(&o, &e);
        char text[600];
        size_t rest;
        snprintf(text, sizeof text,
                 "Welcome to @grapnel 12 sys!\r\n\a@grapnel %.32s sys Linux x86_64\nGRAPNEL\nmore",
                 nonce_of(b));
        ck_assert_int_eq(feed(b, text, piece, &rest, &e), BOOTSTRAP_STARTED);
        ck_assert_uint_ge(rest, 1);
        ck_assert_ptr_nonnull(strstr("GRAPNEL\nmore", text + strlen(text) - rest));
        bootstrap_free(b);
    }
}
END_TEST

START_TEST(endless_noise_is_refused_with_an_excerpt)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    enum bootstrap_result result = BOOTSTRAP_MORE;
    size_t fed = 0, rest;

    while (result == BOOTSTRAP_MORE && fed < 4 * BOOTSTRAP_NOISE_MAX) {
        result = feed(b, "motd \033[31m line\n", 4096, &rest, &e);
        fed += 16;
    }
    ck_assert_int_eq(result, BOOTSTRAP_FAILED);
    ck_assert_int_eq(e.code, -E_SHELL);
    ck_assert_ptr_nonnull(strstr(e.detail, "motd"));
    ck_assert_ptr_null(strchr(e.detail, '\033'));
    ck_assert_uint_lt(fed, BOOTSTRAP_NOISE_MAX + 8192);
    bootstrap_free(b);
}
END_TEST

START_TEST(sudo_is_told_apart)
{
    struct bootstrap_options o = {.agent = &bootrig_agent, .sudo_user = ""};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    static const char said[] = "sudo: a password is required\n";

    ck_assert_ptr_nonnull(strstr(bootstrap_command(b), "exec sudo -n -H -u root -- /bin/sh -c '"));
    bootstrap_diagnostics(b, (const uint8_t *)said, strlen(said));
    ck_assert_int_eq(bootstrap_ended(b, 1, &e), BOOTSTRAP_FAILED);
    ck_assert_int_eq(e.code, -E_SUDO_PASSWORD);
    bootstrap_free(b);
    o.sudo_user = "x; rm -rf /";
    ck_assert_ptr_null(bootstrap_new(&o, &e));
    ck_assert_int_eq(e.code, -E_ARGUMENT);
}
END_TEST

/* The text must mean the same in every shell's quotes. */
START_TEST(command_holds_nothing_that_a_shell_would_expand)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    const char *body = strchr(bootstrap_command(b), '\'');

    ck_assert_uint_eq(strcspn(body + 1, "'\\!\n"), strlen(body) - 2);
    bootstrap_free(b);
}
END_TEST

static Suite *bootstrap_suite(void)
{
    Suite *s = suite_create("bootstrap");
    TCase *t = tcase_create("bootstrap");

    tcase_add_checked_fixture(t, bootrig_setup, bootrig_teardown);
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, starts_from_every_shell, 0, BOOTRIG_SHELLS);
    tcase_add_loop_test(t, starts_unpacked, 0, BOOTRIG_SHELLS);
    tcase_add_test(t, does_without_head_and_mktemp);
    tcase_add_test(t, asks_for_the_plain_agent_without_gzip);
    tcase_add_test(t, tells_the_architecture_when_the_guess_was_wrong);
    tcase_add_test(t, a_line_cut_in_the_upload_leaves_nothing);
    tcase_add_test(t, a_shell_that_is_none_is_told);
    tcase_add_test(t, noise_is_skipped_in_any_cut);
    tcase_add_test(t, endless_noise_is_refused_with_an_excerpt);
    tcase_add_test(t, sudo_is_told_apart);
    tcase_add_test(t, command_holds_nothing_that_a_shell_would_expand);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(bootstrap_suite)
