/* What the bootstrap's script makes of an agent that is kept on the host. */
#include <check.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bootrig.h"
#include "unit.h"

static char kept_folder[100], kept_file[200], others[300];

static void begin_keeping(void)
{
    bootrig_hash();
    snprintf(kept_folder, sizeof kept_folder, "%s/.cache/grapnel", bootrig_home);
    snprintf(kept_file, sizeof kept_file, "%s/%s", kept_folder, bootrig_agent.hash_hex);
}

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
    char command[1000];
    va_list list;

    va_start(list, format);
    vsnprintf(command, sizeof command, format, list);
    va_end(list);
    ck_assert_msg(system(command) == 0, "%s", command);
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    ck_assert_msg(lstat(path, &st) == 0, "%s", path);
    return st.st_mode & 07777;
}

static struct bootrig_attempt attempt(enum bootstrap_keep keep, const char *path)
{
    struct bootstrap_options o = {.agent = &bootrig_agent, .keep = keep};

    return bootrig_try(bootrig_sh, &o, path, 0);
}

/* The copy is not used, for a reason that holds `why`, and told at `level`; and another is sent,
 * which is kept if `next` is BOOTSTRAP_KEEP, and used then. */
static void expect_unused(const char *why, int level, enum bootstrap_keep next, const char *path)
{
    struct bootrig_attempt a = attempt(BOOTSTRAP_KEPT, path);

    ck_assert_int_eq(a.result, BOOTSTRAP_AGAIN);
    ck_assert_int_eq(a.next.keep, next);
    ck_assert_msg(a.kept && strstr(a.kept, why), "%s", a.kept ? a.kept : "nothing");
    ck_assert_int_eq(a.level, level);
    ck_assert_uint_eq(bootrig_entries_left(), 0);
    a = bootrig_try(bootrig_sh, &a.next, path, 0);
    bootrig_expect_started(&a);
    if (next == BOOTSTRAP_KEEP) {
        ck_assert_ptr_nonnull(strstr(a.kept, "for the next time"));
        a = attempt(BOOTSTRAP_KEPT, path);
        bootrig_expect_started(&a);
        ck_assert_ptr_nonnull(strstr(a.kept, "is used"));
    }
}

START_TEST(keeps_and_uses_from_every_shell)
{
    struct bootstrap_options o = {.agent = &bootrig_agent, .keep = BOOTSTRAP_KEPT};
    struct bootrig_attempt a;
    struct bootstrap *b;

    begin_keeping();
    a = bootrig_try(bootrig_shells[_i], &o, NULL, 0);
    ck_assert_int_eq(a.result, BOOTSTRAP_AGAIN);
    ck_assert_ptr_nonnull(strstr(a.kept, "yet"));
    a = bootrig_try(bootrig_shells[_i], &a.next, NULL, 0);
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "for the next time"));
    ck_assert_uint_eq(mode_of(kept_folder), 0700);
    ck_assert_uint_eq(mode_of(kept_file), 0700);
    a = bootrig_try(bootrig_shells[_i], &o, NULL, 0);
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "is used"));
    b = bootstrap_new(&o, &a.error);
    ck_assert_ptr_nonnull(b);
    ck_assert_uint_eq(bootstrap_payload_size(b), BOOTSTRAP_LEAD);
    bootstrap_free(b);
}
END_TEST

START_TEST(what_was_changed_is_not_run)
{
    static const char *const changes[] = {
        "echo >>%s", "truncate -s -1 %s", ": >%s",
        /* It says of itself that it is the right one. */
        "printf '#!/bin/sh\\ntouch $HOME/ran; echo GRAPNEL; exit\\n' >%s"};
    char ran[100];

    begin_keeping();
    ck_assert_int_eq(attempt(BOOTSTRAP_KEEP, NULL).result, BOOTSTRAP_STARTED);
    snprintf(others, sizeof others, changes[_i], kept_file);
    shell("%s", others);
    expect_unused("changed", 0, BOOTSTRAP_KEEP, NULL);
    snprintf(ran, sizeof ran, "%s/ran", bootrig_home);
    ck_assert_int_ne(access(ran, F_OK), 0);
}
END_TEST

START_TEST(what_others_could_change_is_replaced)
{
    begin_keeping();
    ck_assert_int_eq(attempt(BOOTSTRAP_KEEP, NULL).result, BOOTSTRAP_STARTED);
    shell("chmod 722 %s", kept_file);
    expect_unused("others", 0, BOOTSTRAP_KEEP, NULL);
    ck_assert_uint_eq(mode_of(kept_file), 0700);
    shell("chmod 777 %s", kept_folder);
    expect_unused("others", 0, BOOTSTRAP_KEEP, NULL);
    ck_assert_uint_eq(mode_of(kept_folder), 0700);
    shell("mv %s %s/elsewhere && ln -s ../../elsewhere %s", kept_file, bootrig_home, kept_file);
    expect_unused("others", 0, BOOTSTRAP_KEEP, NULL);
    shell("rm %s/elsewhere", bootrig_home);
    if (geteuid() == 0) {
        shell("chown 12345 %s", kept_file);
        expect_unused("others", 0, BOOTSTRAP_KEEP, NULL);
        shell("chown 12345 %s", kept_folder);
        expect_unused("not a folder of this account", 0, BOOTSTRAP_KEEP_NOT, NULL);
    }
}
END_TEST

START_TEST(a_folder_that_is_not_ours_is_left_alone)
{
    struct bootrig_attempt a;

    begin_keeping();
    shell("mkdir -p %s/.cache %s/elsewhere && ln -s ../elsewhere %s", bootrig_home, bootrig_home,
          kept_folder);
    a = attempt(BOOTSTRAP_KEEP, NULL);
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "not a folder of this account"));
    ck_assert_int_eq(a.level, 0);
    shell("rmdir %s/elsewhere", bootrig_home); /* nothing was put there */
    shell("rm %s", kept_folder);
    if (geteuid() != 0)
        return;
    shell("mkdir %s && chown 12345 %s", kept_folder, kept_folder);
    a = attempt(BOOTSTRAP_KEEP, NULL);
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "not a folder of this account"));
    shell("rmdir %s", kept_folder);
}
END_TEST

START_TEST(what_cannot_be_kept_is_run)
{
    struct bootrig_attempt a;

    begin_keeping();
    shell("mkdir -p %s/.cache && touch %s", bootrig_home,
          kept_folder); /* no folder can be made there */
    a = attempt(BOOTSTRAP_KEEP, NULL);
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "cannot be written"));
    shell("rm %s", kept_folder);
    setenv("NO_HOME", "1", 1);
    expect_unused("no HOME", 1, BOOTSTRAP_KEEP_NOT, NULL);
    a = attempt(BOOTSTRAP_KEEP, NULL);
    unsetenv("NO_HOME");
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "no HOME"));
}
END_TEST

START_TEST(each_program_that_can_check_is_used)
{
    static const char *const checkers[] = {"b2sum", "sha256sum", "openssl", "shasum"};
    const char *have[] = {"uname", "cat", "mkdir", "rm",   "chmod", "tr", "ls",
                          "cp",    "mv",  "head",  "gzip", NULL,    NULL, NULL};
    char folder[100];
    struct bootrig_attempt a;

    begin_keeping();
    a = attempt(BOOTSTRAP_KEEP, NULL);
    bootrig_expect_started(&a);
    if (_i < 4 &&
        system(_i == 3 ? "command -v shasum >/dev/null" : "command -v openssl >/dev/null"))
        return;
    have[11] = _i < 4 ? checkers[_i] : NULL;
    have[12] = _i == 3 ? "perl" : NULL;
    bootrig_tools(folder, sizeof folder, have);
    if (_i < 4) {
        a = attempt(BOOTSTRAP_KEPT, folder);
        bootrig_expect_started(&a);
        ck_assert_ptr_nonnull(strstr(a.kept, "is used"));
        shell("echo >>%s", kept_file);
        expect_unused("changed", 0, BOOTSTRAP_KEEP, folder);
    } else {
        expect_unused("no b2sum", 1, BOOTSTRAP_KEEP_NOT, folder);
    }
    bootrig_remove_tools(folder);
}
END_TEST

/* What is run is what was checked, whatever becomes of the home in between. */
START_TEST(what_is_changed_once_it_was_checked_is_not_run)
{
    const char *have[] = {"uname", "cat", "mkdir", "rm",   "chmod", "tr", "ls",
                          "cp",    "mv",  "head",  "gzip", "touch", NULL};
    char folder[100], ran[100];
    struct bootrig_attempt a;

    begin_keeping();
    ck_assert_int_eq(attempt(BOOTSTRAP_KEEP, NULL).result, BOOTSTRAP_STARTED);
    bootrig_tools(folder, sizeof folder, have);
    snprintf(ran, sizeof ran, "%s/ran", bootrig_home);
    shell("{ echo '#!/bin/sh'; echo \"$(command -v b2sum)\" '\"$@\" || exit'; "
          "echo 'echo \"touch %s; echo GRAPNEL\" >%s'; } >%s/b2sum && chmod 700 %s/b2sum",
          ran, kept_file, folder, folder);
    a = attempt(BOOTSTRAP_KEPT, folder);
    bootrig_expect_started(&a);
    ck_assert_ptr_nonnull(strstr(a.kept, "is used"));
    shell("grep -q %s %s", ran, kept_file);
    ck_assert_int_ne(access(ran, F_OK), 0);
    bootrig_remove_tools(folder);
    expect_unused("changed", 0, BOOTSTRAP_KEEP, NULL);
    ck_assert_int_ne(access(ran, F_OK), 0);
}
END_TEST

START_TEST(the_newest_are_kept)
{
    char text[400], *at = text;

    begin_keeping();
    shell("mkdir -p %s && chmod 700 %s", kept_folder, kept_folder);
    shell("cd %s && for i in 1 2 3 4 5 6; do f=$(printf %%064d $i); echo >$f; "
          "touch -d \"$i days ago\" $f; done; mkdir src; touch note",
          kept_folder);
    ck_assert_int_eq(attempt(BOOTSTRAP_KEEP, NULL).result, BOOTSTRAP_STARTED);
    snprintf(at, sizeof text, "%s/list", bootrig_home);
    shell("cd %s && ls | grep -c '^0*[1-9]$' >%s && test -d src && test -f note && test -f %s",
          kept_folder, text, kept_file);
    shell("test $(cat %s) = 3 && test -f %s/$(printf %%064d 3)", text, kept_folder);
}
END_TEST

static void *keep_in_thread(void *arg)
{
    struct bootrig_attempt *a = arg;

    *a = attempt(a->level ? BOOTSTRAP_KEEP : BOOTSTRAP_KEPT, NULL);
    return NULL;
}

/* Some write, others read at the same time: each finds the whole copy, or none. */
START_TEST(many_at_once)
{
    static struct bootrig_attempt a[12];
    pthread_t threads[12];

    begin_keeping();
    for (size_t i = 0; i < 12; i++) {
        a[i].level = i % 2 == 0;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, keep_in_thread, &a[i]), 0);
    }
    for (size_t i = 0; i < 12; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 12; i++) {
        if (a[i].result == BOOTSTRAP_AGAIN)
            ck_assert_msg(strstr(a[i].kept, "yet") != NULL, "%s", a[i].kept);
        else
            bootrig_expect_started(&a[i]);
    }
    shell("test \"$(ls -A %s)\" = %s", kept_folder, bootrig_agent.hash_hex);
}
END_TEST

static atomic_int readers;

static void *keep_while_others_read(void *arg)
{
    struct bootrig_attempt *a = arg;

    do
        *a = attempt(BOOTSTRAP_KEEP, NULL);
    while (a->result == BOOTSTRAP_STARTED && readers > 0);
    return NULL;
}

static void *read_while_others_keep(void *arg)
{
    struct bootrig_attempt *a = arg;
    int left = 5;

    do
        *a = attempt(BOOTSTRAP_KEPT, NULL);
    while (a->result == BOOTSTRAP_STARTED && --left > 0);
    readers--;
    return NULL;
}

/* Who reads finds the whole copy all the time that others replace it. */
START_TEST(read_while_it_is_replaced)
{
    static struct bootrig_attempt a[6];
    pthread_t threads[6];

    begin_keeping();
    ck_assert_int_eq(attempt(BOOTSTRAP_KEEP, NULL).result, BOOTSTRAP_STARTED);
    readers = 4;
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL,
                                        i < 2 ? keep_while_others_read : read_while_others_keep,
                                        &a[i]),
                         0);
    }
    for (size_t i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < 6; i++) {
        ck_assert_msg(a[i].result == BOOTSTRAP_STARTED, "%s", a[i].kept ? a[i].kept : "nothing");
        bootrig_expect_started(&a[i]);
        ck_assert_ptr_nonnull(strstr(a[i].kept, i < 2 ? "for the next time" : "is used"));
    }
}
END_TEST

START_TEST(a_liar_cannot_have_more_attempts)
{
    struct bootstrap_options o = {.agent = &bootrig_agent};
    struct error e = {0};
    struct bootstrap *b = bootstrap_new(&o, &e);
    const char *command = bootstrap_command(b), *at = strstr(command, "n=");
    char text[300];
    size_t used;

    ck_assert_ptr_nonnull(at);
    snprintf(text, sizeof text, "@grapnel %.32s sys x\n@grapnel %.32s fail keep none\n", at + 2,
             at + 2);
    ck_assert_int_eq(bootstrap_input(b, (const uint8_t *)text, strlen(text), &used, &e),
                     BOOTSTRAP_FAILED);
    bootstrap_free(b);
    b = bootstrap_new(&o, &e);
    at = strstr(bootstrap_command(b), "n=");
    snprintf(text, sizeof text,
             "@grapnel %.32s sys x\n@grapnel %.32s kept ok\n@grapnel %.32s kept ok\n", at + 2,
             at + 2, at + 2);
    ck_assert_int_eq(bootstrap_input(b, (const uint8_t *)text, strlen(text), &used, &e),
                     BOOTSTRAP_FAILED);
    ck_assert_int_eq(e.code, -E_PROTOCOL);
    bootstrap_free(b);
}
END_TEST

static Suite *bootstrap_keep_suite(void)
{
    Suite *s = suite_create("bootstrap_keep");
    TCase *t = tcase_create("bootstrap_keep");

    tcase_add_checked_fixture(t, bootrig_setup, bootrig_teardown);
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, keeps_and_uses_from_every_shell, 0, BOOTRIG_SHELLS);
    tcase_add_loop_test(t, what_was_changed_is_not_run, 0, 4);
    tcase_add_test(t, what_others_could_change_is_replaced);
    tcase_add_test(t, a_folder_that_is_not_ours_is_left_alone);
    tcase_add_test(t, what_cannot_be_kept_is_run);
    tcase_add_loop_test(t, each_program_that_can_check_is_used, 0, 5);
    tcase_add_test(t, what_is_changed_once_it_was_checked_is_not_run);
    tcase_add_test(t, the_newest_are_kept);
    tcase_add_test(t, many_at_once);
    tcase_add_test(t, read_while_it_is_replaced);
    tcase_add_test(t, a_liar_cannot_have_more_attempts);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(bootstrap_keep_suite)
