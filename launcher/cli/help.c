#include "launcher/cli/help.h"

#include <string.h>

#include "launcher/cli/options.h"
#include "launcher/cli/say.h"

#define WIDTH       79 /* columns of a line, so that 80 never wrap */
#define OPTION_TEXT 27 /* column where an option's text begins */

static void indent(FILE *f, int n)
{
    fprintf(f, "%*s", n, "");
}

/* Prints text (up to `end`) in lines between columns `left` and WIDTH; the first line has `used`
 * columns already. */
static void wrap(FILE *f, const char *text, const char *end, int left, int used)
{
    int column = used, fresh;

    if (column < left) {
        indent(f, left - column);
        column = left;
    }
    fresh = 1;
    while (text < end) {
        size_t n = strcspn(text, " ");
        int length;

        if (n > (size_t)(end - text))
            n = (size_t)(end - text);
        length = (int)n;
        if (!fresh && column + 1 + length > WIDTH) {
            fputc('\n', f);
            indent(f, left);
            column = left;
            fresh = 1;
        }
        fprintf(f, "%s%.*s", fresh ? "" : " ", length, text);
        column += length + !fresh;
        fresh = 0;
        text += n;
        while (text < end && *text == ' ')
            text++;
    }
    fputc('\n', f);
}

static void paragraphs(FILE *f, const char *text)
{
    while (*text) {
        const char *end = text + strcspn(text, "\n");

        wrap(f, text, end, 0, 0);
        fputc('\n', f);
        text = *end ? end + 1 : end;
    }
}

static void print_option(FILE *f, const struct options_entry *entry)
{
    int used = entry->letter ? fprintf(f, "  -%c, --%s", entry->letter, entry->name)
                             : fprintf(f, "      --%s", entry->name);

    if (entry->argument)
        used += fprintf(f, entry->kind == OPTIONS_SUDO ? "[=%s]" : " %s", entry->argument);
    if (used + 2 > OPTION_TEXT) {
        fputc('\n', f);
        used = 0;
    }
    wrap(f, entry->help, entry->help + strlen(entry->help), OPTION_TEXT, used);
}

static void print_group(FILE *f, const struct verb *verb, enum options_group group)
{
    static const char *const headings[OPTIONS_GROUP_COUNT] = {
        "The targets", "The connection", "What runs there", "Many hosts", "What is said"};
    const struct options_entry *entry;
    int any = 0;

    for (size_t i = 0; (entry = options_at(i)) != NULL; i++) {
        if (entry->group != group || !options_fits(entry, verb))
            continue;
        if (!any)
            fprintf(f, "%s:\n", headings[group]);
        any = 1;
        print_option(f, entry);
    }
    if (any)
        fputc('\n', f);
}

static void print_examples(FILE *f, const char *text)
{
    if (*text)
        fputs("Examples:\n", f);
    while (*text) {
        const char *tab = text + strcspn(text, "\t"), *end = text + strcspn(text, "\n");

        fprintf(f, "  %.*s\n", (int)(tab - text), text);
        fprintf(f, "      %.*s\n", (int)(end - tab - 1), tab + 1);
        text = *end ? end + 1 : end;
    }
}

void help_one(FILE *f, const struct verb *verb)
{
    fprintf(f, "grapnel %s: %s\n\nUsage: grapnel %s %s\n\n", verb->name, verb->summary, verb->name,
            verb->synopsis);
    paragraphs(f, verb->details);
    if (verb->shape != SHAPE_WORDS) {
        for (int group = 0; group < OPTIONS_GROUP_COUNT; group++)
            print_group(f, verb, (enum options_group)group);
    }
    print_examples(f, verb->examples);
}

void help_all(FILE *f)
{
    fputs("grapnel: runs things on hosts that have nothing but an SSH server\n\n"
          "Usage: grapnel VERB [options] TARGET [arguments]\n\n"
          "Verbs:\n",
          f);
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (verbs_at(i)->summary)
            fprintf(f, "  %-8s %s\n", verbs_at(i)->name, verbs_at(i)->summary);
    }
    fputs("\nOptions:\n"
          "  --help     show this, or with a verb what it does\n"
          "  --version  show the version\n\n"
          "Example:\n"
          "  grapnel run root@web1 -- uname -a\n\n"
          "`grapnel VERB --help` tells all about one verb.\n",
          f);
}

int help_verb(const struct options *o)
{
    struct grapnel_error error;
    const struct verb *verb = o->word_count > 0 ? verbs_find(o->words[0]) : NULL;

    if (o->word_count > 1) {
        say_note("help: one verb at a time");
        return SAY_FAILED;
    }
    if (o->word_count > 0 && !(verb && verb->summary)) {
        const char *nearest = verbs_nearest(o->words[0]);

        say_note("help: there is no verb '%s'%s%s%s", o->words[0], nearest ? " (did you mean " : "",
                 nearest ? nearest : "", nearest ? "?)" : "");
        return SAY_FAILED;
    }
    if (verb)
        help_one(stdout, verb);
    else
        help_all(stdout);
    if (say_flush(&error) == 0)
        return 0;
    say_error(&error);
    return SAY_FAILED;
}
