/* Deflate both ways.  An even first byte: the rest is unpacked as a series of bodies that a peer
 * sent (u16 length before each).  An odd one: the bodies are packed, and must come back. */
#include <stdlib.h>
#include <string.h>

#include "proto/deflate.h"
#include "proto/errors.h"
#include "proto/wire.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOM 65535
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void seeds_deflate(seeds_sink *sink, void *arg)
{
    static const char text[] =
        "a body of text, a body of text, and one that is like it: a body of text";
    uint8_t packed[DEFLATE_BOUND(sizeof(text))];
    struct wire_buf to_pack = {0};
    struct wire_buf to_unpack = {0};
    struct deflate_out *out = deflate_out_new();
    MUST(out != NULL && wire_put_u8(&to_pack, 1) == 0 && wire_put_u8(&to_unpack, 0) == 0);
    for (size_t n = 1; n < sizeof(text); n += 9) {
        size_t used = 0;
        MUST(deflate_out_pack(out, (const uint8_t *)text, n, packed, sizeof(packed), &used) == 0);
        MUST(wire_put_u16(&to_pack, (uint16_t)n) == 0 && wire_put(&to_pack, text, n) == 0);
        MUST(wire_put_u16(&to_unpack, (uint16_t)used) == 0);
        MUST(wire_put(&to_unpack, packed, used) == 0);
        sink(arg, wire_data(&to_pack), wire_length(&to_pack));
        sink(arg, wire_data(&to_unpack), wire_length(&to_unpack));
    }
    deflate_out_free(out);
    wire_free(&to_pack);
    wire_free(&to_unpack);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds_deflate);
}

/* The next body; fewer than its length says where the input ends.  0: none. */
static size_t next(struct wire_reader *r, const uint8_t **at)
{
    size_t n = wire_get_u16(r);
    n = n < r->left ? n : r->left;
    *at = r->at;
    r->at += n;
    r->left -= n;
    return n;
}

static void unpack_all(struct wire_reader *r, uint8_t *back)
{
    struct deflate_in *in = deflate_in_new();
    const uint8_t *at;
    size_t n;
    MUST(in != NULL);
    while ((n = next(r, &at)) > 0) {
        /* Small rooms, so that bombs are small too, and large ones. */
        size_t room = n % 2 == 0 ? ROOM : 1 + n % 512;
        size_t used = 0;
        uint8_t *exact = malloc(room);
        MUST(exact != NULL);
        int rc = deflate_in_unpack(in, at, n, exact, room, &used);
        MUST(rc == 0 || rc == -E_MALFORMED || rc == -E_PROTOCOL);
        MUST(rc != 0 || (used > 0 && used <= room));
        if (rc == 0) {
            memcpy(back, exact, used); /* reads all of it */
        }
        free(exact);
        if (rc != 0) {
            break;
        }
    }
    deflate_in_free(in);
}

static void mark(struct deflate_policy *policy, size_t sent, size_t data, uint8_t late)
{
    struct deflate_mark m = {.sent = (double)sent,
                             .data = (double)data,
                             .took_us = 1000.0 * late + 1000,
                             .idle_us = 1000,
                             .late_us = 1000.0 * late};
    deflate_policy_mark(policy, &m);
}

static void pack_all(struct wire_reader *r, uint8_t *back)
{
    struct deflate_out *out = deflate_out_new();
    struct deflate_in *in = deflate_in_new();
    struct deflate_policy policy;
    const uint8_t *at;
    size_t n;
    deflate_policy_init(&policy);
    MUST(out != NULL && in != NULL);
    while ((n = next(r, &at)) > 0) {
        uint8_t packed[ROOM];
        size_t room = DEFLATE_BOUND(n);
        size_t used = 0;
        size_t given = 0;
        if (n > DEFLATE_IN_MAX) {
            n = DEFLATE_IN_MAX;
            room = DEFLATE_BOUND(n);
        }
        MUST(deflate_out_pack(out, at, n, packed, room - 1, &used) == -E_LIMIT);
        MUST(deflate_out_pack(out, at, n, packed, room, &used) == 0);
        MUST(deflate_in_unpack(in, packed, used, back, n, &given) == 0);
        MUST(given == n && memcmp(back, at, n) == 0);
        deflate_policy_packed(&policy, n, used);
        mark(&policy, used, n, at[0]);
        (void)deflate_policy_wants(&policy, n);
    }
    deflate_in_free(in);
    deflate_out_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *back = malloc(ROOM);
    struct wire_reader r;
    wire_reader_init(&r, data, size);
    MUST(back != NULL);
    if (wire_get_u8(&r) % 2 == 0) {
        unpack_all(&r, back);
    } else {
        pack_all(&r, back);
    }
    free(back);
    return 0;
}
