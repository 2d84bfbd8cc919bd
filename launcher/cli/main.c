/* The grapnel command: finds the verb, reads its options, lets it work, and exits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "launcher/cli/help.h"
#include "launcher/cli/inherit.h"
#include "launcher/cli/options.h"
#include "launcher/cli/say.h"
#include "launcher/cli/verbs.h"

/* The end of something that prints to standard output. */
static int printed(void)
{
    struct grapnel_error error;

    if (say_flush(&error) == 0)
        return 0;
    say_error(&error);
    return SAY_FAILED;
}

static int print_version(void)
{
    printf("grapnel %s\n", grapnel_version());
    return printed();
}

static int unknown_verb(const char *word, int more)
{
    const char *nearest = verbs_nearest(word);

    if (word[0] == '-')
        say_note("options come after the verb (see grapnel --help)");
    else if (nearest)
        say_note("there is no verb '%s' (did you mean %s?)", word, nearest);
    else if (more)
        say_note("there is no verb '%s' (did you mean: grapnel run %s ...?)", word, word);
    else
        say_note("there is no verb '%s' (see grapnel --help)", word);
    return SAY_FAILED;
}

static int run_verb_of(const struct verb *verb, int argc, char *const *argv)
{
    struct options options;
    struct grapnel_error error;
    int status;

    if (options_parse(&options, verb, argc, argv, &error) < 0) {
        say_note("%s: %s; see `grapnel %s --help`", verb->name, error.detail, verb->name);
        status = SAY_FAILED;
    } else if (options.help) {
        help_one(stdout, verb);
        status = printed();
    } else if (options.version) {
        status = print_version();
    } else {
        status = verb->function(&options);
    }
    options_clear(&options);
    return status;
}

int main(int argc, char **argv)
{
    const struct verb *verb;

    if (inherit_mend() < 0) {
        say_note("cannot set up standard input, output and error: %s", strerror(errno));
        return SAY_FAILED;
    }
    if (argc < 2) {
        help_all(stderr);
        return SAY_FAILED;
    }
    if (!strcmp(argv[1], "--version"))
        return print_version();
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        help_all(stdout);
        return printed();
    }
    verb = verbs_find(argv[1]);
    if (!verb)
        return unknown_verb(argv[1], argc > 2);
    return run_verb_of(verb, argc - 2, argv + 2);
}
