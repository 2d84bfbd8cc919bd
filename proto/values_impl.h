/* The inside of struct value, for values*.c only. */
#ifndef GRAPNEL_PROTO_VALUES_IMPL_H
#define GRAPNEL_PROTO_VALUES_IMPL_H

#include "proto/values.h"

#define VALUES_IMPL_TAG_REF 39 /* "identifier" in the registry of CBOR tags */

struct values_ref {
    int64_t id;
    const char *kind; /* NULL: comes home */
    const char *name; /* NULL: none */
    size_t kind_length, name_length;
    void *object; /* values_ref_bind */
    void (*drop)(void *object);
    char texts[]; /* both, with a zero byte behind each */
};

struct value {
    uint8_t type;   /* enum values_type */
    uint8_t height; /* levels of arrays and maps in it: 0 for scalars, 1 for an empty array, and
                     * for a ref with a kind, which is sent as one */
    size_t count;   /* bytes, items, or pairs */
    union {
        int boolean;
        int64_t integer;
        double real;
        char *bytes;          /* with a zero byte after `count` */
        struct value **items; /* of a map: key, item, key, item, … */
        struct values_ref *ref;
    };
};

/* Makes bytes or text (not checked) of a copy of n bytes.  NULL when memory is out. */
struct value *values_impl_string(enum values_type type, const void *bytes, size_t n);

/* Makes a ref of texts of so many bytes (kind NULL: comes home; name NULL: none).  NULL when memory
 * is out; *malformed is set when it is not one that may be. */
struct value *values_impl_ref(int64_t id, const char *kind, size_t kind_length, const char *name,
                              size_t name_length, int *malformed);

/* True when v may be the key of a map. */
int values_impl_is_key(const struct value *v);

/* As values_append (key NULL) and values_set_pair, but keys are not compared, and on failure the
 * caller keeps key and item. */
int values_impl_push(struct value *container, struct value *key, struct value *item);

/* Total order of scalars: 0 exactly when values_equal. */
int values_impl_compare(const struct value *a, const struct value *b);

/* True when two keys of the map are equal; negative: out of memory. */
int values_impl_has_twins(const struct value *map);

#endif
