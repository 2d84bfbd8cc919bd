/* The decoder of CBOR (RFC 8949) for values: libcbor's streaming function sees to single items,
 * this file to how they nest.  A stack of fixed size takes the place of recursion. */
#include <cbor.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/values.h"
#include "proto/values_impl.h"

struct values_level {
    struct value *container;
    struct value *key; /* of a map: waits for its item */
    size_t left;       /* items still to come (pairs count two); not for indefinite ones */
    int indefinite;
    int is_ref; /* what is in the array makes a ref */
};

struct values_decoder {
    struct values_level levels[VALUES_DEPTH_MAX];
    unsigned depth;
    size_t items, items_max;
    struct value *result;
    int code;
    int refs;   /* are allowed */
    int tagged; /* the tag of a ref came, what it is about has not */
    /* A string of indefinite length: its type while it is open, and its chunks so far. */
    int chunks_open;
    enum values_type chunks_type;
    struct wire_buf chunks;
};

static void fail(struct values_decoder *d, int code)
{
    if (d->code == 0) {
        d->code = code;
    }
}

/* Counts one item, before anything is allocated for it. */
static int admit(struct values_decoder *d)
{
    if (d->chunks_open) {
        fail(d, -E_MALFORMED);
    } else if (++d->items > d->items_max) {
        fail(d, -E_TOO_LARGE);
    }
    return d->code == 0;
}

/* The ref that `v` (taken over; NULL: no memory) stands for: an int, or an array of scalars.  NULL:
 * it has failed. */
static struct value *make_ref(struct values_decoder *d, struct value *v)
{
    int malformed = 0;
    struct value *ref = NULL;
    if (v != NULL && v->type == VALUE_INT) {
        ref = values_impl_ref(v->integer, NULL, 0, NULL, 0, &malformed);
    } else if (v != NULL) {
        const struct value *id = values_at(v, 0), *kind = values_at(v, 1), *name = values_at(v, 2);
        malformed = v->count > 3 || values_type(id) != VALUE_INT ||
                    values_type(kind) != VALUE_TEXT ||
                    (v->count == 3 && values_type(name) != VALUE_TEXT);
        if (!malformed) {
            ref = values_impl_ref(id->integer, kind->bytes, kind->count,
                                  name != NULL ? name->bytes : NULL, name != NULL ? name->count : 0,
                                  &malformed);
        }
    }
    values_free(v);
    if (ref == NULL) {
        fail(d, malformed ? -E_MALFORMED : -E_NOMEM);
    }
    return ref;
}

/* Puts a complete item into the open container, or makes it the result.  Takes it over. */
static void place(struct values_decoder *d, struct value *item)
{
    if (d->tagged) {
        d->tagged = 0;
        item = make_ref(d, item);
    }
    if (item == NULL) {
        fail(d, -E_NOMEM);
        return;
    }
    if (d->depth == 0) {
        d->result = item;
        return;
    }
    struct values_level *level = &d->levels[d->depth - 1];
    int is_map = level->container->type == VALUE_MAP;
    if (is_map && level->key == NULL) {
        if (!values_impl_is_key(item)) {
            values_free(item);
            fail(d, -E_MALFORMED);
            return;
        }
        level->key = item;
    } else {
        int rc = values_impl_push(level->container, level->key, item);
        if (rc != 0) {
            values_free(item);
            fail(d, rc);
            return;
        }
        level->key = NULL;
    }
    if (!level->indefinite) {
        level->left--;
    }
}

/* Closes containers that are full. */
static void close_full(struct values_decoder *d)
{
    while (d->code == 0 && d->depth > 0) {
        struct values_level *level = &d->levels[d->depth - 1];
        if (level->indefinite || level->left > 0) {
            return;
        }
        struct value *done = level->container;
        d->depth--;
        if (level->is_ref && (done = make_ref(d, done)) == NULL) {
            return;
        }
        int twins = done->type == VALUE_MAP ? values_impl_has_twins(done) : 0;
        if (twins != 0) {
            values_free(done);
            fail(d, twins < 0 ? twins : -E_MALFORMED);
            return;
        }
        place(d, done);
    }
}

static void take(void *context, struct value *item)
{
    place(context, item);
    close_full(context);
}

/* Opens a container of `slots` items, or of as many as come. */
static void open_container(struct values_decoder *d, enum values_type type, size_t slots,
                           int indefinite)
{
    if (!admit(d)) {
        return;
    }
    if (d->depth == VALUES_DEPTH_MAX || slots > d->items_max - d->items) {
        fail(d, -E_TOO_LARGE);
        return;
    }
    struct values_level *above = d->depth == 0 ? NULL : &d->levels[d->depth - 1];
    int as_key = above != NULL && above->container->type == VALUE_MAP && above->key == NULL;
    if (as_key || (above != NULL && above->is_ref) || (d->tagged && type != VALUE_ARRAY)) {
        fail(d, -E_MALFORMED);
        return;
    }
    struct value *container = type == VALUE_MAP ? values_map() : values_array();
    if (container == NULL) {
        fail(d, -E_NOMEM);
        return;
    }
    d->levels[d->depth++] = (struct values_level){
        .container = container, .left = slots, .indefinite = indefinite, .is_ref = d->tagged};
    d->tagged = 0;
    close_full(d);
}

static void on_uint(struct values_decoder *d, uint64_t v)
{
    if (!admit(d)) {
        return;
    }
    if (v > INT64_MAX) {
        fail(d, -E_MALFORMED);
        return;
    }
    take(d, values_int((int64_t)v));
}

static void on_negint(struct values_decoder *d, uint64_t v)
{
    if (!admit(d)) {
        return;
    }
    if (v > INT64_MAX) {
        fail(d, -E_MALFORMED);
        return;
    }
    take(d, values_int(-1 - (int64_t)v));
}

static void on_float(struct values_decoder *d, double v)
{
    if (admit(d)) {
        take(d, values_float(v));
    }
}

static void on_string(struct values_decoder *d, enum values_type type, const uint8_t *bytes,
                      size_t n)
{
    if (type == VALUE_TEXT && !values_is_utf8(bytes, n)) {
        fail(d, -E_MALFORMED);
    } else if (d->chunks_open && d->chunks_type == type) {
        int rc = wire_put(&d->chunks, bytes, n);
        if (rc != 0) {
            fail(d, rc);
        }
    } else if (admit(d)) {
        take(d, values_impl_string(type, bytes, n));
    }
}

static void on_chunks(struct values_decoder *d, enum values_type type)
{
    if (admit(d)) {
        d->chunks_open = 1;
        d->chunks_type = type;
    }
}

static void on_break(void *context)
{
    struct values_decoder *d = context;
    struct values_level *level = d->depth == 0 ? NULL : &d->levels[d->depth - 1];
    if (d->chunks_open) {
        d->chunks_open = 0;
        take(d, values_impl_string(d->chunks_type, wire_data(&d->chunks), wire_length(&d->chunks)));
        wire_free(&d->chunks);
    } else if (level == NULL || !level->indefinite || level->key != NULL || d->tagged) {
        fail(d, -E_MALFORMED);
    } else {
        level->indefinite = 0;
        level->left = 0;
        close_full(d);
    }
}

static void on_uint8(void *context, uint8_t v)
{
    on_uint(context, v);
}

static void on_uint16(void *context, uint16_t v)
{
    on_uint(context, v);
}

static void on_uint32(void *context, uint32_t v)
{
    on_uint(context, v);
}

static void on_uint64(void *context, uint64_t v)
{
    on_uint(context, v);
}

static void on_negint8(void *context, uint8_t v)
{
    on_negint(context, v);
}

static void on_negint16(void *context, uint16_t v)
{
    on_negint(context, v);
}

static void on_negint32(void *context, uint32_t v)
{
    on_negint(context, v);
}

static void on_negint64(void *context, uint64_t v)
{
    on_negint(context, v);
}

static void on_bytes(void *context, cbor_data bytes, size_t n)
{
    on_string(context, VALUE_BYTES, bytes, n);
}

static void on_text(void *context, cbor_data bytes, size_t n)
{
    on_string(context, VALUE_TEXT, bytes, n);
}

static void on_bytes_chunks(void *context)
{
    on_chunks(context, VALUE_BYTES);
}

static void on_text_chunks(void *context)
{
    on_chunks(context, VALUE_TEXT);
}

static void on_array(void *context, size_t n)
{
    open_container(context, VALUE_ARRAY, n, 0);
}

static void on_map(void *context, size_t n)
{
    open_container(context, VALUE_MAP, n > SIZE_MAX / 2 ? SIZE_MAX : 2 * n, 0);
}

static void on_array_chunks(void *context)
{
    open_container(context, VALUE_ARRAY, 0, 1);
}

static void on_map_chunks(void *context)
{
    open_container(context, VALUE_MAP, 0, 1);
}

static void on_tag(void *context, uint64_t tag)
{
    struct values_decoder *d = context;
    int within = d->depth > 0 && d->levels[d->depth - 1].is_ref;
    if (!d->refs || tag != VALUES_IMPL_TAG_REF || d->tagged || d->chunks_open || within) {
        fail(d, -E_MALFORMED);
    }
    d->tagged = 1;
}

static void on_single(void *context, float v)
{
    on_float(context, v);
}

static void on_double(void *context, double v)
{
    on_float(context, v);
}

static void on_null(void *context)
{
    if (admit(context)) {
        take(context, values_nil());
    }
}

static void on_undefined(void *context)
{
    fail(context, -E_MALFORMED);
}

static void on_bool(void *context, bool v)
{
    if (admit(context)) {
        take(context, values_bool(v));
    }
}

static const struct cbor_callbacks values_callbacks = {
    .uint8 = on_uint8,
    .uint16 = on_uint16,
    .uint32 = on_uint32,
    .uint64 = on_uint64,
    .negint8 = on_negint8,
    .negint16 = on_negint16,
    .negint32 = on_negint32,
    .negint64 = on_negint64,
    .byte_string_start = on_bytes_chunks,
    .byte_string = on_bytes,
    .string = on_text,
    .string_start = on_text_chunks,
    .indef_array_start = on_array_chunks,
    .array_start = on_array,
    .indef_map_start = on_map_chunks,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_single,
    .float4 = on_single,
    .float8 = on_double,
    .undefined = on_undefined,
    .null = on_null,
    .boolean = on_bool,
    .indef_break = on_break,
};

/* libcbor hands lengths over as size_t: where that has 32 bits, a longer one would be cut. */
static int claims_too_much(const uint8_t *at, size_t left)
{
    unsigned major = at[0] >> 5;
    return (at[0] & 0x1f) == 27 && major >= 2 && major <= 5 && left >= 5 &&
           (at[1] | at[2] | at[3] | at[4]) != 0;
}

static int decode(const void *bytes, size_t n, int refs, size_t items, struct value **v)
{
    struct values_decoder d;
    memset(&d, 0, sizeof(d));
    d.refs = refs;
    d.items_max = items;
    const uint8_t *at = bytes;
    size_t left = n;
    do {
        if (left > 0 && claims_too_much(at, left)) {
            fail(&d, -E_TOO_LARGE);
            break;
        }
        struct cbor_decoder_result r = cbor_stream_decode(at, left, &values_callbacks, &d);
        if (r.status != CBOR_DECODER_FINISHED) {
            fail(&d, -E_MALFORMED);
            break;
        }
        at += r.read;
        left -= r.read;
    } while (d.code == 0 && d.result == NULL);

    if (d.code == 0 && left > 0) {
        d.code = -E_MALFORMED;
    }
    if (d.code == 0) {
        *v = d.result;
        d.result = NULL;
    }
    for (unsigned i = 0; i < d.depth; i++) {
        values_free(d.levels[i].container);
        values_free(d.levels[i].key);
    }
    values_free(d.result);
    wire_free(&d.chunks);
    return d.code;
}

int values_decode(const void *bytes, size_t n, struct value **v)
{
    return decode(bytes, n, 0, VALUES_ITEMS_MAX, v);
}

int values_decode_refs(const void *bytes, size_t n, struct value **v)
{
    return decode(bytes, n, 1, VALUES_ITEMS_MAX, v);
}

int values_decode_many(const void *bytes, size_t n, size_t items, struct value **v)
{
    return decode(bytes, n, 1, items, v);
}
