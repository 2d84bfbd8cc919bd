/* Values of the public header: struct grapnel_value is struct value by another name. */
#include <stdlib.h>
#include <string.h>

#include "launcher/grapnel.h"
#include "proto/errors.h"
#include "proto/values.h"

static const struct value *in(const struct grapnel_value *v)
{
    return (const struct value *)v;
}

static struct value *own(struct grapnel_value *v)
{
    return (struct value *)v;
}

static struct grapnel_value *out(struct value *v)
{
    return (struct grapnel_value *)v;
}

static const struct grapnel_value *seen(const struct value *v)
{
    return (const struct grapnel_value *)v;
}

/* ---- looking ---- */

enum grapnel_type grapnel_value_type(const struct grapnel_value *v)
{
    switch (values_type(in(v))) {
    case VALUE_NIL:
        break;
    case VALUE_BOOL:
        return GRAPNEL_BOOL;
    case VALUE_INT:
        return GRAPNEL_INT;
    case VALUE_FLOAT:
        return GRAPNEL_FLOAT;
    case VALUE_BYTES:
        return GRAPNEL_BYTES;
    case VALUE_TEXT:
        return GRAPNEL_TEXT;
    case VALUE_ARRAY:
        return GRAPNEL_ARRAY;
    case VALUE_MAP:
        return GRAPNEL_MAP;
    case VALUE_REF:
        return GRAPNEL_REF;
    }
    return GRAPNEL_NIL;
}

int64_t grapnel_value_int(const struct grapnel_value *v, int64_t fallback)
{
    return values_as_int(in(v), fallback);
}

double grapnel_value_float(const struct grapnel_value *v, double fallback)
{
    return values_as_float(in(v), fallback);
}

int grapnel_value_bool(const struct grapnel_value *v, int fallback)
{
    return values_as_bool(in(v), fallback);
}

const char *grapnel_value_string(const struct grapnel_value *v, size_t *n)
{
    return values_as_string(in(v), n);
}

size_t grapnel_value_count(const struct grapnel_value *v)
{
    return values_count(in(v));
}

const struct grapnel_value *grapnel_value_at(const struct grapnel_value *array, size_t i)
{
    return seen(values_at(in(array), i));
}

const struct grapnel_value *grapnel_value_get(const struct grapnel_value *map, const char *key)
{
    return seen(values_get(in(map), key));
}

int grapnel_value_pair(const struct grapnel_value *map, size_t i, const struct grapnel_value **key,
                       const struct grapnel_value **item)
{
    const struct value *k, *v;

    if (!values_pair(in(map), i, &k, &v))
        return 0;
    *key = seen(k);
    *item = seen(v);
    return 1;
}

int grapnel_value_equal(const struct grapnel_value *a, const struct grapnel_value *b)
{
    return values_equal(in(a), in(b));
}

char *grapnel_value_json(const struct grapnel_value *v)
{
    return values_json(in(v));
}

/* ---- making ---- */

struct grapnel_value *grapnel_value_new_nil(void)
{
    return out(values_nil());
}

struct grapnel_value *grapnel_value_new_bool(int v)
{
    return out(values_bool(v));
}

struct grapnel_value *grapnel_value_new_int(int64_t v)
{
    return out(values_int(v));
}

struct grapnel_value *grapnel_value_new_float(double v)
{
    return out(values_float(v));
}

struct grapnel_value *grapnel_value_new_string(const char *text, size_t n)
{
    return out(values_text_n(text, n));
}

struct grapnel_value *grapnel_value_new_bytes(const void *bytes, size_t n)
{
    return out(values_bytes(bytes, n));
}

struct grapnel_value *grapnel_value_new_array(void)
{
    return out(values_array());
}

struct grapnel_value *grapnel_value_new_map(void)
{
    return out(values_map());
}

int grapnel_value_append(struct grapnel_value *array, struct grapnel_value *item)
{
    return values_append(own(array), own(item));
}

int grapnel_value_set(struct grapnel_value *map, const char *key, struct grapnel_value *item)
{
    return values_set(own(map), key, own(item));
}

int grapnel_value_set_pair(struct grapnel_value *map, struct grapnel_value *key,
                           struct grapnel_value *item)
{
    return values_set_pair(own(map), own(key), own(item));
}

void grapnel_value_free(struct grapnel_value *v)
{
    values_free(own(v));
}
