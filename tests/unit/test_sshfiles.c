/* Files of ssh's that are read once while somebody holds them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshfiles.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

static struct sshfiles *f;

static void setup(void)
{
    sshtools_enter();
    f = sshfiles_new();
    ck_assert_ptr_nonnull(f);
}

static void teardown(void)
{
    sshfiles_free(f);
    sshtools_leave();
}

/* The port that ssh_config has for any host, maybe with a setting. */
static unsigned port(const char *setting)
{
    struct sshconfig_options o = {
        .file = sshtools_path("config"), .settings = &setting, .settings_count = setting != NULL};
    struct sshsources *sources;
    struct sshconfig *config;
    struct error e = {0};
    unsigned result;

    ck_assert_msg(sshfiles_config(f, &o, "web1", &config, &sources, &e) == 0, "%s", e.detail);
    ck_assert_ptr_nonnull(sources);
    sshsources_free(sources);
    result = config->port;
    sshconfig_free(config);
    return result;
}

START_TEST(test_ssh_config_is_read_once_while_it_is_held)
{
    sshtools_write(sshtools_path("config"), "Port 1\n");
    ck_assert_uint_eq(port(NULL), 1);
    sshtools_write(sshtools_path("config"), "Port 2\n");
    ck_assert_uint_eq(port(NULL), 2);
    sshfiles_hold(f);
    sshfiles_hold(f);
    ck_assert_uint_eq(port(NULL), 2);
    sshtools_write(sshtools_path("config"), "Port 3\n");
    ck_assert_uint_eq(port(NULL), 2);
    ck_assert_uint_eq(port("Port=7"), 7);
    ck_assert_uint_eq(port("User=x"), 3); /* other settings are other reading */
    sshfiles_release(f);
    ck_assert_uint_eq(port(NULL), 2);
    sshfiles_release(f);
    ck_assert_uint_eq(port(NULL), 3);
}
END_TEST

START_TEST(test_more_than_can_be_kept_is_read_all_the_same)
{
    char setting[40];

    sshtools_write(sshtools_path("config"), "\n");
    sshfiles_hold(f);
    for (unsigned i = 1; i < 200; i++) {
        snprintf(setting, sizeof setting, "Port=%u", i);
        ck_assert_uint_eq(port(setting), i);
    }
    ck_assert_uint_eq(port("Port=3"), 3);
}
END_TEST

START_TEST(test_known_hosts_outlive_who_holds_the_files)
{
    const char *files[] = {sshtools_path("known")};
    struct knownhosts *first, *second, *third;
    struct error e = {0};

    sshtools_write(files[0], "");
    sshfiles_hold(f);
    ck_assert_int_eq(sshfiles_known_hosts(f, files, 1, &first, &e), 0);
    ck_assert_int_eq(sshfiles_known_hosts(f, files, 1, &second, &e), 0);
    ck_assert_ptr_eq(first, second);
    knownhosts_free(first);
    sshfiles_release(f);
    ck_assert_uint_eq(knownhosts_count(second), 0);
    ck_assert_int_eq(sshfiles_known_hosts(f, files, 1, &third, &e), 0);
    ck_assert_ptr_ne(second, third);
    knownhosts_free(second);
    knownhosts_free(third);
}
END_TEST

static Suite *sshfiles_suite(void)
{
    Suite *s = suite_create("sshfiles");
    TCase *c = tcase_create("files");

    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_ssh_config_is_read_once_while_it_is_held);
    tcase_add_test(c, test_more_than_can_be_kept_is_read_all_the_same);
    tcase_add_test(c, test_known_hosts_outlive_who_holds_the_files);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(sshfiles_suite)
