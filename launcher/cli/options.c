#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/cli/near.h"
#include "launcher/cli/options_impl.h"
#include "launcher/cli/say.h"

static const struct options_entry table[] = {
#define OPTION(name, letter, kind, member, argument, verbs, group, help)                           \
    {name,     letter,           OPTIONS_##kind,  offsetof(struct options, member),                \
     argument, VERB_BIT_##verbs, OPTIONS_##group, help},
#include "launcher/cli/options.def"
#undef OPTION
};

#define TABLE_COUNT (sizeof table / sizeof table[0])

const struct options_entry *options_at(size_t i)
{
    return i < TABLE_COUNT ? &table[i] : NULL;
}

const struct options_entry *options_by_letter(const struct verb *verb, char letter)
{
    const struct options_entry *found = NULL;

    for (size_t i = 0; letter && i < TABLE_COUNT; i++) {
        if (table[i].letter == letter && (!found || options_fits(&table[i], verb)))
            found = &table[i];
    }
    return found;
}

const struct options_entry *options_by_name(const char *name, size_t n)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (strlen(table[i].name) == n && !strncmp(table[i].name, name, n))
            return &table[i];
    }
    return NULL;
}

int options_fits(const struct options_entry *entry, const struct verb *verb)
{
    return (entry->verbs >> verb->id & 1) != 0;
}

static int unknown_option(const struct reader *r, const char *name, size_t n)
{
    char word[64];
    struct near best;
    int cut = n < sizeof word ? (int)n : (int)sizeof word - 1;

    memcpy(word, name, (size_t)cut);
    word[cut] = '\0';
    near_begin(&best, word);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (options_fits(&table[i], r->o->verb))
            near_offer(&best, table[i].name);
    }
    if (near_best(&best))
        return say_fail(r->error, "ARGUMENT", "unknown option --%s (did you mean --%s?)", word,
                        near_best(&best));
    return say_fail(r->error, "ARGUMENT", "unknown option --%s", word);
}

/* One option.  shown: as it was typed.  attached: what follows it in its own word, or NULL; *used
 * tells whether that was its argument. */
static int set_option(struct reader *r, const struct options_entry *entry, const char *shown,
                      const char *attached, int *used)
{
    const struct verb *verb = r->o->verb;
    const char *value = attached;
    int *flag = (int *)(void *)((char *)r->o + entry->offset);

    *used = 0;
    if (!options_fits(entry, verb))
        return say_fail(r->error, "ARGUMENT", "%s is not an option of %s", shown, verb->name);
    if (entry->kind == OPTIONS_LATER)
        return say_fail(r->error, "UNSUPPORTED", "%s is %s", shown, entry->help);
    if (entry->kind == OPTIONS_NOTHING)
        return 0;
    r->o->many |= entry->group == OPTIONS_FLEET || entry->group == OPTIONS_TARGETS;
    if (entry->kind == OPTIONS_FLAG || entry->kind == OPTIONS_COUNT) {
        *flag += entry->kind == OPTIONS_COUNT || !*flag;
        return 0;
    }
    if (entry->kind == OPTIONS_SUDO && !value)
        value = "";
    if (!value) {
        if (r->next >= r->argc)
            return say_fail(r->error, "ARGUMENT", "%s needs %s", shown, entry->argument);
        value = r->argv[r->next++];
    }
    *used = 1;
    return options_set_value(r, entry, shown, value);
}

static int read_long(struct reader *r, const char *word)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    const struct options_entry *entry = options_by_name(name, n);
    char shown[64];
    int used, rc;

    if (!entry)
        return unknown_option(r, name, n);
    snprintf(shown, sizeof shown, "--%s", entry->name);
    rc = set_option(r, entry, shown, equals ? equals + 1 : NULL, &used);
    if (rc == 0 && equals && !used)
        return say_fail(r->error, "ARGUMENT", "%s takes no argument", shown);
    return rc;
}

static int read_letters(struct reader *r, const char *word)
{
    int used = 0, rc = 0;

    for (const char *s = word + 1; *s && !used && rc == 0; s++) {
        const struct options_entry *entry = options_by_letter(r->o->verb, *s);
        char shown[3] = {'-', *s, '\0'};

        if (!entry)
            return say_fail(r->error, "ARGUMENT", "unknown option -%c%s%s%s", *s,
                            s > word + 1 ? " in " : "", s > word + 1 ? word : "",
                            word[1] != '-' && strlen(word) > 3 &&
                                    options_by_name(word + 1, strlen(word + 1))
                                ? " (long options begin with two dashes)"
                                : "");
        rc = set_option(r, entry, shown, s[1] ? s + 1 : NULL, &used);
    }
    return rc;
}

/* Reads up to the end, or to where the command begins. */
static int read_words(struct reader *r)
{
    struct options *o = r->o;
    int commands = verbs_takes_words(o->verb), ended = 0, rc = 0;

    while (r->next < r->argc && rc == 0 && !o->help && !o->version) {
        const char *word = r->argv[r->next];

        if (commands && o->operands.count == 1 && (ended || word[0] != '-' || !word[1]))
            break;
        r->next++;
        if (!ended && !strcmp(word, "--")) {
            ended = 1;
            if (commands && (o->operands.count == 1 || options_lists_hosts(o)))
                break;
        } else if (!ended && word[0] == '-' && word[1] == '-') {
            rc = read_long(r, word);
        } else if (!ended && word[0] == '-' && word[1]) {
            rc = read_letters(r, word);
        } else {
            if (o->operands.count == (o->verb->shape == SHAPE_SCAN))
                o->early_options = o->ssh_options.count;
            rc = options_list_add(&o->operands, word, r->error);
        }
    }
    return rc;
}

/* The words as they are; only a first --help is an option. */
static int parse_plain(struct options *o, int argc, char *const *argv)
{
    if (o->verb->summary && argc > 0 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")))
        o->help = 1;
    o->words = (const char *const *)argv;
    o->word_count = (size_t)argc;
    return 0;
}

int options_parse(struct options *o, const struct verb *verb, int argc, char *const *argv,
                  struct grapnel_error *error)
{
    struct reader r = {.o = o, .argc = argc, .argv = argv, .error = error};
    int rc;

    *o = (struct options){.verb = verb};
    if (verb->shape == SHAPE_WORDS)
        return parse_plain(o, argc, argv);
    rc = read_words(&r);
    if (rc < 0 || o->help || o->version)
        return rc;
    if (verbs_takes_words(verb)) {
        o->words = (const char *const *)argv + r.next;
        o->word_count = (size_t)(argc - r.next);
    }
    return options_check(o, error);
}

void options_clear(struct options *o)
{
    for (size_t i = 0; i < o->made_count; i++)
        free(o->made[i]);
    free(o->made);
    free(o->ssh_options.items);
    free(o->env.items);
    free(o->unset.items);
    free(o->host_files.items);
    free(o->exclude.items);
    free(o->operands.items);
    *o = (struct options){.verb = NULL};
}
