#include "launcher/wakeup.h"

#include <fcntl.h>
#include <unistd.h>

#include "proto/errors.h"

int wakeup_make(struct wakeup *w)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -E_DESCRIPTORS;
    *w = (struct wakeup){.reader = ends[0], .writer = ends[1], .there = 1};
    return 0;
}

void wakeup_free(struct wakeup *w)
{
    if (!w->there)
        return;
    close(w->reader);
    close(w->writer);
    w->there = 0;
}

/* There is never more than one byte in it, so that neither can block or fail. */
void wakeup_set(struct wakeup *w)
{
    if (!w->set)
        w->set = write(w->writer, "", 1) == 1;
}

void wakeup_clear(struct wakeup *w)
{
    char byte;

    if (w->set)
        w->set = read(w->reader, &byte, 1) != 1;
}
