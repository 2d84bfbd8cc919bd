/* proto/values: the CBOR vectors, the limits of the decoder, and what the makers promise. */
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/values.h"
#include "tests/unit/unit.h"

static const struct {
    const char *hex;
    int type; /* -1: any */
    int code;
    const char *json; /* NULL: refused with code */
    const char *again;
    bool refs; /* has some, or what looks like it */
} vectors[] = {
#define GOOD(hex, type, json, again) {hex, VALUE_##type, 0, json, again, false},
#define BAD(hex, code)               {hex, VALUE_NIL, -E_##code, NULL, "", false},
#define REF(hex, json, again)        {hex, -1, 0, json, again, true},
#define NOREF(hex, code)             {hex, VALUE_NIL, -E_##code, NULL, "", true},
#include "tests/unit/cbor_vectors.def"
#undef GOOD
#undef BAD
#undef REF
#undef NOREF
};
#define VECTORS ((int)(sizeof(vectors) / sizeof(vectors[0])))

/* ---- helpers ---- */

/* The bytes of a hexadecimal text, in an allocation of just that size. */
static uint8_t *unhex(const char *hex, size_t *n)
{
    *n = strlen(hex) / 2;
    ck_assert_msg(strlen(hex) % 2 == 0, "odd: %s", hex);
    uint8_t *bytes = malloc(*n == 0 ? 1 : *n);
    for (size_t i = 0; i < *n; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        char *end;
        bytes[i] = (uint8_t)strtoul(digits, &end, 16);
        ck_assert_msg(*end == '\0', "not hexadecimal: %s", hex);
    }
    return bytes;
}

/* Decodes a copy without a byte to spare, so that a sanitizer sees reads beyond it.  Where refs are
 * not allowed the same is accepted but for those. */
static int decode(const void *bytes, size_t n, struct value **v)
{
    uint8_t *exact = malloc(n == 0 ? 1 : n);
    if (n > 0) {
        memcpy(exact, bytes, n);
    }
    *v = NULL;
    int rc = values_decode_refs(exact, n, v);
    struct value *plain = NULL;
    int plain_rc = values_decode(exact, n, &plain);
    free(exact);
    ck_assert((rc == 0) == (*v != NULL));
    ck_assert((plain_rc == 0) == (plain != NULL));
    ck_assert(plain_rc == rc || plain_rc == -E_MALFORMED);
    ck_assert(plain_rc != 0 || values_equal(*v, plain));
    values_free(plain);
    return rc;
}

static int decode_code(const void *bytes, size_t n)
{
    struct value *v;
    int rc = decode(bytes, n, &v);
    values_free(v);
    return rc;
}

/* v encoded; then decoded, which must be equal; v is freed. */
static void check_bytes(struct value *v, const char *hex)
{
    struct wire_buf out = {0};
    ck_assert_ptr_nonnull(v);
    ck_assert_int_eq(values_encode(v, &out), 0);
    size_t n;
    uint8_t *expected = unhex(hex, &n);
    ck_assert_uint_eq(wire_length(&out), n);
    ck_assert(n == 0 || memcmp(wire_data(&out), expected, n) == 0);
    struct value *back;
    ck_assert_int_eq(decode(expected, n, &back), 0);
    ck_assert_int_eq(values_equal(v, back), 1);
    values_free(back);
    values_free(v);
    free(expected);
    wire_free(&out);
}

static void check_json(struct value *v, const char *expected)
{
    char *json = values_json(v);
    ck_assert_ptr_nonnull(json);
    ck_assert_str_eq(json, expected);
    free(json);
    values_free(v);
}

/* One of everything. */
static struct value *rich(void)
{
    struct value *map = values_map();
    struct value *array = values_array();
    ck_assert_int_eq(values_append(array, values_nil()), 0);
    ck_assert_int_eq(values_append(array, values_bool(1)), 0);
    ck_assert_int_eq(values_append(array, values_int(-70000)), 0);
    ck_assert_int_eq(values_append(array, values_int(INT64_MAX)), 0);
    ck_assert_int_eq(values_append(array, values_float(1.5)), 0);
    ck_assert_int_eq(values_append(array, values_float(1e9)), 0);
    ck_assert_int_eq(values_append(array, values_float(1.1)), 0);
    ck_assert_int_eq(values_append(array, values_bytes("\0\xff", 2)), 0);
    ck_assert_int_eq(values_append(array, values_array()), 0);
    ck_assert_int_eq(values_append(array, values_map()), 0);
    ck_assert_int_eq(values_append(array, values_ref(300, NULL, NULL)), 0);
    ck_assert_int_eq(values_append(array, values_ref(1, "userdata", "name")), 0);
    ck_assert_int_eq(values_set(map, "array", array), 0);
    ck_assert_int_eq(values_set(map, "text of more than 23 bytes", values_text("\xc3\xbc")), 0);
    ck_assert_int_eq(values_set_pair(map, values_int(300), values_text("")), 0);
    return map;
}

/* ---- vectors ---- */

START_TEST(vector)
{
    size_t n;
    uint8_t *bytes = unhex(vectors[_i].hex, &n);
    struct value *v = NULL;
    int plain = values_decode(bytes, n, &v);
    ck_assert_int_eq(plain == 0, v != NULL);
    values_free(v);
    v = NULL;
    int rc = values_decode_refs(bytes, n, &v);
    ck_assert_int_eq(plain, vectors[_i].refs ? -E_MALFORMED : rc);
    ck_assert_msg(rc == vectors[_i].code, "%s: %d, not %d", vectors[_i].hex, rc, vectors[_i].code);
    if (rc != 0) {
        ck_assert_ptr_null(v);
        free(bytes);
        return;
    }
    ck_assert(vectors[_i].type < 0 || (int)values_type(v) == vectors[_i].type);
    char *json = values_json(v);
    ck_assert_str_eq(json, vectors[_i].json);
    free(json);

    size_t again_n;
    const char *again_hex = vectors[_i].again[0] != '\0' ? vectors[_i].again : vectors[_i].hex;
    uint8_t *again = unhex(again_hex, &again_n);
    struct wire_buf out = {0};
    ck_assert_int_eq(values_encode(v, &out), 0);
    ck_assert_msg(wire_length(&out) == again_n && memcmp(wire_data(&out), again, again_n) == 0,
                  "%s is not encoded as %s", vectors[_i].hex, again_hex);
    struct value *back;
    ck_assert_int_eq(decode(again, again_n, &back), 0);
    ck_assert_int_eq(values_equal(v, back), 1);
    values_free(back);
    wire_free(&out);
    values_free(v);
    free(again);
    free(bytes);
}
END_TEST

static void cut_or_with_more(const char *hex)
{
    size_t n;
    uint8_t *bytes = unhex(hex, &n);
    for (size_t cut = 0; cut < n; cut++) {
        ck_assert_int_eq(decode_code(bytes, cut), -E_MALFORMED);
    }
    uint8_t *more = malloc(n + 1);
    memcpy(more, bytes, n);
    for (unsigned byte = 0; byte < 256; byte++) {
        more[n] = (uint8_t)byte;
        ck_assert_int_eq(decode_code(more, n + 1), -E_MALFORMED);
    }
    free(more);
    free(bytes);
}

START_TEST(vectors_cut_or_with_more)
{
    for (int i = 0; i < VECTORS; i++) {
        if (vectors[i].json != NULL) {
            cut_or_with_more(vectors[i].hex);
        }
    }
}
END_TEST

START_TEST(rich_value_cut_at_each_byte)
{
    struct value *v = rich();
    struct wire_buf out = {0};
    ck_assert_int_eq(values_encode(v, &out), 0);
    for (size_t n = 0; n < wire_length(&out); n++) {
        ck_assert_int_eq(decode_code(wire_data(&out), n), -E_MALFORMED);
    }
    ck_assert_int_eq(decode_code(wire_data(&out), wire_length(&out)), 0);
    wire_free(&out);
    values_free(v);
}
END_TEST

START_TEST(every_two_bytes)
{
    /* Whatever is accepted must survive being encoded and decoded again. */
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t bytes[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        struct value *v = NULL;
        int rc = values_decode(bytes, 2, &v);
        ck_assert(rc == 0 || rc == -E_MALFORMED || rc == -E_TOO_LARGE);
        if (rc == 0) {
            struct wire_buf out = {0};
            struct value *back;
            ck_assert_int_eq(values_encode(v, &out), 0);
            ck_assert_int_eq(decode(wire_data(&out), wire_length(&out), &back), 0);
            ck_assert_int_eq(values_equal(v, back), 1);
            values_free(back);
            values_free(v);
            wire_free(&out);
        }
    }
}
END_TEST

/* ---- floats ---- */

START_TEST(every_half)
{
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t bytes[3] = {0xf9, (uint8_t)(i >> 8), (uint8_t)i};
        unsigned exponent = i >> 10 & 0x1f;
        double fraction = i & 0x3ff;
        double expected = exponent == 0    ? ldexp(fraction, -24)
                          : exponent != 31 ? ldexp(1024 + fraction, (int)exponent - 25)
                          : fraction > 0   ? (double)NAN
                                           : (double)INFINITY;
        struct value *v;
        ck_assert_int_eq(decode(bytes, 3, &v), 0);
        double d = values_as_float(v, 1);
        struct wire_buf out = {0};
        ck_assert_int_eq(values_encode(v, &out), 0);
        ck_assert_uint_eq(wire_length(&out), 3);
        if (isnan(expected)) {
            ck_assert(isnan(d));
            ck_assert_mem_eq(wire_data(&out), "\xf9\x7e\x00", 3);
        } else {
            ck_assert(fabs(d) <= expected && fabs(d) >= expected);
            ck_assert_int_eq(signbit(d) != 0, (int)(i >> 15));
            ck_assert_mem_eq(wire_data(&out), bytes, 3);
        }
        wire_free(&out);
        values_free(v);
    }
}
END_TEST

START_TEST(floats_come_back_as_they_were)
{
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        /* Few bits set in the fraction, so that all three lengths occur. */
        uint64_t narrow = bits & ~((UINT64_C(1) << (bits % 53)) - 1);
        if (i % 2 == 0) {
            narrow = (narrow & ~(UINT64_C(0x7ff) << 52)) | (1023 - 30 + (bits >> 8) % 60) << 52;
        }
        double d;
        memcpy(&d, &narrow, sizeof(d));
        struct value *v = values_float(d);
        struct wire_buf out = {0};
        ck_assert_int_eq(values_encode(v, &out), 0);
        struct value *back;
        ck_assert_int_eq(decode(wire_data(&out), wire_length(&out), &back), 0);
        ck_assert_int_eq(values_equal(v, back), 1);
        int fits_single = isnan(d) || isinf(d) || (fabs(d) < 3.5e38 && (double)(float)d - d == 0);
        ck_assert(fits_single ? wire_length(&out) <= 5 : wire_length(&out) == 9);
        values_free(back);
        values_free(v);
        wire_free(&out);
    }
}
END_TEST

/* ---- limits ---- */

START_TEST(depth)
{
    static const struct {
        const char *open;
        size_t n;
        const char *close;
    } forms[] = {
        {"\x81", 1, ""}, {"\x9f", 1, "\xff"}, {"\xa1\x00", 2, ""}, {"\xbf\x00", 2, "\xff"}};
    for (size_t form = 0; form < 4; form++) {
        for (size_t levels = VALUES_DEPTH_MAX - 2; levels <= VALUES_DEPTH_MAX + 2; levels++) {
            struct wire_buf b = {0};
            for (size_t i = 0; i < levels; i++) {
                ck_assert_int_eq(wire_put(&b, forms[form].open, forms[form].n), 0);
            }
            ck_assert_int_eq(wire_put_u8(&b, 0), 0);
            for (size_t i = 0; i < levels; i++) {
                ck_assert_int_eq(wire_put(&b, forms[form].close, strlen(forms[form].close)), 0);
            }
            ck_assert_int_eq(decode_code(wire_data(&b), wire_length(&b)),
                             levels <= VALUES_DEPTH_MAX ? 0 : -E_TOO_LARGE);
            wire_free(&b);
        }
    }
    uint8_t *deep = malloc(1000000);
    memset(deep, 0x81, 1000000);
    ck_assert_int_eq(decode_code(deep, 1000000), -E_TOO_LARGE);
    memset(deep, 0x9f, 1000000);
    ck_assert_int_eq(decode_code(deep, 1000000), -E_TOO_LARGE);
    free(deep);
}
END_TEST

START_TEST(depth_of_what_is_made)
{
    struct value *v = values_array();
    for (int i = 1; i < VALUES_DEPTH_MAX; i++) {
        struct value *outer = i % 2 == 0 ? values_array() : values_map();
        ck_assert_int_eq(i % 2 == 0 ? values_append(outer, v) : values_set(outer, "k", v), 0);
        v = outer;
    }
    struct wire_buf out = {0};
    ck_assert_int_eq(values_encode(v, &out), 0);
    ck_assert_int_eq(decode_code(wire_data(&out), wire_length(&out)), 0);
    wire_free(&out);

    struct value *map = values_map();
    ck_assert_int_eq(values_set(map, "k", values_nil()), 0);
    ck_assert_int_eq(values_set(map, "k", v), -E_TOO_LARGE);
    values_free(map);
}
END_TEST

/* `n` one-byte items in an array, or n / 2 pairs with keys of three bytes in a map. */
static int decode_many(size_t n, int is_map, int indefinite)
{
    struct wire_buf b = {0};
    if (indefinite) {
        ck_assert_int_eq(wire_put_u8(&b, is_map ? 0xbf : 0x9f), 0);
    } else {
        ck_assert_int_eq(wire_put_u8(&b, is_map ? 0xba : 0x9a), 0);
        ck_assert_int_eq(wire_put_u32(&b, (uint32_t)(is_map ? n / 2 : n)), 0);
    }
    for (size_t i = 0; i < n; i++) {
        if (is_map && i % 2 == 0) {
            ck_assert_int_eq(wire_put_u8(&b, 0x19), 0);
            ck_assert_int_eq(wire_put_u16(&b, (uint16_t)(i / 2)), 0);
        } else {
            ck_assert_int_eq(wire_put_u8(&b, 0xf6), 0);
        }
    }
    if (indefinite) {
        ck_assert_int_eq(wire_put_u8(&b, 0xff), 0);
    }
    int rc = decode_code(wire_data(&b), wire_length(&b));
    wire_free(&b);
    return rc;
}

START_TEST(item_count)
{
    for (int indefinite = 0; indefinite < 2; indefinite++) {
        ck_assert_int_eq(decode_many(VALUES_ITEMS_MAX - 1, 0, indefinite), 0);
        ck_assert_int_eq(decode_many(VALUES_ITEMS_MAX, 0, indefinite), -E_TOO_LARGE);
        ck_assert_int_eq(decode_many(VALUES_ITEMS_MAX - 2, 1, indefinite), 0);
        ck_assert_int_eq(decode_many(VALUES_ITEMS_MAX, 1, indefinite), -E_TOO_LARGE);
    }
    /* The sum over all levels counts: 256 arrays of 255 are one item too many. */
    for (size_t inner = 254; inner <= 255; inner++) {
        struct wire_buf b = {0};
        ck_assert_int_eq(wire_put(&b, "\x99\x01\x00", 3), 0);
        for (size_t i = 0; i < 256; i++) {
            ck_assert_int_eq(wire_put_u8(&b, 0x98), 0);
            ck_assert_int_eq(wire_put_u8(&b, (uint8_t)inner), 0);
            for (size_t j = 0; j < inner; j++) {
                ck_assert_int_eq(wire_put_u8(&b, 0), 0);
            }
        }
        ck_assert_int_eq(decode_code(wire_data(&b), wire_length(&b)),
                         inner == 254 ? 0 : -E_TOO_LARGE);
        wire_free(&b);
    }
}
END_TEST

START_TEST(item_count_of_what_is_made)
{
    struct value *v = values_array();
    struct wire_buf out = {0};
    ck_assert_int_eq(wire_put(&out, "before", 6), 0);
    for (int i = 1; i < VALUES_ITEMS_MAX; i++) {
        ck_assert_int_eq(values_append(v, values_nil()), 0);
    }
    ck_assert_int_eq(values_encode(v, &out), 0);
    wire_take(&out, 6);
    ck_assert_int_eq(decode_code(wire_data(&out), wire_length(&out)), 0);
    ck_assert_int_eq(values_append(v, values_nil()), 0);
    size_t before = wire_length(&out);
    ck_assert_int_eq(values_encode(v, &out), -E_TOO_LARGE);
    ck_assert_uint_eq(wire_length(&out), before);
    wire_free(&out);
    values_free(v);
}
END_TEST

START_TEST(many_chunks)
{
    /* A megabyte of one-byte chunks: quadratic copying would take minutes. */
    size_t n = 500000;
    uint8_t *bytes = malloc(2 * n + 2);
    bytes[0] = 0x7f;
    for (size_t i = 0; i < n; i++) {
        bytes[1 + 2 * i] = 0x61;
        bytes[2 + 2 * i] = 'x';
    }
    bytes[2 * n + 1] = 0xff;
    struct value *v;
    ck_assert_int_eq(decode(bytes, 2 * n + 2, &v), 0);
    size_t length;
    ck_assert_ptr_nonnull(values_as_string(v, &length));
    ck_assert_uint_eq(length, n);
    values_free(v);
    free(bytes);
}
END_TEST

START_TEST(equal_keys_in_a_large_map)
{
    /* Large maps are looked through in another way than small ones. */
    for (int twin = -1; twin < 40; twin++) {
        struct wire_buf b = {0};
        ck_assert_int_eq(wire_put(&b, "\xb8\x29", 2), 0);
        for (int i = 0; i <= 40; i++) {
            int key = i == 40 && twin >= 0 ? twin : i;
            ck_assert_int_eq(wire_put(&b, "\x62", 1), 0);
            ck_assert_int_eq(wire_put_u8(&b, (uint8_t)('A' + key % 7)), 0);
            ck_assert_int_eq(wire_put_u8(&b, (uint8_t)('0' + key / 7)), 0);
            ck_assert_int_eq(wire_put_u8(&b, 0xf6), 0);
        }
        ck_assert_int_eq(decode_code(wire_data(&b), wire_length(&b)), twin < 0 ? 0 : -E_MALFORMED);
        wire_free(&b);
    }
}
END_TEST

START_TEST(encoding_stops_at_the_buffers_limit)
{
    struct value *v = rich();
    struct wire_buf out = {0};
    ck_assert_int_eq(values_encode(v, &out), 0);
    size_t n = wire_length(&out);
    for (size_t limit = 1; limit <= n; limit++) {
        struct wire_buf small = {.limit = limit};
        ck_assert_int_eq(values_encode(v, &small), limit < n ? -E_LIMIT : 0);
        ck_assert_uint_eq(wire_length(&small), limit < n ? 0 : n);
        wire_free(&small);
    }
    wire_free(&out);
    values_free(v);
}
END_TEST

/* ---- refs ---- */

START_TEST(refs_and_their_bytes)
{
    check_bytes(values_ref(1, NULL, NULL), "d82701");
    check_bytes(values_ref(INT64_MAX, NULL, NULL), "d8271b7fffffffffffffff");
    check_bytes(values_ref(24, "table", NULL), "d827821818657461626c65");
    check_bytes(values_ref(2, "a", "\xc3\xbc"), "d82783026161"
                                                "62c3bc");
    check_bytes(values_ref(2, "a", ""), "d8278302616160");
    struct value *v = values_ref(70000, "function", "print");
    ck_assert_int_eq((int)values_type(v), VALUE_REF);
    ck_assert_int_eq(values_ref_id(v), 70000);
    ck_assert_str_eq(values_ref_kind(v), "function");
    ck_assert_str_eq(values_ref_name(v), "print");
    check_json(v, "{\"ref\":\"function\"}");
    v = values_ref(3, NULL, NULL);
    ck_assert_int_eq(values_ref_id(v), 3);
    ck_assert_ptr_null(values_ref_kind(v));
    ck_assert_ptr_null(values_ref_name(v));
    values_free(v);
    ck_assert_int_eq(decode("\xd8\x27\x83\x05\x61k\x63n\0m", 10, &v), 0);
    ck_assert_int_eq(values_ref_id(v), 5);
    ck_assert_str_eq(values_ref_kind(v), "k");
    ck_assert_str_eq(values_ref_name(v), "n");
    values_free(v);
}
END_TEST

START_TEST(no_refs)
{
    char kind[VALUES_KIND_MAX + 2] = "";
    memset(kind, 'k', VALUES_KIND_MAX);
    struct value *v = values_ref(1, kind, NULL);
    ck_assert_ptr_nonnull(v);
    values_free(v);
    kind[VALUES_KIND_MAX] = 'k';
    ck_assert_ptr_null(values_ref(1, kind, NULL));
    ck_assert_ptr_null(values_ref(0, "table", NULL));
    ck_assert_ptr_null(values_ref(-1, NULL, NULL));
    ck_assert_ptr_null(values_ref(1, "", NULL));
    ck_assert_ptr_null(values_ref(1, "\xff", NULL));
    ck_assert_ptr_null(values_ref(1, "a", "\xff"));
    ck_assert_ptr_null(values_ref(1, NULL, "name"));
    /* As keys they are refused like arrays. */
    struct value *map = values_map();
    ck_assert_int_eq(values_set_pair(map, values_ref(1, NULL, NULL), values_nil()), -E_ARGUMENT);
    ck_assert_int_eq(values_set_pair(map, values_ref(1, "a", NULL), values_nil()), -E_ARGUMENT);
    values_free(map);
}
END_TEST

START_TEST(refs_equal)
{
    struct value *all[] = {values_ref(1, NULL, NULL), values_ref(1, "a", NULL),
                           values_ref(2, NULL, NULL), values_ref(2, "a", NULL),
                           values_ref(2, "b", NULL),  values_int(1)};
    size_t n = sizeof(all) / sizeof(all[0]);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            ck_assert_int_eq(values_equal(all[i], all[j]), i == j);
        }
    }
    struct value *named = values_ref(2, "b", "name");
    ck_assert_int_eq(values_equal(named, all[4]), 1);
    values_free(named);
    for (size_t i = 0; i < n; i++) {
        values_free(all[i]);
    }
}
END_TEST

/* A ref with a kind is an array and its items, as far as limits go; one that comes home an int. */
START_TEST(limits_with_refs)
{
    for (int home = 0; home < 2; home++) {
        for (size_t levels = VALUES_DEPTH_MAX - 2; levels <= VALUES_DEPTH_MAX; levels++) {
            struct value *v = values_ref(1, home ? NULL : "a", NULL);
            struct wire_buf out = {0};
            size_t i = 0;
            int rc = 0;
            for (; i < levels && rc == 0; i++) {
                struct value *outer = values_array();
                rc = values_append(outer, v);
                ck_assert_int_eq(wire_put_u8(&out, 0x81), 0);
                v = outer;
            }
            bool fits = levels + (home ? 0 : 1) <= VALUES_DEPTH_MAX;
            ck_assert_int_eq(rc, fits ? 0 : -E_TOO_LARGE);
            ck_assert_int_eq(wire_put(&out,
                                      home ? "\xd8\x27\x01"
                                           : "\xd8\x27\x82\x01\x61"
                                             "a",
                                      home ? 3 : 6),
                             0);
            ck_assert_int_eq(decode_code(wire_data(&out), wire_length(&out)), rc);
            values_free(v);
            wire_free(&out);
        }
        size_t items = home ? 1 : 3;
        struct value *v = values_array();
        struct wire_buf out = {0};
        for (size_t n = 1; n + items <= VALUES_ITEMS_MAX; n += items) {
            ck_assert_int_eq(values_append(v, values_ref((int64_t)n, home ? NULL : "a", NULL)), 0);
        }
        ck_assert_int_eq(values_encode(v, &out), 0);
        ck_assert_int_eq(decode_code(wire_data(&out), wire_length(&out)), 0);
        wire_free(&out);
        ck_assert_int_eq(values_append(v, values_ref(1, home ? NULL : "a", NULL)), 0);
        ck_assert_int_eq(values_encode(v, &out), -E_TOO_LARGE);
        ck_assert_uint_eq(wire_length(&out), 0);
        wire_free(&out);
        values_free(v);
    }
}
END_TEST

/* ---- makers and lookers ---- */

START_TEST(made_values_and_their_bytes)
{
    check_bytes(values_nil(), "f6");
    check_bytes(values_bool(7), "f5");
    check_bytes(values_bool(0), "f4");
    check_bytes(values_int(INT64_MIN), "3b7fffffffffffffff");
    check_bytes(values_int(-256), "38ff");
    check_bytes(values_int(-257), "390100");
    check_bytes(values_float(-0.0), "f98000");
    check_bytes(values_text("h\xc3\xa9"), "6368c3a9");
    check_bytes(values_text("\xff"), "41ff"); /* not UTF-8 */
    check_bytes(values_text_n("a\0b", 3), "63610062");
    check_bytes(values_text_n("\xc3\xa9", 1), "41c3");
    check_bytes(values_bytes(NULL, 0), "40");
    struct value *map = values_map();
    ck_assert_int_eq(values_set(map, "z", values_int(1)), 0);
    ck_assert_int_eq(values_set(map, "a", values_int(2)), 0);
    check_bytes(map, "a2617a01616102"); /* order of arrival, not of the alphabet */
    struct wire_buf out = {0};
    ck_assert_int_eq(values_encode(NULL, &out), 0);
    ck_assert_mem_eq(wire_data(&out), "\xf6", 1);
    wire_free(&out);
}
END_TEST

START_TEST(wrong_types_give_the_fallback)
{
    struct value *all[] = {NULL,
                           values_nil(),
                           values_bool(1),
                           values_int(5),
                           values_float(2.5),
                           values_bytes("b", 1),
                           values_text("t"),
                           values_array(),
                           values_map(),
                           values_ref(1, "table", "t")};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct value *v = all[i];
        enum values_type type = values_type(v);
        const struct value *key;
        const struct value *item;
        size_t n = 77;
        ck_assert_int_eq((int)type, i == 0 ? VALUE_NIL : (int)i - 1);
        ck_assert_int_eq(values_as_int(v, -1), type == VALUE_INT ? 5 : -1);
        ck_assert_int_eq(values_as_bool(v, -1), type == VALUE_BOOL ? 1 : -1);
        double d = values_as_float(v, -1);
        double expected = type == VALUE_FLOAT ? 2.5 : type == VALUE_INT ? 5 : -1;
        ck_assert(d <= expected && d >= expected);
        int is_string = type == VALUE_BYTES || type == VALUE_TEXT;
        ck_assert_int_eq(values_as_string(v, NULL) != NULL, is_string);
        ck_assert_int_eq(values_as_string(v, &n) != NULL, is_string);
        ck_assert_uint_eq(n, is_string ? 1 : 77);
        int is_ref = type == VALUE_REF;
        ck_assert_int_eq(values_ref_id(v), is_ref);
        ck_assert_int_eq(values_ref_kind(v) != NULL, is_ref);
        ck_assert_int_eq(values_ref_name(v) != NULL, is_ref);
        ck_assert_uint_eq(values_count(v), 0);
        ck_assert_ptr_null(values_at(v, 0));
        ck_assert_ptr_null(values_get(v, "t"));
        ck_assert_int_eq(values_pair(v, 0, &key, &item), 0);
        for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++) {
            ck_assert_int_eq(values_equal(v, all[j]), i == j || (i <= 1 && j <= 1));
        }
    }
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        values_free(all[i]);
    }
}
END_TEST

START_TEST(containers)
{
    struct value *v = rich();
    ck_assert_uint_eq(values_count(v), 3);
    const struct value *array = values_get(v, "array");
    ck_assert_uint_eq(values_count(array), 12);
    ck_assert_int_eq(values_as_int(values_at(array, 2), 0), -70000);
    ck_assert_ptr_null(values_at(array, 12));
    ck_assert_ptr_null(values_get(v, "arra"));
    ck_assert_ptr_null(values_get(v, "array2"));
    const struct value *key;
    const struct value *item;
    ck_assert_int_eq(values_pair(v, 2, &key, &item), 1);
    ck_assert_int_eq(values_as_int(key, 0), 300);
    ck_assert_str_eq(values_as_string(item, NULL), "");
    ck_assert_int_eq(values_pair(v, 3, &key, &item), 0);
    values_free(v);
}
END_TEST

START_TEST(failed_puts_free_what_they_were_given)
{
    /* What leaks or is freed twice, the sanitizer or valgrind sees. */
    struct value *text = values_text("x");
    ck_assert_int_eq(values_append(text, values_int(1)), -E_ARGUMENT);
    ck_assert_int_eq(values_set(text, "k", values_int(1)), -E_ARGUMENT);
    ck_assert_int_eq(values_append(NULL, values_int(1)), -E_NOMEM);
    ck_assert_int_eq(values_set(NULL, "k", values_int(1)), -E_NOMEM);
    values_free(text);
    struct value *map = values_map();
    struct value *array = values_array();
    ck_assert_int_eq(values_append(map, values_int(1)), -E_ARGUMENT);
    ck_assert_int_eq(values_set(array, "k", values_int(1)), -E_ARGUMENT);
    ck_assert_int_eq(values_append(array, NULL), -E_NOMEM);
    ck_assert_int_eq(values_set(map, "k", NULL), -E_NOMEM);
    ck_assert_int_eq(values_set_pair(map, NULL, values_int(1)), -E_NOMEM);
    ck_assert_int_eq(values_set_pair(map, values_array(), values_int(1)), -E_ARGUMENT);
    ck_assert_int_eq(values_set_pair(map, values_map(), values_int(1)), -E_ARGUMENT);
    ck_assert_uint_eq(values_count(map), 0);
    ck_assert_uint_eq(values_count(array), 0);
    values_free(map);
    values_free(array);
}
END_TEST

START_TEST(an_equal_key_is_replaced_in_place)
{
    struct value *map = values_map();
    ck_assert_int_eq(values_set(map, "a", values_int(1)), 0);
    ck_assert_int_eq(values_set(map, "b", values_int(2)), 0);
    ck_assert_int_eq(values_set(map, "a", rich()), 0);
    ck_assert_int_eq(values_set(map, "a", values_text("new")), 0);
    ck_assert_int_eq(values_set_pair(map, values_bytes("a", 1), values_int(3)), 0);
    check_json(map, "{\"a\":\"new\",\"b\":2,\"a\":3}");
}
END_TEST

START_TEST(strings_are_terminated)
{
    struct value *v = values_text_n("abcdef", 3);
    size_t n;
    ck_assert_str_eq(values_as_string(v, &n), "abc");
    ck_assert_uint_eq(n, 3);
    values_free(v);
    v = values_bytes("a\0b", 3);
    ck_assert_ptr_null(values_as_string(v, NULL));
    ck_assert_mem_eq(values_as_string(v, &n), "a\0b", 4);
    ck_assert_uint_eq(n, 3);
    values_free(v);
    ck_assert_int_eq(decode("\x43xyz", 4, &v), 0);
    ck_assert_str_eq(values_as_string(v, NULL), "xyz");
    values_free(v);
}
END_TEST

START_TEST(equality)
{
    static const struct {
        const char *a;
        const char *b;
        int equal;
    } pairs[] = {
        {"a2616101616202", "a2616202616101", 1},
        {"a2616101616202", "a2616202616103", 0},
        {"a2616101616202", "a2616301616202", 0},
        {"a2616101616202", "a1616101", 0},
        {"820102", "820201", 0},
        {"820102", "83010203", 0},
        {"f97e00", "fa7fc00001", 1},
        {"f90000", "f98000", 0},
        {"01", "f93c00", 0},
        {"6161", "4161", 0},
        {"6161", "626161", 0},
        {"63616263", "63616264", 0},
        {"81a161618102", "81a161618102", 1},
        {"81a161618102", "81a161618103", 0},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct value *a;
        struct value *b;
        size_t n;
        uint8_t *bytes = unhex(pairs[i].a, &n);
        ck_assert_int_eq(decode(bytes, n, &a), 0);
        free(bytes);
        bytes = unhex(pairs[i].b, &n);
        ck_assert_int_eq(decode(bytes, n, &b), 0);
        free(bytes);
        ck_assert_msg(values_equal(a, b) == pairs[i].equal, "%s %s", pairs[i].a, pairs[i].b);
        ck_assert_int_eq(values_equal(b, a), pairs[i].equal);
        values_free(a);
        values_free(b);
    }
}
END_TEST

START_TEST(json)
{
    check_json(NULL, "null");
    check_json(values_text("a\"b\\c\n\t\r\x1b[0m\x7f\xc2\x9b"
                           "d"),
               "\"a\\\"b\\\\c\\n\\t\\u000d\\u001b[0m\\u007f\\u009bd\"");
    check_json(values_text("\xc2\xa0"), "\"\xc2\xa0\"");
    check_json(values_float(0.1), "0.1");
    check_json(values_float(1.0 / 3), "0.3333333333333333");
    check_json(values_float(100), "100.0");
    check_json(values_float(1e22), "1e+22");
    check_json(values_float(-0.0), "-0.0");
    struct value *empty = values_array();
    ck_assert_int_eq(values_append(empty, values_map()), 0);
    ck_assert_int_eq(values_append(empty, values_array()), 0);
    check_json(empty, "[{},[]]");
}
END_TEST

START_TEST(json_does_not_follow_the_locale)
{
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"};
    for (size_t i = 0; i < sizeof(commas) / sizeof(commas[0]); i++) {
        if (setlocale(LC_NUMERIC, commas[i]) != NULL) {
            break;
        }
    }
    /* Where no such locale is installed this tests no more than `json` does. */
    check_json(values_float(1.5), "1.5");
    check_json(values_float(-2.5e-7), "-2.5e-07");
}
END_TEST

static Suite *values_suite(void)
{
    Suite *s = suite_create("values");
    TCase *t = tcase_create("values");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, vector, 0, VECTORS);
    tcase_add_test(t, vectors_cut_or_with_more);
    tcase_add_test(t, rich_value_cut_at_each_byte);
    tcase_add_test(t, every_two_bytes);
    tcase_add_test(t, every_half);
    tcase_add_test(t, floats_come_back_as_they_were);
    tcase_add_test(t, depth);
    tcase_add_test(t, depth_of_what_is_made);
    tcase_add_test(t, item_count);
    tcase_add_test(t, item_count_of_what_is_made);
    tcase_add_test(t, many_chunks);
    tcase_add_test(t, equal_keys_in_a_large_map);
    tcase_add_test(t, encoding_stops_at_the_buffers_limit);
    tcase_add_test(t, refs_and_their_bytes);
    tcase_add_test(t, no_refs);
    tcase_add_test(t, refs_equal);
    tcase_add_test(t, limits_with_refs);
    tcase_add_test(t, made_values_and_their_bytes);
    tcase_add_test(t, wrong_types_give_the_fallback);
    tcase_add_test(t, containers);
    tcase_add_test(t, failed_puts_free_what_they_were_given);
    tcase_add_test(t, an_equal_key_is_replaced_in_place);
    tcase_add_test(t, strings_are_terminated);
    tcase_add_test(t, equality);
    tcase_add_test(t, json);
    tcase_add_test(t, json_does_not_follow_the_locale);
    suite_add_tcase(s, t);
    return s;
}

UNIT_MAIN(values_suite)
