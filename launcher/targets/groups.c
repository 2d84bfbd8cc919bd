#include "launcher/targets/groups.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/targets/expression.h"
#include "launcher/targets/groups_impl.h"

struct groups *groups_new(const char *file, const char *inventory, int64_t timeout)
{
    struct groups *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    g->timeout = timeout;
    g->file = file != NULL ? strdup(file) : NULL;
    g->inventory = inventory != NULL ? strdup(inventory) : NULL;
    if ((file != NULL && g->file == NULL) || (inventory != NULL && g->inventory == NULL)) {
        groups_free(g);
        return NULL;
    }
    return g;
}

static void free_source(struct groups_source *s)
{
    for (size_t i = 0; i < s->group_names.count; i++) {
        struct groups_line *line = s->groups[i].first;
        while (line != NULL) {
            struct groups_line *next = line->next;
            free(line);
            line = next;
        }
        names_clear(&s->groups[i].members);
    }
    for (int i = 0; i < GROUPS_COMMANDS; i++)
        free(s->commands[i]);
    free(s->inventory_path);
    inventory_free(s->inventory);
    names_clear(&s->group_names);
    free(s->groups);
}

/* As it was before it was loaded. */
static void unload(struct groups *g)
{
    for (size_t i = 0; i < g->source_names.count; i++)
        free_source(&g->sources[i]);
    for (size_t i = 0; i < g->file_count; i++) {
        free(g->files[i].path);
        free(g->files[i].text);
    }
    names_clear(&g->source_names);
    free(g->sources);
    free(g->fallback);
    g->sources = NULL;
    g->fallback = NULL;
    g->source_room = g->file_count = 0;
}

void groups_free(struct groups *g)
{
    if (g == NULL)
        return;
    unload(g);
    free(g->file);
    free(g->inventory);
    free(g);
}

/* ---- one group ---- */

/* The group is being resolved already: says by which way it came back to itself. */
static int say_circle(const struct groups *g, const char *name, struct error *e)
{
    char way[400];
    size_t used = 0;
    unsigned from = 0;

    while (from < g->depth && strcmp(g->chain[from], name) != 0)
        from++;
    for (unsigned i = from; i < g->depth && used < sizeof way - 80; i++) {
        int n = snprintf(way + used, sizeof way - used, "@%.60s, ", g->chain[i]);
        used += n > 0 ? (size_t)n : 0;
    }
    way[used] = '\0';
    return errors_set(e, -E_CONFIG, "groups go round in a circle: %s@%.60s", way, name);
}

/* Evaluates the lines of a group.  members: of its own, as the groups may move meanwhile. */
static int read_lines(struct groups *g, const struct group *group, struct names *members,
                      struct error *e)
{
    const struct expression_groups known = {groups_add, groups_target, g};
    const char *path = g->files[group->file].path;
    int rc = 0;

    for (const struct groups_line *line = group->first; line != NULL && rc == 0;) {
        const struct groups_line *next = line->next;
        struct error inner = {0};
        rc = expression_add_line(members, line->text, line->n, &known, &inner);
        if (rc != 0 && g->placed)
            errors_set(e, rc, "%s", inner.detail);
        else if (rc != 0)
            errors_set(e, rc, "%.300s, line %zu: %s", path, line->line, inner.detail);
        g->placed |= rc != 0;
        line = next;
    }
    return rc;
}

/* Sees to it that the group's members are known.  shown: its name as somebody wrote it. */
static int resolve(struct groups *g, size_t source, size_t number, const char *shown, size_t limit,
                   struct error *e)
{
    struct names members = {.limit = limit};
    struct group *group = &g->sources[source].groups[number];
    const struct group lines = *group;

    if (group->state == GROUP_KNOWN)
        return 0;
    if (group->state == GROUP_BUSY)
        return say_circle(g, shown, e);
    if (g->depth == GROUPS_DEPTH)
        return errors_set(e, -E_CONFIG, "groups are nested more than %d deep", GROUPS_DEPTH);
    group->state = GROUP_BUSY;
    g->chain[g->depth++] = shown;
    int rc = read_lines(g, &lines, &members, e);
    g->depth--;
    group = &g->sources[source].groups[number]; /* it may have moved */
    group->state = rc == 0 ? GROUP_KNOWN : GROUP_UNKNOWN;
    if (rc == 0)
        group->members = members;
    else
        names_clear(&members);
    return rc;
}

/* ---- what sources say ---- */

static int open_inventory(struct groups_source *s, struct error *e)
{
    if (s->inventory == NULL)
        s->inventory = inventory_read(s->inventory_path, e);
    return s->inventory != NULL ? 0 : e->code;
}

/* Adds what a command prints. */
static int add_printed(struct groups *g, size_t source, enum groups_command command,
                       const char *group, struct names *set, struct error *e)
{
    struct error inner = {0};
    char *text;
    int rc = groups_run(g, source, command, group, &text, e);

    if (rc != 0)
        return rc;
    rc = expression_add(set, text, strlen(text), NULL, &inner);
    if (rc != 0)
        errors_set(e, rc, "what %s of the source '%.60s' printed: %s",
                   command == GROUPS_MAP ? "map" : "all", names_at(&g->source_names, source),
                   inner.detail);
    free(text);
    return rc;
}

/* Has the source's command name a group that no file defines, and keeps the answer. */
static int ask(struct groups *g, size_t source, const char *name, size_t limit, size_t *number,
               struct error *e)
{
    struct groups_source *s = &g->sources[source];
    struct names members = {.limit = limit};
    int rc = add_printed(g, source, GROUPS_MAP, name, &members, e);

    if (rc == 0)
        rc = groups_group(s, name, strlen(name), number, e);
    if (rc != 0) {
        names_clear(&members);
        return rc;
    }
    s->groups[*number].state = GROUP_KNOWN;
    s->groups[*number].members = members;
    return 0;
}

/* There is no such group: says where one was looked for. */
static int say_none(const struct groups *g, size_t source, const char *name, struct error *e)
{
    if (source > 0)
        return errors_set(e, -E_CONFIG, "the source '%.60s' has no group '%.100s'",
                          names_at(&g->source_names, source), name);
    if (g->file_count == 0)
        return errors_set(e, -E_CONFIG, "there is no group '%.100s': no file of groups is read",
                          name);
    return errors_set(e, -E_CONFIG, "there is no group '%.100s' in %.200s%s%.200s", name,
                      g->files[0].path, g->file_count > 1 ? " or " : "",
                      g->file_count > 1 ? g->files[1].path : "");
}

static int find_source(const struct groups *g, const char *name, size_t n, size_t *source,
                       struct error *e)
{
    *source = names_find(&g->source_names, name, n);
    return *source != NAMES_NONE ? 0
                                 : errors_set(e, -E_CONFIG, "there is no source of groups '%.*s'",
                                              n < 100 ? (int)n : 100, name);
}

static int add_group(struct groups *g, size_t source, const char *name, const char *shown,
                     struct names *set, struct error *e)
{
    struct groups_source *s = &g->sources[source];
    size_t number = names_find(&s->group_names, name, strlen(name));
    int rc;

    if (number == NAMES_NONE && s->inventory_path != NULL) {
        rc = open_inventory(s, e);
        return rc == 0 ? inventory_add(s->inventory, name, set, e) : rc;
    }
    if (number != NAMES_NONE)
        rc = resolve(g, source, number, shown, set->limit, e);
    else if (s->commands[GROUPS_MAP] != NULL)
        rc = ask(g, source, name, set->limit, &number, e);
    else if (source == 0 && g->fallback != NULL) {
        rc = find_source(g, g->fallback, strlen(g->fallback), &source, e);
        return rc == 0 && source != 0 ? add_group(g, source, name, shown, set, e) : rc;
    } else
        rc = say_none(g, source, name, e);
    return rc == 0 ? names_unite(set, &g->sources[source].groups[number].members, e) : rc;
}

/* ---- all groups of a source ---- */

/* The groups that `list` names, one after the other. */
static int add_listed(struct groups *g, size_t source, struct names *set, struct error *e)
{
    char *text, *rest, *word;
    int rc = groups_run(g, source, GROUPS_LIST, "", &text, e);

    if (rc != 0)
        return rc;
    rest = text;
    while (rc == 0 && (word = strsep(&rest, " \t\r\n")) != NULL)
        if (*word != '\0')
            rc = add_group(g, source, word, word, set, e);
    free(text);
    return rc;
}

/* Those that stand in files. */
static int add_written(struct groups *g, size_t source, struct names *set, struct error *e)
{
    size_t count = g->sources[source].group_names.count;
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        const struct groups_source *s = &g->sources[source];
        if (s->groups[i].first == NULL)
            continue;
        char *name = strdup(names_at(&s->group_names, i)); /* names may move */
        rc = name != NULL ? resolve(g, source, i, name, set->limit, e)
                          : errors_set(e, -E_NOMEM, "groups");
        if (rc == 0)
            rc = names_unite(set, &g->sources[source].groups[i].members, e);
        free(name);
    }
    return rc;
}

static int add_all(struct groups *g, size_t source, struct names *set, struct error *e)
{
    int rc = add_written(g, source, set, e);
    struct groups_source *s = &g->sources[source];

    if (rc == 0 && s->inventory_path != NULL) {
        rc = open_inventory(s, e);
        return rc == 0 ? inventory_add(s->inventory, "*", set, e) : rc;
    }
    if (rc == 0 && s->commands[GROUPS_ALL] != NULL)
        return add_printed(g, source, GROUPS_ALL, "", set, e);
    if (rc == 0 && s->commands[GROUPS_LIST] != NULL && s->commands[GROUPS_MAP] != NULL)
        return add_listed(g, source, set, e);
    if (rc == 0 && s->commands[GROUPS_MAP] != NULL)
        return errors_set(e, -E_CONFIG,
                          "the source '%.60s' cannot name all: it needs `all`, or "
                          "`list`",
                          names_at(&g->source_names, source));
    if (rc == 0 && source == 0 && g->fallback != NULL) {
        rc = find_source(g, g->fallback, strlen(g->fallback), &source, e);
        return rc == 0 && source != 0 ? add_all(g, source, set, e) : rc;
    }
    if (rc == 0 && s->group_names.count == 0)
        return say_none(g, source, "*", e);
    return rc;
}

/* ---- the whole ---- */

/* Reads the files, when that was not done. */
static int load(struct groups *g, struct error *e)
{
    int rc = g->loaded ? 0 : groups_load(g, e);

    if (rc != 0)
        unload(g);
    g->loaded = rc == 0;
    return rc;
}

int groups_add(void *arg, const char *name, struct names *set, struct error *e)
{
    struct groups *g = arg;
    const char *colon = strchr(name, ':'), *group = colon != NULL ? colon + 1 : name;
    size_t source = 0;
    int rc = load(g, e);

    if (rc != 0)
        return rc;
    if (g->depth == 0)
        g->placed = 0;
    if (*group == '\0')
        return errors_set(e, -E_ARGUMENT, "'@%.100s': the name of a group is missing", name);
    rc = colon != NULL ? find_source(g, name, (size_t)(colon - name), &source, e) : 0;
    if (rc != 0)
        return rc;
    return strcmp(group, "*") == 0 ? add_all(g, source, set, e)
                                   : add_group(g, source, group, name, set, e);
}

const char *groups_value(struct groups *g, const char *name, const char *key, struct error *e)
{
    const char *value = NULL;
    int rc = load(g, e);

    for (size_t i = 0; rc == 0 && value == NULL && i < g->source_names.count; i++) {
        struct groups_source *s = &g->sources[i];
        if (s->inventory_path == NULL)
            continue;
        rc = open_inventory(s, e);
        value = rc == 0 ? inventory_value(s->inventory, name, key) : NULL;
    }
    return value;
}

int groups_target(void *arg, const char *name, const char **target, struct error *e)
{
    struct groups *g = arg;
    int rc = g->inventory != NULL ? load(g, e) : 0;

    *target = NULL;
    for (size_t i = 0; rc == 0 && *target == NULL && i < g->source_names.count; i++) {
        struct groups_source *s = &g->sources[i];
        if (s->inventory_path != NULL && g->inventory != NULL &&
            strcmp(s->inventory_path, g->inventory) == 0)
            rc = open_inventory(s, e);
        if (rc == 0 && s->inventory != NULL)
            rc = inventory_target(s->inventory, name, target, e);
    }
    return rc;
}
