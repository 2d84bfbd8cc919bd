/* Files of groups. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/targets/groups_impl.h"
#include "launcher/targets/textfile.h"

#define FILE_MAX ((size_t)256 << 20)
#define SYSTEM   "/etc/grapnel/groups"
#define ANSIBLE  "ansible"

struct reader {
    struct groups *g;
    unsigned file;
    size_t source;
    size_t line;
    struct error *e;
};

static const char *const keys[GROUPS_COMMANDS] = {"map", "all", "list"};

__attribute__((format(printf, 2, 3))) static int fail(const struct reader *r, const char *format,
                                                      ...)
{
    char cause[300];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(cause, sizeof cause, format, args);
    va_end(args);
    return errors_set(r->e, -E_CONFIG, "%.300s, line %zu: %s", r->g->files[r->file].path, r->line,
                      cause);
}

/* ---- making ---- */

int groups_source(struct groups *g, const char *name, size_t n, size_t *number, struct error *e)
{
    size_t count = g->source_names.count;

    if (count == g->source_room) {
        size_t room = count == 0 ? 4 : count * 2;
        struct groups_source *sources = realloc(g->sources, room * sizeof *sources);
        if (sources == NULL)
            return errors_set(e, -E_NOMEM, "sources of groups");
        g->sources = sources;
        g->source_room = room;
    }
    int rc = names_add(&g->source_names, name, n, number, e);
    if (rc == 0 && *number == count)
        g->sources[count] = (struct groups_source){.room = 0};
    return rc;
}

int groups_group(struct groups_source *s, const char *name, size_t n, size_t *number,
                 struct error *e)
{
    size_t count = s->group_names.count;

    if (count == s->room) {
        size_t room = count == 0 ? 8 : count * 2;
        struct group *groups = realloc(s->groups, room * sizeof *groups);
        if (groups == NULL)
            return errors_set(e, -E_NOMEM, "groups");
        s->groups = groups;
        s->room = room;
    }
    int rc = names_add(&s->group_names, name, n, number, e);
    if (rc == 0 && *number == count)
        s->groups[count] = (struct group){.first = NULL};
    return rc;
}

/* ---- lines ---- */

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **s, const char **end)
{
    while (*s < *end && is_space(**s))
        ++*s;
    while (*end > *s && is_space((*end)[-1]))
        --*end;
}

static int set_text(const struct reader *r, char **text, const char *s, size_t n)
{
    *text = strndup(s, n);
    return *text != NULL ? 0 : errors_set(r->e, -E_NOMEM, "groups");
}

/* A path from the folder of the file on. */
static int set_inventory(const struct reader *r, struct groups_source *s, const char *path,
                         size_t n)
{
    const char *file = r->g->files[r->file].path, *slash = strrchr(file, '/');
    int folder = *path == '/' || slash == NULL ? 0 : (int)(slash - file) + 1;

    if (asprintf(&s->inventory_path, "%.*s%.*s", folder, file, (int)n, path) >= 0)
        return 0;
    s->inventory_path = NULL;
    return errors_set(r->e, -E_NOMEM, "groups");
}

static int is(const char *word, const char *s, size_t n)
{
    return strlen(word) == n && strncmp(word, s, n) == 0;
}

/* key = value; what a file before this one has said stays. */
static int read_setting(struct reader *r, const char *key, size_t key_length, const char *value,
                        size_t n)
{
    struct groups_source *s = &r->g->sources[r->source];

    if (n == 0)
        return fail(r, "%.*s has no value", (int)(key_length < 40 ? key_length : 40), key);
    if (r->source == 0) {
        if (!is("default", key, key_length))
            return fail(r, "before the first [source] there are groups, NAME: TARGETS, and "
                           "default = SOURCE");
        return r->g->fallback != NULL ? 0 : set_text(r, &r->g->fallback, value, n);
    }
    if (is("inventory", key, key_length))
        return s->inventory_path != NULL ? 0 : set_inventory(r, s, value, n);
    for (int i = 0; i < GROUPS_COMMANDS; i++) {
        if (!is(keys[i], key, key_length))
            continue;
        if (s->commands[i] != NULL)
            return 0;
        s->places[i] = (struct groups_place){r->file, r->line};
        return set_text(r, &s->commands[i], value, n);
    }
    return fail(r, "'%.*s': a source has map, all, list and inventory",
                (int)(key_length < 40 ? key_length : 40), key);
}

/* NAME: TARGETS */
static int read_group(struct reader *r, const char *name, size_t name_length, const char *text,
                      size_t n)
{
    struct groups_source *s = &r->g->sources[r->source];
    struct groups_line *line;
    size_t number;

    for (int i = 0; r->source > 0 && i < GROUPS_COMMANDS; i++)
        if (is(keys[i], name, name_length))
            return fail(r, "a command is set with =: %s = ...", keys[i]);
    int rc = groups_group(s, name, name_length, &number, r->e);
    if (rc != 0)
        return rc;
    struct group *g = &s->groups[number];
    if (g->first != NULL && g->file != r->file)
        return 0;
    line = malloc(sizeof *line);
    if (line == NULL)
        return errors_set(r->e, -E_NOMEM, "groups");
    *line = (struct groups_line){text, n, r->line, NULL};
    *(g->first == NULL ? &g->first : &g->last->next) = line;
    g->last = line;
    g->file = r->file;
    return 0;
}

static int read_section(struct reader *r, const char *s, const char *end)
{
    const char *close = memchr(s, ']', (size_t)(end - s));

    if (close == NULL || close + 1 != end)
        return fail(r, "a section is [NAME], and nothing behind it");
    s++;
    trim(&s, &close);
    if (s == close || strcspn(s, ":@*,!&^[]#= \t") < (size_t)(close - s))
        return fail(r, "a source's name has none of : @ * , ! & ^ [ ] # = and spaces");
    return groups_source(r->g, s, (size_t)(close - s), &r->source, r->e);
}

static int read_line(struct reader *r, const char *s, const char *end)
{
    trim(&s, &end);
    if (s == end || *s == '#' || *s == ';')
        return 0;
    if (*s == '[')
        return read_section(r, s, end);
    const char *name = s, *name_end = s;
    while (name_end < end && strchr(":=@,!&^[]# \t", *name_end) == NULL)
        name_end++;
    s = name_end;
    while (s < end && is_space(*s))
        s++;
    if (name_end == name || s == end || (*s != ':' && *s != '='))
        return fail(r, "this is neither NAME: TARGETS nor KEY = VALUE nor [SOURCE]");
    const char *value = s + 1;
    trim(&value, &end);
    return (*s == ':' ? read_group : read_setting)(r, name, (size_t)(name_end - name), value,
                                                   (size_t)(end - value));
}

/* ---- files ---- */

static int read_text(struct groups *g, unsigned file, size_t n, struct error *e)
{
    struct reader r = {.g = g, .file = file, .e = e};
    const char *s = g->files[file].text, *end = s + n;
    int rc = 0;

    if (memchr(s, '\0', n) != NULL)
        return errors_set(e, -E_CONFIG, "%.500s has a zero byte", g->files[file].path);
    while (s < end && rc == 0) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));
        if (stop == NULL)
            stop = end;
        r.line++;
        rc = read_line(&r, s, stop);
        s = stop + 1;
    }
    return rc;
}

/* path: from malloc, or NULL (memory is out); becomes the set's.  One of the usual files may be
 * missing. */
static int read_file(struct groups *g, char *path, int usual, struct error *e)
{
    struct groups_file *f = &g->files[g->file_count];
    struct stat st;
    int missing = 0;
    size_t n = 0;

    if (path == NULL)
        return errors_set(e, -E_NOMEM, "groups");
    *f = (struct groups_file){.path = path};
    g->file_count++;
    int rc = textfile_read(path, FILE_MAX, &f->text, &n, &st, &missing, e);
    if (rc != 0 && usual && missing) {
        *e = (struct error){0};
        return 0;
    }
    if (rc != 0)
        return rc;
    f->shared =
        (st.st_mode & (S_IWGRP | S_IWOTH)) != 0 || (st.st_uid != 0 && st.st_uid != getuid());
    return read_text(g, (unsigned)g->file_count - 1, n, e);
}

static int read_usual(struct groups *g, struct error *e)
{
    const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char *path = NULL;
    int rc = 0;

    if (base != NULL && *base == '/')
        rc = asprintf(&path, "%s/grapnel/groups", base);
    else if (home != NULL && *home == '/')
        rc = asprintf(&path, "%s/.config/grapnel/groups", home);
    if (rc < 0)
        return errors_set(e, -E_NOMEM, "groups");
    rc = path == NULL ? 0 : read_file(g, path, 1, e);
    return rc == 0 ? read_file(g, strdup(SYSTEM), 1, e) : rc;
}

int groups_load(struct groups *g, struct error *e)
{
    size_t number;
    int rc = groups_source(g, "", 0, &number, e);

    if (rc == 0 && g->inventory != NULL) {
        rc = groups_source(g, ANSIBLE, strlen(ANSIBLE), &number, e);
        if (rc == 0) {
            g->sources[number].inventory_path = strdup(g->inventory);
            rc = g->sources[number].inventory_path != NULL ? 0 : errors_set(e, -E_NOMEM, "groups");
        }
    }
    if (rc != 0 || (g->file != NULL && strcmp(g->file, "none") == 0))
        return rc;
    return g->file != NULL ? read_file(g, strdup(g->file), 0, e) : read_usual(g, e);
}
