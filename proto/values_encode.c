/* The encoder of CBOR (RFC 8949) for values, in the preferred forms. */
#include <cbor.h>
#include <math.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/values.h"
#include "proto/values_impl.h"

#define ITEM_HEAD 9               /* bytes of the longest head of an item … */
#define HEADS_MAX (2 + ITEM_HEAD) /* … and of one with the tag of refs before it */

/* binary64 as binary16, if nothing is lost: 1 and the bits.  RFC 8949 section 4.1. */
static int half_of(double d, uint16_t *half)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    uint64_t sign = bits >> 63;
    int exponent = (int)(bits >> 52 & 0x7ff) - 1023;
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    uint64_t low;
    if (exponent == -1023 && fraction == 0) {
        low = 0;
    } else if (exponent == 1024 && fraction == 0) {
        low = 0x7c00;
    } else if (exponent >= -14 && exponent <= 15 && (fraction & ((UINT64_C(1) << 42) - 1)) == 0) {
        low = (uint64_t)(exponent + 15) << 10 | fraction >> 42;
    } else if (exponent >= -24 && exponent < -14) {
        /* Subnormal: the leading one becomes explicit, and moves right. */
        unsigned shift = (unsigned)(42 + (-14 - exponent));
        uint64_t significand = fraction | UINT64_C(1) << 52;
        if ((significand & ((UINT64_C(1) << shift) - 1)) != 0) {
            return 0;
        }
        low = significand >> shift;
    } else {
        return 0;
    }
    *half = (uint16_t)(sign << 15 | low);
    return 1;
}

static size_t encode_float(double d, uint8_t *at)
{
    uint16_t half = 0x7e00; /* the one NaN that is ever sent */
    if (isnan(d) || half_of(d, &half)) {
        at[0] = 0xf9;
        wire_store_u16(at + 1, half);
        return 3;
    }
    if (fabs(d) <= (double)3.40282346638528859812e38f && (double)(float)d == d) {
        return cbor_encode_single((float)d, at, ITEM_HEAD);
    }
    return cbor_encode_double(d, at, ITEM_HEAD);
}

/* Writes the head of v (all of it, for scalars without contents) at `at`; returns its bytes. */
static size_t encode_head(const struct value *v, uint8_t *at)
{
    switch (values_type(v)) {
    case VALUE_NIL:
        return cbor_encode_null(at, ITEM_HEAD);
    case VALUE_BOOL:
        return cbor_encode_bool(v->boolean != 0, at, ITEM_HEAD);
    case VALUE_INT:
        return v->integer < 0 ? cbor_encode_negint((uint64_t)~v->integer, at, ITEM_HEAD)
                              : cbor_encode_uint((uint64_t)v->integer, at, ITEM_HEAD);
    case VALUE_FLOAT:
        return encode_float(v->real, at);
    case VALUE_BYTES:
        return cbor_encode_bytestring_start(v->count, at, ITEM_HEAD);
    case VALUE_TEXT:
        return cbor_encode_string_start(v->count, at, ITEM_HEAD);
    case VALUE_ARRAY:
        return cbor_encode_array_start(v->count, at, ITEM_HEAD);
    case VALUE_MAP:
        return cbor_encode_map_start(v->count, at, ITEM_HEAD);
    case VALUE_REF: {
        size_t n = cbor_encode_tag(VALUES_IMPL_TAG_REF, at, ITEM_HEAD);
        return n + (v->ref->kind == NULL
                        ? cbor_encode_uint((uint64_t)v->ref->id, at + n, ITEM_HEAD)
                        : cbor_encode_array_start(v->ref->name != NULL ? 3 : 2, at + n, ITEM_HEAD));
    }
    }
    return 0;
}

/* What stands in the array of a ref that has a kind: 0 or negative. */
static int encode_ref(const struct values_ref *ref, struct wire_buf *out, size_t *items)
{
    uint8_t head[ITEM_HEAD];
    *items += ref->name != NULL ? 3 : 2;
    if (*items > VALUES_ITEMS_MAX) {
        return -E_TOO_LARGE;
    }
    int rc = wire_put(out, head, cbor_encode_uint((uint64_t)ref->id, head, ITEM_HEAD));
    if (rc == 0) {
        rc = wire_put(out, head, cbor_encode_string_start(ref->kind_length, head, ITEM_HEAD));
    }
    if (rc == 0) {
        rc = wire_put(out, ref->kind, ref->kind_length);
    }
    if (rc == 0 && ref->name != NULL) {
        rc = wire_put(out, head, cbor_encode_string_start(ref->name_length, head, ITEM_HEAD));
    }
    return rc == 0 && ref->name != NULL ? wire_put(out, ref->name, ref->name_length) : rc;
}

static int encode(const struct value *v, struct wire_buf *out, unsigned depth, size_t *items)
{
    enum values_type type = values_type(v);
    int container = type == VALUE_ARRAY || type == VALUE_MAP;
    int array = container || (type == VALUE_REF && v->ref->kind != NULL);
    if (++*items > VALUES_ITEMS_MAX || (array && depth == VALUES_DEPTH_MAX)) {
        return -E_TOO_LARGE;
    }
    uint8_t *at;
    int rc = wire_reserve(out, HEADS_MAX, &at);
    if (rc == -E_LIMIT) {
        /* The head may be shorter than the longest one: let it decide. */
        uint8_t head[HEADS_MAX];
        rc = wire_put(out, head, encode_head(v, head));
    } else if (rc == 0) {
        wire_commit(out, encode_head(v, at));
    }
    if (rc == 0 && (type == VALUE_BYTES || type == VALUE_TEXT)) {
        rc = wire_put(out, v->bytes, v->count);
    }
    if (rc == 0 && array && !container) {
        rc = encode_ref(v->ref, out, items);
    }
    size_t slots = !container ? 0 : type == VALUE_MAP ? 2 * v->count : v->count;
    for (size_t i = 0; rc == 0 && i < slots; i++) {
        rc = encode(v->items[i], out, depth + 1, items);
    }
    return rc;
}

int values_encode(const struct value *v, struct wire_buf *out)
{
    size_t before = wire_length(out);
    size_t items = 0;
    int rc = encode(v, out, 0, &items);
    if (rc != 0) {
        out->end = out->start + before;
    }
    return rc;
}
