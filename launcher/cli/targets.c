#include "launcher/cli/targets.h"

#include "launcher/cli/say.h"

/* A host that was to be left alone, and is worked on because it was written otherwise, must not
 * come as a surprise. */
static int leave_out(const struct options *o, struct grapnel_targets *t, const char *text,
                     struct grapnel_error *error)
{
    size_t before = grapnel_targets_count(t);
    int rc = grapnel_targets_exclude(t, text, error);

    if (rc == 0 && grapnel_targets_count(t) == before && !o->quiet)
        say_note("--exclude %s: none of the targets is that", text);
    return rc;
}

struct grapnel_targets *targets_read(const struct options *o, const char *const *words, size_t n,
                                     struct grapnel_error *error)
{
    const struct grapnel_targets_options options = {.groups = o->groups, .inventory = o->inventory};
    struct grapnel_targets *t = grapnel_targets_new(&options, error);
    int rc = t ? 0 : -1;

    for (size_t i = 0; i < n && rc == 0; i++)
        rc = grapnel_targets_add(t, words[i], error);
    for (size_t i = 0; i < o->host_files.count && rc == 0; i++)
        rc = grapnel_targets_add_file(t, o->host_files.items[i], error);
    for (size_t i = 0; i < o->exclude.count && rc == 0; i++)
        rc = leave_out(o, t, o->exclude.items[i], error);
    if (rc == 0)
        return t;
    grapnel_targets_free(t);
    return NULL;
}
