/* Targets of the public header. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/context.h"
#include "launcher/grapnel.h"
#include "launcher/targets/exclude.h"
#include "launcher/targets/expression.h"
#include "launcher/targets/fold.h"
#include "launcher/targets/groups.h"

#define LIMIT          10000000
#define LINE_MAX_BYTES ((size_t)256 << 20) /* of a file of names: /dev/zero has no end */

struct grapnel_targets {
    struct names names;    /* none of them removed, between two calls */
    struct groups *groups; /* NULL: none needed yet */
};

struct grapnel_targets *grapnel_targets_new(const struct grapnel_targets_options *options,
                                            struct grapnel_error *error)
{
    static const struct grapnel_targets_options none;
    const struct grapnel_targets_options *o = options ? options : &none;
    struct grapnel_targets *t = calloc(1, sizeof *t);
    struct error e = {0};

    if (t)
        t->groups = groups_new(o->groups, o->inventory, o->timeout);
    if (!t || !t->groups) {
        errors_set(&e, -E_NOMEM, "targets");
        context_error(error, "", &e);
        free(t);
        return NULL;
    }
    t->names.limit = o->limit ? o->limit : LIMIT;
    return t;
}

void grapnel_targets_free(struct grapnel_targets *t)
{
    if (!t)
        return;
    names_clear(&t->names);
    groups_free(t->groups);
    free(t);
}

static struct expression_groups known(struct grapnel_targets *t)
{
    return (struct expression_groups){groups_add, groups_target, t->groups};
}

int grapnel_targets_add(struct grapnel_targets *t, const char *text, struct grapnel_error *error)
{
    const struct expression_groups groups = known(t);
    struct error e = {0};
    int rc = expression_add(&t->names, text, strlen(text), &groups, &e);

    return rc == 0 ? 0 : context_error(error, "", &e);
}

int grapnel_targets_exclude(struct grapnel_targets *t, const char *text,
                            struct grapnel_error *error)
{
    const struct expression_groups groups = known(t);
    struct names gone = {.limit = t->names.limit};
    struct error e = {0};
    int rc = expression_add(&gone, text, strlen(text), &groups, &e);

    if (rc == 0)
        rc = exclude_names(&t->names, &gone, &groups, &e);
    names_clear(&gone);
    return rc == 0 ? 0 : context_error(error, "", &e);
}

/* Reads a line, without its end, into *line, which has room for *size bytes.  1; 0 at the end of
 * the file; -E_LIMIT, -E_NOMEM. */
static int read_line(FILE *f, char **line, size_t *size, size_t *n)
{
    int c;

    for (*n = 0; (c = getc_unlocked(f)) != EOF && c != '\n'; (*line)[(*n)++] = (char)c) {
        if (*n < *size)
            continue;
        if (*n == LINE_MAX_BYTES)
            return -E_LIMIT;
        size_t room = *size == 0 ? 4096 : *size * 2;
        char *larger = realloc(*line, room);
        if (!larger)
            return -E_NOMEM;
        *line = larger;
        *size = room;
    }
    return c != EOF || *n > 0;
}

static int add_lines(struct grapnel_targets *t, FILE *f, const char *path, struct error *e)
{
    const struct expression_groups groups = known(t);
    size_t size = 0, number = 0, before = t->names.count;
    char *line = NULL;
    size_t n;
    int rc = 0, got;

    while (rc == 0 && (got = read_line(f, &line, &size, &n)) != 0) {
        struct error inner = {.detail = "the line is too long"};
        number++;
        rc = got < 0 ? got : expression_add_line(&t->names, n > 0 ? line : "", n, &groups, &inner);
        if (rc != 0)
            errors_set(e, rc, "%.200s, line %zu: %s", path, number, inner.detail);
    }
    if (rc == 0 && ferror(f))
        rc = errors_set_system(e, -E_IO, errno, "%.500s", path);
    if (rc != 0)
        names_truncate(&t->names, before);
    free(line);
    return rc;
}

int grapnel_targets_add_file(struct grapnel_targets *t, const char *path,
                             struct grapnel_error *error)
{
    struct error e = {0};
    int input = strcmp(path, "-") == 0, rc;
    FILE *f = input ? stdin : fopen(path, "re");

    if (!f)
        rc = errors_set_system(&e, -E_IO, errno, "%.500s", path);
    else
        rc = add_lines(t, f, input ? "standard input" : path, &e);
    if (f && !input)
        (void)fclose(f);
    return rc == 0 ? 0 : context_error(error, "", &e);
}

size_t grapnel_targets_count(const struct grapnel_targets *t)
{
    return t->names.count;
}

const char *grapnel_targets_name(const struct grapnel_targets *t, size_t i)
{
    return i < t->names.count ? names_at(&t->names, i) : NULL;
}

const char *grapnel_targets_value(struct grapnel_targets *t, const char *name, const char *key,
                                  struct grapnel_error *error)
{
    struct error e = {0};
    const char *value = groups_value(t->groups, name, key, &e);

    if (error != NULL)
        *error = (struct grapnel_error){0};
    if (e.code != 0)
        (void)context_error(error, "", &e);
    return value;
}

static const char *name_of_set(const void *arg, size_t i)
{
    return names_at(arg, i);
}

static const char *name_of_list(const void *arg, size_t i)
{
    return ((const char *const *)arg)[i];
}

char *grapnel_targets_fold(const struct grapnel_targets *t)
{
    char *text;

    return fold_names(name_of_set, &t->names, t->names.count, &text) == 0 ? text : NULL;
}

char *grapnel_targets_fold_names(const char *const *names, size_t n)
{
    char *text;

    return fold_names(name_of_list, names, n, &text) == 0 ? text : NULL;
}
