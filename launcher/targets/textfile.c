#include "launcher/targets/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define ROOM 16384

static int read_all(int fd, const char *path, size_t limit, char **text, size_t *n, struct error *e)
{
    size_t room = ROOM;
    ssize_t got = 1;

    *n = 0;
    *text = malloc(room);
    while (*text != NULL && got != 0) {
        if (*n + 1 == room) {
            char *larger = realloc(*text, room *= 2);
            if (larger == NULL)
                break;
            *text = larger;
        }
        got = read(fd, *text + *n, room - 1 - *n);
        if (got < 0 && errno != EINTR)
            return errors_set_system(e, -E_IO, errno, "%.500s", path);
        *n += got > 0 ? (size_t)got : 0;
        if (*n > limit)
            return errors_set(e, -E_LIMIT, "%.500s has more than %zu bytes", path, limit);
    }
    if (*text == NULL || got != 0)
        return errors_set(e, -E_NOMEM, "%.500s", path);
    (*text)[*n] = '\0';
    return 0;
}

int textfile_read(const char *path, size_t limit, char **text, size_t *n, struct stat *st,
                  int *missing, struct error *e)
{
    struct stat own;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc;

    *text = NULL;
    if (missing != NULL)
        *missing = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
    if (fd < 0)
        return errors_set_system(e, -E_IO, errno, "%.500s", path);
    rc = fstat(fd, st != NULL ? st : &own) == 0
             ? read_all(fd, path, limit, text, n, e)
             : errors_set_system(e, -E_IO, errno, "%.500s", path);
    close(fd);
    if (rc != 0) {
        free(*text);
        *text = NULL;
    }
    return rc;
}
