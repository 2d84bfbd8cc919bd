#include "launcher/bootstrap/early.h"

#include <string.h>

#include "proto/frames.h"
#include "proto/link.h"

/* The frame at *at; false at the end.  Moves *at behind it. */
static int next_frame(const struct wire_buf *early, size_t *at, struct frames_header *h,
                      const uint8_t **frame)
{
    size_t n = wire_length(early);

    if (*at + FRAMES_HEADER > n)
        return 0;
    *frame = wire_data(early) + *at;
    if (frames_get_header(*frame, h, NULL) < 0 || *at + FRAMES_HEADER + h->length > n)
        return 0;
    *at += FRAMES_HEADER + (size_t)h->length;
    return 1;
}

/* The first part of the OPEN that is replaced tells the fields that stay. */
static int put_instead(struct wire_buf *to, const struct frames_header *h, const uint8_t *frame,
                       const uint8_t *body, size_t n)
{
    struct frame f;
    int rc = frames_decode(h, frame + FRAMES_HEADER, 0, &f, NULL);

    if (rc < 0)
        return rc;
    f.body = body;
    f.body_length = n;
    f.flags = 0;
    return frames_encode(to, &f);
}

int early_replace(struct wire_buf *early, uint32_t id, const uint8_t *body, size_t n)
{
    size_t length = wire_length(early), at = LINK_PREFACE_SIZE, done = 0;
    struct wire_buf to = {.limit = early->limit};
    struct frames_header h;
    const uint8_t *frame;
    int found = 0, rc = 0;

    while (rc == 0 && next_frame(early, &at, &h, &frame)) {
        if (h.type != FRAME_OPEN || h.id != id)
            continue;
        if (!found) {
            rc = wire_put(&to, wire_data(early), (size_t)(frame - wire_data(early)));
            if (rc == 0)
                rc = put_instead(&to, &h, frame, body, n);
        }
        found = 1;
        done = at; /* its parts follow each other */
    }
    if (rc == 0 && found)
        rc = wire_put(&to, wire_data(early) + done, length - done);
    if (rc == 0 && found) {
        wire_free(early);
        *early = to;
    } else {
        wire_free(&to);
    }
    return rc;
}

void early_exchange(struct wire_buf *early, const uint8_t *before, const uint8_t *now, size_t n)
{
    size_t at = LINK_PREFACE_SIZE;
    struct frames_header h;
    const uint8_t *frame;

    while (next_frame(early, &at, &h, &frame)) {
        uint8_t *body = early->data + (frame + FRAMES_HEADER - early->data), *found;
        if (h.type != FRAME_OPEN)
            continue;
        found = memmem(body, h.length, before, n);
        if (found)
            memcpy(found, now, n);
    }
}
