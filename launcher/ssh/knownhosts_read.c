/* Files and lines of known_hosts. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/ssh/knownhosts_impl.h"

int knownhosts_read_all(int fd, const char *name, char **text, size_t *n, struct error *e)
{
    struct stat st;
    size_t size = fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= KNOWNHOSTS_FILE_MAX
                      ? (size_t)st.st_size + 2
                      : 4096;
    int rc = 0;
    char *p = malloc(size), *bigger;
    *n = 0;
    while (p != NULL) {
        if (*n + 1 >= size) {
            if (size > KNOWNHOSTS_FILE_MAX) {
                rc = errors_set(e, -E_LIMIT, "%s: longer than %u bytes", name, KNOWNHOSTS_FILE_MAX);
                goto out;
            }
            bigger = realloc(p, size * 2);
            if (bigger == NULL)
                break;
            p = bigger;
            size *= 2;
        }
        ssize_t got = read(fd, p + *n, size - 1 - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            rc = errors_set_system(e, -E_IO, errno, "%s", name);
            goto out;
        }
        if (got == 0) {
            p[*n] = '\0';
            *text = p;
            return 0;
        }
        *n += (size_t)got;
    }
    rc = errors_set(e, -E_NOMEM, "%s", name);
out:
    free(p);
    return rc;
}

int knownhosts_read_keep(struct knownhosts *set, char *text)
{
    char **buffers = text == NULL ? NULL
                                  : knownhosts_index_grow(set->buffers, set->buffers_count,
                                                          &set->buffers_size, sizeof *buffers);
    if (buffers == NULL) {
        free(text);
        return -E_NOMEM;
    }
    set->buffers = buffers;
    buffers[set->buffers_count++] = text;
    return 0;
}

/* "|1|salt|hash": 0, -E_MALFORMED or -E_NOMEM. */
static int enter_hashed(struct knownhosts *set, const char *hosts, size_t entry)
{
    struct knownhosts_hashed h = {.entry = entry};
    size_t salt_n = sizeof h.salt, hash_n = sizeof h.hash;
    const char *salt = hosts + 3, *bar = strchr(salt, '|');
    if (strncmp(hosts, "|1|", 3) != 0 || bar == NULL ||
        sshkey_base64_decode(salt, (size_t)(bar - salt), h.salt, &salt_n) != 0 ||
        sshkey_base64_decode(bar + 1, strlen(bar + 1), h.hash, &hash_n) != 0 ||
        salt_n != sizeof h.salt || hash_n != sizeof h.hash)
        return -E_MALFORMED;
    struct knownhosts_hashed *p =
        knownhosts_index_grow(set->hashed, set->hashed_count, &set->hashed_size, sizeof *p);
    if (p == NULL)
        return -E_NOMEM;
    set->hashed = p;
    p[set->hashed_count++] = h;
    return 0;
}

/* Enters the names of one line into the tables. */
static int enter_names(struct knownhosts *set, const char *hosts, size_t entry)
{
    if (hosts[0] == '|')
        return enter_hashed(set, hosts, entry);
    if (strpbrk(hosts, "*?!") != NULL)
        return knownhosts_index_append(&set->patterns, entry);
    for (;;) {
        size_t n = strcspn(hosts, ",");
        if (n > 0 && knownhosts_index_put(&set->plain, hosts, n, entry) != 0)
            return -E_NOMEM;
        if (hosts[n] == '\0')
            return 0;
        hosts += n + 1;
    }
}

/* Cuts the next word off *at; NULL when there is none. */
static char *word(char **at)
{
    char *start = *at + strspn(*at, " \t\r");
    size_t n = strcspn(start, " \t\r");
    *at = start + n;
    if (n == 0)
        return NULL;
    if (**at != '\0')
        *(*at)++ = '\0';
    return start;
}

static int enter_line(struct knownhosts *set, char *text, unsigned file, size_t line)
{
    struct knownhosts_entry entry = {.file = file, .line = line};
    char *first = word(&text);
    if (first == NULL || first[0] == '#')
        return 0;
    if (first[0] == '@') {
        if (strcmp(first, "@revoked") == 0)
            entry.marker = MARKER_REVOKED;
        else if (strcmp(first, "@cert-authority") == 0)
            entry.marker = MARKER_AUTHORITY;
        else
            return 0;
        first = word(&text);
    }
    entry.hosts = first;
    entry.type = word(&text);
    entry.key = word(&text);
    if (entry.key == NULL)
        return 0;
    struct knownhosts_entry *entries =
        knownhosts_index_grow(set->entries, set->entries_count, &set->entries_size, sizeof entry);
    if (entries == NULL)
        return -E_NOMEM;
    set->entries = entries;
    entries[set->entries_count] = entry;
    int rc = enter_names(set, entry.hosts, set->entries_count);
    if (rc == 0)
        set->entries_count++;
    return rc == -E_MALFORMED ? 0 : rc;
}

int knownhosts_read_text(struct knownhosts *set, char *text, size_t n, unsigned file)
{
    char *at = text, *end = text + n;
    size_t line = 0;
    int rc = knownhosts_read_keep(set, text);
    while (rc == 0 && at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *next = newline == NULL ? end : newline + 1;
        if (newline != NULL)
            *newline = '\0';
        rc = enter_line(set, at, file, ++line);
        at = next;
    }
    return rc;
}

int knownhosts_read(struct knownhosts *set, unsigned file, struct error *e)
{
    int rc = 0;
    struct stat st;
    char *text = NULL;
    size_t n = 0;
    const char *name = set->files[file];
    /* Non-blocking, so that a FIFO cannot hold us up at open. */
    int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0
                                                   : errors_set_system(e, -E_IO, errno, "%s", name);
    if (fstat(fd, &st) != 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode))) {
        rc = errors_set(e, -E_IO, "%s: not a regular file", name);
        goto out;
    }
    rc = knownhosts_read_all(fd, name, &text, &n, e);
    if (rc == 0) {
        rc = knownhosts_read_text(set, text, n, file);
        if (rc != 0)
            (void)errors_set(e, rc, "%s", name);
    }
out:
    close(fd);
    return rc;
}
