/* Many keys into one known_hosts file, some in the place of others. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/ssh/knownhosts_impl.h"
#include "launcher/ssh/sshconfig.h"

#define TEMP ".XXXXXX"

struct writing {
    const char *path;
    struct knownhosts_change *changes;
    size_t n;
    struct knownhosts_change **by_old; /* those with an old key, by that */
    size_t olds;
    struct knownhosts *set; /* what stands in the file, and what was added */
    char *text;             /* the file … */
    size_t text_n;
    struct wire_buf out; /* … and what it becomes, as far as lines are replaced */
    struct wire_buf added;
    struct error *e;
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
static struct knownhosts_change **find_old(const struct writing *w, const struct fields *f,
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

/* 1 when the hashed name is that of a change that is made, 0 when not, negative: memory is out. */
static int is_hashed(struct writing *w, const struct fields *f,
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
        if (memcmp(mac, hash, sizeof mac) == 0)
            return 1;
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
static int each_line(struct writing *w,
                     int (*each)(struct writing *w, const char *line, const char *end,
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
        if (split(at, line_end, &f))
            changes = find_old(w, &f, &n);
        rc = each(w, at, next, &f, number, changes, n);
        at = next;
    }
    return rc;
}

static int look_at_line(struct writing *w, const char *line, const char *end,
                        const struct fields *f, size_t number, struct knownhosts_change **changes,
                        size_t n)
{
    char *room;

    (void)w;
    (void)line;
    (void)end;
    if (n == 0 || *f->hosts == '|')
        return 0;
    room = malloc(f->hosts_n + 1);
    if (!room)
        return -E_NOMEM;
    check_patterns(f, number, changes, n, room);
    free(room);
    return 0;
}

/* What has come to stand there since the key was looked up. */
static int look_at_new(struct writing *w, struct knownhosts_change *c, const uint8_t *key,
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

static int put_line(struct writing *w, const char *line, const char *end, const struct fields *f,
                    size_t number, struct knownhosts_change **changes, size_t n)
{
    int hashed = n > 0 && *f->hosts == '|' ? is_hashed(w, f, changes, n) : 0, bad;
    char *room;

    (void)number;
    if (hashed != 0)
        return hashed < 0 ? hashed : 0;
    if (n == 0 || *f->hosts == '|')
        return wire_put(&w->out, line, (size_t)(end - line));
    room = malloc(f->hosts_n + 1);
    if (!room)
        return -E_NOMEM;
    bad = 0;
    if (without(f, changes, n, room) > 0) {
        const char *rest = f->hosts + f->hosts_n;

        bad = wire_put(&w->out, line, (size_t)(f->hosts - line)) |
              wire_put(&w->out, room, strlen(room)) | wire_put(&w->out, rest, (size_t)(end - rest));
    }
    free(room);
    return bad ? -E_NOMEM : 0;
}

/* A line for the end of the file; what was put there before is known from then on. */
static int add_line(struct writing *w, struct knownhosts_change *c)
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
    rc = wire_put(&w->added, line, (size_t)length);
    free(line);
    if (rc == 0)
        rc = knownhosts_add_remember(w->set, w->path, c->name, type, c->key);
    return rc;
}

static int make_text(struct writing *w)
{
    int rc = 0;

    if (w->olds > 0)
        rc = each_line(w, look_at_line);
    for (size_t i = 0; i < w->n && rc == 0; i++) {
        char name[KNOWNHOSTS_NAME_MAX];

        /* What was not made of a name by knownhosts_name could be more than one word. */
        if (!w->changes[i].kept &&
            (*w->changes[i].name == '\0' || strpbrk(w->changes[i].name, " \t\r\n,*?!|#@") ||
             strlen(w->changes[i].name) >= sizeof name))
            w->changes[i].kept = "it is no name of a host";
        if (!w->changes[i].kept)
            rc = add_line(w, &w->changes[i]);
    }
    if (rc == 0 && w->olds > 0)
        rc = each_line(w, put_line);
    return rc;
}

/* ---- the file ---- */

static int write_all(int fd, const struct wire_buf *b)
{
    const uint8_t *at = wire_data(b);
    size_t left = wire_length(b);

    while (left > 0) {
        ssize_t done = write(fd, at, left);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return -1;
        at += done;
        left -= (size_t)done;
    }
    return 0;
}

static void sync_folder(const char *path)
{
    char folder[PATH_MAX];
    char *slash;
    int fd;

    (void)snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Into the place of `target`, which fd is, by way of a file beside it. */
static int replace(struct writing *w, const char *target, int fd)
{
    char temp[PATH_MAX + sizeof TEMP];
    struct stat st;
    int to, bad = 1;

    (void)snprintf(temp, sizeof temp, "%s" TEMP, target);
    to = mkostemp(temp, O_CLOEXEC);
    if (to < 0)
        return errors_set_system(w->e, -E_IO, errno, "%s", temp);
    if (fstat(fd, &st) == 0 && fchmod(to, st.st_mode & 07777) == 0 &&
        ((st.st_uid == geteuid() && st.st_gid == getegid()) ||
         fchown(to, st.st_uid, st.st_gid) == 0) &&
        write_all(to, &w->out) == 0 && write_all(to, &w->added) == 0 && fsync(to) == 0) {
        /* Who takes no lock, as ssh, may have appended. */
        if (fstat(fd, &st) == 0 && (size_t)st.st_size != w->text_n)
            errno = EBUSY;
        else
            bad = rename(temp, target) < 0;
    }
    if (bad) {
        (void)errors_set_system(w->e, -E_IO, errno, "%s", w->path);
        (void)unlink(temp);
    } else {
        sync_folder(target);
    }
    close(to);
    return bad ? -E_IO : 0;
}

static int append(struct writing *w, int fd)
{
    int bad = 0;

    if (wire_length(&w->added) == 0)
        return 0;
    wire_take(&w->out, wire_length(&w->out));
    if (w->text_n > 0 && w->text[w->text_n - 1] != '\n')
        bad = wire_put(&w->out, "\n", 1);
    if (bad || wire_put(&w->out, wire_data(&w->added), wire_length(&w->added)) < 0)
        return errors_set(w->e, -E_NOMEM, "%s", w->path);
    return knownhosts_add_lines(fd, w->path, (const char *)wire_data(&w->out), wire_length(&w->out),
                                w->e);
}

/* True when lines go. */
static int is_replaced(const struct writing *w)
{
    return w->olds > 0 && w->text_n > 0 &&
           (wire_length(&w->out) != w->text_n ||
            memcmp(wire_data(&w->out), w->text, w->text_n) != 0);
}

static int put_back(struct writing *w, int fd)
{
    size_t n = wire_length(&w->out);
    char *target;
    int rc;

    if (!is_replaced(w))
        return append(w, fd);
    if (n > 0 && wire_data(&w->out)[n - 1] != '\n' && wire_put(&w->out, "\n", 1) < 0)
        return errors_set(w->e, -E_NOMEM, "%s", w->path);
    target = realpath(w->path, NULL);
    if (!target)
        return errors_set_system(w->e, -E_IO, errno, "%s", w->path);
    rc = replace(w, target, fd);
    free(target);
    return rc;
}

static int collect_olds(struct writing *w)
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

int knownhosts_write(const char *path, struct knownhosts_change *changes, size_t n, struct error *e)
{
    struct writing w = {.path = path, .changes = changes, .n = n, .e = e};
    int rc, fd = knownhosts_add_open(path, e);

    if (fd < 0)
        return fd;
    rc = knownhosts_read_all(fd, path, &w.text, &w.text_n, e);
    if (rc == 0)
        rc = knownhosts_open(&path, 1, &w.set, e);
    if (rc == 0) {
        rc = collect_olds(&w);
        if (rc == 0)
            rc = make_text(&w);
        rc = rc < 0 ? errors_set(e, rc, "%s", path) : put_back(&w, fd);
    }
    if (close(fd) != 0 && rc == 0)
        rc = errors_set_system(e, -E_IO, errno, "%s", path);
    knownhosts_free(w.set);
    wire_free(&w.out);
    wire_free(&w.added);
    free(w.by_old);
    free(w.text);
    return rc;
}
