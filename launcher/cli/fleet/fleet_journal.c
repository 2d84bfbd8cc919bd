#include "launcher/cli/fleet/fleet_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "launcher/cli/say.h"

struct fleet_journal {
    int fd;
    int error;
    int dirty; /* not on the disk yet */
    double synced;
};

/* ---- writing ---- */

static int write_all(struct fleet_journal *j, const char *bytes, size_t n)
{
    while (n > 0 && !j->error) {
        ssize_t wrote = write(j->fd, bytes, n);

        if (wrote < 0 && errno != EINTR)
            j->error = errno;
        if (wrote > 0) {
            bytes += wrote;
            n -= (size_t)wrote;
        }
    }
    j->dirty = 1;
    errno = j->error;
    return j->error ? -1 : 0;
}

/* 0, or -1 with *error.  Where files cannot be locked it goes without. */
static int lock(int fd, const char *path, int sole, struct grapnel_error *error)
{
    if (flock(fd, (sole ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0;
    return say_fail(error, "ARGUMENT", "%s: another run is at work with it: wait for its end",
                    path);
}

static int open_at_end(struct fleet_journal *j, const char *path, int made, int sole,
                       struct grapnel_error *error)
{
    char last = '\n';
    off_t end;

    j->fd = open(path, O_RDWR | (made ? O_CREAT : 0) | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    if (j->fd < 0)
        return say_fail(error, "IO", "%s: %s", path, strerror(errno));
    if (lock(j->fd, path, sole, error) < 0) {
        close(j->fd);
        return -1;
    }
    end = lseek(j->fd, 0, SEEK_END);
    if (end > 0 && pread(j->fd, &last, 1, end - 1) == 1 && last != '\n')
        write_all(j, "\n", 1);
    return 0;
}

struct fleet_journal *fleet_journal_open(const char *path, int made, int sole,
                                         struct grapnel_error *error)
{
    struct fleet_journal *j = calloc(1, sizeof *j);

    if (!j)
        say_fail(error, "NOMEM", "out of memory");
    else if (open_at_end(j, path, made, sole, error) == 0)
        return j;
    free(j);
    return NULL;
}

int fleet_journal_add(struct fleet_journal *j, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;
    int rc;

    json_decref(object);
    if (!text) {
        j->error = ENOMEM;
        errno = ENOMEM;
        return -1;
    }
    /* In one piece, in the place of the terminating zero. */
    text[n] = '\n';
    rc = write_all(j, text, n + 1);
    free(text);
    return rc;
}

void fleet_journal_sync(struct fleet_journal *j, double now)
{
    if (!j->dirty || now - j->synced < 1)
        return;
    if (fdatasync(j->fd) < 0 && errno != EINVAL && !j->error)
        j->error = errno;
    j->dirty = 0;
    j->synced = now;
}

int fleet_journal_error(const struct fleet_journal *j)
{
    return j->error;
}

int fleet_journal_close(struct fleet_journal *j)
{
    int number;

    if (!j)
        return 0;
    fleet_journal_sync(j, j->synced + 1);
    if (close(j->fd) < 0 && !j->error)
        j->error = errno;
    number = j->error;
    free(j);
    errno = number;
    return number ? -1 : 0;
}

/* ---- reading ---- */

/* What a host is in `hosts`: true, or the name of the host that it is, of which that is not known
 * before the last line. */
static void take_json(json_t *hosts, const char *line, size_t n, const char *member)
{
    json_t *object = json_loadb(line, n, 0, NULL);
    const char *host = json_string_value(json_object_get(object, "host"));
    json_t *same = json_object_get(object, "same_as");

    if (host && json_is_string(same))
        json_object_set(hosts, host, same);
    else if (host && json_is_true(json_object_get(object, member)))
        json_object_set_new(hosts, host, json_true());
    else if (host)
        json_object_del(hosts, host);
    json_decref(object);
}

/* Names of hosts that are in `hosts` are as these. */
static void follow_names(json_t *hosts)
{
    const char *host;
    json_t *value;
    void *next;

    json_object_foreach_safe(hosts, next, host, value)
    {
        const char *same = json_string_value(value);

        if (same && json_is_true(json_object_get(hosts, same)))
            json_object_set_new(hosts, host, json_true());
        else if (same)
            json_object_del(hosts, host);
    }
}

/* A set of hosts in words. */
static int take_names(json_t *hosts, char *line, struct grapnel_error *error)
{
    struct grapnel_targets *t = grapnel_targets_new(NULL, error);
    const char *name;
    int rc;

    if (!t)
        return error->code;
    line[strcspn(line, "\r\n#")] = '\0';
    rc = grapnel_targets_add(t, line, error);
    for (size_t i = 0; rc == 0 && (name = grapnel_targets_name(t, i)) != NULL; i++)
        json_object_set_new(hosts, name, json_true());
    grapnel_targets_free(t);
    return rc;
}

static int read_lines(json_t *hosts, FILE *f, const char *path, const char *member, int plain,
                      struct grapnel_error *error)
{
    char *line = NULL;
    size_t size = 0, number = 0;
    struct grapnel_error inner = {0};
    ssize_t n;
    int rc = 0;

    while (rc == 0 && (n = getline(&line, &size, f)) > 0) {
        char *at = line;

        number++;
        while (n > 1 && !*at) { /* there is a newline, or a zero, behind them */
            at++;
            n--;
        }
        if (*at == '{')
            take_json(hosts, at, (size_t)n, member);
        else if (plain)
            rc = take_names(hosts, at, &inner);
        else if (*at && *at != '\n')
            rc = say_fail(error, "ARGUMENT", "%s: line %zu is none that --log has written", path,
                          number);
    }
    if (inner.code)
        say_fail(error, "ARGUMENT", "%s, line %zu: %.500s", path, number, inner.detail);
    free(line);
    if (rc == 0 && ferror(f))
        rc = say_fail(error, "IO", "%s: %s", path, strerror(errno));
    return rc;
}

json_t *fleet_journal_hosts(const char *path, const char *member, int plain,
                            struct grapnel_error *error)
{
    FILE *f = fopen(path, "re");
    json_t *hosts = json_object();

    if (!f) {
        say_fail(error, "IO", "%s: %s", path, strerror(errno));
    } else if (!hosts) {
        say_fail(error, "NOMEM", "out of memory");
    } else if (read_lines(hosts, f, path, member, plain, error) == 0) {
        fclose(f);
        follow_names(hosts);
        return hosts;
    }
    if (f)
        fclose(f);
    json_decref(hosts);
    return NULL;
}
