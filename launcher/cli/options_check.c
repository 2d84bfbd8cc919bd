/* Whether all that was given goes together. */
#include <string.h>

#include "launcher/cli/options_impl.h"
#include "launcher/cli/say.h"

int options_lists_hosts(const struct options *o)
{
    return o->rerun || o->host_files.count > 0;
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
    int takes_many = VERB_BIT_MANY >> o->verb->id & 1;
    /* Who reads sets knows better what is wrong with it. */
    int unclosed = takes_many && strchr(target, '[') && !strchr(target, ']');

    if (!*target)
        return say_fail(error, "ARGUMENT", "the target is empty");
    if (is_plain(target) && !unclosed)
        return 0;
    o->many = 1;
    if (!takes_many)
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
    if (o->log && o->resume && strcmp(o->log, o->resume) != 0)
        return say_fail(error, "ARGUMENT",
                        "--resume goes on writing to its own file: leave out --log");
    if (o->group + o->diff + o->json + (o->outdir != NULL) > 1 && o->many)
        return say_fail(error, "ARGUMENT", "only one of --group, --diff, --json and --outdir goes");
    return 0;
}

/* The word before the targets: there may be others one day. */
static int take_scan(struct options *o, struct grapnel_error *error)
{
    struct options_list *list = &o->operands;

    if (list->count == 0 || strcmp(list->items[0], "scan") != 0)
        return say_fail(error, "ARGUMENT", "%s needs the word scan before the targets",
                        o->verb->name);
    list->count--;
    memmove(list->items, list->items + 1, (list->count + 1) * sizeof *list->items);
    return 0;
}

int options_check(struct options *o, struct grapnel_error *error)
{
    enum verb_shape shape = o->verb->shape;
    int rc = 0;

    if (shape == SHAPE_SCAN && take_scan(o, error) < 0)
        return -1;
    if (shape == SHAPE_NONE && o->operands.count > 0)
        return say_fail(error, "ARGUMENT", "%s takes no targets", o->verb->name);
    if (shape == SHAPE_SOME && o->all && o->operands.count > 0)
        return say_fail(error, "ARGUMENT", "--all and targets contradict each other");
    if (o->purge && o->all)
        return say_fail(error, "ARGUMENT", "--purge needs targets");
    if (o->operands.count == 0 && shape != SHAPE_NONE && !(shape == SHAPE_SOME && o->all) &&
        !options_lists_hosts(o))
        return say_fail(error, "ARGUMENT", "a target is missing%s",
                        shape == SHAPE_SOME                           ? ", or --all"
                        : shape == SHAPE_HOSTS || shape == SHAPE_SCAN ? ", or --hostfile"
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
