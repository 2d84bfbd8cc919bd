/* The connection cache over the local transport: one for all who ask, remade when dead, closed when
 * told or unused, and nothing left. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/cache_impl.h"
#include "tests/agent/harness.h"
#include "tests/unit/unit.h"

static const struct grapnel_connect_options local = {.transport = "local"};
static struct grapnel *g;
static struct grapnel_error error;
static size_t descriptors_before, threads_before;

static size_t entries(const char *folder)
{
    DIR *d = opendir(folder);
    size_t n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void setup(void)
{
    descriptors_before = entries("/proc/self/fd");
    threads_before = entries("/proc/self/task");
    g = grapnel_new(NULL, &error);
    ck_assert_ptr_nonnull(g);
}

static void teardown(void)
{
    grapnel_close_ssh_connections(g, NULL);
    grapnel_free(g);
    ck_assert_uint_eq(entries("/proc/self/fd"), descriptors_before);
    ck_assert_uint_eq(entries("/proc/self/task"), threads_before);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

static struct grapnel_connection *get(const char *host, int instance)
{
    struct grapnel_connection *c = grapnel_get_connection(g, host, &local, instance, &error);

    ck_assert_msg(c != NULL, "%s: %s", error.name, error.detail);
    return c;
}

static int64_t number(struct grapnel_connection *c, const char *source)
{
    struct grapnel_value *v;
    int64_t n;

    ck_assert_msg(
        grapnel_call(grapnel_connection_instance(c), "execute", &v, &error, "s", source) == 0,
        "%s: %s", error.name, error.detail);
    n = grapnel_value_int(v, -1);
    grapnel_value_free(v);
    return n;
}

/* The list as one text: "a b c". */
static const char *list(char **(*lists)(struct grapnel *, struct grapnel_error *))
{
    static char text[4000];
    char **names = lists(g, &error);

    ck_assert_ptr_nonnull(names);
    text[0] = '\0';
    for (size_t i = 0; names[i]; i++) {
        strcat(text, i > 0 ? " " : "");
        strcat(text, names[i]);
    }
    grapnel_strings_free(names);
    return text;
}

#define CONNECTIONS list(grapnel_list_connections)
#define SERVERS     list(grapnel_list_deployed_servers)
#define LINES       list(grapnel_list_ssh_connections)

/* ---- getting ---- */

START_TEST(who_asks_again_gets_the_same)
{
    struct grapnel_connection *a = get("here", 1), *b = get("here", 1), *c = get("here", 2);

    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    ck_assert_str_eq(grapnel_connection_name(a), "root@here:1");
    ck_assert_ptr_eq(grapnel_connection_server(a), grapnel_connection_server(c));
    ck_assert_int_eq(number(a, "x = 5 return x"), 5);
    ck_assert_int_eq(number(b, "return x"), 5);
    ck_assert_int_eq(number(c, "return x or 0"), 0);
    ck_assert_int_eq(grapnel_connection_generation(a), 1);
    ck_assert_str_eq(CONNECTIONS, "root@here:2 root@here:1");
    ck_assert_str_eq(SERVERS, "root@here");
    grapnel_connection_release(a);
    grapnel_connection_release(b);
    grapnel_connection_release(c);
    ck_assert_str_eq(CONNECTIONS, "root@here:2 root@here:1");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("cache");
    TCase *t = tcase_create("getting");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, who_asks_again_gets_the_same);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
