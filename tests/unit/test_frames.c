/* proto/frames: each row of the table at its bounds, and the bytes of the wire pinned by hand. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/frames.h"
#include "tests/unit/unit.h"

#define U16(field, doc) +2
#define U32(field, doc) +4
#define U64(field, doc) +8
static const struct {
    uint8_t type;
    enum frames_id_rule id;
    enum frames_body_rule body;
    size_t limit;
    size_t fixed;
    const char *name;
} rows[] = {
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    {(code), FRAMES_ID_##id, FRAMES_BODY_##body, (limit), 0 FIELDS, #NAME},
#include "proto/frames.def"
#undef FRAME
};
#undef U16
#undef U32
#undef U64
#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

static uint32_t legal_id(int row)
{
    return rows[row].id == FRAMES_ID_LINK ? 0 : 0x01020304;
}

static int in_parts(int row)
{
    return rows[row].fixed + rows[row].limit > FRAMES_PAYLOAD_MAX;
}

static int get_header(uint32_t id, uint8_t type, unsigned flags, size_t length,
                      struct frames_header *h)
{
    struct frames_header in = {
        .id = id, .type = type, .flags = (uint8_t)flags, .length = (uint16_t)length};
    uint8_t at[FRAMES_HEADER];
    frames_put_header(at, &in);
    struct error e = {0};
    int rc = frames_get_header(at, h, &e);
    ck_assert_int_eq(frames_get_header(at, h, NULL), rc);
    ck_assert(rc == 0 || (rc == -E_PROTOCOL && e.code == rc && e.detail[0] != '\0'));
    ck_assert_uint_eq(h->id, id);
    ck_assert_uint_eq(h->type, type);
    ck_assert_uint_eq(h->flags, (uint8_t)flags);
    ck_assert_uint_eq(h->length, (uint16_t)length);
    return rc;
}

/* Decodes n bytes of payload that stand in an allocation of just that size. */
static int decode(const struct frames_header *h, int continued, const uint8_t *payload)
{
    uint8_t *exact = malloc(h->length == 0 ? 1 : h->length);
    if (h->length > 0) {
        memcpy(exact, payload, h->length);
    }
    struct frame f;
    struct error e = {0};
    int rc = frames_decode(h, exact, continued, &f, &e);
    ck_assert(rc == 0 || (rc == -E_PROTOCOL && e.code == rc && e.detail[0] != '\0'));
    if (rc == 0) {
        size_t fixed = continued ? 0 : frames_fixed_size(h->type);
        ck_assert_uint_eq(f.body_length, h->length - fixed);
        ck_assert_ptr_eq(f.body, exact + fixed);
        ck_assert_uint_eq(f.id, h->id);
        ck_assert_uint_eq(f.type, h->type);
        ck_assert_uint_eq(f.flags, h->flags);
    }
    free(exact);
    return rc;
}

static uint8_t payload[FRAMES_PAYLOAD_MAX];

START_TEST(columns)
{
    uint8_t type = rows[_i].type;
    ck_assert_int_eq(frames_known(type), 1);
    ck_assert_str_eq(frames_name(type), rows[_i].name);
    ck_assert_int_eq((int)frames_id_rule(type), (int)rows[_i].id);
    ck_assert_int_eq((int)frames_body_rule(type), (int)rows[_i].body);
    ck_assert_uint_eq(frames_body_limit(type), rows[_i].limit);
    ck_assert_uint_eq(frames_fixed_size(type), rows[_i].fixed);
    ck_assert_int_eq(rows[_i].body == FRAMES_BODY_NONE, rows[_i].limit == 0);
    for (int i = 0; i < _i; i++) {
        ck_assert_uint_ne(rows[i].type, type);
    }
}
END_TEST

START_TEST(length_bounds)
{
    struct frames_header h;
    uint32_t id = legal_id(_i);
    uint8_t type = rows[_i].type;
    size_t least = rows[_i].fixed;
    size_t most = in_parts(_i) ? FRAMES_PAYLOAD_MAX : rows[_i].fixed + rows[_i].limit;

    ck_assert_int_eq(get_header(id, type, 0, least, &h), 0);
    ck_assert_int_eq(decode(&h, 0, payload), 0);
    ck_assert_int_eq(get_header(id, type, 0, most, &h), 0);
    ck_assert_int_eq(decode(&h, 0, payload), 0);
    if (most < FRAMES_PAYLOAD_MAX) {
        ck_assert_int_eq(get_header(id, type, 0, most + 1, &h), -E_PROTOCOL);
        ck_assert_int_eq(decode(&h, 0, payload), -E_PROTOCOL);
    }
    for (size_t n = 0; n < least; n++) {
        /* Of a type that comes in parts this may be a later part: only decode can tell. */
        ck_assert_int_eq(get_header(id, type, 0, n, &h), in_parts(_i) ? 0 : -E_PROTOCOL);
        ck_assert_int_eq(decode(&h, 0, payload), -E_PROTOCOL);
    }
}
END_TEST

START_TEST(id_rule)
{
    struct frames_header h;
    int is_link = rows[_i].id == FRAMES_ID_LINK;
    size_t n = rows[_i].fixed;
    ck_assert_int_eq(get_header(0, rows[_i].type, 0, n, &h), is_link ? 0 : -E_PROTOCOL);
    ck_assert_int_eq(get_header(1, rows[_i].type, 0, n, &h), is_link ? -E_PROTOCOL : 0);
    ck_assert_int_eq(get_header(2, rows[_i].type, 0, n, &h), is_link ? -E_PROTOCOL : 0);
    ck_assert_int_eq(get_header(UINT32_MAX, rows[_i].type, 0, n, &h), is_link ? -E_PROTOCOL : 0);
}
END_TEST

START_TEST(flags)
{
    struct frames_header h;
    unsigned legal = in_parts(_i) ? FRAMES_MORE : 0;
    if (rows[_i].type == FRAME_DATA) {
        legal |= FRAMES_DEFLATE;
    }
    for (unsigned flag = 0; flag < 256; flag++) {
        ck_assert_int_eq(get_header(legal_id(_i), rows[_i].type, flag, rows[_i].fixed + 1, &h),
                         (flag & ~legal) != 0 || (rows[_i].limit == 0) ? -E_PROTOCOL : 0);
        ck_assert_int_eq(get_header(legal_id(_i), rows[_i].type, flag, rows[_i].fixed, &h),
                         (flag & ~legal) != 0 ? -E_PROTOCOL : 0);
    }
}
END_TEST

START_TEST(only_large_types_come_in_parts)
{
    struct frames_header h = {.id = legal_id(_i), .type = rows[_i].type, .length = 1};
    ck_assert_int_eq(decode(&h, 1, payload), in_parts(_i) ? 0 : -E_PROTOCOL);
}
END_TEST

START_TEST(data_hello_goodbye_are_never_in_parts)
{
    struct frames_header h;
    ck_assert_int_eq(get_header(1, FRAME_DATA, FRAMES_MORE, 10, &h), -E_PROTOCOL);
    ck_assert_int_eq(get_header(0, FRAME_HELLO, FRAMES_MORE, 20, &h), -E_PROTOCOL);
    ck_assert_int_eq(get_header(0, FRAME_GOODBYE, FRAMES_MORE, 20, &h), -E_PROTOCOL);
    ck_assert_int_eq(get_header(1, FRAME_CALL, FRAMES_MORE, 20, &h), 0);
    ck_assert_int_eq(get_header(1, FRAME_CALL, FRAMES_DEFLATE, 20, &h), -E_PROTOCOL);
    ck_assert_int_eq(get_header(1, FRAME_DATA, FRAMES_DEFLATE, 20, &h), 0);
}
END_TEST

START_TEST(parts_are_not_empty)
{
    struct frames_header h;
    if (!in_parts(_i)) {
        return;
    }
    ck_assert_int_eq(get_header(1, rows[_i].type, FRAMES_MORE, rows[_i].fixed, &h), 0);
    ck_assert_int_eq(decode(&h, 0, payload), -E_PROTOCOL);
    ck_assert_int_eq(get_header(1, rows[_i].type, FRAMES_MORE, rows[_i].fixed + 1, &h), 0);
    ck_assert_int_eq(decode(&h, 0, payload), 0);
    ck_assert_int_eq(get_header(1, rows[_i].type, 0, 0, &h), 0);
    ck_assert_int_eq(decode(&h, 1, payload), -E_PROTOCOL);
    ck_assert_int_eq(get_header(1, rows[_i].type, FRAMES_MORE, 1, &h), 0);
    ck_assert_int_eq(decode(&h, 1, payload), 0);
}
END_TEST

START_TEST(unknown_types)
{
    struct frames_header h;
    int unknown = 0;
    for (unsigned type = 0; type < 256; type++) {
        if (frames_known((uint8_t)type)) {
            continue;
        }
        unknown++;
        ck_assert_int_eq(get_header(0, (uint8_t)type, 0, 0, &h), -E_PROTOCOL);
        ck_assert_int_eq(get_header(1, (uint8_t)type, 0, 0, &h), -E_PROTOCOL);
        ck_assert_int_eq(decode(&h, 0, payload), -E_PROTOCOL);
        ck_assert_uint_eq(frames_body_limit((uint8_t)type), 0);
        ck_assert_uint_eq(frames_fixed_size((uint8_t)type), 0);
        ck_assert_int_eq((int)frames_id_rule((uint8_t)type), 0);
        ck_assert_int_eq((int)frames_body_rule((uint8_t)type), 0);
        char name[16];
        (void)snprintf(name, sizeof(name), "type %u", type);
        ck_assert_str_eq(frames_name((uint8_t)type), name);
    }
    ck_assert_int_eq(unknown, 256 - ROWS);
}
END_TEST

/* ---- encoding ---- */

/* A frame of the row with fields that differ in every byte. */
static struct frame example(int row)
{
    struct frame f = {.id = legal_id(row), .type = rows[row].type};
    uint64_t next = UINT64_C(0x8182838485868788);
    switch (f.type) {
#define U16(field, doc) fields->field = (uint16_t)(next += 0x0101010101010101);
#define U32(field, doc) fields->field = (uint32_t)(next += 0x0101010101010101);
#define U64(field, doc) fields->field = (next += 0x0101010101010101);
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    case FRAME_##NAME: {                                                                           \
        struct frame_##name *fields = &f.name;                                                     \
        (void)fields;                                                                              \
        FIELDS break;                                                                              \
    }
#include "proto/frames.def"
#undef FRAME
#undef U16
#undef U32
#undef U64
    default:
        ck_abort_msg("row %d", row);
    }
    (void)next;
    return f;
}

static int same_fields(const struct frame *a, const struct frame *b)
{
    int same = a->type == b->type && a->id == b->id;
    switch (a->type) {
#define U16(field, doc) same = same && x->field == y->field;
#define U32(field, doc) same = same && x->field == y->field;
#define U64(field, doc) same = same && x->field == y->field;
#define FRAME(NAME, name, code, id, body, limit, FIELDS, doc)                                      \
    case FRAME_##NAME: {                                                                           \
        const struct frame_##name *x = &a->name;                                                   \
        const struct frame_##name *y = &b->name;                                                   \
        (void)x;                                                                                   \
        (void)y;                                                                                   \
        FIELDS break;                                                                              \
    }
#include "proto/frames.def"
#undef FRAME
#undef U16
#undef U32
#undef U64
    default:
        same = 0;
    }
    return same;
}

/* Encodes f with a body of n bytes, decodes all parts, and compares. */
static void there_and_back(struct frame f, size_t n, size_t parts)
{
    uint8_t *body = malloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        body[i] = (uint8_t)(i * 7 + i / 251);
    }
    f.body = body;
    f.body_length = n;
    struct wire_buf out = {0};
    struct wire_buf joined = {0};
    ck_assert_int_eq(wire_put(&out, "before", 6), 0);
    ck_assert_int_eq(frames_encode(&out, &f), 0);
    ck_assert_mem_eq(wire_data(&out), "before", 6);
    wire_take(&out, 6);
    size_t seen = 0;
    int more = 1;
    while (more) {
        struct frames_header h;
        struct frame g;
        ck_assert_uint_ge(wire_length(&out), FRAMES_HEADER);
        ck_assert_int_eq(frames_get_header(wire_data(&out), &h, NULL), 0);
        ck_assert_uint_ge(wire_length(&out), FRAMES_HEADER + (size_t)h.length);
        ck_assert_int_eq(frames_decode(&h, wire_data(&out) + FRAMES_HEADER, seen > 0, &g, NULL), 0);
        if (seen == 0) {
            ck_assert(same_fields(&f, &g));
        }
        ck_assert_int_eq(wire_put(&joined, g.body, g.body_length), 0);
        more = (h.flags & FRAMES_MORE) != 0;
        ck_assert(!more || h.length == FRAMES_PAYLOAD_MAX);
        wire_take(&out, FRAMES_HEADER + (size_t)h.length);
        seen++;
    }
    ck_assert_uint_eq(wire_length(&out), 0);
    ck_assert_uint_eq(seen, parts);
    ck_assert_uint_eq(wire_length(&joined), n);
    ck_assert(n == 0 || memcmp(wire_data(&joined), body, n) == 0);
    wire_free(&joined);
    wire_free(&out);
    free(body);
}

START_TEST(encoded_and_decoded_again)
{
    size_t first = FRAMES_PAYLOAD_MAX - rows[_i].fixed; /* most that one frame holds */
    const size_t lengths[] = {0,
                              1,
                              2,
                              1000,
                              first - 1,
                              first,
                              first + 1,
                              first + FRAMES_PAYLOAD_MAX,
                              first + FRAMES_PAYLOAD_MAX + 1,
                              rows[_i].limit};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t n = lengths[i];
        if (n > rows[_i].limit) {
            continue;
        }
        size_t parts = n <= first                        ? 1
                       : n <= first + FRAMES_PAYLOAD_MAX ? 2
                                                         : 2 + (n - first - 1) / FRAMES_PAYLOAD_MAX;
        if (n == first + FRAMES_PAYLOAD_MAX + 1) {
            parts = 3;
        }
        if (n == 1048576) {
            parts = 17; /* 16 × 65535 are 16 bytes too few */
        }
        there_and_back(example(_i), n, parts);
    }
}
END_TEST

START_TEST(too_large_to_encode)
{
    uint8_t *body = calloc(1, rows[_i].limit + 1);
    struct frame f = example(_i);
    struct wire_buf out = {0};
    f.body = body;
    f.body_length = rows[_i].limit + 1;
    ck_assert_int_eq(frames_encode(&out, &f), -E_TOO_LARGE);
    ck_assert_uint_eq(wire_length(&out), 0);
    free(body);
}
END_TEST

START_TEST(what_the_table_forbids_is_not_encoded)
{
    struct wire_buf out = {0};
    struct frame f = example(_i);
    f.id = f.id == 0 ? 1 : 0;
    ck_assert_int_eq(frames_encode(&out, &f), -E_ARGUMENT);
    f = example(_i);
    f.flags = 0x80;
    ck_assert_int_eq(frames_encode(&out, &f), -E_ARGUMENT);
    f = example(_i);
    f.flags = FRAMES_DEFLATE;
    ck_assert_int_eq(frames_encode(&out, &f), rows[_i].type == FRAME_DATA ? 0 : -E_ARGUMENT);
    wire_take(&out, wire_length(&out));
    f = example(_i);
    f.type = 0;
    ck_assert_int_eq(frames_encode(&out, &f), -E_ARGUMENT);
    ck_assert_uint_eq(wire_length(&out), 0);
    wire_free(&out);
}
END_TEST

START_TEST(a_full_buffer_takes_all_or_nothing)
{
    uint8_t *body = calloc(1, 200000);
    struct frame f = {.id = 3, .type = FRAME_CALL, .body = body, .body_length = 200000};
    size_t whole = 200000 + 4 * FRAMES_HEADER;
    struct wire_buf out = {.limit = whole - 1};
    ck_assert_int_eq(frames_encode(&out, &f), -E_LIMIT);
    ck_assert_uint_eq(wire_length(&out), 0);
    out.limit = whole;
    ck_assert_int_eq(frames_encode(&out, &f), 0);
    ck_assert_uint_eq(wire_length(&out), whole);
    wire_free(&out);
    free(body);
}
END_TEST

/* The wire itself: these bytes may never change within a major version. */
static const struct {
    struct frame f;
    const char *body;
    const char *bytes;
    size_t n;
} pinned[] = {
    {{.id = 0,
      .type = FRAME_HELLO,
      .hello = {.major = 1, .minor = 2, .features = 3, .lease = 0x7530}},
     "\xa0",
     "\0\0\0\0\x01\0\0\x0d\0\x01\0\x02\0\0\0\x03\0\0\x75\x30\xa0",
     21},
    {{.id = 0, .type = FRAME_PING, .ping = {.token = UINT64_C(0x0102030405060708)}},
     "",
     "\0\0\0\0\x02\0\0\x08\x01\x02\x03\x04\x05\x06\x07\x08",
     16},
    {{.id = 0, .type = FRAME_PONG, .pong = {.token = 9}},
     "",
     "\0\0\0\0\x03\0\0\x08\0\0\0\0\0\0\0\x09",
     16},
    {{.id = 0, .type = FRAME_GOODBYE, .goodbye = {.code = 60}},
     "why",
     "\0\0\0\0\x04\0\0\x05\0\x3cwhy",
     13},
    {{.id = 1, .type = FRAME_OPEN, .open = {.credit = 0x40000}},
     "\x82\x64"
     "exec\xf6",
     "\0\0\0\x01\x05\0\0\x0b\0\x04\0\0\x82\x64"
     "exec\xf6",
     19},
    {{.id = 0x01020304, .type = FRAME_DATA}, "hi", "\x01\x02\x03\x04\x06\0\0\x02hi", 10},
    {{.id = 5, .type = FRAME_DATA, .flags = FRAMES_DEFLATE},
     "d",
     "\0\0\0\x05\x06\x02\0\x01"
     "d",
     9},
    {{.id = 2, .type = FRAME_CREDIT, .credit = {.bytes = 0x10000}},
     "",
     "\0\0\0\x02\x07\0\0\x04\0\x01\0\0",
     12},
    {{.id = 2, .type = FRAME_EOF}, "", "\0\0\0\x02\x08\0\0\0", 8},
    {{.id = 2, .type = FRAME_CLOSE, .close = {.code = 71}},
     "\xf6",
     "\0\0\0\x02\x09\0\0\x03\0\x47\xf6",
     11},
    {{.id = 7, .type = FRAME_CALL},
     "\x82\x61"
     "f\xf6",
     "\0\0\0\x07\x0a\0\0\x04\x82\x61"
     "f\xf6",
     12},
    {{.id = 7, .type = FRAME_RETURN}, "\x01", "\0\0\0\x07\x0b\0\0\x01\x01", 9},
    {{.id = 7, .type = FRAME_ERROR, .error = {.code = 70}},
     "no",
     "\0\0\0\x07\x0c\0\0\x04\0\x46no",
     12},
    {{.id = 7, .type = FRAME_CANCEL}, "", "\0\0\0\x07\x0d\0\0\0", 8},
    {{.id = 0, .type = FRAME_RELEASE}, "\x82\x05\x01", "\0\0\0\0\x0e\0\0\x03\x82\x05\x01", 11},
};

START_TEST(bytes_on_the_wire)
{
    struct wire_buf out = {0};
    struct frame f = pinned[_i].f;
    f.body = (const uint8_t *)pinned[_i].body;
    f.body_length = strlen(pinned[_i].body);
    ck_assert_int_eq(frames_encode(&out, &f), 0);
    ck_assert_uint_eq(wire_length(&out), pinned[_i].n);
    ck_assert_mem_eq(wire_data(&out), pinned[_i].bytes, pinned[_i].n);

    struct frames_header h;
    struct frame g;
    ck_assert_int_eq(frames_get_header(wire_data(&out), &h, NULL), 0);
    ck_assert_int_eq(frames_decode(&h, wire_data(&out) + FRAMES_HEADER, 0, &g, NULL), 0);
    ck_assert(same_fields(&f, &g));
    ck_assert_uint_eq(g.flags, f.flags);
    wire_free(&out);
}
END_TEST

START_TEST(every_type_is_pinned)
{
    int found = 0;
    for (size_t i = 0; i < sizeof(pinned) / sizeof(pinned[0]); i++) {
        found += pinned[i].f.type == rows[_i].type;
    }
    ck_assert_int_ge(found, 1);
}
END_TEST

static Suite *frames_suite(void)
{
    Suite *s = suite_create("frames");
    TCase *t = tcase_create("frames");
    tcase_add_loop_test(t, columns, 0, ROWS);
    tcase_add_loop_test(t, length_bounds, 0, ROWS);
    tcase_add_loop_test(t, id_rule, 0, ROWS);
    tcase_add_loop_test(t, flags, 0, ROWS);
    tcase_add_loop_test(t, only_large_types_come_in_parts, 0, ROWS);
    tcase_add_test(t, data_hello_goodbye_are_never_in_parts);
    tcase_add_loop_test(t, parts_are_not_empty, 0, ROWS);
    tcase_add_test(t, unknown_types);
    tcase_add_loop_test(t, encoded_and_decoded_again, 0, ROWS);
    tcase_add_loop_test(t, too_large_to_encode, 0, ROWS);
    tcase_add_loop_test(t, what_the_table_forbids_is_not_encoded, 0, ROWS);
    tcase_add_test(t, a_full_buffer_takes_all_or_nothing);
    tcase_add_loop_test(t, bytes_on_the_wire, 0, (int)(sizeof(pinned) / sizeof(pinned[0])));
    tcase_add_loop_test(t, every_type_is_pinned, 0, ROWS);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(frames_suite)
