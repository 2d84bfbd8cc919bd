#include "launcher/cli/man.h"

#include <stdio.h>
#include <string.h>

#include "launcher/cli/options.h"
#include "launcher/cli/say.h"

#define BEGIN     ".\\\" begin "
#define END       ".\\\" end"
#define LINE_SIZE 4096

/* mdoc text: dashes that belong to options or programs are not hyphens. */
static void text(const char *s, const char *end)
{
    char before = ' ';

    if (s < end && (*s == '.' || *s == '\''))
        fputs("\\&", stdout);
    for (; s < end; before = *s++) {
        if (*s == '\\')
            fputs("\\e", stdout);
        else if (*s == '-' && (before == ' ' || before == '-' || before == '\''))
            fputs("\\-", stdout);
        else
            putchar(*s);
    }
    putchar('\n');
}

static void whole_text(const char *s)
{
    text(s, s + strlen(s));
}

static void verbs(void)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const struct verb *v = verbs_at(i);
        int first = 1;

        if (!v->summary)
            continue;
        printf(".It Nm grapnel Cm %s ", v->name);
        whole_text(v->synopsis);
        for (const char *s = v->details; *s;) {
            const char *end = s + strcspn(s, "\n");

            if (!first)
                puts(".Pp");
            first = 0;
            text(s, end);
            s = *end ? end + 1 : end;
        }
    }
}

static void option_head(const struct options_entry *entry)
{
    fputs(".It ", stdout);
    if (entry->letter) {
        printf("Fl %c", entry->letter);
        if (entry->argument)
            printf(" Ar %s", entry->argument);
        fputs(" , ", stdout);
    }
    printf("Fl -%s", entry->name);
    if (entry->argument)
        printf(entry->kind == OPTIONS_SUDO ? " Ns Oo Cm = Ns Ar %s Oc" : " Ar %s", entry->argument);
    putchar('\n');
}

/* The verbs that take it, where not all do. */
static void taken_by(const struct options_entry *entry)
{
    const char *before = "For\n";

    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (!verbs_at(i)->summary || !options_fits(entry, verbs_at(i)))
            continue;
        printf("%s.Cm %s", before, verbs_at(i)->name);
        before = " ,\n";
    }
    puts(" .");
}

static void options(enum options_group group)
{
    const struct options_entry *entry;

    for (size_t i = 0; (entry = options_at(i)) != NULL; i++) {
        if (entry->group != group)
            continue;
        option_head(entry);
        whole_text(entry->help);
        if (entry->verbs != VERB_BIT_LINE && entry->verbs != VERB_BIT_EVERY)
            taken_by(entry);
    }
}

static void examples(void)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        const char *s = verbs_at(i)->summary ? verbs_at(i)->examples : "";

        while (*s) {
            const char *tab = s + strcspn(s, "\t"), *end = s + strcspn(s, "\n");

            fputs(".It ", stdout);
            text(tab + 1, end);
            fputs(".Dl ", stdout);
            text(s, tab);
            s = *end ? end + 1 : end;
        }
    }
}

static int section(const char *name)
{
    if (!strcmp(name, "verbs"))
        verbs();
    else if (!strcmp(name, "targets"))
        options(OPTIONS_TARGETS);
    else if (!strcmp(name, "connection"))
        options(OPTIONS_CONNECTION);
    else if (!strcmp(name, "command"))
        options(OPTIONS_COMMAND);
    else if (!strcmp(name, "fleet"))
        options(OPTIONS_FLEET);
    else if (!strcmp(name, "output"))
        options(OPTIONS_OUTPUT);
    else if (!strcmp(name, "examples"))
        examples();
    else
        return -1;
    return 0;
}

int man_verb(const struct options *o)
{
    struct grapnel_error error;
    char line[LINE_SIZE];
    int inside = 0;

    (void)o;
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, END, strlen(END)))
            inside = 0;
        if (inside)
            continue;
        fputs(line, stdout);
        if (strncmp(line, BEGIN, strlen(BEGIN)) != 0)
            continue;
        inside = 1;
        line[strcspn(line, "\n")] = '\0';
        if (section(line + strlen(BEGIN)) < 0) {
            say_note("__man: there is no list '%s'", line + strlen(BEGIN));
            return SAY_FAILED;
        }
    }
    return say_flush(&error) < 0 ? SAY_FAILED : 0;
}
