/* What the text of a known_hosts file becomes when keys are added to it, and take the place of
 * others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/knownhosts_impl.h"
#include "launcher/ssh/sshconfig.h"

struct editing {
    const char *path;
    struct knownhosts_change *changes;
    size_t n;
    struct knownhosts_change **by_old; /* those with an old key, by that */
    size_t olds;
    struct knownhosts *set; /* what stands in the file, and what was added */
    const char *text;
    size_t text_n;
    struct wire_buf *kept, *added;
};

/* ---- lines ---- */

/* One line's fields, as places in the text. */
struct fields {
    const char *hosts, *key;
    size_t hosts_n, key_n;
};

static const char *next_word(const char *at, const char *end, size_t *n)
{
    while (at < end && strchr(" \t\r", *at))
        at++;
    *n = 0;
    while (at + *n < end && !strchr(" \t\r", at[*n]))
        ++*n;
    return at;
}

/* False for comments, marked lines and what has no key. */
static int split(const char *line, const char *end, struct fields *f)
{
    size_t n;
    const char *type;

    f->hosts = next_word(line, end, &f->hosts_n);
    if (f->hosts_n == 0 || *f->hosts == '#' || *f->hosts == '@')
        return 0;
    type = next_word(f->hosts + f->hosts_n, end, &n);
    f->key = next_word(type + n, end, &f->key_n);
    return f->key_n > 0;
}

static int compare_old(const void *a, const void *b)
{
    return strcmp((*(struct knownhosts_change *const *)a)->old,
                  (*(struct knownhosts_change *const *)b)->old);
}

/* The first change whose old key this is; *count many follow each other. */
static struct knownhosts_change **find_old(const struct editing *w, const struct fields *f,
                                           size_t *count)
{
    size_t low = 0, high = w->olds;

    *count = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *old = w->by_old[middle]->old;
        int order = strncmp(old, f->key, f->key_n);

        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + *count < w->olds && strlen(w->by_old[low + *count]->old) == f->key_n &&
           memcmp(w->by_old[low + *count]->old, f->key, f->key_n) == 0)
        ++*count;
    return w->by_old + low;
}

/* ---- names ---- */

static int is_name(const char *item, size_t n, const char *name)
{
    if (strlen(name) != n)
        return 0;
    for (size_t i = 0; i < n; i++) {
        char c = item[i] >= 'A' && item[i] <= 'Z' ? (char)(item[i] - 'A' + 'a') : item[i];

        if (c != name[i])
            return 0;
    }
    return 1;
}

/* The list without the names of these changes, at `out`.  Returns how many names are left. */
static size_t without(const struct fields *f, struct knownhosts_change *const *changes, size_t n,
                      char *out)
{
    const char *at = f->hosts, *end = f->hosts + f->hosts_n;
    size_t left = 0, used = 0;

    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t length = (size_t)((comma ? comma : end) - at), i = 0;

        while (i < n && (changes[i]->kept || !is_name(at, length, changes[i]->name)))
            i++;
        if (i == n) {
            if (left++)
                out[used++] = ',';
            memcpy(out + used, at, length);
            used += length;
        }
        at += length + (comma != NULL);
    }
    out[used] = '\0';
    return left;
}

/* 1 when the hashed name is that of a change that is made, which is hashed then, too; 0 when not,
 * negative: memory is out. */
static int is_hashed(struct editing *w, const struct fields *f,
                     struct knownhosts_change *const *changes, size_t n)
{
    uint8_t salt[20], hash[20], mac[20];
    size_t salt_n = sizeof salt, hash_n = sizeof hash;
    const char *at = f->hosts + 3, *end = f->hosts + f->hosts_n;
    const char *bar = f->hosts_n > 3 ? memchr(at, '|', (size_t)(end - at)) : NULL;

    if (!bar || memcmp(f->hosts, "|1|", 3) != 0 ||
        sshkey_base64_decode(at, (size_t)(bar - at), salt, &salt_n) != 0 ||
        sshkey_base64_decode(bar + 1, (size_t)(end - bar - 1), hash, &hash_n) != 0 ||
        salt_n != sizeof salt || hash_n != sizeof hash)
        return 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = changes[i]->name;

        if (changes[i]->kept)
            continue;
        if (knownhosts_index_hmac(w->set, salt, name, strlen(name), mac) < 0)
            return -E_NOMEM;
        if (memcmp(mac, hash, sizeof mac) == 0) {
            changes[i]->hashed = 1;
            return 1;
        }
    }
    return 0;
}

/* ---- what is in the way ---- */

/* A name that a pattern of the line stands for, too, cannot be taken out of it. */
static void check_patterns(const struct fields *f, size_t line, struct knownhosts_change **changes,
                           size_t n, char *room)
{
    if (without(f, changes, n, room) == 0 || !strpbrk(room, "*?!"))
        return;
    for (size_t i = 0; i < n; i++) {
        if (changes[i]->kept || sshconfig_match_list(changes[i]->name, room, 1) != 1)
            continue;
        changes[i]->kept = "a pattern in the line of its old key stands for it";
        changes[i]->line = line;
    }
}

/* Runs over all lines that have the old key of some change. */
static int each_line(struct editing *w,
                     int (*each)(struct editing *w, const char *line, const char *end,
                                 const struct fields *f, size_t number,
                                 struct knownhosts_change **changes, size_t n))
{
    const char *at = w->text, *end = w->text + w->text_n;
    size_t number = 0;
    int rc = 0;

    while (at < end && rc == 0) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end, *next = newline ? newline + 1 : end;
        struct knownhosts_change **changes = NULL;
        struct fields f = {0};
        size_t n = 0;

        number++;
        /* Who reads the line sees no further than this. */
        if (memchr(at, '\0', (size_t)(line_end - at)))
            line_end = at + strlen(at);
        if (split(at, line_end, &f))
            changes = find_old(w, &f, &n);
        rc = each(w, at, next, &f, number, changes, n);
        at = next;
    }
    return rc;
}

static int look_at_line(struct editing *w, const char *line, const char *end,
                        const struct fields *f, size_t number, struct knownhosts_change **changes,
                        size_t n)
{
    char *room;

    (void)line;
    (void)end;
    if (n > 0 && *f->hosts == '|')
        return is_hashed(w, f, changes, n) < 0 ? -E_NOMEM : 0;
    if (n == 0)
        return 0;
    room = malloc(f->hosts_n + 1);
    if (!room)
        return -E_NOMEM;
    check_patterns(f, number, changes, n, room);
    free(room);
    return 0;
}

/* What has come to stand there since the key was looked up. */
static int look_at_new(struct editing *w, struct knownhosts_change *c, const uint8_t *key,
                       size_t key_n)
{
    struct knownhosts_match match;
    int rc = knownhosts_check(w->set, c->name, 0, key, key_n, &match);

    if (rc < 0)
        return rc;
    if (match.state == KNOWNHOSTS_REVOKED)
        c->kept = "the key is marked as revoked";
    else if (match.state == KNOWNHOSTS_CHANGED && match.same_type &&
             !(c->old && strcmp(c->old, match.key) == 0))
        c->kept = "another key has come to stand there meanwhile";
    if (c->kept)
        c->line = match.line;
    return match.state == KNOWNHOSTS_KNOWN;
}

/* ---- the new text ---- */

static int put_line(struct editing *w, const char *line, const char *end, const struct fields *f,
                    size_t number, struct knownhosts_change **changes, size_t n)
{
    int hashed = n > 0 && *f->hosts == '|' ? is_hashed(w, f, changes, n) : 0, bad;
    char *room;

    (void)number;
    if (hashed != 0)
        return hashed < 0 ? hashed : 0;
    if (n == 0 || *f->hosts == '|')
        return wire_put(w->kept, line, (size_t)(end - line));
    room = malloc(f->hosts_n + 1);
    if (!room)
        return -E_NOMEM;
    bad = 0;
    if (without(f, changes, n, room) > 0) {
        const char *rest = f->hosts + f->hosts_n;

        bad = wire_put(w->kept, line, (size_t)(f->hosts - line)) |
              wire_put(w->kept, room, strlen(room)) | wire_put(w->kept, rest, (size_t)(end - rest));
    }
    free(room);
    return bad ? -E_NOMEM : 0;
}

/* A line for the end of the file; what was put there before is known from then on. */
static int add_line(struct editing *w, struct knownhosts_change *c)
{
    char type[SSHKEY_NAME_MAX], name[KNOWNHOSTS_NAME_MAX], *line = NULL;
    uint8_t key[SSHKEY_BLOB_MAX];
    size_t key_n = sizeof key;
    int rc, length;

    if (sshkey_base64_decode(c->key, strlen(c->key), key, &key_n) < 0 ||
        sshkey_check(key, key_n) < 0 || sshkey_type(key, key_n, type) < 0) {
        c->kept = "it is no key";
        return 0;
    }
    rc = look_at_new(w, c, key, key_n);
    if (rc != 0 || c->kept)
        return rc < 0 ? rc : 0;
    (void)snprintf(name, sizeof name, "%s", c->name);
    if (c->hashed && knownhosts_add_hash(w->set, c->name, name, sizeof name) < 0)
        return -E_NOMEM;
    length = asprintf(&line, "%s %s %s\n", name, type, c->key);
    if (length < 0)
        return -E_NOMEM;
    rc = wire_put(w->added, line, (size_t)length);
    free(line);
    if (rc == 0)
        rc = knownhosts_add_remember(w->set, w->path, c->name, type, c->key);
    return rc;
}

static int collect_olds(struct editing *w)
{
    w->by_old = malloc((w->n + 1) * sizeof *w->by_old);
    if (!w->by_old)
        return -E_NOMEM;
    for (size_t i = 0; i < w->n; i++) {
        w->changes[i].kept = NULL;
        w->changes[i].line = 0;
        if (w->changes[i].old)
            w->by_old[w->olds++] = &w->changes[i];
    }
    qsort(w->by_old, w->olds, sizeof *w->by_old, compare_old);
    return 0;
}

static int edit(struct editing *w)
{
    int rc = collect_olds(w);

    if (rc == 0 && w->olds > 0)
        rc = each_line(w, look_at_line);
    for (size_t i = 0; i < w->n && rc == 0; i++) {
        struct knownhosts_change *c = &w->changes[i];

        /* What was not made by knownhosts_name could be more than one word. */
        if (!c->kept && (*c->name == '\0' || strchr("|#@", *c->name) ||
                         strpbrk(c->name, " \t\r\n,*?!") ||
                         strlen(c->name) >= KNOWNHOSTS_NAME_MAX))
            c->kept = "it is no name of a host";
        if (!c->kept)
            rc = add_line(w, c);
    }
    return rc == 0 ? each_line(w, put_line) : rc;
}

int knownhosts_edit(struct knownhosts *set, const char *path, const char *text, size_t n,
                    struct knownhosts_change *changes, size_t count, struct wire_buf *kept,
                    struct wire_buf *added)
{
    struct editing w = {.path = path,
                        .changes = changes,
                        .n = count,
                        .set = set,
                        .text = text,
                        .text_n = n,
                        .kept = kept,
                        .added = added};
    int rc = edit(&w);

    free(w.by_old);
    return rc;
}
