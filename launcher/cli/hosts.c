#include "launcher/cli/hosts.h"

#include <stdio.h>

#include "launcher/cli/say.h"
#include "launcher/cli/targets.h"

static int print_folded(const struct grapnel_targets *t, struct grapnel_error *error)
{
    char *text = grapnel_targets_fold(t);

    if (!text)
        return say_fail(error, "NOMEM", "out of memory");
    puts(text);
    grapnel_string_free(text);
    return 0;
}

/* Names are harmless for terminals. */
static int print(const struct options *o, const struct grapnel_targets *t,
                 struct grapnel_error *error)
{
    if (o->count)
        printf("%zu\n", grapnel_targets_count(t));
    else if (!o->expand && print_folded(t, error) < 0)
        return -1;
    for (size_t i = 0; o->expand && i < grapnel_targets_count(t); i++)
        puts(grapnel_targets_name(t, i));
    return say_flush(error);
}

int hosts_verb(const struct options *o)
{
    struct grapnel_error error;
    struct grapnel_targets *t = targets_read(o, o->words, o->word_count, &error);
    int rc = t ? print(o, t, &error) : -1;

    grapnel_targets_free(t);
    if (rc == 0)
        return 0;
    say_error(&error);
    return SAY_FAILED;
}
