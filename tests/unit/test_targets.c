/* The language of targets, and folding. What is expected of ranges, operators and folded sets is
 * what ClusterShell 1.9 makes of them, where it takes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "tests/unit/unit.h"

#define TEXT 4096

/* The names of a set, with spaces between them. */
static const char *joined(const struct grapnel_targets *t, char text[TEXT])
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < grapnel_targets_count(t); i++)
        used += (size_t)snprintf(text + used, TEXT - used, "%s%s", i > 0 ? " " : "",
                                 grapnel_targets_name(t, i));
    return text;
}

static struct grapnel_targets *fresh(void)
{
    static const struct grapnel_targets_options options = {.groups = "none"};
    struct grapnel_error error;
    struct grapnel_targets *t = grapnel_targets_new(&options, &error);

    ck_assert_ptr_nonnull(t);
    return t;
}

/* ---- what texts stand for ---- */

static const struct {
    const char *text, *names;
} meanings[] = {
    {"", ""},
    {" \t\n", ""},
    {"web1", "web1"},
    {"web[1-3]", "web1 web2 web3"},
    {"web[08-11]", "web08 web09 web10 web11"},
    {"web[1,01,001]", "web1 web01 web001"},
    {"web[0-9/4].example.com", "web0.example.com web4.example.com web8.example.com"},
    {"n[1-3,7]x", "n1x n2x n3x n7x"},
    {"n[ 1 - 3, 5 ]", NULL}, /* spaces stand around elements, not in them */
    {"n[ 1-3, 5 ]", "n1 n2 n3 n5"},
    {"n[3,1,2,1]", "n3 n1 n2"}, /* the order of first mention */
    {"[1-3]", "1 2 3"},
    {"n[1-2]3", "n13 n23"},
    {"r[1-2]n[01-02]", "r1n01 r1n02 r2n01 r2n02"},
    {"n[1-2][3-4]", "n13 n14 n23 n24"},
    {"n[99999999999999998-99999999999999999]", "n99999999999999998 n99999999999999999"},
    {"a b,c\n\td", "a b c d"},
    {"a, b , c", "a b c"},
    {"a,b,a", "a b"},
    {"web[1-5]!web[2-3],web3", "web1 web3 web4 web5"},
    {"a,b&b,c", "b c"},
    {"a[1-5]&a[3-9]^a[5-7]", "a3 a4 a6 a7"},
    {"n[1-10]!n[2-3],n[5]&n[1-5]", "n1 n4 n5"},
    {"a!a", ""},
    {"a!a,a", "a"},
    {"a&b,c", "c"},
    {"a,b a!a", "a b"}, /* each word by itself */
    {"a,b,c!b,b", "a b c"},
    {"root@n[1-2]", "root@n1 root@n2"},
    {"root@n[1-2]:2222", "root@n1:2222 root@n2:2222"},
    {"ssh://root@n[1-2]:22", "ssh://root@n1:22 ssh://root@n2:22"},
    {"::1", "::1"},
    {"[::1]", "[::1]"},
    {"[fe80::1]:22,u@[fe80::2]:[22-23]", "[fe80::1]:22 u@[fe80::2]:22 u@[fe80::2]:23"},
    {"[fe80::[9-10]]:22", "[fe80::9]:22 [fe80::10]:22"},
    {"2001:db8::[9-10]", "2001:db8::9 2001:db8::10"},
    {"ssh://[::1]:22", "ssh://[::1]:22"},
    {"fe80::1%eth0", "fe80::1%eth0"},
    {"m\xc3\xbcnch[1-2]", "m\xc3\xbcnch1 m\xc3\xbcnch2"},
};

START_TEST(a_text_stands_for_its_names)
{
    struct grapnel_targets *t = fresh();
    struct grapnel_error error;
    char text[TEXT];
    int rc = grapnel_targets_add(t, meanings[_i].text, &error);

    if (meanings[_i].names) {
        ck_assert_msg(rc == 0, "%s: %s", meanings[_i].text, error.detail);
        ck_assert_str_eq(joined(t, text), meanings[_i].names);
    } else {
        ck_assert_int_lt(rc, 0);
        ck_assert_uint_eq(grapnel_targets_count(t), 0);
    }
    grapnel_targets_free(t);
}
END_TEST

/* ---- mistakes ---- */

static const struct {
    const char *text, *name, *detail; /* which the error has in it */
} mistakes[] = {
    {"a n[1", "ARGUMENT", "in 'n[1', character 2: the [ is never closed"},
    {"n1]", "ARGUMENT", "in 'n1]', character 3: a ] without"},
    {"n[]", "ARGUMENT", "character 2: the brackets are empty"},
    {"n[ ]", "ARGUMENT", "character 2: the brackets are empty"},
    {"n[1,]", "ARGUMENT", "character 5: a number is missing"},
    {"n[1-]", "ARGUMENT", "character 5: a number is missing"},
    {"n[-3]", "ARGUMENT", "character 3: a number is wanted"},
    {"n[a-c]", "ARGUMENT", "character 3: a number is wanted"},
    {"n[1-2-3]", "ARGUMENT", "character 6: / and a step"},
    {"n[1x]", "ARGUMENT", "character 4: a -, a comma or the ]"},
    {"n[1:3]", "ARGUMENT", "character 4: a -, a comma or the ]"},
    {"n[[1-2]]", "ARGUMENT", "character 3: brackets in brackets"},
    {"n[5-1]", "ARGUMENT", "character 3: the range runs backwards: write 1-5"},
    {"n[1-5/0]", "ARGUMENT", "character 7: a step of 0"},
    {"n[1-5/]", "ARGUMENT", "character 7: a number is missing"},
    {"n[1-5/2x]", "ARGUMENT", "character 8: only a , or the ]"},
    {"n[5/2]", "ARGUMENT", "character 4: a -"},
    {"n[8-011]", "ARGUMENT", "as many digits: 008-011"},
    {"n[01-100]", "ARGUMENT", "as many digits: 001-100"},
    {"n[1-999999999999999999]", "ARGUMENT", "character 5: a number has at most 17 digits"},
    {"n[1-10!3]", "ARGUMENT", "character 7: / and a step"},
    {"a,,b", "ARGUMENT", "in 'a,,b', character 3: a name or a group is missing after"},
    {"a!", "ARGUMENT", "character 3: a name or a group is missing after"},
    {"a,!b", "ARGUMENT", "character 3: a name or a group is missing after"},
    {",a", "ARGUMENT", "character 1: a name or a group is missing before"},
    {"^", "ARGUMENT", "character 1: a name or a group is missing before"},
    {"-x", "ARGUMENT", "character 1: a name cannot begin with -"},
    {"root@-oProxyCommand=x", "ARGUMENT", "character 6: a name cannot begin with -"},
    {"ssh://-x", "ARGUMENT", "character 7: a name cannot begin with -"},
    {"a\x01"
     "b",
     "ARGUMENT", "character 2: control characters"},
    {"a\x7f", "ARGUMENT", "character 2: control characters"},
    {"n\x1b[1-2]", "ARGUMENT", "character 2: control characters"},
    {"a\xe2\x80\xae"
     "b",
     "ARGUMENT", "character 2: invisible characters"},
    {"a\xff", "ARGUMENT", "character 2: invisible characters, or bytes that are not UTF-8"},
    {"#x", "ARGUMENT", "character 1: # cannot be here"},
    {"web*", "ARGUMENT", "character 4: names have no wildcards"},
    {"[::1", "ARGUMENT", "the [ before the address is never closed"},
    {"[::1,::2]", "ARGUMENT", "character 5: an address stands in brackets"},
    {"@", "ARGUMENT", "the name of a group is missing"},
    {"@web", "CONFIG", "there is no group 'web': no file of groups is read"},
    {"@slurm:web", "CONFIG", "there is no source of groups 'slurm'"},
    {"n[1-1000000000]", "LIMIT", "stands for 1000000000 names: at most 10000000"},
    {"n[1-99999999999999999]x[1-99999999999999999]", "LIMIT", "stands for more than"},
    {"n[1-99999999999999999,1-99999999999999999]", "LIMIT", "stands for 199999999999999998"},
};

START_TEST(a_mistake_is_named_and_changes_nothing)
{
    struct grapnel_targets *t = fresh();
    struct grapnel_error error;
    char text[TEXT];

    ck_assert_int_eq(grapnel_targets_add(t, "before[1-2]", &error), 0);
    ck_assert_int_lt(grapnel_targets_add(t, mistakes[_i].text, &error), 0);
    ck_assert_str_eq(error.name, mistakes[_i].name);
    ck_assert_msg(strstr(error.detail, mistakes[_i].detail), "%s", error.detail);
    ck_assert_int_lt(grapnel_targets_exclude(t, mistakes[_i].text, NULL), 0);
    ck_assert_str_eq(joined(t, text), "before1 before2");
    /* Nor does what stood before it in the same text stay.  (An operator would go on with that.) */
    if (!strchr(",^", mistakes[_i].text[0])) {
        snprintf(text, sizeof text, "good,better!best fine %s", mistakes[_i].text);
        ck_assert_int_lt(grapnel_targets_add(t, text, &error), 0);
    }
    ck_assert_str_eq(joined(t, text), "before1 before2");
    grapnel_targets_free(t);
}
END_TEST

START_TEST(a_name_has_a_longest_length)
{
    struct grapnel_targets *t = fresh();
    struct grapnel_error error;
    char name[1100];

    memset(name, 'a', sizeof name);
    name[1000] = '\0';
    ck_assert_int_eq(grapnel_targets_add(t, name, &error), 0);
    name[1000] = 'a';
    name[1001] = '\0';
    ck_assert_int_lt(grapnel_targets_add(t, name, &error), 0);
    ck_assert_ptr_nonnull(strstr(error.detail, "at most 1000 bytes"));
    memcpy(name, "[1-2]", 5);
    ck_assert_int_lt(grapnel_targets_add(t, name, &error), 0);
    ck_assert_ptr_nonnull(strstr(error.detail, "at most 1000 bytes"));
    grapnel_targets_free(t);
}
END_TEST

START_TEST(the_limit_is_that_of_the_whole_set)
{
    const struct grapnel_targets_options options = {.groups = "none", .limit = 10};
    struct grapnel_error error;
    struct grapnel_targets *t = grapnel_targets_new(&options, &error);

    ck_assert_int_eq(grapnel_targets_add(t, "n[1-10] n[1-10],n5", &error), 0);
    ck_assert_int_lt(grapnel_targets_add(t, "m", &error), 0);
    ck_assert_str_eq(error.name, "LIMIT");
    ck_assert_uint_eq(grapnel_targets_count(t), 10);
    ck_assert_int_lt(grapnel_targets_add(t, "m[1-5],o[1-6]!m[1-5]", &error), 0);
    ck_assert_int_eq(grapnel_targets_exclude(t, "n3", &error), 0);
    ck_assert_int_eq(grapnel_targets_add(t, "m", &error), 0);
    ck_assert_uint_eq(grapnel_targets_count(t), 10);
    ck_assert_str_eq(grapnel_targets_name(t, 9), "m");
    ck_assert_ptr_null(grapnel_targets_name(t, 10));
    grapnel_targets_free(t);
    grapnel_targets_free(NULL);
}
END_TEST

/* ---- files ---- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_file_has_lines_and_comments)
{
    char path[] = "/tmp/grapnel-targets-XXXXXX", text[TEXT], wanted[200];
    struct grapnel_targets *t = fresh();
    struct grapnel_error error;

    close(mkstemp(path));
    write_file(path, "# all\n\nn1 n2,n3 # n4\r\n  n[5-6]!n5\n#n7\nweb#1");
    ck_assert_int_eq(grapnel_targets_add_file(t, path, &error), 0);
    ck_assert_str_eq(joined(t, text), "n1 n2 n3 n6 web#1");
    /* A zero byte is no digit, and no end. */
    FILE *f = fopen(path, "we");
    ck_assert_uint_eq(fwrite("z[1\0002]\n", 1, 7, f), 7);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_lt(grapnel_targets_add_file(t, path, &error), 0);
    ck_assert_ptr_nonnull(strstr(error.detail, "character 4: a -, a comma or the ]"));
    write_file(path, "m1\nm2\n\nm[3\nm4\n");
    ck_assert_int_lt(grapnel_targets_add_file(t, path, &error), 0);
    snprintf(wanted, sizeof wanted, "%s, line 4: in 'm[3', character 2:", path);
    ck_assert_msg(strstr(error.detail, wanted) == error.detail, "%s", error.detail);
    ck_assert_str_eq(joined(t, text), "n1 n2 n3 n6 web#1");
    unlink(path);
    ck_assert_int_lt(grapnel_targets_add_file(t, path, &error), 0);
    ck_assert_str_eq(error.name, "IO");
    ck_assert_ptr_nonnull(strstr(error.detail, path));
    grapnel_targets_free(t);
}
END_TEST

/* ---- folding ---- */

static const struct {
    const char *text, *folded;
} folds[] = {
    {"", ""},
    {"a", "a"},
    {"b a", "a,b"},
    {"web3 web1 web2", "web[1-3]"},
    {"web1 web01 web2", "web[1-2,01]"},
    {"web9 web10 web09 web010", "web[9,09-10,010]"},
    {"n98 n99 n100", "n[98-100]"},
    {"n98 n99 n100 n098 n099", "n[98-99,098-100]"},
    {"n[08-11] n[8-9]", "n[8-9,08-11]"},
    {"n[0-10] n00", "n[0-9,00,10]"},
    {"n01,n02,n[98-99],n100", "n[01-02,98-100]"},
    {"n[01-99] n100", "n[01-99,100]"}, /* 01-100 would be no range */
    {"n[1-9/2]", "n[1,3,5,7,9]"},
    {"n1m4 n2m5", "n1m4,n2m5"},
    {"n[1-3]m[4-5]x6", "n[1-3]m[4-5]x6"},
    {"10.0.0.1 10.0.0.2 10.0.1.1 10.0.1.2", "10.0.[0-1].[1-2]"},
    {"rack[1-2]node[1-2] rack3node1", "rack[1-2]node[1-2],rack3node1"},
    {"a1b1 a1b2 a2b3 a2b4 a3b1 a3b2", "a[1,3]b[1-2],a2b[3-4]"},
    {"a0b1 a1b2 a2b1 a2b2", "a[0,2]b1,a[1-2]b2"}, /* the first column first is better here */
    {"r[1-4]n[01-16]!r2n03", "r[1,3-4]n[01-16],r2n[01-02,04-16]"},
    {"m[1-3] n[1-3]", "m[1-3],n[1-3]"},
    {"root@n1:22 root@n2:22 n1", "n1,root@n[1-2]:22"},
    {"[fe80::1]:22 [fe80::2]:22", "[fe80::[1-2]]:22"},
    {"[1::1]:22 [2::1]:22", "[[1-2]::1]:22"},
    {"1 2 3", "[1-3]"},
    /* Numbers that no range can have are text. */
    {"n123456789012345678 n123456789012345679", "n123456789012345678,n123456789012345679"},
    {"n99999999999999998 n99999999999999999 n100000000000000000",
     "n[99999999999999998-99999999999999999],n100000000000000000"},
};

START_TEST(a_set_is_folded)
{
    struct grapnel_targets *t = fresh(), *again = fresh();
    struct grapnel_error error;
    char *text;

    ck_assert_int_eq(grapnel_targets_add(t, folds[_i].text, &error), 0);
    text = grapnel_targets_fold(t);
    ck_assert_str_eq(text, folds[_i].folded);
    ck_assert_int_eq(grapnel_targets_add(again, text, &error), 0);
    ck_assert_uint_eq(grapnel_targets_count(again), grapnel_targets_count(t));
    grapnel_string_free(text);
    grapnel_targets_free(t);
    grapnel_targets_free(again);
}
END_TEST

START_TEST(names_of_no_set_are_folded_too)
{
    static const char *const names[] = {"web2", "web1", "web2", "db"};
    char *text = grapnel_targets_fold_names(names, 4);

    ck_assert_str_eq(text, "db,web[1-2]");
    grapnel_string_free(text);
    text = grapnel_targets_fold_names(NULL, 0);
    ck_assert_str_eq(text, "");
    grapnel_string_free(text);
}
END_TEST

static Suite *targets_suite(void)
{
    Suite *s = suite_create("targets");
    TCase *c = tcase_create("language");

    tcase_add_loop_test(c, a_text_stands_for_its_names, 0,
                        (int)(sizeof meanings / sizeof meanings[0]));
    tcase_add_loop_test(c, a_mistake_is_named_and_changes_nothing, 0,
                        (int)(sizeof mistakes / sizeof mistakes[0]));
    tcase_add_test(c, a_name_has_a_longest_length);
    tcase_add_test(c, the_limit_is_that_of_the_whole_set);
    tcase_add_test(c, a_file_has_lines_and_comments);
    tcase_add_loop_test(c, a_set_is_folded, 0, (int)(sizeof folds / sizeof folds[0]));
    tcase_add_test(c, names_of_no_set_are_folded_too);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(targets_suite)
