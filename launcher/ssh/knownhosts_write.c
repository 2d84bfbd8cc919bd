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

#define TEMP ".XXXXXX"

struct writing {
    const char *path;
    char *text; /* the file … */
    size_t text_n;
    struct wire_buf out; /* … and what its lines become */
    struct wire_buf added;
    struct error *e;
};

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
    return wire_length(&w->out) != w->text_n ||
           (w->text_n > 0 && memcmp(wire_data(&w->out), w->text, w->text_n) != 0);
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

int knownhosts_write(const char *path, struct knownhosts_change *changes, size_t n, struct error *e)
{
    struct writing w = {.path = path, .e = e};
    struct knownhosts *set = NULL;
    int rc, fd = knownhosts_add_open(path, e);

    if (fd < 0)
        return fd;
    rc = knownhosts_read_all(fd, path, &w.text, &w.text_n, e);
    if (rc == 0)
        rc = knownhosts_open(&path, 1, &set, e);
    if (rc == 0) {
        rc = knownhosts_edit(set, path, w.text, w.text_n, changes, n, &w.out, &w.added);
        rc = rc < 0 ? errors_set(e, rc, "%s", path) : put_back(&w, fd);
    }
    if (close(fd) != 0 && rc == 0)
        rc = errors_set_system(e, -E_IO, errno, "%s", path);
    knownhosts_free(set);
    wire_free(&w.out);
    wire_free(&w.added);
    free(w.text);
    return rc;
}
