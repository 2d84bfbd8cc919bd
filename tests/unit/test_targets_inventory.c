/* Inventories of Ansible's as groups of targets, and what they know of hosts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/grapnel.h"
#include "launcher/targets/inventory.h"
#include "tests/unit/unit.h"

#define INVENTORY                                                                                  \
    "# what there is\n"                                                                            \
    "lonely ansible_host=10.0.0.9\n"                                                               \
    "other:2022\n"                                                                                 \
    "; no host\n"                                                                                  \
    "[web]\n"                                                                                      \
    "web[01:03].example.com ansible_user=deploy rack=\"a b\" # front\n"                            \
    "web9 ansible_port=2222 ansible_user='joe' motto=\"say \\\"a b\\\"\" it='is''n'o#t\n"          \
    "\n"                                                                                           \
    "[db] # the databases\n"                                                                       \
    "db-[a:c] ansible_host=10.1.0.1\n"                                                             \
    "db-six ansible_host=fe80::6 ansible_port=22 ansible_ssh_user=six\n"                           \
    "[prod:children]\n"                                                                            \
    "web\n"                                                                                        \
    "db\n"                                                                                         \
    "[prod:vars]\n"                                                                                \
    "env = production\n"                                                                           \
    "rack = none\n"                                                                                \
    "ansible_user = root\n"                                                                        \
    "[web:vars]\n"                                                                                 \
    "env=\"web prod\"\n"                                                                           \
    "[all:vars]\n"                                                                                 \
    "env = any\n"                                                                                  \
    "site=x=y\n"

#define WEB                                                                                        \
    "deploy@web01.example.com deploy@web02.example.com deploy@web03.example.com joe@web9:2222"
#define DB "root@10.1.0.1 root@[fe80::6]:22"

/* The targets of a group, with spaces between them; or the error's detail. */
static const char *members(const char *text, const char *group, char out[2000])
{
    struct error e = {0};
    struct inventory *inv = inventory_parse(text, strlen(text), "hosts.ini", &e);
    struct names set = {0};
    size_t used = 0;

    out[0] = '\0';
    if (!inv || inventory_add(inv, group, &set, &e) != 0)
        snprintf(out, 2000, "%s", e.detail);
    for (size_t i = 0; !e.code && i < set.count; i++)
        used +=
            (size_t)snprintf(out + used, 2000 - used, "%s%s", i > 0 ? " " : "", names_at(&set, i));
    names_clear(&set);
    inventory_free(inv);
    return out;
}

START_TEST(groups_have_the_targets_of_their_hosts)
{
    char out[2000];

    ck_assert_str_eq(members(INVENTORY, "web", out), WEB);
    ck_assert_str_eq(members(INVENTORY, "db", out), "root@10.1.0.1 root@[fe80::6]:22");
    ck_assert_str_eq(members(INVENTORY, "prod", out), WEB " " DB);
    ck_assert_str_eq(members(INVENTORY, "ungrouped", out), "10.0.0.9 other:2022");
    ck_assert_str_eq(members(INVENTORY, "all", out), "10.0.0.9 other:2022 " WEB " " DB);
    ck_assert_str_eq(members(INVENTORY, "*", out), "10.0.0.9 other:2022 " WEB " " DB);
    ck_assert_str_eq(members(INVENTORY, "web9", out), "joe@web9:2222");
    ck_assert_str_eq(members(INVENTORY, "nobody", out),
                     "hosts.ini has neither a group nor a host 'nobody'");
}
END_TEST

static const struct {
    const char *text, *targets;
} hosts[] = {
    {"h ansible_ssh_host=a ansible_ssh_port=7 ansible_ssh_user=u", "u@a:7"},
    {"h ansible_host=a ansible_ssh_host=b", "a"},
    {"h ansible_host=a\nh ansible_host=b", "b"}, /* the last line wins */
    {"h:7 ansible_host=a", "a:7"},
    {"h:7 ansible_port=8", "h:8"},
    {"::1", "::1"},
    {"::1 ansible_port=8", "[::1]:8"},
    {"[fe80::1]:22", "[fe80::1]:22"},
    {"[a:c]x", "ax bx cx"},
    {"h[0:6:3]", "h0 h3 h6"},
    {"h[1:2][a:b]", "h1a h1b h2a h2b"},
    {"[g]\nh\n[g:hosts]\ni", "h i"},
    {"[all]\nh\n[all:vars]\nansible_user=u", "u@h"},
    {"h k='a # b' # c", "h"},
    {"h k=\"q\\\"r\" l=a\\ b m='it''s' n=1#o p", "h"},
    {"'h' \"ansible_user=u\"", "u@h"},
    {"h ansible_user=a\\ansible_port=7", "aansible_port=7@h"},
    {"h# i", "h"},
    {"h\r\n\r\ni\r\n", "h i"},
    {"", ""},
};

START_TEST(lines_are_read_as_ansible_does)
{
    char out[2000];

    ck_assert_str_eq(members(hosts[_i].text, "all", out), hosts[_i].targets);
}
END_TEST

static const struct {
    const char *text, *detail;
} mistakes[] = {
    {"h\n[g", "hosts.ini, line 2: in '[g', character 1: the [ is never closed"},
    {"[g:x]\n", "line 1: [g:x]: only :children, :vars"},
    {"[]\n", "line 1: the section has no name"},
    {"h k\n", "line 1: 'k': behind a host's name stand variables"},
    {"h k='a b\n", "line 1: a quote is not closed"},
    {"h k=\"a\\\"\n", "line 1: a quote is not closed"},
    {"h k=a\\\n", "line 1: a \\ ends the line"},
    {"'' k=v\n", "line 1: a host without a name"},
    {"h =v\n", "line 1: a variable without a name"},
    {"[g:vars]\nx\n", "line 2: KEY=VALUE is wanted"},
    {"\n[g:children]\nx\n", "line 3: there is no group 'x'"},
    {"[a:children]\nb\n[b:children]\na\n", "the group 'a' is among its own children"},
    {"[a:children]\na\n", "the group 'a' is among its own children"},
    {"h[3:1]\n", "line 1: in 'h[3:1]', character 3: the range runs backwards: write 1:3"},
    {"h[1:3:0]\n", "a step of 0"},
    {"h[1:99999999999]\n", "stands for 99999999999 names"},
    {"all:\n  hosts:\n", "line 1: this is no INI file"},
    {"---\n", "line 1: this is no INI file"},
    {"{\"all\": 1}\n", "line 1: this is no INI file"},
    {"a,b\n", "character 2: , cannot be here in a name"},
    {"@g\n", "character 1: @ cannot be here in a name"},
    {"-h\n", "a name cannot begin with -"},
    {"h ansible_host=-oProxyCommand=x\n", "the host of line 1: in '-oProxyCommand=x'"},
    {"h ansible_host=\n", "line 1: ansible_host is empty"},
    {"h ansible_host='' ansible_user=u\n", "line 1: ansible_host is empty"},
    {"h ansible_host=a[1-2]\n", "the host of line 1: 'a[1-2]' has a range in it"},
    {"h ansible_user=a[1]\n", "the host of line 1: 'a[1]@h' has a range in it"},
    {"h ansible_host='{{ x }}'\n", "the host of line 1: in '{{ x }}', character 3: control"},
    {"h ansible_user=-l\n", "the host of line 1: in '-l@h'"},
};

START_TEST(mistakes_are_named_with_their_line)
{
    char out[2000];

    members(mistakes[_i].text, "all", out);
    ck_assert_msg(strstr(out, mistakes[_i].detail), "%s", out);
}
END_TEST

START_TEST(the_nearest_value_wins)
{
    static const struct {
        const char *name, *key, *value;
    } values[] = {
        {"deploy@web01.example.com", "rack", "a b"},
        {"deploy@web01.example.com", "inventory_hostname", "web01.example.com"},
        {"web01.example.com", "rack", "a b"}, /* by its name there */
        {"joe@web9:2222", "rack", "none"},
        {"joe@web9:2222", "motto", "say \"a b\""},
        {"joe@web9:2222", "it", "isno"},
        {"joe@web9:2222", "env", "web prod"},
        {"db-a", "env", "production"},
        {"lonely", "env", "any"},
        {"10.0.0.9", "env", "any"},
        {"10.0.0.9", "site", "x=y"},
        {"10.0.0.9", "rack", NULL},
        {"10.0.0.9", "nothing", NULL},
        {"nobody", "site", NULL},
        {"root@10.1.0.1", "inventory_hostname", "db-a"}, /* of three the first one */
        {"root@10.1.0.1", "ansible_host", "10.1.0.1"},
    };
    char path[] = "/tmp/grapnel-inventory-XXXXXX";
    const struct grapnel_targets_options options = {.groups = "none", .inventory = path};
    FILE *f = fdopen(mkstemp(path), "w");
    struct grapnel_targets *t = grapnel_targets_new(&options, NULL);
    struct grapnel_error error;

    ck_assert_int_ge(fputs(INVENTORY, f), 0);
    ck_assert_int_eq(fclose(f), 0);
    /* It is read for this, too. */
    ck_assert_str_eq(grapnel_targets_value(t, "web9", "env", &error), "web prod");
    ck_assert_msg(grapnel_targets_add(t, "@ansible:all", &error) == 0, "%s", error.detail);
    ck_assert_uint_eq(grapnel_targets_count(t), 8);
    unlink(path);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const char *value = grapnel_targets_value(t, values[i].name, values[i].key, &error);
        ck_assert_msg(value ? values[i].value && !strcmp(value, values[i].value) : !values[i].value,
                      "%s of %s is %s", values[i].key, values[i].name, value ? value : "nothing");
    }
    grapnel_targets_free(t);
}
END_TEST

START_TEST(a_value_that_cannot_be_looked_up_is_no_value)
{
    const struct grapnel_targets_options options = {.groups = "none", .inventory = "/none/such"},
                                         none = {.groups = "none"};
    struct grapnel_targets *t = grapnel_targets_new(&options, NULL);
    struct grapnel_error error = {0};

    ck_assert_ptr_null(grapnel_targets_value(t, "web9", "env", &error));
    ck_assert_str_eq(error.name, "IO");
    ck_assert_ptr_nonnull(strstr(error.detail, "/none/such"));
    ck_assert_ptr_null(grapnel_targets_value(t, "web9", "env", NULL));
    grapnel_targets_free(t);

    /* Where there is no file at all, there is nothing to complain of. */
    setenv("XDG_CONFIG_HOME", "/none/such", 1);
    t = grapnel_targets_new(NULL, NULL);
    ck_assert_ptr_null(grapnel_targets_value(t, "web9", "env", &error));
    ck_assert_int_eq(error.code, 0);
    grapnel_targets_free(t);

    t = grapnel_targets_new(&none, NULL);
    ck_assert_ptr_null(grapnel_targets_value(t, "web9", "env", &error));
    ck_assert_int_eq(error.code, 0);
    grapnel_targets_free(t);
}
END_TEST

/* The lower group wins, whichever way leads to it, and of equals the one whose name is last. */
START_TEST(groups_have_an_order)
{
    static const char text[] =
        "h\n[a]\nh\n[b]\nh\n[c]\nh\n[low]\nh\n"
        "[early:children]\nlow\n[early:vars]\nn=early\n"
        "[top:children]\na\nmid\n[mid:children]\nlow\n"
        "[a:vars]\nk=a\n[b:vars]\nk=b\nm=b\n[c:vars]\nm=c\n[low:vars]\nk=low\n"
        "[mid:vars]\nn=mid\n[top:vars]\nn=top\no=top\n"
        "[late:children]\nlow\n[late:vars]\nn=late\n";
    struct error e = {0};
    struct inventory *inv = inventory_parse(text, sizeof text - 1, "hosts.ini", &e);

    ck_assert_msg(inv != NULL, "%s", e.detail);
    ck_assert_str_eq(inventory_value(inv, "h", "k"), "low");
    ck_assert_str_eq(inventory_value(inv, "h", "m"), "c");
    ck_assert_str_eq(inventory_value(inv, "h", "n"), "mid");
    ck_assert_str_eq(inventory_value(inv, "h", "o"), "top");
    inventory_free(inv);
}
END_TEST

/* Many hosts in many groups, each below another one: no walk may be done for each of both. */
START_TEST(a_large_inventory_is_read_in_time)
{
    size_t size = (size_t)8 << 20, used = 0;
    char *text = malloc(size);
    struct names set = {0};
    struct error e = {0};
    struct inventory *inv;

    for (unsigned i = 0; i < 20000; i++)
        used += (size_t)snprintf(text + used, size - used,
                                 "[g%u]\nh%u\n[g%u:vars]\nv%u=1\n[g%u:children]\ng%u\n", i, i, i, i,
                                 i, i + 1);
    used += (size_t)snprintf(text + used, size - used,
                             "[g20000]\nm[1:50000]\n[g0:vars]\nansible_user=u\nansible_port=7\n");
    ck_assert_uint_lt(used, size - 1);
    inv = inventory_parse(text, used, "hosts.ini", &e);
    ck_assert_msg(inv != NULL, "%s", e.detail);
    ck_assert_int_eq(inventory_add(inv, "g0", &set, &e), 0);
    ck_assert_uint_eq(set.count, 70000);
    ck_assert_uint_ne(names_find(&set, "u@m50000:7", 10), NAMES_NONE);
    names_clear(&set);
    inventory_free(inv);
    free(text);
}
END_TEST

static Suite *inventory_suite(void)
{
    Suite *s = suite_create("targets_inventory");
    TCase *c = tcase_create("inventory");

    tcase_set_timeout(c, 60);
    tcase_add_test(c, groups_have_the_targets_of_their_hosts);
    tcase_add_loop_test(c, lines_are_read_as_ansible_does, 0,
                        (int)(sizeof hosts / sizeof hosts[0]));
    tcase_add_loop_test(c, mistakes_are_named_with_their_line, 0,
                        (int)(sizeof mistakes / sizeof mistakes[0]));
    tcase_add_test(c, the_nearest_value_wins);
    tcase_add_test(c, a_value_that_cannot_be_looked_up_is_no_value);
    tcase_add_test(c, groups_have_an_order);
    tcase_add_test(c, a_large_inventory_is_read_in_time);
    suite_add_tcase(s, c);
    return s;
}

UNIT_MAIN(inventory_suite)
