/* RELEASE: references that are no longer held (link.h, "references"). */
#include <cbor.h>

#include "proto/link_internal.h"

#define PAIRS_MAX 3600 /* of two numbers of at most 9 bytes each: they fit into one frame */
#define INT_ROOM  9    /* bytes of the longest head of an item */

static bool agreed(const struct link *l)
{
    return l->greeted && (l->features & LINK_FEATURE_REFS) != 0;
}

int link_decode(const struct link *l, const uint8_t *bytes, size_t n, struct value **v)
{
    return agreed(l) ? values_decode_refs(bytes, n, v) : values_decode(bytes, n, v);
}

/* ---- sending ---- */

/* One frame of n pairs, n <= PAIRS_MAX. */
static void put(struct link *l, const int64_t *pairs, size_t n)
{
    struct wire_buf body = {0};
    uint8_t *at;
    size_t room = (1 + 2 * n) * INT_ROOM, used;
    int rc = wire_reserve(&body, room, &at);
    if (rc != 0) {
        link_broken(l, rc, "RELEASE could not be queued");
        return;
    }
    used = cbor_encode_array_start(2 * n, at, room);
    for (size_t i = 0; i < 2 * n; i++) {
        used += cbor_encode_uint((uint64_t)pairs[i], at + used, room - used);
    }
    wire_commit(&body, used);
    struct frame f = {
        .type = FRAME_RELEASE, .body = wire_data(&body), .body_length = wire_length(&body)};
    link_must_put(l, &f);
    wire_free(&body);
}

int link_release(struct link *l, const int64_t *pairs, size_t n)
{
    if (!link_alive(l) || l->input_ended) {
        return -E_CLOSED;
    }
    if (!agreed(l)) {
        return -E_UNSUPPORTED;
    }
    for (size_t i = 0; i < 2 * n; i++) {
        if (pairs[i] < 1) {
            return -E_ARGUMENT;
        }
    }
    link_enter(l);
    while (n > 0 && link_alive(l)) {
        size_t part = n < PAIRS_MAX ? n : PAIRS_MAX;
        put(l, pairs, part);
        pairs += 2 * part;
        n -= part;
    }
    link_leave(l);
    return l->error.code;
}

/* ---- what came ---- */

void link_released(struct link *l, const uint8_t *body, size_t n)
{
    struct value *pairs = NULL;
    int rc = values_decode(body, n, &pairs);
    if (rc != 0 || values_type(pairs) != VALUE_ARRAY || values_count(pairs) % 2 != 0) {
        link_broken(l, rc != 0 ? rc : -E_MALFORMED, "RELEASE with a malformed value");
    }
    for (size_t i = 0; link_alive(l) && i < values_count(pairs); i += 2) {
        int64_t id = values_as_int(values_at(pairs, i), 0);
        int64_t count = values_as_int(values_at(pairs, i + 1), 0);
        rc = id < 1 || count < 1 || l->handler.release == NULL
                 ? -E_PROTOCOL
                 : l->handler.release(l->arg, l, id, count);
        if (rc < 0) {
            link_broken(l, rc, "RELEASE of %lld references to object %lld, which the peer has not",
                        (long long)count, (long long)id);
        }
    }
    values_free(pairs);
}

int link_in_release(struct link *l, const struct frame *f)
{
    if (!agreed(l)) {
        return link_broken(l, -E_PROTOCOL, "RELEASE, which was not agreed on");
    }
    if (link_holds(l)) {
        int rc = link_hold(l, 0, f->body, f->body_length);
        return rc != 0 ? link_broken(l, rc, "RELEASE could not be taken") : 0;
    }
    link_released(l, f->body, f->body_length);
    return l->error.code;
}
