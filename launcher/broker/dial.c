#include "launcher/broker/dial.h"

#include <stdio.h>
#include <unistd.h>

#include "launcher/broker/place.h"

int dial_broker(char *where, size_t size, pid_t *pid, struct error *e)
{
    struct place *place;
    int fd = -1, rc = place_find(NULL, 0, &place, e);

    if (rc == 1) {
        if (where)
            snprintf(where, size, "%s", place_socket(place));
        rc = place_connect(place, &fd, e);
        place_free(place);
    }
    if (rc == 0)
        return errors_set(e, -E_NOT_HELD, "there is no broker");
    if (rc == 1 && place_check_peer(fd, pid, e) < 0) {
        close(fd);
        return e->code;
    }
    return rc < 0 ? rc : fd;
}
