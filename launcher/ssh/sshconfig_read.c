/* Configuration files, read into directives. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/ssh/sshconfig_impl.h"

#define NAMES_MAX  65536u /* files read, Include and all */
#define GIVEN_NAME "-o"

/* Where the reader stands. */
struct place {
    const char *name; /* owned by the set */
    size_t line;
    enum sshconfig_where where;
    int depth;
    int given; /* a -o setting: no Host, Match, Include */
    int dump;  /* the output of `ssh -G`: no quoting, no blocks, no files */
};

static int read_into(struct sshconfig_set *set, const char *path, const struct place *parent,
                     enum sshconfig_where where, struct error *e);

static void *grow(void *array, size_t count, size_t *size, size_t item)
{
    if (count < *size)
        return array;
    size_t more = *size == 0 ? 32 : *size * 2;
    void *p = realloc(array, more * item);
    if (p != NULL)
        *size = more;
    return p;
}

static int append(struct sshconfig_set *set, const struct sshconfig_directive *d, struct error *e)
{
    if (set->count >= SSHCONFIG_LINES_MAX)
        return errors_set(e, -E_LIMIT, "%s: more than %u lines of configuration", d->file,
                          SSHCONFIG_LINES_MAX);
    struct sshconfig_directive *at = grow(set->at, set->count, &set->size, sizeof *at);
    if (at == NULL)
        return errors_set(e, -E_NOMEM, "%s", d->file);
    set->at = at;
    set->at[set->count++] = *d;
    return 0;
}

/* Keeps a copy of a file's name; NULL when memory is out. */
static const char *keep_name(struct sshconfig_set *set, const char *name)
{
    char **names = grow(set->names, set->names_count, &set->names_size, sizeof *names);
    if (names == NULL)
        return NULL;
    set->names = names;
    names[set->names_count] = strdup(name);
    return names[set->names_count] == NULL ? NULL : names[set->names_count++];
}

static int bad(const struct place *at, const char *keyword, const char *why, struct error *e)
{
    if (at->line == 0)
        return errors_set(e, -E_CONFIG, "%s %s: %s", at->name, keyword, why);
    return errors_set(e, -E_CONFIG, "%s:%zu: %s: %s", at->name, at->line, keyword, why);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int include_one(struct sshconfig_set *set, const struct place *at, const char *pattern,
                       struct error *e)
{
    char joined[4096];
    char *path = NULL;
    glob_t found = {0};
    int rc = 0;
    if (*pattern == '~' && at->where == WHERE_SYSTEM)
        return bad(at, "include", "~ in a system-wide file", e);
    if (*pattern == '~') {
        rc = sshconfig_expand_tilde(pattern, set->home, &path, e);
        if (rc != 0)
            return rc;
        pattern = path;
    } else if (*pattern != '/') {
        const char *folder = at->where == WHERE_SYSTEM ? "/etc" : set->home;
        int n = snprintf(joined, sizeof joined, "%s/%s/%s", folder,
                         at->where == WHERE_SYSTEM ? "ssh" : ".ssh", pattern);
        if (n < 0 || (size_t)n >= sizeof joined)
            return bad(at, "include", "path too long", e);
        pattern = joined;
    }
    if (sshsources_add_pattern(&set->sources, pattern) != 0)
        rc = errors_set(e, -E_NOMEM, "include");
    int globbed = glob(pattern, GLOB_NOSORT, NULL, &found);
    if (rc == 0 && globbed != 0 && globbed != GLOB_NOMATCH)
        rc = bad(at, "include", "the pattern cannot be expanded", e);
    /* The same order whatever the process's locale. */
    if (found.gl_pathc > 1)
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, compare);
    for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++)
        rc = read_into(set, found.gl_pathv[i], at, at->where, e);
    globfree(&found);
    free(path);
    return rc;
}

/* Match lines become pairs: criterion, argument ("" for those without). */
static int split_match(char *rest, char ***argv, size_t *argc, const char **why)
{
    size_t n = strlen(rest), most = n + 4;
    *why = "missing argument";
    *argc = 0;
    *argv = malloc(most * sizeof **argv + n + 1);
    if (*argv == NULL)
        return -E_NOMEM;
    char *copy = (char *)(*argv + most), *criterion;
    memcpy(copy, rest, n + 1);
    while ((criterion = sshconfig_words_next(&copy)) != NULL && *criterion != '\0') {
        if (*criterion == '#')
            break;
        char *name = criterion + (*criterion == '!'), *argument = name + strlen(name);
        int alone = strcasecmp(name, "all") == 0 || strcasecmp(name, "canonical") == 0 ||
                    strcasecmp(name, "final") == 0;
        if (!alone) {
            argument = sshconfig_words_next(&copy);
            if (argument == NULL || *argument == '\0' || *argument == '#')
                return -E_CONFIG;
        }
        (*argv)[(*argc)++] = criterion;
        (*argv)[(*argc)++] = argument;
        if (strcasecmp(name, "all") == 0 && *copy != '\0' && *copy != '#') {
            *why = "\"all\" with other criteria behind it";
            return -E_CONFIG;
        }
    }
    int unclosed = criterion == NULL && *copy != '\0';
    return *argc == 0 || unclosed ? -E_CONFIG : 0;
}

/* "all" may have one other criterion before it: ssh allows that for the sake of "final all". */
static int check_match(struct sshconfig_set *set, const struct sshconfig_directive *d,
                       const char **why)
{
    for (size_t i = 0; i < d->argc; i += 2) {
        const char *name = d->argv[i] + (d->argv[i][0] == '!');
        if (strcasecmp(name, "final") == 0)
            set->wants_final = 1;
        if (strcasecmp(name, "all") == 0 && i > 2) {
            *why = "\"all\" with other criteria";
            return -E_CONFIG;
        }
    }
    return 0;
}

/* The rest of a line, as one argument. */
static int take_rest(const char *rest, char ***argv, size_t *argc)
{
    size_t n = strlen(rest);
    *argc = 0;
    *argv = malloc(2 * sizeof **argv + n + 1);
    if (*argv == NULL)
        return -E_NOMEM;
    (*argv)[0] = memcpy((char *)(*argv + 2), rest, n + 1);
    (*argv)[1] = NULL;
    *argc = 1;
    return 0;
}

/* Where ssh takes a comment for arguments: "Host # none" is a block that applies to no host. */
static int takes_many(enum sshconfig_kind kind)
{
    return kind == KIND_HOST || kind == KIND_FILES || kind == KIND_WORDS || kind == KIND_INCLUDE;
}

static int split_arguments(const struct place *at, enum sshconfig_kind kind, char *rest,
                           struct sshconfig_directive *d, const char **why)
{
    if (at->dump && (d->key == KEY_SETENV || kind != KIND_FILES) && kind != KIND_COMMAND)
        return take_rest(rest, &d->argv, &d->argc);
    if (*rest == '\0')
        return -E_CONFIG;
    int rc = at->dump && kind == KIND_COMMAND ? 0 : sshconfig_words_split(rest, &d->argv, &d->argc);
    if (rc == -E_CONFIG)
        *why = "no closing quote";
    if (rc != 0)
        return rc;
    if (kind != KIND_COMMAND && kind != KIND_MATCH)
        return d->argc == 0 && !takes_many(kind) ? -E_CONFIG : 0;
    free(d->argv);
    d->argv = NULL;
    if (kind == KIND_COMMAND) {
        rest += strspn(rest, " \t\r\n=");
        if (d->key == KEY_PROXYJUMP) /* one word; a comment may follow, unlike at commands */
            rest[strcspn(rest, "# \t")] = '\0';
        return *rest == '\0' ? -E_CONFIG : take_rest(rest, &d->argv, &d->argc);
    }
    return split_match(rest, &d->argv, &d->argc, why);
}

/* Not our affair, as long as it is well-formed.  A keyword that nobody knows is kept: whether
 * IgnoreUnknown names it depends on the host. */
static int read_passed(struct sshconfig_set *set, const struct place *at, enum sshconfig_key key,
                       const char *name, const char *rest, struct error *e)
{
    struct sshconfig_directive d = {.key = key, .file = at->name, .line = at->line};
    if (at->dump)
        return 0;
    if (*rest == '\0')
        return bad(at, name, "missing argument", e);
    int rc = sshconfig_words_split(rest, &d.argv, &d.argc);
    if (rc == -E_CONFIG)
        return bad(at, name, "no closing quote", e);
    free(d.argv);
    if (rc == 0 && key == KEY_PASSED)
        return 0;
    if (rc == 0)
        rc = take_rest(name, &d.argv, &d.argc);
    if (rc != 0)
        return errors_set(e, rc, "%s", at->name);
    rc = append(set, &d, e);
    if (rc != 0)
        free(d.argv);
    return rc;
}

static int read_line(struct sshconfig_set *set, const struct place *at, char *line, struct error *e)
{
    char *rest;
    const char *why = "missing argument";
    sshconfig_words_trim(line);
    char *word = sshconfig_words_keyword(line, &rest);
    if (word == NULL)
        return 0;
    const struct sshconfig_keyword *keyword = sshconfig_keyword_find(word);
    if (keyword == NULL || keyword->kind == KIND_PASSED)
        return read_passed(set, at, keyword == NULL ? KEY_UNKNOWN : KEY_PASSED, word, rest, e);
    if (at->dump && keyword->kind >= KIND_HOST) /* "host": the name that was asked for */
        return 0;
    if (at->given && keyword->kind >= KIND_HOST)
        return bad(at, keyword->name, "not possible on the command line", e);
    struct sshconfig_directive d = {.key = keyword->key, .file = at->name, .line = at->line};
    int rc = split_arguments(at, keyword->kind, rest, &d, &why);
    if (rc == 0)
        rc = sshconfig_value(&d, keyword->kind, &why);
    if (rc == 0 && keyword->kind == KIND_MATCH)
        rc = check_match(set, &d, &why);
    if (rc == -E_CONFIG)
        (void)bad(at, keyword->name, why, e);
    else if (rc != 0)
        (void)errors_set(e, rc, "%s", at->name);
    if (keyword->kind == KIND_INCLUDE) {
        for (size_t i = 0; rc == 0 && i < d.argc; i++)
            rc = include_one(set, at, d.argv[i], e);
        free(d.argv);
        return rc;
    }
    int says = d.argc > 0 || keyword->kind == KIND_HOST;
    if (rc == 0 && says)
        rc = append(set, &d, e);
    if (rc != 0 || !says)
        free(d.argv);
    return rc;
}

/* Reads a whole file; the caller frees *text.  A folder (which Include conf.d/ * may name) reads
 * as empty. */
static int slurp(int fd, const char *name, char **text, struct error *e)
{
    size_t n = 0, size = 8192;
    int rc = 0;
    char *p = malloc(size), *bigger;
    while (p != NULL) {
        ssize_t got = read(fd, p + n, size - 1 - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno != EISDIR) {
            rc = errors_set_system(e, -E_CONFIG, errno, "%s", name);
            goto out;
        }
        if (got <= 0) {
            p[n] = '\0';
            *text = p;
            return 0;
        }
        n += (size_t)got;
        if (n > SSHCONFIG_FILE_MAX) {
            rc = errors_set(e, -E_LIMIT, "%s: longer than %u bytes", name, SSHCONFIG_FILE_MAX);
            goto out;
        }
        if (n + 1 >= size) {
            bigger = realloc(p, size * 2);
            if (bigger == NULL)
                break;
            p = bigger;
            size *= 2;
        }
    }
    rc = errors_set(e, -E_NOMEM, "%s", name);
out:
    free(p);
    return rc;
}

static int read_lines(struct sshconfig_set *set, struct place *at, char *text, struct error *e)
{
    int rc = 0;
    struct sshconfig_directive mark = {.key = KEY_BEGIN, .file = at->name};
    rc = append(set, &mark, e);
    while (rc == 0 && *text != '\0') {
        size_t n = strcspn(text, "\n");
        char *next = text + n + (text[n] == '\n');
        text[n] = '\0';
        at->line++;
        rc = read_line(set, at, text, e);
        text = next;
    }
    mark.key = KEY_END;
    return rc == 0 ? append(set, &mark, e) : rc;
}

/* ssh refuses a user's file that somebody else could have written. */
static int check_owner(int fd, const char *path, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return errors_set_system(e, -E_CONFIG, errno, "%s", path);
    if ((st.st_uid != 0 && st.st_uid != getuid()) || (st.st_mode & 022) != 0)
        return errors_set(e, -E_CONFIG, "%s: bad owner or permissions (others could write it)",
                          path);
    return 0;
}

static int read_into(struct sshconfig_set *set, const char *path, const struct place *parent,
                     enum sshconfig_where where, struct error *e)
{
    char *text = NULL;
    int rc;
    struct place at = {.where = where, .depth = parent == NULL ? 0 : parent->depth + 1};
    if (at.depth > SSHCONFIG_DEPTH_MAX)
        return bad(parent, "include", "nested too deeply", e);
    if (set->names_count >= NAMES_MAX)
        return errors_set(e, -E_LIMIT, "%s: more than %u files of configuration", path, NAMES_MAX);
    if (sshsources_add(&set->sources, path) != 0)
        return errors_set(e, -E_NOMEM, "%s", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        if (parent == NULL ? where != WHERE_GIVEN : errno == ENOENT)
            return 0;
        return errors_set_system(e, -E_CONFIG, errno, "%s", path);
    }
    rc = where == WHERE_USER ? check_owner(fd, path, e) : 0;
    at.name = rc == 0 ? keep_name(set, path) : NULL;
    if (rc == 0 && at.name == NULL)
        rc = errors_set(e, -E_NOMEM, "%s", path);
    if (rc == 0)
        rc = slurp(fd, path, &text, e);
    if (rc == 0)
        rc = read_lines(set, &at, text, e);
    free(text);
    close(fd);
    return rc;
}

int sshconfig_read_file(struct sshconfig_set *set, const char *path, enum sshconfig_where where,
                        struct error *e)
{
    return read_into(set, path, NULL, where, e);
}

int sshconfig_read_settings(struct sshconfig_set *set, const char *const *settings, size_t count,
                            struct error *e)
{
    int rc = 0;
    struct place at = {.name = keep_name(set, GIVEN_NAME), .given = 1};
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char *line = strdup(settings[i]);
        if (line == NULL || at.name == NULL)
            rc = errors_set(e, -E_NOMEM, GIVEN_NAME);
        else
            rc = read_line(set, &at, line, e);
        free(line);
    }
    return rc;
}

int sshconfig_read_dump(struct sshconfig_set *set, char *text, struct error *e)
{
    struct place at = {.name = keep_name(set, "ssh -G"), .dump = 1};
    if (at.name == NULL)
        return errors_set(e, -E_NOMEM, "ssh -G");
    return read_lines(set, &at, text, e);
}
