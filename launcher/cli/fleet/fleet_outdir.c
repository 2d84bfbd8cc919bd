#include "launcher/cli/fleet/fleet_outdir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/cli/say.h"

#define NAME_BYTES 250 /* of a file, without what is behind the host's name */

struct files {
    unsigned char begun[2]; /* the file is there, and this run's */
    int error;
};

struct fleet_outdir {
    int fd;
    const char *const *names;
    struct files *files;
};

struct fleet_outdir *fleet_outdir_new(const char *path, const char *const *names, size_t count,
                                      struct grapnel_error *error)
{
    struct fleet_outdir *d = calloc(1, sizeof *d);

    if (!d || (d->files = calloc(count + 1, sizeof *d->files)) == NULL) {
        free(d);
        say_fail(error, "NOMEM", "out of memory");
        return NULL;
    }
    d->names = names;
    d->fd = -1;
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0 || faccessat(d->fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        say_fail(error, "IO", "--outdir: %s: %s", path, strerror(errno));
        fleet_outdir_free(d);
        return NULL;
    }
    return d;
}

void fleet_outdir_free(struct fleet_outdir *d)
{
    if (!d)
        return;
    if (d->fd >= 0)
        close(d->fd);
    free(d->files);
    free(d);
}

/* No name leads out of the folder, hides itself or is another's: what is not plain is %XX. */
static int file_name(char name[NAME_BYTES + 8], const char *host, int which)
{
    size_t used = 0;

    for (const unsigned char *s = (const unsigned char *)host; *s; s++) {
        int plain = *s > ' ' && *s != '/' && *s != '%' && *s != 0x7f && !(*s == '.' && used == 0);

        if (used + 3 > NAME_BYTES)
            return -1;
        used += (size_t)snprintf(name + used, 4, plain ? "%c" : "%%%02x", *s);
    }
    snprintf(name + used, 5, which == 2 ? ".err" : ".out");
    return 0;
}

/* For each piece anew: a descriptor for each host and stream would be thousands. */
static int open_file(struct fleet_outdir *d, size_t host, int which)
{
    unsigned char *begun = &d->files[host].begun[which - 1];
    int fresh = *begun ? O_APPEND : O_TRUNC;
    char name[NAME_BYTES + 8];
    int fd;

    if (file_name(name, d->names[host], which) < 0) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = openat(d->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | fresh, 0666);
    *begun |= fd >= 0;
    return fd;
}

static int write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t wrote = write(fd, bytes, n);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        bytes += wrote;
        n -= (size_t)wrote;
    }
    return 0;
}

int fleet_outdir_write(struct fleet_outdir *d, size_t host, int which, const void *bytes, size_t n)
{
    int *error = &d->files[host].error;
    int fd;

    if (*error)
        return -1;
    fd = open_file(d, host, which);
    if (fd < 0 || write_all(fd, bytes, n) < 0)
        *error = errno;
    if (fd >= 0 && close(fd) < 0 && !*error)
        *error = errno;
    return *error ? -1 : 0;
}

void fleet_outdir_end(struct fleet_outdir *d, size_t host, int ran)
{
    for (int which = 1; ran && which <= 2; which++) {
        if (!d->files[host].begun[which - 1])
            fleet_outdir_write(d, host, which, "", 0);
    }
}

int fleet_outdir_error(const struct fleet_outdir *d, size_t host)
{
    return d->files[host].error;
}
