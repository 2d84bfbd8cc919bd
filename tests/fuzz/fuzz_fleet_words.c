/* What is put into the words of a command for one host: the text is that of the word with nothing
 * but the values in it, and in a line for a shell each of them is one plain word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/fleet/fleet_words.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* An input: the host's name, what the inventory knows of it, and the word, each to a zero byte. */
struct parts {
    char *all;
    const char *name, *value, *word;
};

static void seeds(seeds_sink *sink, void *arg)
{
    static const char all[][40] = {"web1\0007\0echo %h %n %u %{rack} %%",
                                   "ssh://u@web1:22\0a b\0%h%{x}", "u@[fe80::1]:22\0;\0%h",
                                   "[::1\0\0%{}%", "a:b:c\0x\0%{rack%u"};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sink(arg, (const uint8_t *)all[i], sizeof all[i]);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds);
}

static struct parts part(const uint8_t *data, size_t size)
{
    struct parts p = {.all = calloc(size + 3, 1)};

    MUST(p.all);
    if (size > 0)
        memcpy(p.all, data, size);
    p.name = p.all;
    p.value = p.name + strlen(p.name) + 1;
    p.word = p.value + strlen(p.value) + 1 > p.all + size ? "" : p.value + strlen(p.value) + 1;
    if (p.value > p.all + size)
        p.value = "";
    return p;
}

/* There is no value that is empty. */
static const char *value_of(void *arg, const char *key)
{
    const struct parts *p = arg;

    return *key && *p->value ? p->value : NULL;
}

static int is_plain(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strchr("_@%+=:,./-", text[i]) && !(text[i] >= '0' && text[i] <= '9') &&
            !((text[i] | 32) >= 'a' && (text[i] | 32) <= 'z'))
            return 0;
    }
    return n > 0;
}

/* Whether `text` is the word with these values in it. */
static void check_text(const struct parts *p, const char *text, int shell)
{
    char host[512];

    fleet_words_host_of(host, sizeof host, p->name);
    for (const char *s = p->word; *s; s++) {
        const char *value = NULL;

        if (*s != '%' || s[1] == '%') {
            MUST(*text++ == *s);
            s += *s == '%';
            continue;
        }
        s++;
        value = *s == 'h' ? host : *s == 'n' ? "42" : p->value;
        MUST(*s && strchr("hnu{", *s));
        if (*s == '{')
            s = strchr(s, '}');
        MUST(s && strncmp(text, value, strlen(value)) == 0);
        MUST(!shell || is_plain(value, strlen(value)));
        text += strlen(value);
    }
    MUST(*text == '\0');
}

static void check(struct parts *p, int shell)
{
    struct fleet_words_host host = {.name = p->name, .number = 42, .value = value_of, .arg = p};
    char why[100] = "";
    char *text = fleet_words(p->word, &host, shell, why, sizeof why);

    MUST(text || *why);
    if (text)
        check_text(p, text, shell);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct parts p = part(data, size);

    check(&p, 0);
    check(&p, 1);
    free(p.all);
    return 0;
}
