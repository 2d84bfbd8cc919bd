/* What users type: command lines of every verb, quantities, and calls of ssh.  The first byte names
 * the verb, the words are separated by newlines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/options.h"
#include "launcher/cli/quantity.h"
#include "launcher/ssh/sshline.h"
#include "tests/fuzz/seeds.h"

#define WORDS_MAX 24

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void seeds(seeds_sink *sink, void *arg)
{
    static const char *const all[] = {
        "0h\n--\nls\n-l",
        "0-vvn\nu@[::1]:22\n--json\nx y",
        "0-p\n22\n-la b\n-iq\"\\\n-Jgate\n-oA=1\nh\n-p1\ntrue",
        "0--timeout=1.5s\n--max-output\n64KiB\n--lease\n1m\n--connect-timeout=500ms\nh\nx",
        "0-e\nA=B\n--unset\nC\n--sudo=www\n--\nh[1]\nx",
        "1a\n-p\n7\nb\n--\n-c",
        "2--transport\nssh -T h\nhttp://h",
        "31.000001s",
        "31048576.5T",
        "3ssh -T -F '/a b' -oPort=1 -- h",
        "3/usr/bin/ssh h \"x",
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        sink(arg, (const uint8_t *)all[i], strlen(all[i]));
    }
    for (size_t i = 0; options_at(i) != NULL; i++) {
        char text[128];
        int n = snprintf(text, sizeof(text), "0--%s=1\nh\nx", options_at(i)->name);
        sink(arg, (const uint8_t *)text, (size_t)n);
    }
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static void check_quantities(const char *text)
{
    int64_t value = -1;
    int rc = quantity_time(text, &value);
    MUST(rc == 0 ? value >= 0 && value <= QUANTITY_TIME_MAX
                 : (rc == QUANTITY_MALFORMED || rc == QUANTITY_TOO_LARGE) && value == -1);
    value = -1;
    rc = quantity_size(text, &value);
    MUST(rc == 0 ? value >= 0 && value <= QUANTITY_SIZE_MAX
                 : (rc == QUANTITY_MALFORMED || rc == QUANTITY_TOO_LARGE) && value == -1);
}

static void check_ssh_line(const char *text)
{
    size_t after = 0;
    if (sshline_gives_login_shell(text, &after)) {
        MUST(after >= 3 && after < strlen(text) && strchr(" \t", text[after]) != NULL);
    }
}

static void check_parsed(const struct options *o)
{
    if (o->help || o->version) {
        return;
    }
    int from_file = o->host_files.count > 0 || o->rerun != NULL;
    MUST(from_file || (o->target != NULL && *o->target != '\0' && o->word_count > 0));
    MUST(o->word_count == 0 || o->words[o->word_count] == NULL);
    MUST(o->early_options <= o->ssh_options.count);
    MUST(o->lease == 0 || (o->lease >= 1000 && o->lease <= 86400000));
    MUST(o->timeout >= 0 && o->output_limit >= 0 && o->connect_timeout >= 0);
    MUST(o->transport == NULL || *o->transport != '\0');
    for (size_t i = 0; i < o->made_count; i++) {
        MUST(strchr(o->made[i], '=') != NULL);
    }
}

static void check_words(const char *verb, char *text)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    int argc = 0;
    struct options o;
    struct grapnel_error error;
    for (char *word; argc < WORDS_MAX && (word = strsep(&text, "\n")) != NULL;) {
        argv[argc++] = word;
    }
    int rc = options_parse(&o, verbs_find(verb), argc, argv, &error);
    if (rc == 0) {
        check_parsed(&o);
    } else {
        MUST(rc < 0 && error.detail[0] != '\0' && error.name != NULL);
    }
    options_clear(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const verbs[] = {"run", "facts", "doctor"};
    if (size == 0) {
        return 0;
    }
    char *text = strndup((const char *)data + 1, size - 1);
    MUST(text != NULL);
    if (data[0] % 4 == 3) {
        check_quantities(text);
        check_ssh_line(text);
    } else {
        check_words(verbs[data[0] % 4], text);
    }
    free(text);
    return 0;
}
