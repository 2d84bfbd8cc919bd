/* Which command lines are calls of ssh that lead to a login shell. */
#include <string.h>

#include "launcher/ssh/sshline.h"
#include "tests/unit/unit.h"

static const char *const yes[] = {
    "ssh h",
    "  ssh -T h",
    "ssh h -T",
    "/usr/bin/ssh -Tq -p 22 u@h",
    "'ssh' -F '/a b/config' -o \"User x\" h -p22",
    "ssh -oPort=1 -- h",
    "ssh ssh://h:22",
    "ssh -vvv [::1]",
    "ssh -J a,b -i ~/k h\t",
};

static const char *const no[] = {
    "",
    "ssh",
    "ssh -T",
    "ssh -p h",
    "ssh h sh",
    "ssh -T h -p 22 sh -s",
    "ssh -- h -T",
    "sshpass -p x ssh h",
    "docker exec -i c sh",
    "ssh -N h",
    "ssh -W x:1 h",
    "ssh -f h",
    "ssh -G h",
    "ssh -s h sftp",
    "ssh -o RemoteCommand=zsh h",
    "ssh -o 'remotecommand zsh' h",
    "ssh -oSessionType=none h",
    "ssh -Z h",
    "ssh $h",
    "ssh \"$h\"",
    "ssh 'h",
    "ssh a\\ b",
    "ssh h; true",
    "ssh h | cat",
    "ssh h* ",
    "VAR=x ssh h",
};

START_TEST(calls_are_known)
{
    size_t after = 0;

    ck_assert_msg(sshline_gives_login_shell(yes[_i], &after), "%s", yes[_i]);
    ck_assert_int_eq(strncmp(yes[_i] + after, " ", 1), 0);
    ck_assert_ptr_nonnull(strstr(yes[_i], "ssh"));
    ck_assert_uint_ge(after, 3);
    ck_assert_ptr_null(strstr(yes[_i] + after, "ssh "));
}
END_TEST

START_TEST(others_are_not)
{
    size_t after;

    ck_assert_msg(!sshline_gives_login_shell(no[_i], &after), "%s", no[_i]);
}
END_TEST

START_TEST(a_word_without_end)
{
    static char line[5000];
    size_t after;

    memset(line, 'x', sizeof line - 1);
    ck_assert(!sshline_gives_login_shell(line, &after));
    memcpy(line, "ssh ", 4);
    ck_assert(!sshline_gives_login_shell(line, &after));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sshline");
    TCase *t = tcase_create("all");

    tcase_add_loop_test(t, calls_are_known, 0, (int)(sizeof yes / sizeof *yes));
    tcase_add_loop_test(t, others_are_not, 0, (int)(sizeof no / sizeof *no));
    tcase_add_test(t, a_word_without_end);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
