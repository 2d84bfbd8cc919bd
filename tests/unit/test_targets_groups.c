/* Groups of targets: files, commands of sources, inventories of Ansible's. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "tests/unit/unit.h"

static char folder[64], groups_path[128], inventory_path[128];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void setup(void)
{
    strcpy(folder, "/tmp/grapnel-groups-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    umask(022);
    snprintf(groups_path, sizeof groups_path, "%s/groups", folder);
    snprintf(inventory_path, sizeof inventory_path, "%s/hosts.ini", folder);
}

static void teardown(void)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c) */
}

/* A set that knows the groups file, or the inventory, of this text. */
static struct grapnel_targets *with(const char *groups, const char *inventory)
{
    const struct grapnel_targets_options options = {
        .groups = groups ? groups_path : "none",
        .inventory = inventory ? inventory_path : NULL,
        .timeout = 60000,
    };

    if (groups)
        write_file(groups_path, groups);
    if (inventory)
        write_file(inventory_path, inventory);
    return grapnel_targets_new(&options, NULL);
}

/* What a text stands for, with spaces between the names; or the error's detail. */
static char *meaning(const char *groups, const char *inventory, const char *text)
{
    struct grapnel_targets *t = with(groups, inventory);
    struct grapnel_error error;
    char *out = calloc(1, 8192);
    size_t used = 0;

    if (grapnel_targets_add(t, text, &error) < 0) {
        snprintf(out, 8192, "%s: %s", error.name, error.detail);
        ck_assert_uint_eq(grapnel_targets_count(t), 0);
    }
    for (size_t i = 0; i < grapnel_targets_count(t); i++)
        used += (size_t)snprintf(out + used, 8192 - used, "%s%s", i > 0 ? " " : "",
                                 grapnel_targets_name(t, i));
    grapnel_targets_free(t);
    return out;
}

static void means(const char *groups, const char *inventory, const char *text, const char *names)
{
    char *out = meaning(groups, inventory, text);

    ck_assert_msg(!strcmp(out, names), "%s is %s, not %s", text, out, names);
    free(out);
}

static void fails(const char *groups, const char *inventory, const char *text, const char *detail)
{
    char *out = meaning(groups, inventory, text);

    ck_assert_msg(strstr(out, detail), "%s: %s: no %s", text, out, detail);
    free(out);
}

/* ---- files ---- */

#define FILE_TEXT                                                                                  \
    "# groups\n"                                                                                   \
    "web: web[1-4]   # the front\n"                                                                \
    "  db : db[1-2],@spare\n"                                                                      \
    "\n"                                                                                           \
    "; no group\n"                                                                                 \
    "spare: sp1\n"                                                                                 \
    "db: db9\r\n"                                                                                  \
    "prod: @web!web3 @db\n"                                                                        \
    "rack1: a\n"                                                                                   \
    "rack2: b\n"                                                                                   \
    "none:\n"                                                                                      \
    "[lab]\n"                                                                                      \
    "web: lab[1-2]\n"                                                                              \
    "all-web: @lab:web,@web\n"

START_TEST(a_file_defines_groups)
{
    means(FILE_TEXT, NULL, "@web", "web1 web2 web3 web4");
    means(FILE_TEXT, NULL, "@db", "db1 db2 sp1 db9");
    means(FILE_TEXT, NULL, "@prod", "web1 web2 web4 db1 db2 sp1 db9");
    means(FILE_TEXT, NULL, "@web&web[3-9],x", "web3 web4 x");
    means(FILE_TEXT, NULL, "x!@web,@spare", "x sp1");
    means(FILE_TEXT, NULL, "@rack[1-2]", "a b");
    means(FILE_TEXT, NULL, "@none", "");
    means(FILE_TEXT, NULL, "@lab:web", "lab1 lab2");
    means(FILE_TEXT, NULL, "@lab:all-web", "lab1 lab2 web1 web2 web3 web4");
    means(FILE_TEXT, NULL, "@lab:*", "lab1 lab2 web1 web2 web3 web4");
    means(FILE_TEXT, NULL, "@*", "web1 web2 web3 web4 db1 db2 sp1 db9 a b");
    means(FILE_TEXT, NULL, "@*!@web,@db", "db1 db2 sp1 db9 a b");
}
END_TEST

START_TEST(what_is_wrong_with_groups_is_said)
{
    fails(FILE_TEXT, NULL, "@wbe", "there is no group 'wbe' in /tmp/grapnel-groups-");
    fails(FILE_TEXT, NULL, "@lab:db", "the source 'lab' has no group 'db'");
    fails(FILE_TEXT, NULL, "@bal:db", "there is no source of groups 'bal'");
    fails(FILE_TEXT, NULL, "@lab:", "the name of a group is missing");
    fails("a: @b\nb: c,@a\n", NULL, "@a", "line 2: groups go round in a circle: @a, @b, @a");
    fails("a: @*\n", NULL, "@*", "in a circle: @a, @a");
    fails("a: x\nb: n[1\n", NULL, "@b", "groups, line 2: in 'n[1', character 2:");
    fails("a: @b\nb: @c\nc: n[1\n", NULL, "@a", "groups, line 3: in 'n[1', character 2:");
    fails("web\n", NULL, "@a", "line 1: this is neither NAME: TARGETS");
    fails("\nmap = x\n", NULL, "@a", "line 2: before the first [source] there are groups");
    fails("[x\n", NULL, "@a", "line 1: a section is [NAME]");
    fails("[x] # y\n", NULL, "@a", "line 1: a section is [NAME]");
    fails("[x:y]\n", NULL, "@a", "line 1: a source's name");
    fails("[x]\nmap: y\n", NULL, "@a", "line 2: a command is set with =: map = ...");
    fails("[x]\nreverse = y\n", NULL, "@a", "line 2: 'reverse': a source has map, all");
    fails("[x]\nmap =\n", NULL, "@a", "line 2: map has no value");
}
END_TEST

START_TEST(groups_are_nested_but_not_for_ever)
{
    char text[4096] = "g0: x\n";
    size_t used = strlen(text);

    /* Each names the one before it twice: what is found out once is not found out again. */
    for (int i = 1; i < 80; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "g%d: @g%d,@g%d\n", i, i - 1, i - 1);
    means(text, NULL, "@g60", "x");
    fails(text, NULL, "@g79", "nested more than 64 deep");
}
END_TEST

START_TEST(an_error_does_not_stay)
{
    struct grapnel_targets *t = with("a: @b\nb: n[1\nc: x\n", NULL);
    struct grapnel_error error;

    ck_assert_int_lt(grapnel_targets_add(t, "@a", &error), 0);
    ck_assert_int_lt(grapnel_targets_add(t, "@a", &error), 0);
    ck_assert_ptr_nonnull(strstr(error.detail, "line 2: in 'n[1'"));
    ck_assert_ptr_null(strstr(error.detail, "circle"));
    ck_assert_int_eq(grapnel_targets_add(t, "@c", &error), 0);
    grapnel_targets_free(t);
}
END_TEST

START_TEST(the_usual_files_are_found)
{
    static const struct grapnel_targets_options usual = {.groups = NULL};
    struct grapnel_targets *t = grapnel_targets_new(&usual, NULL);
    char path[200], base[100];

    snprintf(base, sizeof base, "%s/config", folder);
    ck_assert_int_eq(mkdir(base, 0700), 0);
    ck_assert_int_eq(setenv("XDG_CONFIG_HOME", base, 1), 0);
    ck_assert_int_eq(setenv("HOME", folder, 1), 0);
    ck_assert_int_lt(grapnel_targets_add(t, "@tests-own", NULL), 0); /* no file at all: no harm */
    grapnel_targets_free(t);
    snprintf(path, sizeof path, "%s/grapnel", base);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/grapnel/groups", base);
    write_file(path, "tests-own: xdg\n");
    t = grapnel_targets_new(&usual, NULL);
    ck_assert_int_eq(grapnel_targets_add(t, "@tests-own", NULL), 0);
    ck_assert_str_eq(grapnel_targets_name(t, 0), "xdg");
    grapnel_targets_free(t);

    ck_assert_int_eq(unsetenv("XDG_CONFIG_HOME"), 0);
    snprintf(path, sizeof path, "%s/.config", folder);
    ck_assert_int_eq(rename(base, path), 0);
    t = grapnel_targets_new(NULL, NULL);
    ck_assert_int_eq(grapnel_targets_add(t, "@tests-own", NULL), 0);
    grapnel_targets_free(t);
}
END_TEST

START_TEST(a_file_that_was_asked_for_must_be_there)
{
    const struct grapnel_targets_options options = {.groups = "/nonexistent/groups"};
    struct grapnel_targets *t = grapnel_targets_new(&options, NULL);
    struct grapnel_error error;

    ck_assert_int_eq(grapnel_targets_add(t, "x", &error), 0); /* no group, no file */
    ck_assert_int_lt(grapnel_targets_add(t, "@x", &error), 0);
    ck_assert_str_eq(error.name, "IO");
    ck_assert_ptr_nonnull(strstr(error.detail, "/nonexistent/groups"));
    grapnel_targets_free(t);
}
END_TEST

/* ---- commands ---- */

#define SOURCES                                                                                    \
    "default = cluster\n"                                                                          \
    "[cluster]\n"                                                                                  \
    "map = echo \"$SOURCE-$GROUP[1-2]\"; echo more,less\n"                                         \
    "all = printf 'n[1-5]!n2 m'\n"                                                                 \
    "mine: x\n"                                                                                    \
    "[listed]\n"                                                                                   \
    "list = printf 'a b\\nc\\n'\n"                                                                 \
    "map = echo in-$GROUP\n"                                                                       \
    "[blind]\n"                                                                                    \
    "map = true\n"

START_TEST(commands_know_groups)
{
    means(SOURCES, NULL, "@cluster:q", "cluster-q1 cluster-q2 more less");
    means(SOURCES, NULL, "@q", "cluster-q1 cluster-q2 more less");
    means(SOURCES, NULL, "@cluster:mine", "x");
    means(SOURCES, NULL, "@cluster:*", "x n1 n3 n4 n5 m");
    means(SOURCES, NULL, "@*", "x n1 n3 n4 n5 m");
    means(SOURCES, NULL, "@listed:*", "in-a in-b in-c");
    means(SOURCES, NULL, "@blind:nothing", "");
    fails(SOURCES, NULL, "@blind:*", "the source 'blind' cannot name all");
}
END_TEST

/* A name is data: it gets into no shell text, and is no option of a program that quotes it. */
START_TEST(names_of_groups_are_not_executed)
{
    char path[128], text[400];

    snprintf(path, sizeof path, "%s/proof", folder);
    snprintf(text, sizeof text, "[s]\nmap = printf '%%s' \"$GROUP\" >%s; echo x\n", path);
    means(text, NULL, "@s:$(touch${IFS}/tmp/oops);'`x`\"", "x");
    FILE *f = fopen(path, "re");
    char got[100] = "";
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(fgets(got, sizeof got, f));
    (void)fclose(f);
    ck_assert_str_eq(got, "$(touch${IFS}/tmp/oops);'`x`\"");
}
END_TEST

START_TEST(commands_that_fail_say_why)
{
    fails("[s]\nmap = echo oh; echo 'no such queue' >&2; exit 3\n", NULL, "@s:q",
          "groups, line 2: map for the group 'q' ended with status 3: no such queue");
    fails("[s]\nall = kill -9 $$\n", NULL, "@s:*", "all was ended by signal 9");
    fails("[s]\nmap = echo 'n[1'\n", NULL, "@s:q",
          "what map of the source 's' printed: in 'n[1', character 2");
    fails("[s]\nmap = echo @web\n", NULL, "@s:q", "groups cannot be named here");
    fails("[s]\nmap = printf 'a\\000b'\n", NULL, "@s:q", "printed a zero byte");
    fails("[s]\nmap = printf '\\033[2J' >&2; exit 1\n", NULL, "@s:q", "\\x1b[2J");
    fails("[s]\nmap = exec cat /dev/zero | tr '\\000' 1\n", NULL, "@s:q", "LIMIT: ");
}
END_TEST

START_TEST(commands_have_a_time_limit)
{
    const struct grapnel_targets_options options = {.groups = groups_path, .timeout = 100};
    struct grapnel_targets *t;
    struct grapnel_error error;

    write_file(groups_path, "[s]\nmap = sleep 1000\n");
    t = grapnel_targets_new(&options, NULL);
    ck_assert_int_lt(grapnel_targets_add(t, "@s:q", &error), 0);
    ck_assert_str_eq(error.name, "TIMEOUT");
    ck_assert_ptr_nonnull(strstr(error.detail, "did not end within 100 ms"));
    grapnel_targets_free(t);
}
END_TEST

START_TEST(a_group_is_asked_for_once)
{
    char path[128], text[300], *line = NULL;
    size_t size = 0, lines = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/asked", folder);
    snprintf(text, sizeof text, "[s]\nmap = echo $GROUP >>%s; echo x\n", path);
    means(text, NULL, "@s:a,@s:a @s:b&@s:a", "x");
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (getline(&line, &size, f) >= 0)
        lines++;
    free(line);
    (void)fclose(f);
    ck_assert_uint_eq(lines, 2);
}
END_TEST

START_TEST(a_file_of_others_runs_nothing)
{
    struct grapnel_targets *t = with("a: x\n[s]\nmap = echo y\n", NULL);
    struct grapnel_error error;

    ck_assert_int_eq(chmod(groups_path, 0666), 0);
    ck_assert_int_eq(grapnel_targets_add(t, "@a", &error), 0);
    ck_assert_int_lt(grapnel_targets_add(t, "@s:q", &error), 0);
    ck_assert_ptr_nonnull(strstr(error.detail, "others may write to the file"));
    grapnel_targets_free(t);
}
END_TEST

static Suite *groups_suite(void)
{
    Suite *s = suite_create("targets_groups");
    TCase *c = tcase_create("groups");

    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_file_defines_groups);
    tcase_add_test(c, what_is_wrong_with_groups_is_said);
    tcase_add_test(c, groups_are_nested_but_not_for_ever);
    tcase_add_test(c, an_error_does_not_stay);
    tcase_add_test(c, the_usual_files_are_found);
    tcase_add_test(c, a_file_that_was_asked_for_must_be_there);
    tcase_add_test(c, commands_know_groups);
    tcase_add_test(c, names_of_groups_are_not_executed);
    tcase_add_test(c, commands_that_fail_say_why);
    tcase_add_test(c, commands_have_a_time_limit);
    tcase_add_test(c, a_group_is_asked_for_once);
    tcase_add_test(c, a_file_of_others_runs_nothing);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(groups_suite)
