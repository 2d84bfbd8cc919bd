/* The command line: times and sizes, options, and what a mistyped word was meant to be. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/near.h"
#include "launcher/cli/options.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"
#include "tests/unit/unit.h"

#define KI ((int64_t)1024)

static const struct {
    const char *text;
    int64_t value; /* -1: refused */
} times[] =
    {
        {"0", 0},
        {"10", 10000},
        {"1.5s", 1500},
        {"2m", 120000},
        {"2min", 120000},
        {"1h", 3600000},
        {"7d", 604800000},
        {"500ms", 500},
        {"0.25", 250},
        {"0.0001", 1}, /* a little is not nothing */
        {"1.000001s", 1001},
        {"366d", QUANTITY_TIME_MAX},
        {"366.1d", QUANTITY_TOO_LARGE},
        {"3651d", QUANTITY_TOO_LARGE},
        {"9223372036854775807", QUANTITY_TOO_LARGE},
        {"99999999999999999999999999", QUANTITY_TOO_LARGE},
        {"", -1},
        {"s", -1},
        {".5", 500},
        {".", -1},
        {"5.", -1},
        {"-1", -1},
        {"+1", -1},
        {" 1", -1},
        {"1 s", -1},
        {"1x", -1},
        {"1S", -1},
        {"1h30m", -1},
        {"1e3", -1},
        {"0x10", -1},
        {"1.1234567", -1},
        {"1.5.5", -1},
},
  sizes[] = {
      {"0", 0},
      {"4096", 4096},
      {"1b", 1},
      {"64k", 64 * KI},
      {"64K", 64 * KI},
      {"64KB", 64 * KI},
      {"64KiB", 64 * KI},
      {"10M", 10 * KI *KI},
      {"1.5G", 3 * KI *KI *KI / 2},
      {"2T", 2 * KI *KI *KI *KI},
      {"0.1", 1},
      {"1048576T", QUANTITY_SIZE_MAX},
      {"1048576.1T", QUANTITY_TOO_LARGE},
      {"1048577T", QUANTITY_TOO_LARGE},
      {"1152921504606846976", QUANTITY_SIZE_MAX},
      {"1152921504606846977", QUANTITY_TOO_LARGE},
      {"18446744073709551617", QUANTITY_TOO_LARGE},
      {"", -1},
      {"k", -1},
      {"-1k", -1},
      {"1kk", -1},
      {"1P", -1},
      {"1,5k", -1},
};

START_TEST(time_is_read)
{
    int64_t value = -9;
    int rc = quantity_time(times[_i].text, &value);

    ck_assert_msg(rc == (times[_i].value < 0 ? times[_i].value : 0), "%s: %d", times[_i].text, rc);
    if (rc == 0)
        ck_assert_int_eq(value, times[_i].value);
    else
        ck_assert_int_eq(value, -9);
}
END_TEST

START_TEST(size_is_read)
{
    int64_t value = -9;
    int rc = quantity_size(sizes[_i].text, &value);

    ck_assert_msg(rc == (sizes[_i].value < 0 ? sizes[_i].value : 0), "%s: %d", sizes[_i].text, rc);
    if (rc == 0)
        ck_assert_int_eq(value, sizes[_i].value);
    else
        ck_assert_int_eq(value, -9);
}
END_TEST

START_TEST(quantities_are_shown)
{
    char text[QUANTITY_TEXT];

    ck_assert_str_eq(quantity_size_text(text, 0), "0 bytes");
    ck_assert_str_eq(quantity_size_text(text, 1023), "1023 bytes");
    ck_assert_str_eq(quantity_size_text(text, 1024), "1.0 KiB");
    ck_assert_str_eq(quantity_size_text(text, 3 * KI * KI * KI / 2), "1.5 GiB");
    ck_assert_str_eq(quantity_size_text(text, INT64_MAX), "8.0 EiB");
    ck_assert_str_eq(quantity_time_text(text, 350), "0.35 ms");
    ck_assert_str_eq(quantity_time_text(text, 12100), "12.1 ms");
    ck_assert_str_eq(quantity_time_text(text, 350000), "350 ms");
    ck_assert_str_eq(quantity_time_text(text, 4200000), "4.20 s");
}
END_TEST

#define WORDS_MAX 12

/* How one command line is read: what must come out of it. */
static const struct {
    const char *verb;
    const char *argv[WORDS_MAX];
    const char *error;            /* part of the message; NULL: it is right */
    const char *words[WORDS_MAX]; /* the command, or the targets */
    const char *target;
} lines[] = {
    {"run", {"h", "--", "ls", "-l"}, NULL, {"ls", "-l"}, "h"},
    {"run", {"h", "ls", "-l"}, NULL, {"ls", "-l"}, "h"},
    {"run", {"h", "-p", "22", "ls", "-p"}, NULL, {"ls", "-p"}, "h"},
    {"run", {"-p22", "h", "--", "--", "x"}, NULL, {"--", "x"}, "h"},
    {"run", {"--", "h", "ls"}, NULL, {"ls"}, "h"},
    {"run", {"h", "ls", "--", "x"}, NULL, {"ls", "--", "x"}, "h"},
    {"run", {"h", "--", "--help"}, NULL, {"--help"}, "h"},
    {"run", {"h", "-"}, NULL, {"-"}, "h"},
    {"run", {"-vvn", "u@[::1]:22", "--json", "x y"}, NULL, {"x y"}, "u@[::1]:22"},
    {"run", {"-e", "--", "h", "x"}, "needs NAME=VALUE", {NULL}, NULL},
    {"run", {"-e", "A=", "-eB==", "--env=C=d", "h", "x"}, NULL, {"x"}, "h"},
    {"run", {"--timeout", "1.5s", "--max-output=1k", "h", "x"}, NULL, {"x"}, "h"},
    {"run", {"--sudo", "h", "x"}, NULL, {"x"}, "h"},
    {"run", {"--sudo=bob", "h", "x"}, NULL, {"x"}, "h"},
    {"run", {"--shell", "/bin/zsh", "h", "x y"}, NULL, {"x y"}, "h"},
    {"run", {"--shell", "/bin/zsh", "h", "x", "y"}, "one word", {NULL}, NULL},
    {"run", {NULL}, "target is missing", {NULL}, NULL},
    {"run", {"h"}, "command is missing", {NULL}, NULL},
    {"run", {"h", "--"}, "command is missing", {NULL}, NULL},
    {"run", {"h", ""}, "command is empty", {NULL}, NULL},
    {"run", {"", "x"}, "target is empty", {NULL}, NULL},
    {"run", {"a,b", "x"}, NULL, {"x"}, "a,b"},
    {"run", {"web[1-3]", "-n", "x"}, NULL, {"x"}, "web[1-3]"},
    {"run", {"-H", "f", "x"}, "command is missing after x", {NULL}, NULL},
    {"run", {"--json", "--group", "a,b", "x"}, "only one of", {NULL}, NULL},
    {"run", {"--fanout", "0", "h", "x"}, "number from 1", {NULL}, NULL},
    {"run", {"--batch", "101%", "h", "x"}, "1% to 100%", {NULL}, NULL},
    {"script", {"web[1-3]", "x"}, NULL, {"x"}, "web[1-3]"},
    {"repl", {"web[1-3]"}, "one target at a time", {NULL}, NULL},
    {"run", {"[::1", "x"}, NULL, {"x"}, "[::1"}, /* wrong, which the library says better */
    {"run", {"u@[]", "x"}, NULL, {"x"}, "u@[]"},
    {"run", {"-p", "0", "h", "x"}, "port from 1", {NULL}, NULL},
    {"run", {"-p", "65536", "h", "x"}, "port from 1", {NULL}, NULL},
    {"run", {"-p", "2x", "h", "x"}, "port from 1", {NULL}, NULL},
    {"run", {"-p"}, "-p needs PORT", {NULL}, NULL},
    {"run", {"--env"}, "--env needs NAME=VALUE", {NULL}, NULL},
    {"run", {"--unset", "A=B", "h", "x"}, "variable's name", {NULL}, NULL},
    {"run", {"--json=1", "h", "x"}, "takes no argument", {NULL}, NULL},
    {"run", {"--timeout", "soon", "h", "x"}, "needs a time", {NULL}, NULL},
    {"run", {"--max-output", "much", "h", "x"}, "needs a size", {NULL}, NULL},
    {"run", {"--timeout", "-1", "h", "x"}, "needs a time", {NULL}, NULL},
    {"run", {"--timeout", "367d", "h", "x"}, "at most 366d", {NULL}, NULL},
    {"run", {"--timeout", "0", "h", "x"}, NULL, {"x"}, "h"},
    {"run", {"--max-output", "-1", "h", "x"}, "needs a size", {NULL}, NULL},
    {"run", {"--max-output", "99999999999999999999", "h", "x"}, "at most 1048576T", {NULL}, NULL},
    {"run", {"--lease", "10ms", "h", "x"}, "from 1s to 24h", {NULL}, NULL},
    {"run", {"--lease", "25h", "h", "x"}, "from 1s to 24h", {NULL}, NULL},
    {"run", {"--lease", "0", "h", "x"}, "from 1s to 24h", {NULL}, NULL},
    {"run", {"--lease", "9999d", "h", "x"}, "from 1s to 24h", {NULL}, NULL},
    {"run", {"--connect-timeout", "0s", "h", "x"}, "more time than none", {NULL}, NULL},
    {"run", {"--transport", "", "h", "x"}, "--transport needs TRANSPORT", {NULL}, NULL},
    {"run", {"-l", "", "h", "x"}, "-l needs USER, which is empty", {NULL}, NULL},
    {"run", {"-i", "", "h", "x"}, "-i needs FILE", {NULL}, NULL},
    {"run", {"--lease=", "h", "x"}, "--lease needs TIME", {NULL}, NULL},
    {"run", {"--chdri", "/", "h", "x"}, "did you mean --chdir?", {NULL}, NULL},
    {"run", {"--zzzzzz", "h", "x"}, "unknown option --zzzzzz", {NULL}, NULL},
    {"run", {"-nZ", "h", "x"}, "unknown option -Z", {NULL}, NULL},
    {"run", {"-json", "h", "x"}, "two dashes", {NULL}, NULL},
    {"run", {"-qv", "h", "x"}, "contradict", {NULL}, NULL},
    {"run", {"-J", "a,b", "h", "x"}, NULL, {"x"}, "h"},
    {"run", {"-J", "a", "--jump=b", "h", "x"}, "may be given once", {NULL}, NULL},
    {"run", {"-nT", "h", "-T", "x"}, NULL, {"x"}, "h"},
    {"run", {"--no-tty=1", "h", "x"}, "takes no argument", {NULL}, NULL},
    {"facts", {"-T", "h"}, "not an option of facts", {NULL}, NULL},
    {"run", {"-t", "h", "x"}, "-t is not supported yet", {NULL}, NULL},
    {"facts", {"a", "-p", "7", "b", "--", "-c"}, NULL, {"a", "b", "-c"}, "a"},
    {"facts", {"-e", "A=b", "a"}, "not an option of facts", {NULL}, NULL},
    {"doctor", {"h"}, NULL, {"h"}, "h"},
    {"keys", {"scan", "-p", "7", "a", "b[1-2]"}, NULL, {"a", "b[1-2]"}, "a"},
    {"keys", {"-p", "7", "scan", "--yes", "scan"}, NULL, {"scan"}, "scan"},
    {"keys", {"a"}, "needs the word scan", {NULL}, NULL},
    {"keys", {"scan"}, "target is missing", {NULL}, NULL},
    {"doctor", {"h", "i"}, "one target at a time", {NULL}, NULL},
};

static int parse(struct options *o, const char *verb, const char *const *argv,
                 struct grapnel_error *error)
{
    int argc = 0;

    while (argv[argc])
        argc++;
    return options_parse(o, verbs_find(verb), argc, (char *const *)argv, error);
}

START_TEST(line_is_read)
{
    struct options o;
    struct grapnel_error error;
    int rc = parse(&o, lines[_i].verb, lines[_i].argv, &error);
    size_t n = 0;

    if (lines[_i].error) {
        ck_assert_int_lt(rc, 0);
        ck_assert_msg(strstr(error.detail, lines[_i].error) != NULL, "%s", error.detail);
    } else {
        ck_assert_msg(rc == 0, "%s", error.detail);
        ck_assert_str_eq(o.target, lines[_i].target);
        for (; lines[_i].words[n]; n++)
            ck_assert_str_eq(o.words[n], lines[_i].words[n]);
        ck_assert_uint_eq(o.word_count, n);
        ck_assert_ptr_null(o.words[n]);
    }
    options_clear(&o);
}
END_TEST

/* The broker, which may be who reads it, has another working directory. */
START_TEST(identities_are_named_from_the_root_on)
{
    static const char *const argv[] = {"-i", "a b", "web1", "--", "true", NULL};
    char here[1000], wanted[1100];
    struct options o;
    struct grapnel_error error;

    ck_assert_ptr_nonnull(getcwd(here, sizeof here));
    snprintf(wanted, sizeof wanted, "IdentityFile=\"%s/a b\"", here);
    ck_assert_int_eq(parse(&o, "run", argv, &error), 0);
    ck_assert_str_eq(o.ssh_options.items[0], wanted);
    options_clear(&o);
}
END_TEST

/* The same letter means another thing where no user can be named. */
START_TEST(held_connections)
{
    static const char *const list[] = {"-l", "--json", NULL},
                             *const one[] = {"-l", "george", "h", NULL},
                             *const all[] = {"--all", NULL}, *const both[] = {"--all", "h", NULL},
                             *const none[] = {NULL}, *const more[] = {"h", NULL};
    struct options o;
    struct grapnel_error error;

    ck_assert_int_eq(parse(&o, "ls", list, &error), 0);
    ck_assert(o.long_form && o.json && o.ssh_options.count == 0);
    options_clear(&o);
    ck_assert_int_eq(parse(&o, "close", one, &error), 0);
    ck_assert_str_eq(o.ssh_options.items[0], "User=\"george\"");
    options_clear(&o);
    ck_assert_int_eq(parse(&o, "close", all, &error), 0);
    ck_assert(o.all && o.word_count == 0 && o.keep == 0);
    options_clear(&o);
    ck_assert_int_lt(parse(&o, "close", both, &error), 0);
    options_clear(&o);
    ck_assert_int_lt(parse(&o, "close", none, &error), 0);
    options_clear(&o);
    ck_assert_int_lt(parse(&o, "servers", more, &error), 0);
    options_clear(&o);
    ck_assert_int_lt(parse(&o, "connect", none, &error), 0);
    options_clear(&o);
}
END_TEST

START_TEST(options_get_their_values)
{
    static const char *const options[] = {"User=\"bob\"",
                                          "Port=2222",
                                          "IdentityFile=\"/there/a b\"",
                                          "IdentityFile=\"~/\\\"\\\\\"",
                                          "A=1",
                                          "ProxyJump=gate",
                                          "B 2",
                                          "Port=1"};
    static const char *const argv[] = {
        "-vlbob",      "-p",          "2222",         "-i",
        "/there/a b",  "-i~/\"\\",    "-F",           "none",
        "-oA=1",       "-Jgate",      "-o",           "B 2",
        "--transport", "ssh -T h",    "--sudo=www",   "--connect-timeout",
        "3",           "h",           "--lease=1m",   "-C/srv",
        "-p1",         "-e",          "X=1",          "--unset",
        "Y",           "--clean-env", "--merge",      "-n",
        "--timeout",   "2m",          "--max-output", "1M",
        "--stats",     "--",          "true",         NULL};
    struct options o;
    struct grapnel_error error;

    ck_assert_int_eq(parse(&o, "run", argv, &error), 0);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        ck_assert_str_eq(o.ssh_options.items[i], options[i]);
    ck_assert_uint_eq(o.ssh_options.count, sizeof options / sizeof options[0]);
    ck_assert_ptr_null(o.ssh_options.items[o.ssh_options.count]);
    ck_assert_uint_eq(o.early_options, o.ssh_options.count - 1);
    ck_assert_str_eq(o.config_file, "none");
    ck_assert_str_eq(o.transport, "ssh -T h");
    ck_assert_str_eq(o.sudo_user, "www");
    ck_assert_int_eq(o.connect_timeout, 3000);
    ck_assert_int_eq(o.lease, 60000);
    ck_assert_str_eq(o.cwd, "/srv");
    ck_assert_str_eq(o.env.items[0], "X=1");
    ck_assert_str_eq(o.unset.items[0], "Y");
    ck_assert_int_eq(o.timeout, 120000);
    ck_assert_int_eq(o.output_limit, 1 << 20);
    ck_assert_int_eq(o.verbose, 1);
    ck_assert(o.clean_env && o.merge && o.no_input && o.stats);
    ck_assert(!o.json && !o.quiet && !o.help && !o.version);
    options_clear(&o);
}
END_TEST

/* What goes to one host as ever, and what goes to many. */
static const struct {
    const char *argv[WORDS_MAX];
    int many;
} goals[] = {
    {{"h", "x"}, 0},
    {{"-f", "3", "h", "x"}, 1},
    {{"u@[fe80::1]:22", "x"}, 0},
    {{"[fe80::[1-9]]", "x"}, 1},
    {{"web[1-3].example.com", "x"}, 1},
    {{"web[1]", "x"}, 1},
    {{"a,b", "x"}, 1},
    {{"a!b", "x"}, 1},
    {{"@web", "x"}, 1},
    {{"ssh://u@h:22", "x"}, 0},
    {{"-x", "a", "h", "x"}, 1},
    {{"-H", "f", "--", "x"}, 1},
    {{"--rerun", "f", "--", "x"}, 1},
    {{"--label", "h", "x"}, 1},
    {{"--json", "--stats", "h", "x"}, 0},
};

START_TEST(many_hosts_are_told_from_one)
{
    struct options o;
    struct grapnel_error error;

    ck_assert_int_eq(parse(&o, "run", goals[_i].argv, &error), 0);
    ck_assert_int_eq(o.many, goals[_i].many);
    ck_assert_str_eq(o.words[0], "x");
    options_clear(&o);
}
END_TEST

/* Help needs no target, and what comes after it is not looked at. */
START_TEST(help_comes_first)
{
    static const char *const argv[] = {"-v", "--help", "--nonsense", NULL};
    struct options o;
    struct grapnel_error error;

    ck_assert_int_eq(parse(&o, "run", argv, &error), 0);
    ck_assert_int_eq(o.help, 1);
    options_clear(&o);
}
END_TEST

/* Of every verb that takes it. */
static void letter_is_its_own(const struct options_entry *entry)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (options_fits(entry, verbs_at(i)))
            ck_assert_ptr_eq(options_by_letter(verbs_at(i), entry->letter), entry);
    }
}

START_TEST(table_is_sound)
{
    const struct options_entry *entry;

    for (size_t i = 0; (entry = options_at(i)) != NULL; i++) {
        ck_assert_ptr_eq(options_by_name(entry->name, strlen(entry->name)), entry);
        if (entry->letter)
            letter_is_its_own(entry);
        ck_assert_uint_lt(strlen(entry->name), 40);
        ck_assert_ptr_null(strchr(entry->help, '\n'));
    }
}
END_TEST

START_TEST(nearest_word_is_found)
{
    ck_assert_str_eq(verbs_nearest("rnu"), "run");
    ck_assert_str_eq(verbs_nearest("doc"), "doctor");
    ck_assert_str_eq(verbs_nearest("fatcs"), "facts");
    ck_assert_ptr_null(verbs_nearest("web1"));
    ck_assert_ptr_null(verbs_nearest(""));
    ck_assert_ptr_null(verbs_nearest("__complet"));
    ck_assert_ptr_null(verbs_nearest("an argument that is far too long for any word of ours"));
}
END_TEST

static const struct {
    const char *in, *out;
} texts[] = {
    {"plain", "plain"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x99",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x99"},
    {"\033[31m\n", "\\x1b[31m\\x0a"},
    {"\x7f", "\\x7f"},
    {"\xc2\x9b"
     "0m",
     "\\xc2\\x9b"
     "0m"},
    {"\xe2\x80\xae", "\\xe2\\x80\\xae"},
    {"\xff\xc3", "\\xff\\xc3"},
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
    {"\xc0\xaf", "\\xc0\\xaf"},
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
};

START_TEST(text_is_made_harmless)
{
    char out[200], cut[4];

    ck_assert_str_eq(say_safe(out, sizeof out, texts[_i].in), texts[_i].out);
    say_safe(cut, sizeof cut, texts[_i].in);
    ck_assert_uint_lt(strlen(cut), sizeof cut);
    ck_assert_int_eq(strncmp(cut, texts[_i].out, strlen(cut)), 0);
}
END_TEST

START_TEST(bytes_become_json)
{
    json_t *object = json_object();

    ck_assert_int_eq(say_json_bytes(object, "a", "x\0y", 3), 0);
    ck_assert_uint_eq(json_string_length(json_object_get(object, "a")), 3);
    ck_assert_int_eq(say_json_bytes(object, "b", "\xff", 1), 0);
    ck_assert_int_eq(say_json_bytes(object, "c", "\xff\xfe", 2), 0);
    ck_assert_int_eq(say_json_bytes(object, "d", "\xff\xfe\xfd", 3), 0);
    ck_assert_int_eq(say_json_bytes(object, "e", "\xff\xfe\xfd\xfc", 4), 0);
    ck_assert_int_eq(say_json_bytes(object, "f", NULL, 0), 0);
    ck_assert_str_eq(json_string_value(json_object_get(object, "b_base64")), "/w==");
    ck_assert_str_eq(json_string_value(json_object_get(object, "c_base64")), "//4=");
    ck_assert_str_eq(json_string_value(json_object_get(object, "d_base64")), "//79");
    ck_assert_str_eq(json_string_value(json_object_get(object, "e_base64")), "//79/A==");
    ck_assert_str_eq(json_string_value(json_object_get(object, "f")), "");
    ck_assert_ptr_null(json_object_get(object, "b"));
    json_decref(object);
}
END_TEST

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

static Suite *cli_suite(void)
{
    Suite *s = suite_create("cli");
    TCase *t = tcase_create("parse");

    tcase_add_loop_test(t, time_is_read, 0, COUNT(times));
    tcase_add_loop_test(t, size_is_read, 0, COUNT(sizes));
    tcase_add_test(t, quantities_are_shown);
    tcase_add_loop_test(t, line_is_read, 0, COUNT(lines));
    tcase_add_test(t, options_get_their_values);
    tcase_add_test(t, identities_are_named_from_the_root_on);
    tcase_add_test(t, held_connections);
    tcase_add_loop_test(t, many_hosts_are_told_from_one, 0, (int)(sizeof goals / sizeof goals[0]));
    tcase_add_test(t, help_comes_first);
    tcase_add_test(t, table_is_sound);
    tcase_add_test(t, nearest_word_is_found);
    tcase_add_loop_test(t, text_is_made_harmless, 0, COUNT(texts));
    tcase_add_test(t, bytes_become_json);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(cli_suite)
