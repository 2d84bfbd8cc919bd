#include "proto/values.h"

#include <stdlib.h>
#include <string.h>

#include "proto/errors.h"
#include "proto/values_impl.h"

#define TWINS_QUADRATIC 16 /* maps up to so many pairs are compared pair by pair */

static struct value *make(enum values_type type)
{
    struct value *v = calloc(1, sizeof(*v));
    if (v != NULL) {
        v->type = (uint8_t)type;
        v->height = type == VALUE_ARRAY || type == VALUE_MAP;
    }
    return v;
}

struct value *values_nil(void)
{
    return make(VALUE_NIL);
}

struct value *values_bool(int v)
{
    struct value *value = make(VALUE_BOOL);
    if (value != NULL) {
        value->boolean = v != 0;
    }
    return value;
}

struct value *values_int(int64_t v)
{
    struct value *value = make(VALUE_INT);
    if (value != NULL) {
        value->integer = v;
    }
    return value;
}

struct value *values_float(double v)
{
    struct value *value = make(VALUE_FLOAT);
    if (value != NULL) {
        value->real = v;
    }
    return value;
}

struct value *values_impl_string(enum values_type type, const void *bytes, size_t n)
{
    struct value *v = make(type);
    if (v == NULL) {
        return NULL;
    }
    v->bytes = n < SIZE_MAX ? malloc(n + 1) : NULL;
    if (v->bytes == NULL) {
        free(v);
        return NULL;
    }
    if (n > 0) {
        memcpy(v->bytes, bytes, n);
    }
    v->bytes[n] = '\0';
    v->count = n;
    return v;
}

struct value *values_bytes(const void *bytes, size_t n)
{
    return values_impl_string(VALUE_BYTES, bytes, n);
}

struct value *values_text(const char *s)
{
    return values_text_n(s, strlen(s));
}

struct value *values_text_n(const char *s, size_t n)
{
    return values_impl_string(values_is_utf8(s, n) ? VALUE_TEXT : VALUE_BYTES, s, n);
}

struct value *values_array(void)
{
    return make(VALUE_ARRAY);
}

struct value *values_map(void)
{
    return make(VALUE_MAP);
}

struct value *values_impl_ref(int64_t id, const char *kind, size_t kind_length, const char *name,
                              size_t name_length, int *malformed)
{
    *malformed = id < 1 || (kind == NULL && name != NULL) ||
                 (kind != NULL &&
                  (kind_length == 0 || kind_length > VALUES_KIND_MAX ||
                   memchr(kind, 0, kind_length) != NULL || !values_is_utf8(kind, kind_length))) ||
                 (name != NULL && !values_is_utf8(name, name_length));
    struct value *v = *malformed ? NULL : make(VALUE_REF);
    if (v == NULL) {
        return NULL;
    }
    kind_length = kind != NULL ? kind_length : 0;
    name_length = name != NULL ? name_length : 0;
    size_t size = sizeof(*v->ref) + kind_length + 2;
    v->ref = name_length < SIZE_MAX - size ? calloc(1, size + name_length) : NULL;
    if (v->ref == NULL) {
        free(v);
        return NULL;
    }
    v->height = kind != NULL;
    v->ref->id = id;
    v->ref->kind_length = kind_length;
    v->ref->name_length = name_length;
    if (kind != NULL) {
        v->ref->kind = memcpy(v->ref->texts, kind, kind_length);
    }
    if (name != NULL) {
        v->ref->name = memcpy(v->ref->texts + kind_length + 1, name, name_length);
    }
    return v;
}

struct value *values_ref(int64_t id, const char *kind, const char *name)
{
    int malformed;
    return values_impl_ref(id, kind, kind != NULL ? strlen(kind) : 0, name,
                           name != NULL ? strlen(name) : 0, &malformed);
}

/* Slots that stand in v->items. */
static size_t slots(const struct value *v)
{
    return v->type == VALUE_MAP ? 2 * v->count : v->type == VALUE_ARRAY ? v->count : 0;
}

unsigned values_height(const struct value *v)
{
    return v == NULL ? 0 : v->height;
}

void values_ref_bind(struct value *ref, void *object, void (*drop)(void *object))
{
    ref->ref->object = object;
    ref->ref->drop = drop;
}

void *values_ref_object(const struct value *v, void (*drop)(void *object))
{
    return values_type(v) == VALUE_REF && v->ref->drop == drop ? v->ref->object : NULL;
}

int values_each_ref(struct value *v, int (*each)(void *arg, struct value *ref), void *arg)
{
    int rc = 0;
    if (v != NULL && v->type == VALUE_REF) {
        return each(arg, v);
    }
    for (size_t i = 0; v != NULL && rc == 0 && i < slots(v); i++) {
        rc = values_each_ref(v->items[i], each, arg);
    }
    return rc;
}

struct value *values_take(struct value *array, size_t i)
{
    if (values_type(array) != VALUE_ARRAY || i >= array->count) {
        return NULL;
    }
    struct value *item = array->items[i];
    array->items[i] = NULL;
    return item;
}

int values_impl_is_key(const struct value *v)
{
    return v->height == 0 && v->type != VALUE_REF;
}

void values_free(struct value *v)
{
    if (v == NULL) {
        return;
    }
    for (size_t i = 0; i < slots(v); i++) {
        values_free(v->items[i]); /* no deeper than VALUES_DEPTH_MAX */
    }
    if (v->type == VALUE_BYTES || v->type == VALUE_TEXT) {
        free(v->bytes);
    } else if (v->type == VALUE_ARRAY || v->type == VALUE_MAP) {
        free(v->items);
    } else if (v->type == VALUE_REF) {
        if (v->ref->drop != NULL) {
            v->ref->drop(v->ref->object);
        }
        free(v->ref);
    }
    free(v);
}

int values_impl_push(struct value *container, struct value *key, struct value *item)
{
    if (item->height >= VALUES_DEPTH_MAX) {
        return -E_TOO_LARGE;
    }
    /* The allocation is not remembered: it is the power of two that holds what there is. */
    size_t used = slots(container);
    if ((used & (used - 1)) == 0 && used != 1) {
        size_t room = used == 0 ? 2 : 2 * used;
        struct value **items = room > SIZE_MAX / sizeof(struct value *) / 2
                                   ? NULL
                                   : realloc(container->items, room * sizeof(struct value *));
        if (items == NULL) {
            return -E_NOMEM;
        }
        container->items = items;
    }
    if (key != NULL) {
        container->items[used++] = key;
    }
    container->items[used] = item;
    container->count++;
    if (container->height <= item->height) {
        container->height = (uint8_t)(item->height + 1);
    }
    return 0;
}

int values_append(struct value *array, struct value *item)
{
    int rc = 0;
    if (array == NULL || item == NULL) {
        rc = -E_NOMEM;
    } else if (array->type != VALUE_ARRAY) {
        rc = -E_ARGUMENT;
    } else {
        rc = values_impl_push(array, NULL, item);
    }
    if (rc != 0) {
        values_free(item);
    }
    return rc;
}

int values_set(struct value *map, const char *key, struct value *item)
{
    return values_set_pair(map, values_text(key), item);
}

/* Puts item in the place of that of an equal key.  1 if there was one. */
static int replace(struct value *map, const struct value *key, struct value *item)
{
    for (size_t i = 0; i < map->count; i++) {
        if (values_impl_compare(map->items[2 * i], key) == 0) {
            values_free(map->items[2 * i + 1]);
            map->items[2 * i + 1] = item;
            if (map->height <= item->height) {
                map->height = (uint8_t)(item->height + 1);
            }
            return 1;
        }
    }
    return 0;
}

int values_set_pair(struct value *map, struct value *key, struct value *item)
{
    int rc = 0;
    if (map == NULL || key == NULL || item == NULL) {
        rc = -E_NOMEM;
    } else if (map->type != VALUE_MAP || !values_impl_is_key(key)) {
        rc = -E_ARGUMENT;
    } else if (item->height >= VALUES_DEPTH_MAX) {
        rc = -E_TOO_LARGE;
    } else if (replace(map, key, item)) {
        values_free(key);
        return 0;
    } else {
        rc = values_impl_push(map, key, item);
    }
    if (rc != 0) {
        values_free(key);
        values_free(item);
    }
    return rc;
}

enum values_type values_type(const struct value *v)
{
    return v == NULL ? VALUE_NIL : (enum values_type)v->type;
}

int64_t values_as_int(const struct value *v, int64_t fallback)
{
    return values_type(v) == VALUE_INT ? v->integer : fallback;
}

double values_as_float(const struct value *v, double fallback)
{
    switch (values_type(v)) {
    case VALUE_FLOAT:
        return v->real;
    case VALUE_INT:
        return (double)v->integer;
    default:
        return fallback;
    }
}

int values_as_bool(const struct value *v, int fallback)
{
    return values_type(v) == VALUE_BOOL ? v->boolean : fallback;
}

const char *values_as_string(const struct value *v, size_t *n)
{
    enum values_type type = values_type(v);
    if (type != VALUE_TEXT && type != VALUE_BYTES) {
        return NULL;
    }
    if (n != NULL) {
        *n = v->count;
    } else if (memchr(v->bytes, 0, v->count) != NULL) {
        return NULL;
    }
    return v->bytes;
}

int64_t values_ref_id(const struct value *v)
{
    return values_type(v) == VALUE_REF ? v->ref->id : 0;
}

const char *values_ref_kind(const struct value *v)
{
    return values_type(v) == VALUE_REF ? v->ref->kind : NULL;
}

const char *values_ref_name(const struct value *v)
{
    return values_type(v) == VALUE_REF ? v->ref->name : NULL;
}

size_t values_count(const struct value *v)
{
    enum values_type type = values_type(v);
    return type == VALUE_ARRAY || type == VALUE_MAP ? v->count : 0;
}

const struct value *values_at(const struct value *array, size_t i)
{
    return values_type(array) == VALUE_ARRAY && i < array->count ? array->items[i] : NULL;
}

const struct value *values_get(const struct value *map, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; values_type(map) == VALUE_MAP && i < map->count; i++) {
        const struct value *k = map->items[2 * i];
        if (k->type == VALUE_TEXT && k->count == n && memcmp(k->bytes, key, n) == 0) {
            return map->items[2 * i + 1];
        }
    }
    return NULL;
}

int values_pair(const struct value *map, size_t i, const struct value **key,
                const struct value **item)
{
    if (values_type(map) != VALUE_MAP || i >= map->count) {
        return 0;
    }
    *key = map->items[2 * i];
    *item = map->items[2 * i + 1];
    return 1;
}

/* Bits of a float for comparison; all NaN are one. */
static uint64_t float_bits(double d)
{
    uint64_t bits;
    memcpy(&bits, &d, sizeof(bits));
    return d != d ? UINT64_C(0x7ff8000000000000) : bits;
}

static int order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* One that comes home has no kind, and is before all others. */
static int compare_refs(const struct values_ref *a, const struct values_ref *b)
{
    if (a->id != b->id || a->kind == NULL || b->kind == NULL) {
        return a->id != b->id ? order((uint64_t)a->id, (uint64_t)b->id)
                              : order(a->kind != NULL, b->kind != NULL);
    }
    return strcmp(a->kind, b->kind);
}

int values_impl_compare(const struct value *a, const struct value *b)
{
    if (a->type != b->type) {
        return order(a->type, b->type);
    }
    switch ((enum values_type)a->type) {
    case VALUE_BOOL:
        return order((uint64_t)a->boolean, (uint64_t)b->boolean);
    case VALUE_INT:
        return order((uint64_t)a->integer, (uint64_t)b->integer);
    case VALUE_FLOAT:
        return order(float_bits(a->real), float_bits(b->real));
    case VALUE_BYTES:
    case VALUE_TEXT:
        return a->count != b->count ? order(a->count, b->count)
                                    : memcmp(a->bytes, b->bytes, a->count);
    case VALUE_NIL:
    case VALUE_ARRAY:
    case VALUE_MAP:
        break;
    case VALUE_REF:
        return compare_refs(a->ref, b->ref);
    }
    return 0;
}

static int compare_for_sort(const void *a, const void *b)
{
    return values_impl_compare(*(const struct value *const *)a, *(const struct value *const *)b);
}

int values_impl_has_twins(const struct value *map)
{
    if (map->count <= TWINS_QUADRATIC) {
        for (size_t i = 0; i < map->count; i++) {
            for (size_t j = 0; j < i; j++) {
                if (values_impl_compare(map->items[2 * i], map->items[2 * j]) == 0) {
                    return 1;
                }
            }
        }
        return 0;
    }
    const struct value **keys = malloc(map->count * sizeof(struct value *));
    if (keys == NULL) {
        return -E_NOMEM;
    }
    for (size_t i = 0; i < map->count; i++) {
        keys[i] = map->items[2 * i];
    }
    qsort(keys, map->count, sizeof(struct value *), compare_for_sort);
    int twins = 0;
    for (size_t i = 1; i < map->count && !twins; i++) {
        twins = values_impl_compare(keys[i - 1], keys[i]) == 0;
    }
    free(keys);
    return twins;
}

static int maps_equal(const struct value *a, const struct value *b)
{
    for (size_t i = 0; i < a->count; i++) {
        /* Mostly the order is the same, and then the first look finds it. */
        size_t j = i;
        size_t looked = 0;
        while (looked < b->count && values_impl_compare(a->items[2 * i], b->items[2 * j]) != 0) {
            j = j + 1 < b->count ? j + 1 : 0;
            looked++;
        }
        if (looked == b->count || !values_equal(a->items[2 * i + 1], b->items[2 * j + 1])) {
            return 0;
        }
    }
    return 1;
}

int values_equal(const struct value *a, const struct value *b)
{
    enum values_type type = values_type(a);
    if (type != values_type(b)) {
        return 0;
    }
    if (type == VALUE_NIL) {
        return 1;
    }
    if (type != VALUE_ARRAY && type != VALUE_MAP) {
        return values_impl_compare(a, b) == 0;
    }
    if (a->count != b->count) {
        return 0;
    }
    if (type == VALUE_MAP) {
        return maps_equal(a, b);
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!values_equal(a->items[i], b->items[i])) {
            return 0;
        }
    }
    return 1;
}

/* The least second byte, the greatest second byte and the number of bytes after the first, by the
 * first byte: the table of RFC 3629 section 4.  Zero: not a first byte. */
static int utf8_tail(uint8_t first, uint8_t *least, uint8_t *greatest)
{
    *least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *greatest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first >= 0xc2 && first <= 0xdf) {
        return 1;
    }
    if (first >= 0xe0 && first <= 0xef) {
        return 2;
    }
    return first >= 0xf0 && first <= 0xf4 ? 3 : 0;
}

int values_is_utf8(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    size_t i = 0;
    while (i < n) {
        if (at[i] < 0x80) {
            i++;
            continue;
        }
        uint8_t least;
        uint8_t greatest;
        size_t tail = (size_t)utf8_tail(at[i], &least, &greatest);
        if (tail == 0 || n - i <= tail || at[i + 1] < least || at[i + 1] > greatest) {
            return 0;
        }
        for (size_t j = 2; j <= tail; j++) {
            if ((at[i + j] & 0xc0) != 0x80) {
                return 0;
            }
        }
        i += tail + 1;
    }
    return 1;
}
