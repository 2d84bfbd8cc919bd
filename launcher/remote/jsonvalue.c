/* JSON texts as values: grapnel_value_from_json of the public header. */
#include <jansson.h>

#include "launcher/context.h"
#include "proto/values.h"

static struct value *convert(const json_t *json, struct error *e);

static struct value *array(const json_t *json, struct error *e)
{
    struct value *to = values_array();

    for (size_t i = 0; i < json_array_size(json) && !e->code; i++) {
        struct value *item = convert(json_array_get(json, i), e);
        if (e->code)
            values_free(item);
        else
            e->code = values_append(to, item);
    }
    return to;
}

static struct value *map(json_t *json, struct error *e)
{
    struct value *to = values_map();

    for (void *at = json_object_iter(json); at && !e->code; at = json_object_iter_next(json, at)) {
        struct value *item = convert(json_object_iter_value(at), e);
        const char *key = json_object_iter_key(at);
        if (e->code)
            values_free(item);
        else
            e->code = values_set(to, key, item);
    }
    return to;
}

/* NULL, or what there is of it, with e->code set on failure. */
static struct value *convert(const json_t *json, struct error *e)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return map((json_t *)(uintptr_t)json, e);
    case JSON_ARRAY:
        return array(json, e);
    case JSON_STRING:
        return values_text_n(json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return values_int(json_integer_value(json));
    case JSON_REAL:
        return values_float(json_real_value(json));
    case JSON_TRUE:
    case JSON_FALSE:
        return values_bool(json_is_true(json));
    default:
        return values_nil();
    }
}

struct grapnel_value *grapnel_value_from_json(const char *text, size_t n,
                                              struct grapnel_error *error)
{
    json_error_t why;
    json_t *json =
        json_loadb(text, n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    struct value *v = NULL;
    struct error e = {0};

    if (json) {
        v = convert(json, &e);
        json_decref(json);
        if (!v && !e.code)
            e.code = -E_NOMEM;
    } else {
        errors_set(&e, -E_ARGUMENT, "JSON: %s, at byte %d", why.text, why.position);
    }
    if (e.code == -E_TOO_LARGE)
        errors_set(&e, -E_ARGUMENT, "JSON: nested over %d levels", VALUES_DEPTH_MAX);
    if (!e.code)
        return (struct grapnel_value *)v;
    values_free(v);
    context_error(error, "", &e);
    return NULL;
}
