#include "launcher/cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "launcher/cli/options.h"
#include "launcher/cli/say.h"

/* What the words before the last one mean for it. */
struct place {
    const struct verb *verb;
    const struct options_entry *argument_of; /* the option whose argument comes now */
    size_t operands;
    int ended; /* "--" has been seen */
};

static void offer(const char *current, const char *prefix, const char *word, const char *help)
{
    size_t n = strlen(prefix);

    if (strncmp(current, prefix, n) != 0 && strncmp(prefix, current, strlen(current)) != 0)
        return;
    if (strlen(current) > n && strncmp(current + n, word, strlen(current) - n) != 0)
        return;
    printf("%s%s\t%s\n", prefix, word, help);
}

static void offer_verbs(const char *current)
{
    for (size_t i = 0; i < VERB_COUNT; i++) {
        if (verbs_at(i)->summary)
            offer(current, "", verbs_at(i)->name, verbs_at(i)->summary);
    }
}

static void offer_options(const char *current, const struct verb *verb)
{
    const struct options_entry *entry;

    for (size_t i = 0; (entry = options_at(i)) != NULL; i++) {
        char letter[2] = {entry->letter, '\0'};

        if (!options_fits(entry, verb) || entry->kind == OPTIONS_LATER)
            continue;
        if (entry->letter && strlen(current) < 2)
            offer(current, "-", letter, entry->help);
        offer(current, "--", entry->name, entry->help);
    }
}

static void offer_arguments(const char *current, const struct options_entry *entry)
{
    if (!entry->argument)
        return;
    if (!strcmp(entry->argument, "FILE")) {
        puts(":file");
    } else if (!strcmp(entry->argument, "HOST") || !strcmp(entry->argument, "TARGETS")) {
        puts(":host");
    } else if (!strcmp(entry->argument, "TRANSPORT")) {
        offer(current, "", "auto", "the built-in client, or ssh where that is not enough");
        offer(current, "", "ssh2", "the built-in SSH client");
        offer(current, "", "openssh", "the ssh program");
        offer(current, "", "local", "this machine, without SSH");
    }
}

static void pass_letters(struct place *p, const char *word)
{
    for (const char *s = word + 1; *s; s++) {
        const struct options_entry *entry = options_by_letter(p->verb, *s);

        if (entry && entry->argument) {
            if (!s[1])
                p->argument_of = entry;
            return;
        }
    }
}

static void pass(struct place *p, const char *word)
{
    const struct options_entry *entry = p->argument_of;

    if (entry) {
        /* bash takes --name=value apart. */
        if (strcmp(word, "=") != 0)
            p->argument_of = NULL;
    } else if (!p->ended && !strcmp(word, "--")) {
        p->ended = 1;
    } else if (!p->ended && word[0] == '-' && word[1] == '-') {
        entry = options_by_name(word + 2, strlen(word + 2));
        if (entry && entry->argument && entry->kind != OPTIONS_SUDO)
            p->argument_of = entry;
    } else if (!p->ended && word[0] == '-' && word[1]) {
        pass_letters(p, word);
    } else {
        p->operands++;
        p->ended |= verbs_takes_words(p->verb) && p->operands > 1;
    }
}

static void offer_at(const struct place *p, const char *current)
{
    if (p->argument_of)
        offer_arguments(strcmp(current, "=") != 0 ? current : "", p->argument_of);
    else if (!p->ended && current[0] == '-')
        offer_options(current, p->verb);
    else if (p->verb->shape == SHAPE_COMMAND && p->operands == 1)
        puts(":command");
    else if ((p->verb->shape == SHAPE_COMMAND && p->operands > 1) ||
             (p->verb->shape == SHAPE_FILE && p->operands > 0))
        puts(":file");
    else if (p->verb->shape == SHAPE_SCAN && p->operands == 0)
        offer(current, "", "scan", "ask hosts for their keys");
    else if (p->verb->shape != SHAPE_NONE &&
             (p->operands == 0 || p->verb->shape == SHAPE_TARGETS || p->verb->shape == SHAPE_SOME ||
              p->verb->shape == SHAPE_HOSTS || p->verb->shape == SHAPE_SCAN))
        puts(":host");
}

int complete_verb(const struct options *o)
{
    struct grapnel_error error;
    struct place place = {.verb = o->word_count > 1 ? verbs_find(o->words[0]) : NULL};
    const char *current = o->word_count > 0 ? o->words[o->word_count - 1] : "";

    if (o->word_count <= 1) {
        offer_verbs(current);
        offer(current, "--", "help", "show help");
        offer(current, "--", "version", "show the version");
    } else if (place.verb && place.verb->id == VERB_HELP) {
        if (o->word_count == 2)
            offer_verbs(current);
    } else if (place.verb && place.verb->id == VERB_LUA) {
        puts(":file");
    } else if (place.verb && place.verb->shape != SHAPE_WORDS) {
        for (size_t i = 1; i + 1 < o->word_count; i++)
            pass(&place, o->words[i]);
        offer_at(&place, current);
    }
    return say_flush(&error) < 0 ? SAY_FAILED : 0;
}
