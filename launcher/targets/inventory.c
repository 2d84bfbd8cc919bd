#include "launcher/targets/inventory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/targets/inventory_impl.h"
#include "launcher/targets/pattern.h"
#include "launcher/targets/textfile.h"

#define HOSTS_MAX ((size_t)10000000)
#define FILE_MAX  ((size_t)1 << 30)
#define SHOWN     60

/* A line of the file. */
struct line {
    const char *s, *end; /* without the spaces around it */
    size_t number;
};

enum section { HOSTS, CHILDREN, VARS };

struct reader {
    struct inventory *inv;
    struct line line;
    enum section section;
    uint32_t group;     /* that the section is of; NONE: no section yet */
    struct names hosts; /* of one line */
    char *word;         /* of one line, without its quotes; room for the whole line */
    size_t word_room;
    struct error *e;
};

/* ---- making ---- */

int inventory_room(void **array, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return 0;
    size_t wanted = *room == 0 ? 16 : *room * 2;
    void *grown = wanted > UINT32_MAX / 2 ? NULL : realloc(*array, wanted * size);
    if (grown == NULL)
        return -E_NOMEM;
    *array = grown;
    *room = wanted;
    return 0;
}

int inventory_group(struct inventory *inv, const char *name, size_t n, uint32_t *number,
                    struct error *e)
{
    size_t count = inv->group_names.count, i;
    int rc = inventory_room((void **)&inv->groups, &inv->group_room, count, sizeof *inv->groups);

    if (rc != 0)
        return errors_set(e, rc, "groups");
    rc = names_add(&inv->group_names, name, n, &i, e);
    if (rc == 0 && i == count)
        inv->groups[i] = (struct inventory_group){.vars = INVENTORY_NONE,
                                                  .hosts = INVENTORY_NONE,
                                                  .children = INVENTORY_NONE,
                                                  .parents = INVENTORY_NONE};
    *number = (uint32_t)i;
    return rc;
}

int inventory_link(struct inventory *inv, uint32_t *list, uint32_t what, struct error *e)
{
    int rc =
        inventory_room((void **)&inv->links, &inv->link_room, inv->link_count, sizeof *inv->links);

    if (rc != 0)
        return errors_set(e, rc, "links");
    inv->links[inv->link_count] = (struct inventory_link){what, *list};
    *list = (uint32_t)inv->link_count++;
    return 0;
}

__attribute__((format(printf, 2, 3))) static int fail(const struct reader *r, const char *format,
                                                      ...)
{
    char cause[400];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(cause, sizeof cause, format, args);
    va_end(args);
    return errors_set(r->e, -E_CONFIG, "%.200s, line %zu: %s", r->inv->path, r->line.number, cause);
}

static int is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static void trim(const char **s, const char **end)
{
    while (*s < *end && is_space(**s))
        ++*s;
    while (*end > *s && is_space((*end)[-1]))
        --*end;
}

/* ---- variables ---- */

/* Puts KEY=VALUE, value without its quotes if they are around all of it, in front of a list. */
static int add_var(struct reader *r, uint32_t *list, const char *key, size_t key_length,
                   const char *value, size_t n)
{
    struct inventory *inv = r->inv;
    size_t k, v;
    int rc = inventory_room((void **)&inv->vars, &inv->var_room, inv->var_count, sizeof *inv->vars);

    if (rc != 0)
        return errors_set(r->e, rc, "variables");
    if (key_length == 0)
        return fail(r, "a variable without a name");
    if (n >= 2 && (*value == '"' || *value == '\'') && value[n - 1] == *value) {
        value++;
        n -= 2;
    }
    if (memchr(key, '\0', key_length) != NULL || memchr(value, '\0', n) != NULL)
        return fail(r, "a zero byte");
    rc = names_add(&inv->strings, key, key_length, &k, r->e);
    if (rc == 0)
        rc = names_add(&inv->strings, value, n, &v, r->e);
    if (rc != 0)
        return rc;
    inv->vars[inv->var_count] = (struct inventory_var){(uint32_t)k, (uint32_t)v, *list};
    *list = (uint32_t)inv->var_count++;
    return 0;
}

/* A line of [group:vars]. */
static int read_var(struct reader *r)
{
    const char *s = r->line.s, *end = r->line.end;
    const char *equals = memchr(s, '=', (size_t)(end - s));
    uint32_t list = r->inv->groups[r->group].vars;

    if (equals == NULL)
        return fail(r, "KEY=VALUE is wanted here");
    const char *key_end = equals, *value = equals + 1;
    trim(&s, &key_end);
    trim(&value, &end);
    int rc = add_var(r, &list, s, (size_t)(key_end - s), value, (size_t)(end - value));
    r->inv->groups[r->group].vars = list;
    return rc;
}

/* ---- hosts ---- */

static int word_room(struct reader *r, size_t n)
{
    char *grown = n <= r->word_room ? r->word : realloc(r->word, n);

    if (grown == NULL)
        return errors_set(r->e, -E_NOMEM, "a line");
    r->word = grown;
    r->word_room = n > r->word_room ? n : r->word_room;
    return 0;
}

/* Takes the next word from *s on as Python's shlex does, in its POSIX mode with comments, which is
 * what Ansible reads lines of hosts with: into r->word, without its quotes.  *n: its length.  1; 0:
 * nothing but a comment is left, or negative. */
static int next_word(struct reader *r, const char **s, size_t *n)
{
    const char *c = *s, *end = r->line.end;
    int rc = word_room(r, (size_t)(end - c) + 1);
    char quote = 0;

    for (*n = 0; c < end && is_space(*c); c++)
        continue;
    const char *start = c;
    for (; rc == 0 && c < end && (quote || (!is_space(*c) && *c != '#')); c++) {
        int escapes = *c == '\\' && quote != '\'';
        if (escapes && c + 1 == end)
            return fail(r, "a \\ ends the line");
        if (escapes && (!quote || c[1] == '\\' || c[1] == quote))
            r->word[(*n)++] = *++c;
        else if (*c == quote)
            quote = 0;
        else if (!quote && (*c == '"' || *c == '\''))
            quote = *c;
        else
            r->word[(*n)++] = *c;
    }
    *s = c < end && *c == '#' ? end : c;
    if (rc == 0 && quote)
        return fail(r, "a quote is not closed");
    return rc != 0 ? rc : c > start;
}

/* KEY=VALUE, for all hosts of the line. */
static int read_host_var(struct reader *r, const char *word, size_t n)
{
    const char *equals = memchr(word, '=', n);
    int rc = 0;

    if (equals == NULL)
        return fail(r, "'%.*s': behind a host's name stand variables, KEY=VALUE",
                    (int)(n < SHOWN ? n : SHOWN), word);
    size_t key = (size_t)(equals - word);
    for (size_t i = 0; i < r->hosts.count && rc == 0; i++) {
        size_t host =
            names_find(&r->inv->host_names, names_at(&r->hosts, i), names_length(&r->hosts, i));
        rc = add_var(r, &r->inv->hosts[host].vars, word, key, equals + 1, n - key - 1);
    }
    return rc;
}

/* One host, which may have been there before, into the group of the section. */
static int add_host(struct reader *r, const char *name, size_t n)
{
    struct inventory *inv = r->inv;
    size_t count = inv->host_names.count, i;
    int rc = inventory_room((void **)&inv->hosts, &inv->host_room, count, sizeof *inv->hosts);

    if (rc != 0)
        return errors_set(r->e, rc, "hosts");
    rc = names_add(&inv->host_names, name, n, &i, r->e);
    if (rc != 0)
        return rc;
    if (i == count)
        inv->hosts[i] =
            (struct inventory_host){INVENTORY_NONE, INVENTORY_NONE, INVENTORY_NONE, 0,
                                    (uint32_t)(r->line.number < UINT32_MAX ? r->line.number : 0)};
    if (r->group == INVENTORY_NONE)
        return 0;
    rc = inventory_link(inv, &inv->hosts[i].groups, r->group, r->e);
    return rc == 0 ? inventory_link(inv, &inv->groups[r->group].hosts, (uint32_t)i, r->e) : rc;
}

static int read_host(struct reader *r)
{
    const char *s = r->line.s;
    struct error inner = {0};
    size_t n;
    int rc = next_word(r, &s, &n);

    if (rc <= 0)
        return rc;
    if (n == 0)
        return fail(r, "a host without a name");
    if (r->word[n - 1] == ':' || *r->word == '{' || (n >= 3 && strncmp(r->word, "---", 3) == 0))
        return fail(r, "this is no INI file: other inventories are not read (ansible-inventory "
                       "--list shows what is in them)");
    names_clear(&r->hosts);
    r->hosts.limit = HOSTS_MAX;
    rc = pattern_expand(&r->hosts, r->word, n, PATTERN_ANSIBLE, &inner);
    if (rc != 0)
        return fail(r, "%s", inner.detail);
    for (size_t i = 0; i < r->hosts.count && rc == 0; i++)
        rc = add_host(r, names_at(&r->hosts, i), names_length(&r->hosts, i));
    while (rc == 0 && (rc = next_word(r, &s, &n)) > 0)
        rc = read_host_var(r, r->word, n);
    return rc;
}

/* ---- groups ---- */

static int read_child(struct reader *r)
{
    const char *s = r->line.s;
    uint32_t child;
    size_t n;
    int rc = next_word(r, &s, &n);

    if (rc <= 0)
        return rc;
    rc = inventory_group(r->inv, r->word, n, &child, r->e);
    if (rc != 0)
        return rc;
    struct inventory_group *group = &r->inv->groups[child];
    if (group->line == 0)
        group->line = r->line.number;
    rc = inventory_link(r->inv, &group->parents, r->group, r->e);
    return rc == 0 ? inventory_link(r->inv, &r->inv->groups[r->group].children, child, r->e) : rc;
}

/* [NAME], [NAME:children], [NAME:vars]. */
static int read_section(struct reader *r)
{
    const char *s = r->line.s + 1, *end = memchr(s, ']', (size_t)(r->line.end - s));

    if (end == NULL)
        return fail(r, "the ] of the section is missing");
    const char *colon = memchr(s, ':', (size_t)(end - s)), *name_end = colon ? colon : end;
    const char *kind = colon ? colon + 1 : end;
    size_t n = (size_t)(end - kind);
    if (colon == NULL || (n == 5 && strncmp(kind, "hosts", n) == 0))
        r->section = HOSTS;
    else if (n == 8 && strncmp(kind, "children", n) == 0)
        r->section = CHILDREN;
    else if (n == 4 && strncmp(kind, "vars", n) == 0)
        r->section = VARS;
    else
        return fail(r, "[%.*s]: only :children, :vars and :hosts may stand behind a group's name",
                    (int)(end - s < SHOWN ? end - s : SHOWN), s);
    trim(&s, &name_end);
    if (s == name_end || memchr(s, '\0', (size_t)(name_end - s)) != NULL)
        return fail(r, "the section has no name");
    int rc = inventory_group(r->inv, s, (size_t)(name_end - s), &r->group, r->e);
    if (rc == 0 && r->section != VARS)
        r->inv->groups[r->group].defined = 1;
    return rc;
}

static int read_line(struct reader *r)
{
    trim(&r->line.s, &r->line.end);
    if (r->line.s == r->line.end || *r->line.s == '#' || *r->line.s == ';')
        return 0;
    if (*r->line.s == '[' && (r->line.end[-1] == ']' || r->section != HOSTS ||
                              memchr(r->line.s, '#', (size_t)(r->line.end - r->line.s)) != NULL))
        return read_section(r);
    if (r->section == VARS)
        return read_var(r);
    return r->section == CHILDREN ? read_child(r) : read_host(r);
}

/* ---- the whole ---- */

static int check_groups(const struct reader *r)
{
    for (size_t i = 0; i < r->inv->group_names.count; i++) {
        const struct inventory_group *g = &r->inv->groups[i];
        if (!g->defined && g->line != 0)
            return errors_set(r->e, -E_CONFIG, "%.200s, line %zu: there is no group '%.100s'",
                              r->inv->path, g->line, names_at(&r->inv->group_names, i));
    }
    return inventory_sort(r->inv, r->e);
}

struct inventory *inventory_parse(const char *text, size_t n, const char *path, struct error *e)
{
    struct inventory *inv = calloc(1, sizeof *inv);
    struct reader r = {.inv = inv, .group = INVENTORY_NONE, .e = e};
    const char *s = text, *end = text + n;
    int rc;

    if (inv != NULL)
        inv->path = strdup(path);
    rc = inv == NULL || inv->path == NULL ? errors_set(e, -E_NOMEM, "inventory") : 0;
    while (rc == 0 && s < end) {
        const char *stop = memchr(s, '\n', (size_t)(end - s));
        if (stop == NULL)
            stop = end;
        r.line = (struct line){s, stop, r.line.number + 1};
        rc = read_line(&r);
        s = stop + 1;
    }
    if (rc == 0)
        rc = check_groups(&r);
    names_clear(&r.hosts);
    free(r.word);
    if (rc == 0)
        return inv;
    inventory_free(inv);
    return NULL;
}

struct inventory *inventory_read(const char *path, struct error *e)
{
    struct inventory *inv = NULL;
    char *text;
    size_t n;

    if (textfile_read(path, FILE_MAX, &text, &n, NULL, NULL, e) == 0)
        inv = inventory_parse(text, n, path, e);
    free(text);
    return inv;
}

void inventory_free(struct inventory *inv)
{
    if (inv == NULL)
        return;
    names_clear(&inv->host_names);
    names_clear(&inv->group_names);
    names_clear(&inv->strings);
    names_clear(&inv->targets);
    free(inv->hosts);
    free(inv->groups);
    free(inv->links);
    free(inv->vars);
    free(inv->target_host);
    free(inv->order);
    for (int i = 0; i < INVENTORY_MEMOS; i++)
        free(inv->memos[i].best);
    free(inv->path);
    free(inv);
}
