/* The frame decoder, fed as a link feeds it.  What it accepts must be encoded as the same bytes,
 * and a sequence of parts that is joined and encoded anew must come back as the same whole. */
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/frames.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds_frames);
}

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A frame that is whole: its encoding, decoded and joined again, is the same. */
static void again(const struct frame *whole)
{
    struct wire_buf out = {0};
    struct wire_buf body = {0};
    struct frame first = {0};
    MUST(frames_encode(&out, whole) == 0);
    const uint8_t *at = wire_data(&out);
    size_t left = wire_length(&out);
    int parts = 0;
    int more = 1;
    while (more) {
        struct frames_header h;
        struct frame f;
        MUST(left >= FRAMES_HEADER && frames_get_header(at, &h, NULL) == 0);
        MUST(left - FRAMES_HEADER >= h.length);
        MUST(frames_decode(&h, at + FRAMES_HEADER, parts > 0, &f, NULL) == 0);
        MUST(wire_put(&body, f.body, f.body_length) == 0);
        if (parts++ == 0) {
            first = f;
        }
        more = (h.flags & FRAMES_MORE) != 0;
        at += FRAMES_HEADER + h.length;
        left -= FRAMES_HEADER + (size_t)h.length;
    }
    MUST(left == 0 && wire_length(&body) == whole->body_length);
    MUST(whole->body_length == 0 || memcmp(wire_data(&body), whole->body, whole->body_length) == 0);
    first.body = wire_data(&body);
    first.body_length = wire_length(&body);
    first.flags = whole->flags;
    struct wire_buf twice = {0};
    MUST(frames_encode(&twice, &first) == 0);
    MUST(wire_length(&twice) == wire_length(&out));
    MUST(memcmp(wire_data(&twice), wire_data(&out), wire_length(&out)) == 0);
    wire_free(&twice);
    wire_free(&body);
    wire_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame head = {0};
    struct wire_buf parts = {0};
    int in_parts = 0;
    while (size >= FRAMES_HEADER) {
        struct frames_header h;
        struct error e = {0};
        uint8_t copy[FRAMES_HEADER];
        if (frames_get_header(data, &h, &e) != 0) {
            MUST(e.code == -E_PROTOCOL && e.detail[0] != '\0' && frames_name(h.type)[0] != '\0');
            break;
        }
        frames_put_header(copy, &h);
        MUST(memcmp(copy, data, FRAMES_HEADER) == 0);
        data += FRAMES_HEADER;
        size -= FRAMES_HEADER;
        if (size < h.length) {
            break;
        }
        int continued = in_parts && head.type == h.type && head.id == h.id;
        struct frame f;
        if (frames_decode(&h, data, continued, &f, &e) != 0) {
            MUST(e.code == -E_PROTOCOL && e.detail[0] != '\0');
            break;
        }
        MUST(f.body_length <= frames_body_limit(f.type) &&
             f.body + f.body_length == data + h.length);
        int more = (h.flags & FRAMES_MORE) != 0;
        if (!continued && !more) {
            again(&f);
        } else {
            if (!continued) {
                wire_free(&parts);
                head = f;
            }
            if (wire_length(&parts) + f.body_length > frames_body_limit(f.type)) {
                break;
            }
            MUST(wire_put(&parts, f.body, f.body_length) == 0);
            in_parts = more;
            if (!more) {
                head.flags &= (uint8_t)~FRAMES_MORE;
                head.body = wire_data(&parts);
                head.body_length = wire_length(&parts);
                again(&head);
                wire_free(&parts);
            }
        }
        data += h.length;
        size -= h.length;
    }
    wire_free(&parts);
    return 0;
}
