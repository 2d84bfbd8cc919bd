/* The keys of servers: what leads to the same place in the same way, and what does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cache/serverkey.h"
#include "tests/unit/sshtools.h"
#include "tests/unit/unit.h"

static const char aliases[] = "Host web1 www WEB3\n"
                              "    HostName Web.Example.Org\n"
                              "    User george\n"
                              "    Port 2222\n"
                              "Host *.jump\n"
                              "    HostName web.example.org\n"
                              "    ProxyJump gate\n"
                              "Host a.typed b.typed\n"
                              "    HostName web.example.org\n"
                              "    ProxyCommand nc %n %p\n";

static struct grapnel *g;
static char config[300];
static char *kept[40]; /* what a test has made */
static size_t kept_count;

static void setup(void)
{
    struct grapnel_error error;

    sshtools_enter();
    snprintf(config, sizeof config, "%s", sshtools_path("config"));
    sshtools_write(config, aliases);
    g = grapnel_new(NULL, &error);
    ck_assert_msg(g != NULL, "%s", error.detail);
}

static void teardown(void)
{
    grapnel_free(g);
    while (kept_count > 0)
        free(kept[--kept_count]);
    sshtools_leave();
}

static const char *made(const char *target, struct grapnel_connect_options o, int which)
{
    struct error e = {0};
    struct route *r;
    char *text;

    if (!o.config_file)
        o.config_file = config;
    r = route_new(g, target, &o, &e);
    ck_assert_msg(r != NULL, "%s: %s", target, e.detail);
    text = which == 'k'   ? serverkey_make(r, &o)
           : which == 'p' ? serverkey_place(r, &o)
                          : serverkey_name(r, &o);
    route_free(r);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_lt(kept_count, sizeof kept / sizeof *kept);
    kept[kept_count++] = text;
    return text;
}

#define OPTIONS(...)       ((struct grapnel_connect_options){__VA_ARGS__})
#define KEY(target, ...)   made(target, OPTIONS(__VA_ARGS__), 'k')
#define PLACE(target, ...) made(target, OPTIONS(__VA_ARGS__), 'p')
#define NAME(target, ...)  made(target, OPTIONS(__VA_ARGS__), 'n')
#define SAME(a, b)         ck_assert_str_eq(a, b)
#define DIFFERENT(a, b)    ck_assert_str_ne(a, b)
#define LIST(...)          ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(aliases_of_one_host_share)
{
    SAME(KEY("web1", 0), KEY("www", 0));
    SAME(KEY("web1", 0), KEY("WEB3", 0));
    SAME(KEY("web1", 0), KEY("george@web.example.org:2222", 0));
    SAME(KEY("web1", 0), KEY("ssh://george@WEB.example.org:2222", 0));
    SAME(KEY("web1", .user = "root"), KEY("root@www", 0));
    SAME(KEY("web1", .port = 22), KEY("george@Web.Example.Org", 0));
    SAME(KEY("web1", .ssh_options = LIST("Port=3333")), KEY("www", .port = 3333));
    DIFFERENT(KEY("web1", 0), KEY("web2", 0));
}
END_TEST

START_TEST(what_tells_ways_apart)
{
    const char *plain = KEY("h", 0);

    DIFFERENT(plain, KEY("h", .user = "george"));
    DIFFERENT(plain, KEY("h", .port = 2222));
    DIFFERENT(plain, KEY("h", .identity_files = LIST("/id")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("IdentitiesOnly=yes")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("IdentityAgent=/agent")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("ProxyJump=gate")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("ProxyCommand=nc %h %p")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("HostKeyAlias=other")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("UserKnownHostsFile=/dev/null")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("StrictHostKeyChecking=yes")));
    DIFFERENT(plain, KEY("h", .ssh_options = LIST("Ciphers=aes256-ctr")));
    DIFFERENT(plain, KEY("h", .transport = "ssh2"));
    DIFFERENT(plain, KEY("h", .transport = "openssh"));
    DIFFERENT(plain, KEY("h", .lease = 5000));
    DIFFERENT(plain, KEY("h", .sudo_user = ""));
    DIFFERENT(KEY("h", .sudo_user = "x"), KEY("h", .sudo_user = ""));
    DIFFERENT(KEY("h", .identity_files = LIST("/id")), KEY("h", .identity_files = LIST("/id2")));
    DIFFERENT(KEY("h", .identity_files = LIST("/a", "/b")),
              KEY("h", .identity_files = LIST("/b", "/a")));
}
END_TEST

START_TEST(the_same_account_however_it_is_reached)
{
    const char *plain = PLACE("h", 0);

    SAME(PLACE("web1", 0), PLACE("www", 0));
    SAME(plain, PLACE("h", .identity_files = LIST("/id")));
    SAME(plain, PLACE("h", .ssh_options = LIST("ServerAliveInterval=5")));
    SAME(plain, PLACE("h", .ssh_options = LIST("Ciphers=aes256-ctr")));
    SAME(plain, PLACE("h", .ssh_options = LIST("UserKnownHostsFile=/dev/null")));
    DIFFERENT(plain, PLACE("h2", 0));
    DIFFERENT(plain, PLACE("h", .user = "george"));
    DIFFERENT(plain, PLACE("h", .port = 2222));
    DIFFERENT(plain, PLACE("h", .ssh_options = LIST("ProxyJump=gate")));
    DIFFERENT(plain, PLACE("h", .ssh_options = LIST("ProxyCommand=nc %h %p")));
    DIFFERENT(plain, PLACE("h", .ssh_options = LIST("HostKeyAlias=other")));
    DIFFERENT(plain, PLACE("h", .sudo_user = ""));
}
END_TEST

START_TEST(what_matters_while_connecting_only)
{
    const char *plain = KEY("h", 0);

    SAME(plain, KEY("h", .transport = "auto"));
    SAME(plain, KEY("h", .lease = 30000));
    SAME(plain, KEY("h", .connect_timeout = 1000));
    SAME(plain, KEY("h", .interactive = 1));
    SAME(plain, KEY("h", .ssh_options = LIST("ConnectTimeout=5")));
    SAME(plain, KEY("h", .ssh_options = LIST("NumberOfPasswordPrompts=1", "LogLevel=DEBUG")));
}
END_TEST

START_TEST(proxies_see_names)
{
    struct grapnel_connect_options other = {.config_file = config};
    char copy[320];

    /* The gate is another host where another file says so. */
    snprintf(copy, sizeof copy, "%s2", config);
    sshtools_write(copy, aliases);
    SAME(KEY("a.jump", 0), KEY("b.jump", 0));
    DIFFERENT(made("a.jump", other, 'k'), KEY("a.jump", .config_file = copy));
    SAME(made("web1", other, 'k'), KEY("web1", .config_file = copy));
    DIFFERENT(KEY("a.typed", 0), KEY("b.typed", 0));
    SAME(KEY("a.typed", 0), KEY("a.typed:22", 0));
}
END_TEST

/* Two values together never look like one, and no key is the beginning of another by its names. */
START_TEST(nothing_passes_for_something_else)
{
    DIFFERENT(KEY("h", .user = "a", .ssh_options = LIST("HostName=b")),
              KEY("h", .user = "ab", .ssh_options = LIST("HostName=b")));
    DIFFERENT(KEY("h", .identity_files = LIST("/x\nidentity_files 2:/y")),
              KEY("h", .identity_files = LIST("/x", "/y")));
    DIFFERENT(KEY("web", 0), KEY("web1x", 0));
    DIFFERENT(KEY("10.0.0.1", 0), KEY("10.0.0.11", 0));
    DIFFERENT(KEY("george@h", 0), KEY("rgeorge@h", 0));
}
END_TEST

START_TEST(other_transports_go_by_the_word)
{
    SAME(KEY("here", .transport = "local"), KEY("here", .transport = "local"));
    SAME(KEY("me@here", .transport = "local"), KEY("here", .transport = "local", .user = "me"));
    DIFFERENT(KEY("here", .transport = "local"), KEY("there", .transport = "local"));
    DIFFERENT(KEY("here", .transport = "local"), KEY("here", .transport = "sh"));
    DIFFERENT(KEY("c", .transport = "docker exec -i c sh"), KEY("c", .transport = "sh"));
    DIFFERENT(KEY("here", .transport = "local", .user = "a"), KEY("here", .transport = "local"));
}
END_TEST

START_TEST(names_are_for_people)
{
    ck_assert_str_eq(NAME("web1", 0), "george@web1");
    ck_assert_str_eq(NAME("root@web1:23", 0), "root@web1");
    ck_assert_str_eq(NAME("web1", .user = "root"), "root@web1");
    ck_assert_str_eq(NAME("root@[::1]:22", 0), "root@[::1]");
    ck_assert_str_eq(NAME("here", .transport = "local"), "here");
    ck_assert_str_eq(NAME("here", .transport = "local", .user = "me"), "me@here");
    ck_assert_str_eq(NAME("you@here", .transport = "local", .user = "me"), "me@here");
    ck_assert_str_eq(NAME("you@here", .transport = "local"), "you@here");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("serverkey");
    TCase *t = tcase_create("keys");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, aliases_of_one_host_share);
    tcase_add_test(t, the_same_account_however_it_is_reached);
    tcase_add_test(t, what_tells_ways_apart);
    tcase_add_test(t, what_matters_while_connecting_only);
    tcase_add_test(t, proxies_see_names);
    tcase_add_test(t, nothing_passes_for_something_else);
    tcase_add_test(t, other_transports_go_by_the_word);
    tcase_add_test(t, names_are_for_people);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(suite)
