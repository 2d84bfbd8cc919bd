/* The inside of struct value, for values*.c only. */
#ifndef GRAPNEL_PROTO_VALUES_IMPL_H
#define GRAPNEL_PROTO_VALUES_IMPL_H

#include "proto/values.h"

struct value {
    uint8_t type;   /* enum values_type */
    uint8_t height; /* levels of containers in it: 0 for scalars, 1 for an empty array */
    size_t count;   /* bytes, items, or pairs */
    union {
        int boolean;
        int64_t integer;
        double real;
        char *bytes;          /* with a zero byte after `count` */
        struct value **items; /* of a map: key, item, key, item, … */
    };
};

/* Makes bytes or text (not checked) of a copy of n bytes.  NULL when memory is out. */
struct value *values_impl_string(enum values_type type, const void *bytes, size_t n);

/* As values_append (key NULL) and values_set_pair, but keys are not compared, and on failure the
 * caller keeps key and item. */
int values_impl_push(struct value *container, struct value *key, struct value *item);

/* Total order of scalars: 0 exactly when values_equal. */
int values_impl_compare(const struct value *a, const struct value *b);

/* True when two keys of the map are equal; negative: out of memory. */
int values_impl_has_twins(const struct value *map);

#endif
