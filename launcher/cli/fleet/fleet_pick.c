#include "launcher/cli/fleet/fleet_pick.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "launcher/cli/fleet/fleet_journal.h"
#include "launcher/cli/say.h"
#include "launcher/cli/targets.h"

/* What the words name; without any, and without files of hosts, these hosts of a file. */
static struct grapnel_targets *read_targets(const struct options *o, json_t *rerun,
                                            struct grapnel_error *error)
{
    struct grapnel_targets *t;
    const char **words, *name;
    json_t *value;
    size_t n = 0;

    if (!rerun || o->operands.count > 0 || o->host_files.count > 0)
        return targets_read(o, o->operands.items, o->operands.count, error);
    words = malloc((json_object_size(rerun) + 1) * sizeof *words);
    if (!words) {
        say_fail(error, "NOMEM", "out of memory");
        return NULL;
    }
    json_object_foreach(rerun, name, value)
    {
        words[n++] = name;
    }
    t = targets_read(o, words, n, error);
    free(words);
    return t;
}

/* only NULL: any host. */
static int take(struct fleet_pick *p, json_t *only, json_t *finished, struct grapnel_error *error)
{
    const char *name;

    p->names = calloc(grapnel_targets_count(p->targets) + 1, sizeof *p->names);
    if (!p->names)
        return say_fail(error, "NOMEM", "out of memory");
    for (size_t i = 0; (name = grapnel_targets_name(p->targets, i)) != NULL; i++) {
        if (only && !json_object_get(only, name))
            continue;
        if (finished && json_object_get(finished, name))
            p->finished++;
        else
            p->names[p->count++] = name;
    }
    return 0;
}

/* 0 to n - 1, all as likely as makes no difference. */
static size_t any_below(size_t n)
{
    uint64_t bits;

    if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
        return n - 1;
    return (size_t)(bits % n);
}

static void shuffle(struct fleet_pick *p)
{
    for (size_t i = p->count; i > 1; i--) {
        size_t j = any_below(i);
        const char *name = p->names[j];

        p->names[j] = p->names[i - 1];
        p->names[i - 1] = name;
    }
}

static int pick(struct fleet_pick *p, const struct options *o, json_t *rerun, json_t *finished,
                struct grapnel_error *error)
{
    p->targets = read_targets(o, rerun, error);
    if (!p->targets || take(p, rerun, finished, error) < 0)
        return -1;
    if (p->count == 0 && p->finished == 0)
        return say_fail(error, "ARGUMENT", "%s",
                        rerun ? "no host of --rerun's file is among the targets"
                              : "the targets are no host at all");
    if (o->shuffle)
        shuffle(p);
    if (o->first && p->count > (size_t)o->first)
        p->count = (size_t)o->first;
    p->names[p->count] = NULL;
    return 0;
}

/* json_t of an option's file; NULL with *error. */
static json_t *read_hosts(const char *option, const char *path, const char *member, int plain,
                          struct grapnel_error *error)
{
    struct grapnel_error why;
    json_t *hosts = fleet_journal_hosts(path, member, plain, &why);

    if (!hosts)
        say_fail(error, why.name, "%s: %.900s", option, why.detail);
    return hosts;
}

int fleet_pick(struct fleet_pick *p, const struct options *o, struct grapnel_error *error)
{
    json_t *rerun = NULL, *finished = NULL;
    int rc = 0;

    *p = (struct fleet_pick){0};
    if (o->rerun && (rerun = read_hosts("--rerun", o->rerun, "failed", 1, error)) == NULL)
        rc = -1;
    if (o->resume && rc == 0 &&
        (finished = read_hosts("--resume", o->resume, "finished", 0, error)) == NULL)
        rc = -1;
    p->none_again = rerun && json_object_size(rerun) == 0;
    if (rc == 0 && !p->none_again)
        rc = pick(p, o, rerun, finished, error);
    json_decref(rerun);
    json_decref(finished);
    return rc;
}

void fleet_pick_clear(struct fleet_pick *p)
{
    grapnel_targets_free(p->targets);
    free(p->names);
    *p = (struct fleet_pick){0};
}

char *fleet_pick_fold(const char *const *names, const size_t *hosts, size_t count)
{
    const char **some = malloc((count + 1) * sizeof *some);
    char *text = NULL;

    for (size_t i = 0; some && i < count; i++)
        some[i] = names[hosts[i]];
    if (some)
        text = grapnel_targets_fold_names(some, count);
    free(some);
    return text;
}
