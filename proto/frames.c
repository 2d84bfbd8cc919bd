#include "proto/frames.h"

#include <stdbool.h>
#include <string.h>

#include "proto/errors.h"

struct frames_row {
    uint8_t code;
    enum frames_id_rule id;
    enum frames_body_rule body;
    size_t limit;
    size_t fixed;
    const char *name;
};

/* Bytes of each type's fixed fields, as a sum over its columns. */
#define U16(field, doc) +2
#define U32(field, doc) +4
#define U64(field, doc) +8
/* By type, because it is looked into several times for each frame; rows without a name are none. */
static const struct frames_row frames_table[] = {
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    [code] = {(code), FRAMES_ID_##id, FRAMES_BODY_##body, (limit), 0 FIELDS, #NAME},
#include "proto/frames.def"
#undef FRAME
};
#undef U16
#undef U32
#undef U64

static const struct frames_row *row(uint8_t type)
{
    bool known =
        type < sizeof(frames_table) / sizeof(frames_table[0]) && frames_table[type].name != NULL;
    return known ? &frames_table[type] : NULL;
}

/* A sequence is only for types whose largest body does not fit into one frame. */
static int may_have_parts(const struct frames_row *t)
{
    return t->fixed + t->limit > FRAMES_PAYLOAD_MAX;
}

static unsigned legal_flags(const struct frames_row *t)
{
    return (may_have_parts(t) ? FRAMES_MORE : 0u) | (t->code == FRAME_DATA ? FRAMES_DEFLATE : 0u);
}

static int id_is_legal(const struct frames_row *t, uint32_t id)
{
    return (t->id == FRAMES_ID_LINK) == (id == 0);
}

int frames_get_header(const uint8_t *at, struct frames_header *h, struct error *e)
{
    struct wire_reader r;
    wire_reader_init(&r, at, FRAMES_HEADER);
    h->id = wire_get_u32(&r);
    h->type = wire_get_u8(&r);
    h->flags = wire_get_u8(&r);
    h->length = wire_get_u16(&r);

    const struct frames_row *t = row(h->type);
    if (t == NULL) {
        return errors_set(e, -E_PROTOCOL, "unknown frame type %u", h->type);
    }
    if ((h->flags & ~legal_flags(t)) != 0) {
        return errors_set(e, -E_PROTOCOL, "%s with flags 0x%02x", t->name, h->flags);
    }
    if (!id_is_legal(t, h->id)) {
        return errors_set(e, -E_PROTOCOL, "%s with id %lu", t->name, (unsigned long)h->id);
    }
    if (h->length > t->fixed + t->limit) {
        return errors_set(e, -E_PROTOCOL, "%s of %u bytes, at most %zu", t->name, h->length,
                          t->fixed + t->limit);
    }
    /* The later parts of a sequence are judged by frames_decode, which knows that they are. */
    if (h->length < t->fixed && !may_have_parts(t)) {
        return errors_set(e, -E_PROTOCOL, "%s of %u bytes, at least %zu", t->name, h->length,
                          t->fixed);
    }
    return 0;
}

size_t frames_length(const uint8_t *header)
{
    return (size_t)header[6] << 8 | header[7];
}

void frames_put_header(uint8_t *at, const struct frames_header *h)
{
    wire_store_u32(at, h->id);
    at[4] = h->type;
    at[5] = h->flags;
    wire_store_u16(at + 6, h->length);
}

/* Reads the fixed fields of f->type into f. */
static void get_fields(struct wire_reader *r, struct frame *f)
{
    switch (f->type) {
#define U16(field, doc) fields->field = wire_get_u16(r);
#define U32(field, doc) fields->field = wire_get_u32(r);
#define U64(field, doc) fields->field = wire_get_u64(r);
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    case FRAME_##NAME: {                                                                           \
        struct frame_##name *fields = &f->name;                                                    \
        (void)fields;                                                                              \
        FIELDS                                                                                     \
        break;                                                                                     \
    }
#include "proto/frames.def"
#undef FRAME
#undef U16
#undef U32
#undef U64
    default:
        break;
    }
}

/* Writes the fixed fields of f at `at`; returns the byte after them. */
static uint8_t *put_fields(uint8_t *at, const struct frame *f)
{
    switch (f->type) {
#define U16(field, doc)                                                                            \
    wire_store_u16(at, fields->field);                                                             \
    at += 2;
#define U32(field, doc)                                                                            \
    wire_store_u32(at, fields->field);                                                             \
    at += 4;
#define U64(field, doc)                                                                            \
    wire_store_u32(at, (uint32_t)(fields->field >> 32));                                           \
    wire_store_u32(at + 4, (uint32_t)fields->field);                                               \
    at += 8;
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    case FRAME_##NAME: {                                                                           \
        const struct frame_##name *fields = &f->name;                                              \
        (void)fields;                                                                              \
        FIELDS                                                                                     \
        break;                                                                                     \
    }
#include "proto/frames.def"
#undef FRAME
#undef U16
#undef U32
#undef U64
    default:
        break;
    }
    return at;
}

int frames_decode(const struct frames_header *h, const uint8_t *payload, int continued,
                  struct frame *f, struct error *e)
{
    const struct frames_row *t = row(h->type);
    memset(f, 0, sizeof(*f));
    if (t == NULL) {
        return errors_set(e, -E_PROTOCOL, "unknown frame type %u", h->type);
    }
    f->id = h->id;
    f->type = h->type;
    f->flags = h->flags;

    struct wire_reader r;
    wire_reader_init(&r, payload, h->length);
    if (!continued) {
        get_fields(&r, f);
    } else if (!may_have_parts(t)) {
        return errors_set(e, -E_PROTOCOL, "%s in parts", t->name);
    }
    if (r.short_read) {
        return errors_set(e, -E_PROTOCOL, "%s of %u bytes, at least %zu", t->name, h->length,
                          t->fixed);
    }
    if (r.left > t->limit) {
        return errors_set(e, -E_PROTOCOL, "%s with a body of %zu bytes, at most %zu", t->name,
                          r.left, t->limit);
    }
    /* Empty parts would let a peer spin the other end without ever reaching a limit. */
    if (r.left == 0 && (continued || (h->flags & FRAMES_MORE) != 0)) {
        return errors_set(e, -E_PROTOCOL, "%s with an empty part", t->name);
    }
    f->body = r.at;
    f->body_length = r.left;
    return 0;
}

/* Frames that a body of n bytes takes. */
static size_t count_parts(const struct frames_row *t, size_t n)
{
    size_t first = FRAMES_PAYLOAD_MAX - t->fixed;
    return n <= first ? 1 : 1 + (n - first + FRAMES_PAYLOAD_MAX - 1) / FRAMES_PAYLOAD_MAX;
}

int frames_encode(struct wire_buf *out, const struct frame *f)
{
    const struct frames_row *t = row(f->type);
    unsigned flags = f->flags & ~(unsigned)FRAMES_MORE;
    if (t == NULL || (flags & ~legal_flags(t)) != 0 || !id_is_legal(t, f->id)) {
        return -E_ARGUMENT;
    }
    if (f->body_length > t->limit) {
        return -E_TOO_LARGE;
    }
    size_t parts = count_parts(t, f->body_length);
    size_t total = parts * FRAMES_HEADER + t->fixed + f->body_length;
    uint8_t *at;
    int rc = wire_reserve(out, total, &at);
    if (rc != 0) {
        return rc;
    }
    const uint8_t *body = f->body;
    size_t left = f->body_length;
    for (size_t i = 0; i < parts; i++) {
        size_t fixed = i == 0 ? t->fixed : 0;
        size_t n = left < FRAMES_PAYLOAD_MAX - fixed ? left : FRAMES_PAYLOAD_MAX - fixed;
        struct frames_header h = {.id = f->id,
                                  .type = f->type,
                                  .flags = (uint8_t)(flags | (n < left ? FRAMES_MORE : 0u)),
                                  .length = (uint16_t)(fixed + n)};
        frames_put_header(at, &h);
        at += FRAMES_HEADER;
        if (i == 0) {
            at = put_fields(at, f);
        }
        if (n > 0) {
            memcpy(at, body, n);
            at += n;
            body += n;
            left -= n;
        }
    }
    wire_commit(out, total);
    return 0;
}

/* Names of unknown types, ready made because they must be static: "type 0" … "type 259".  A host's
 * end never needs one, and does not bring them along. */
#ifdef GRAPNEL_AGENT
static const char *type_name(uint8_t type)
{
    (void)type;
    return "unknown type";
}
#else
#define TYPE(n) "type " #n
#define TEN(tens)                                                                                  \
    TYPE(tens##0), TYPE(tens##1), TYPE(tens##2), TYPE(tens##3), TYPE(tens##4), TYPE(tens##5),      \
        TYPE(tens##6), TYPE(tens##7), TYPE(tens##8), TYPE(tens##9)
static const char type_names[][sizeof("type 255")] = {
    TYPE(0), TYPE(1), TYPE(2), TYPE(3), TYPE(4), TYPE(5), TYPE(6), TYPE(7), TYPE(8),
    TYPE(9), TEN(1),  TEN(2),  TEN(3),  TEN(4),  TEN(5),  TEN(6),  TEN(7),  TEN(8),
    TEN(9),  TEN(10), TEN(11), TEN(12), TEN(13), TEN(14), TEN(15), TEN(16), TEN(17),
    TEN(18), TEN(19), TEN(20), TEN(21), TEN(22), TEN(23), TEN(24), TEN(25)};
#undef TEN
#undef TYPE

static const char *type_name(uint8_t type)
{
    return type_names[type];
}
#endif

const char *frames_name(uint8_t type)
{
    const struct frames_row *t = row(type);
    return t == NULL ? type_name(type) : t->name;
}

enum frames_id_rule frames_id_rule(uint8_t type)
{
    const struct frames_row *t = row(type);
    return t == NULL ? (enum frames_id_rule)0 : t->id;
}

enum frames_body_rule frames_body_rule(uint8_t type)
{
    const struct frames_row *t = row(type);
    return t == NULL ? (enum frames_body_rule)0 : t->body;
}

size_t frames_body_limit(uint8_t type)
{
    const struct frames_row *t = row(type);
    return t == NULL ? 0 : t->limit;
}

size_t frames_fixed_size(uint8_t type)
{
    const struct frames_row *t = row(type);
    return t == NULL ? 0 : t->fixed;
}

int frames_known(uint8_t type)
{
    return row(type) != NULL;
}
