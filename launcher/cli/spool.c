#include "launcher/cli/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int spool_open_file(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/grapnel-output-XXXXXX", folder && *folder ? folder : "/tmp");
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int spool_open(void)
{
#ifdef MFD_CLOEXEC
    int fd = memfd_create("grapnel-output", MFD_CLOEXEC);

    if (fd >= 0)
        return fd;
#endif
    return spool_open_file();
}

char *spool_read(int fd, size_t *n)
{
    struct stat st;
    char *bytes;
    size_t have = 0;

    if (fstat(fd, &st) < 0)
        return NULL;
    bytes = malloc((size_t)st.st_size + 1);
    while (bytes && have < (size_t)st.st_size) {
        ssize_t got = pread(fd, bytes + have, (size_t)st.st_size - have, (off_t)have);

        if (got < 0 && errno != EINTR) {
            free(bytes);
            return NULL;
        }
        if (got == 0)
            break;
        have += got > 0 ? (size_t)got : 0;
    }
    *n = have;
    return bytes;
}
