#include "launcher/cli/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/near.h"
#include "launcher/cli/quantity.h"
#include "launcher/cli/say.h"

#define LEASE_MIN    1000 /* ms: the library's own bounds */
#define LEASE_MAX    86400000
#define INSTANCE_MAX 65535

static const struct options_entry table[] = {
#define OPTION(name, letter, kind, member, argument, verbs, group, help)                           \
    {name,     letter,           OPTIONS_##kind,  offsetof(struct options, member),                \
     argument, VERB_BIT_##verbs, OPTIONS_##group, help},
#include "launcher/cli/options.def"
#undef OPTION
};

#define TABLE_COUNT (sizeof table / sizeof table[0])

/* Where parsing stands. */
struct reader {
    struct options *o;
    int argc;
    char *const *argv;
    int next; /* the word to read next */
    struct grapnel_error *error;
};

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

static int list_add(struct options_list *list, const char *item, struct grapnel_error *error)
{
    const char **items = realloc(list->items, (list->count + 2) * sizeof *items);

    if (!items)
        return say_fail(error, "NOMEM", "out of memory");
    items[list->count++] = item;
    items[list->count] = NULL;
    list->items = items;
    return 0;
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

/* Another way to write an ssh option.  text: from malloc, or NULL; owned from now on. */
static int add_made(struct reader *r, char *text)
{
    struct options *o = r->o;

    if (!text)
        return say_fail(r->error, "NOMEM", "out of memory");
    if (list_add(&o->made, text, r->error) < 0) {
        free(text);
        return -1;
    }
    return list_add(&o->ssh_options, text, r->error);
}

/* KEY="value", as ssh_config quotes. */
static char *quoted(const char *key, const char *value)
{
    char *text = malloc(strlen(key) + 2 * strlen(value) + 4), *at = text;

    if (!text)
        return NULL;
    at += sprintf(at, "%s=\"", key);
    for (; *value; *at++ = *value++) {
        if (*value == '"' || *value == '\\')
            *at++ = '\\';
    }
    memcpy(at, "\"", 2);
    return text;
}

/* From the root on: the broker, which may be who reads it, is somewhere else.  NULL: memory is out.
 */
static char *whole_path(const char *value)
{
    char here[PATH_MAX], *whole;

    if (strchr("/~%$", *value) || !strcmp(value, "none") || !getcwd(here, sizeof here))
        return strdup(value);
    return asprintf(&whole, "%s/%s", here, value) < 0 ? NULL : whole;
}

static char *identity(const char *value)
{
    char *path = whole_path(value), *text = path ? quoted("IdentityFile", path) : NULL;

    free(path);
    return text;
}

static int set_jump(struct reader *r, const char *shown, const char *value)
{
    char *text;

    if (r->o->jumps++)
        return say_fail(r->error, "ARGUMENT", "%s may be given once: put commas between hosts",
                        shown);
    return add_made(r, asprintf(&text, "ProxyJump=%s", value) < 0 ? NULL : text);
}

static int set_port(struct reader *r, const char *shown, const char *value)
{
    char *text;
    long port = strspn(value, "0123456789") == strlen(value) ? strtol(value, NULL, 10) : 0;

    if (port < 1 || port > 65535)
        return say_fail(r->error, "ARGUMENT", "%s needs a port from 1 to 65535, not '%s'", shown,
                        value);
    return add_made(r, asprintf(&text, "Port=%ld", port) < 0 ? NULL : text);
}

static int set_time(struct reader *r, const struct options_entry *entry, const char *shown,
                    const char *value, int64_t *ms)
{
    int rc = quantity_time(value, ms);

    if (entry->kind == OPTIONS_LEASE && (rc < 0 || *ms < LEASE_MIN || *ms > LEASE_MAX))
        return say_fail(r->error, "ARGUMENT", "%s needs a time from 1s to 24h, not '%s'", shown,
                        value);
    if (rc == QUANTITY_TOO_LARGE)
        return say_fail(r->error, "ARGUMENT", "%s is at most 366d, not '%s'", shown, value);
    if (rc < 0)
        return say_fail(r->error, "ARGUMENT",
                        "%s needs a time such as 90, 1.5s, 500ms, 2m or 1h, not '%s'", shown,
                        value);
    if (entry->kind == OPTIONS_SPAN && *ms == 0)
        return say_fail(r->error, "ARGUMENT", "%s needs more time than none", shown);
    return 0;
}

static int set_size(struct reader *r, const char *shown, const char *value, int64_t *bytes)
{
    int rc = quantity_size(value, bytes);

    if (rc == QUANTITY_TOO_LARGE)
        return say_fail(r->error, "ARGUMENT", "%s is at most 1048576T, not '%s'", shown, value);
    if (rc < 0)
        return say_fail(r->error, "ARGUMENT",
                        "%s needs a size such as 4096, 64k, 10M or 1.5G, not '%s'", shown, value);
    return 0;
}

static int set_number(struct reader *r, const char *shown, const char *value, int *number)
{
    int digits = strspn(value, "0123456789") == strlen(value) && strlen(value) < 6;

    *number = digits ? (int)strtol(value, NULL, 10) : 0;
    if (*number < 1 || *number > INSTANCE_MAX)
        return say_fail(r->error, "ARGUMENT", "%s needs a number from 1 to %d, not '%s'", shown,
                        INSTANCE_MAX, value);
    return 0;
}

/* Members of int64_t. */
static int set_many(struct reader *r, const struct options_entry *entry, const char *shown,
                    const char *value, int64_t *number)
{
    if (entry->kind == OPTIONS_SHARE && quantity_share(value, number) < 0)
        return say_fail(r->error, "ARGUMENT",
                        "%s needs a number of hosts, or 1%% to 100%% of them, not '%s'", shown,
                        value);
    if (entry->kind == OPTIONS_WHOLE && (quantity_share(value, number) < 0 || *number < 0))
        return say_fail(r->error, "ARGUMENT", "%s needs a number from 1 on, not '%s'", shown,
                        value);
    return 0;
}

static int set_text(struct reader *r, const struct options_entry *entry, const char *shown,
                    const char *value)
{
    int64_t *number = (int64_t *)(void *)((char *)r->o + entry->offset);
    struct options_list *list = (struct options_list *)(void *)number;
    const char *equals = strchr(value, '=');

    if (!*value && entry->kind != OPTIONS_SUDO)
        return say_fail(r->error, "ARGUMENT", "%s needs %s, which is empty here", shown,
                        entry->argument);
    switch (entry->kind) {
    case OPTIONS_PAIR:
        if (!equals || equals == value)
            return say_fail(r->error, "ARGUMENT", "%s needs NAME=VALUE, not '%s'", shown, value);
        return list_add(list, value, r->error);
    case OPTIONS_NAME:
        if (equals)
            return say_fail(r->error, "ARGUMENT", "%s needs a variable's name, not '%s'", shown,
                            value);
        return list_add(list, value, r->error);
    case OPTIONS_LIST:
        return list_add(list, value, r->error);
    case OPTIONS_USER:
        return add_made(r, quoted("User", value));
    case OPTIONS_PORT:
        return set_port(r, shown, value);
    case OPTIONS_IDENTITY:
        return add_made(r, identity(value));
    case OPTIONS_JUMP:
        return set_jump(r, shown, value);
    case OPTIONS_TIME:
    case OPTIONS_SPAN:
    case OPTIONS_LEASE:
        return set_time(r, entry, shown, value, number);
    case OPTIONS_NUMBER:
        return set_number(r, shown, value, (int *)(void *)number);
    case OPTIONS_WHOLE:
    case OPTIONS_SHARE:
        return set_many(r, entry, shown, value, number);
    case OPTIONS_SIZE:
        return set_size(r, shown, value, number);
    default:
        *(const char **)(void *)number = value;
        return 0;
    }
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
    return set_text(r, entry, shown, value);
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

/* True when targets may be left out, as another option names hosts. */
static int lists_hosts(const struct options *o)
{
    return o->rerun || o->host_files.count > 0;
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
            if (commands && (o->operands.count == 1 || lists_hosts(o)))
                break;
        } else if (!ended && word[0] == '-' && word[1] == '-') {
            rc = read_long(r, word);
        } else if (!ended && word[0] == '-' && word[1]) {
            rc = read_letters(r, word);
        } else {
            if (o->operands.count == 0)
                o->early_options = o->ssh_options.count;
            rc = list_add(&o->operands, word, r->error);
        }
    }
    return rc;
}

/* Not a list, a range or a group, but one host.  Brackets around an address, or around what is
 * none, are the library's affair. */
static int is_plain(const char *target)
{
    const char *open = strchr(target, '['), *close = open ? strchr(open, ']') : NULL;

    return *target != '@' && !strpbrk(target, ",&^! \t") && !(open && strchr(open + 1, '[')) &&
           !(close && close > open + 1 && !memchr(open, ':', (size_t)(close - open)));
}

static int check_target(struct options *o, const char *target, struct grapnel_error *error)
{
    if (!*target)
        return say_fail(error, "ARGUMENT", "the target is empty");
    if (is_plain(target))
        return 0;
    o->many = 1;
    if (!(VERB_BIT_MANY >> o->verb->id & 1))
        return say_fail(error, "ARGUMENT", "'%s' names several hosts: give one target at a time",
                        target);
    return 0;
}

/* What the first word after the target is. */
static const char *noun(const struct verb *verb)
{
    switch (verb->id) {
    case VERB_CALL:
        return "function";
    case VERB_EVAL:
        return "expression";
    case VERB_SCRIPT:
        return "script";
    default:
        return "command";
    }
}

static int check_words(const struct options *o, struct grapnel_error *error)
{
    const char *what = noun(o->verb);

    if (o->word_count == 0)
        return say_fail(error, "ARGUMENT", "%s %s is missing after %s", *what == 'e' ? "an" : "a",
                        what, o->target ? o->target : "--");
    if ((o->word_count == 1 || o->verb->shape != SHAPE_COMMAND) && !*o->words[0])
        return say_fail(error, "ARGUMENT", "the %s is empty", what);
    if (o->shell && o->word_count > 1)
        return say_fail(error, "ARGUMENT",
                        "--shell needs the command in one word: several are run without a shell");
    return 0;
}

static int check_fleet(const struct options *o, struct grapnel_error *error)
{
    if (o->color && strcmp(o->color, "auto") != 0 && strcmp(o->color, "always") != 0 &&
        strcmp(o->color, "never") != 0)
        return say_fail(error, "ARGUMENT", "--color needs auto, always or never, not '%s'",
                        o->color);
    if (o->label && o->no_label)
        return say_fail(error, "ARGUMENT", "--label and --no-label contradict each other");
    if (o->group + o->diff + o->json + (o->outdir != NULL) > 1 && o->many)
        return say_fail(error, "ARGUMENT", "only one of --group, --diff, --json and --outdir goes");
    return 0;
}

static int check(struct options *o, struct grapnel_error *error)
{
    enum verb_shape shape = o->verb->shape;
    int rc = 0;

    if (shape == SHAPE_NONE && o->operands.count > 0)
        return say_fail(error, "ARGUMENT", "%s takes no targets", o->verb->name);
    if (shape == SHAPE_SOME && o->all && o->operands.count > 0)
        return say_fail(error, "ARGUMENT", "--all and targets contradict each other");
    if (o->purge && o->all)
        return say_fail(error, "ARGUMENT", "--purge needs targets");
    if (o->operands.count == 0 && shape != SHAPE_NONE && !(shape == SHAPE_SOME && o->all) &&
        !lists_hosts(o))
        return say_fail(error, "ARGUMENT", "a target is missing%s",
                        shape == SHAPE_SOME    ? ", or --all"
                        : shape == SHAPE_HOSTS ? ", or --hostfile"
                                               : "");
    if (o->expand + o->fold + o->count > 1)
        return say_fail(error, "ARGUMENT", "--expand, --fold and --count contradict each other");
    for (size_t i = 0; i < o->operands.count && rc == 0 && shape != SHAPE_HOSTS; i++)
        rc = check_target(o, o->operands.items[i], error);
    if (rc < 0)
        return rc;
    o->target = o->operands.count ? o->operands.items[0] : NULL;
    /* Its output is told as that of many is. */
    o->many |= o->json && o->verb->id == VERB_SCRIPT;
    if (o->quiet && o->verbose)
        return say_fail(error, "ARGUMENT", "-q and -v contradict each other");
    rc = check_fleet(o, error);
    if (rc < 0)
        return rc;
    if (verbs_takes_words(o->verb))
        return check_words(o, error);
    o->words = o->operands.items;
    o->word_count = o->operands.count;
    o->many |= o->word_count > 1;
    if (shape == SHAPE_TARGET && o->word_count > 1)
        return say_fail(error, "ARGUMENT", "%s takes one target at a time", o->verb->name);
    return 0;
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
    return check(o, error);
}

void options_clear(struct options *o)
{
    for (size_t i = 0; i < o->made.count; i++)
        free((char *)(uintptr_t)o->made.items[i]);
    free(o->made.items);
    free(o->ssh_options.items);
    free(o->env.items);
    free(o->unset.items);
    free(o->host_files.items);
    free(o->exclude.items);
    free(o->operands.items);
    *o = (struct options){.verb = NULL};
}
