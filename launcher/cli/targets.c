#include "launcher/cli/targets.h"

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
        rc = grapnel_targets_exclude(t, o->exclude.items[i], error);
    if (rc == 0)
        return t;
    grapnel_targets_free(t);
    return NULL;
}
