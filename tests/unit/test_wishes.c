/* How to connect, and what an instance is to have, as the broker is told it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/broker/wishes.h"
#include "unit.h"

static struct wishes *there_and_back(const struct grapnel_connect_options *o)
{
    struct value *map = wishes_put(o);
    struct wishes *w = wishes_get(map);

    values_free(map); /* w lives without it */
    ck_assert_ptr_nonnull(w);
    return w;
}

START_TEST(everything)
{
    const char *const files[] = {"/k/one", "~/two", NULL}, *const settings[] = {"A=1", "B=2", NULL};
    const struct grapnel_connect_options o = {.user = "george",
                                              .port = 2222,
                                              .config_file = "/etc/own",
                                              .identity_files = files,
                                              .ssh_options = settings,
                                              .late_options = 1,
                                              .transport = "ssh2",
                                              .sudo_user = "",
                                              .connect_timeout = 1500,
                                              .lease = 7000,
                                              .interactive = 1,
                                              .cache_agent = 1};
    struct wishes *w = there_and_back(&o);
    const struct grapnel_connect_options *got = wishes_options(w);

    ck_assert_str_eq(got->user, "george");
    ck_assert_uint_eq(got->port, 2222);
    ck_assert_str_eq(got->config_file, "/etc/own");
    ck_assert_str_eq(got->identity_files[0], "/k/one");
    ck_assert_str_eq(got->identity_files[1], "~/two");
    ck_assert_ptr_null(got->identity_files[2]);
    ck_assert_str_eq(got->ssh_options[0], "A=1");
    ck_assert_str_eq(got->ssh_options[1], "B=2");
    ck_assert_ptr_null(got->ssh_options[2]);
    ck_assert_uint_eq(got->late_options, 1);
    ck_assert_str_eq(got->transport, "ssh2");
    ck_assert_str_eq(got->sudo_user, ""); /* root, which is not nobody */
    ck_assert_int_eq((int)got->connect_timeout, 1500);
    ck_assert_int_eq((int)got->lease, 7000);
    ck_assert(got->interactive && got->cache_agent);
    ck_assert(!got->broker && !got->asker && !got->phase && !got->one_shot);
    wishes_free(w);
}
END_TEST

START_TEST(nothing)
{
    const struct grapnel_connect_options o = {0};
    struct wishes *w = there_and_back(&o);
    const struct grapnel_connect_options *got = wishes_options(w);

    ck_assert(!got->user && !got->port && !got->config_file && !got->identity_files &&
              !got->ssh_options && !got->transport && !got->sudo_user && !got->interactive);
    wishes_free(w);
    wishes_free(NULL);
}
END_TEST

/* The broker is somewhere else. */
START_TEST(files_from_here)
{
    const char *const files[] = {"key", "%d/key", "none", NULL};
    const struct grapnel_connect_options o = {.config_file = "own/config", .identity_files = files};
    struct wishes *w = there_and_back(&o);
    const struct grapnel_connect_options *got = wishes_options(w);
    char here[PATH_MAX], wanted[PATH_MAX + 20];

    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(wanted, sizeof wanted, "%s/own/config", here);
    ck_assert_str_eq(got->config_file, wanted);
    snprintf(wanted, sizeof wanted, "%s/key", here);
    ck_assert_str_eq(got->identity_files[0], wanted);
    ck_assert_str_eq(got->identity_files[1], "%d/key");
    ck_assert_str_eq(got->identity_files[2], "none");
    wishes_free(w);
}
END_TEST

/* What makes no sense is as if it was not said. */
START_TEST(nonsense)
{
    struct value *map = values_map(), *list = values_array();
    const struct grapnel_connect_options *got;
    struct wishes *w;

    values_append(list, values_int(7));
    values_append(list, values_text("A=1"));
    values_append(list, values_bytes("B\0=", 3));
    values_set(map, "ssh_options", list);
    values_set(map, "user", values_int(1));
    values_set(map, "port", values_int(70000));
    values_set(map, "late_options", values_int(-3));
    values_set(map, "identity_files", values_text("x"));
    w = wishes_get(map);
    values_free(map);
    got = wishes_options(w);
    ck_assert(!got->user && !got->port && !got->late_options && !got->identity_files);
    ck_assert_str_eq(got->ssh_options[0], "A=1");
    ck_assert_ptr_null(got->ssh_options[1]);
    wishes_free(w);
    w = wishes_get(NULL);
    ck_assert_ptr_null(wishes_options(w)->user);
    wishes_free(w);
}
END_TEST

static struct wishes *instance(const struct grapnel_instance_options *o)
{
    struct value *map = wishes_put_instance(o);
    struct wishes *w = wishes_get(map);

    values_free(map);
    ck_assert_ptr_nonnull(w);
    return w;
}

START_TEST(of_an_instance)
{
    const char *const env[] = {"A=1", "B=", NULL}, *const unset[] = {"C", NULL};
    const struct grapnel_instance_options o = {.memory = 64 << 20,
                                               .cpu_seconds = 9,
                                               .depth = 5,
                                               .cwd = "/srv",
                                               .env = env,
                                               .unset = unset},
                                          less = {.memory = 64 << 20, .env = env},
                                          other = {.memory = 32 << 20}, none = {0};
    struct wishes *all = instance(&o), *some = instance(&less), *else_ = instance(&other),
                  *empty = instance(&none);
    const struct grapnel_instance_options *got = wishes_instance(all);

    ck_assert_int_eq((int)got->memory, 64 << 20);
    ck_assert_int_eq((int)got->cpu_seconds, 9);
    ck_assert_int_eq(got->depth, 5);
    ck_assert_str_eq(got->cwd, "/srv");
    ck_assert_str_eq(got->env[1], "B=");
    ck_assert_ptr_null(got->env[2]);
    ck_assert_str_eq(got->unset[0], "C");
    ck_assert_ptr_null(wishes_instance(empty)->env);
    ck_assert(wishes_cover(all, all) && wishes_cover(all, some) && wishes_cover(all, empty));
    ck_assert(!wishes_cover(some, all) && !wishes_cover(all, else_) && !wishes_cover(empty, some));
    wishes_free(all);
    wishes_free(some);
    wishes_free(else_);
    wishes_free(empty);
}
END_TEST

static Suite *wishes_suite(void)
{
    Suite *s = suite_create("wishes");
    TCase *t = tcase_create("wishes");
    tcase_add_test(t, everything);
    tcase_add_test(t, nothing);
    tcase_add_test(t, files_from_here);
    tcase_add_test(t, nonsense);
    tcase_add_test(t, of_an_instance);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(wishes_suite)
