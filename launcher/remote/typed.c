#include "launcher/remote/typed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/values.h"

#define HEAD_MAX  9
#define TAG_REF   39
#define NIL       0xf6
#define FALSE     0xf4
#define TRUE      0xf5
#define DOUBLE    0xfb
#define DEPTH_MAX 60 /* of a format: with what stands around it, VALUES_DEPTH_MAX */

/* The next argument.  The analyser does not follow a list that came by a pointer. */
#ifdef __clang_analyzer__
#define NEXT(list, type) (*(type *)(void *)(list)->at)
#else
#define NEXT(list, type) va_arg(*(list)->at, type)
#endif

/* ---- heads ---- */

int typed_put_head(struct wire_buf *to, unsigned major, uint64_t n)
{
    uint8_t *at;
    unsigned bytes;
    int rc = wire_reserve(to, HEAD_MAX, &at);

    if (rc < 0)
        return rc;
    if (n < 24) {
        at[0] = (uint8_t)(major << 5 | n);
        wire_commit(to, 1);
        return 0;
    }
    bytes = n > UINT32_MAX ? 3 : n > UINT16_MAX ? 2 : n > UINT8_MAX ? 1 : 0;
    at[0] = (uint8_t)(major << 5 | (24 + bytes));
    bytes = 1u << bytes;
    for (unsigned i = bytes; i > 0; i--) {
        at[i] = (uint8_t)n;
        n >>= 8;
    }
    wire_commit(to, 1 + bytes);
    return 0;
}

static int put_string(struct wire_buf *to, unsigned major, const void *bytes, size_t n)
{
    int rc = n > REMOTE_BODY_MAX ? -E_TOO_LARGE : typed_put_head(to, major, n);

    return rc == 0 && n > 0 ? wire_put(to, bytes, n) : rc;
}

int typed_put_text(struct wire_buf *to, const char *text, size_t n)
{
    return put_string(to, values_is_utf8(text, n) ? TYPED_TEXT : TYPED_BYTES, text, n);
}

static int put_int(struct wire_buf *to, int64_t v)
{
    return v < 0 ? typed_put_head(to, TYPED_NINT, (uint64_t)~v)
                 : typed_put_head(to, TYPED_UINT, (uint64_t)v);
}

static int put_byte(struct wire_buf *to, uint8_t byte)
{
    return wire_put_u8(to, byte);
}

static int put_double(struct wire_buf *to, double v)
{
    uint64_t bits;
    int rc;

    if (isnan(v))
        v = (double)NAN;
    memcpy(&bits, &v, sizeof bits);
    rc = wire_put_u8(to, DOUBLE);
    return rc == 0 ? wire_put_u64(to, bits) : rc;
}

int typed_put_ref(struct wire_buf *to, int64_t id, const char *kind)
{
    int rc = typed_put_head(to, TYPED_TAG, TAG_REF);

    if (rc == 0 && kind)
        rc = typed_put_head(to, TYPED_ARRAY, 2);
    if (rc == 0)
        rc = typed_put_head(to, TYPED_UINT, (uint64_t)id);
    return rc == 0 && kind ? typed_put_text(to, kind, strlen(kind)) : rc;
}

/* ---- values ---- */

static int put_object(struct remote *c, const struct grapnel_ref *ref, struct error *e)
{
    if (ref_remote(ref) == c)
        return typed_put_ref(&c->scratch, ref_id(ref), NULL);
    if (ref_remote(ref)->error.code)
        return errors_set(e, -E_STALE, "the instance of the ref has ended");
    return errors_set(e, -E_ARGUMENT, "a ref of another instance, %s", ref_remote(ref)->name);
}

static int put_function(struct remote *c, struct function *f)
{
    int64_t id = function_issue(c, f);

    return id < 0 ? (int)id : typed_put_ref(&c->scratch, id, "function");
}

static int put_ref(struct remote *c, const struct value *v, struct error *e)
{
    struct function *f = function_of(v);

    if (f)
        return put_function(c, f);
    if (ref_of(v))
        return put_object(c, ref_of(v), e);
    return errors_set(e, -E_STALE, "a ref to nothing");
}

static int find_ref(void *arg, struct value *ref)
{
    (void)arg;
    (void)ref;
    return 1;
}

int typed_put_value(struct remote *c, const struct value *v, struct error *e)
{
    enum values_type type = values_type(v);
    const struct value *key, *item;
    size_t n = values_count(v);
    int rc;

    if (type == VALUE_REF)
        return put_ref(c, v, e);
    /* What has no refs is encoded as it is, the rest piece by piece, since refs must be counted. */
    if (n == 0 || !values_each_ref((struct value *)(uintptr_t)v, find_ref, NULL))
        return values_encode(v, &c->scratch);
    rc = typed_put_head(&c->scratch, type == VALUE_MAP ? TYPED_MAP : TYPED_ARRAY, n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (type == VALUE_MAP && values_pair(v, i, &key, &item)) {
            rc = typed_put_value(c, key, e);
            rc = rc == 0 ? typed_put_value(c, item, e) : rc;
        } else {
            rc = typed_put_value(c, values_at(v, i), e);
        }
    }
    return rc;
}

/* ---- formats ---- */

static char closing(char c)
{
    return c == '(' ? ')' : c == '{' ? '}' : '\0';
}

/* Moves behind one type; NULL: there is none.  *n: how many values it would put in a container. */
static const char *skip(const char *at, int depth)
{
    char end;

    if (depth > DEPTH_MAX || *at == '\0' || !strchr("nbiuxtdsSyvrfa({", *at))
        return NULL;
    if (*at == 'a')
        return skip(at + 1, depth + 1);
    end = closing(*at);
    if (!end)
        return at + 1;
    for (at++; at && *at != end;)
        at = skip(at, depth + 1);
    return at ? at + 1 : NULL;
}

int typed_count(const char *format, struct error *e)
{
    int n = 0;

    if (!format)
        return errors_set(e, -E_ARGUMENT, "the format is NULL; without arguments it is \"\"");
    for (const char *at = format; *at; n++) {
        const char *next = skip(at, 0);
        if (!next)
            return errors_set(e, -E_ARGUMENT, "format \"%.100s\", at \"%.20s\"", format, at);
        at = next;
    }
    return n;
}

/* Types within a container, up to its end. */
static unsigned count_inside(const char *at, char end)
{
    unsigned n = 0;

    while (*at != end) {
        at = skip(at, 0);
        n++;
    }
    return n;
}

static int put_one(struct remote *c, const char **format, struct typed_list *list, struct error *e);

/* The encoded keys of a map, to see that no two are equal: whoever decodes them insists. */
struct key {
    size_t at, n;
    const struct wire_buf *of;
};

static int compare_keys(const void *left, const void *right)
{
    const struct key *a = left, *b = right;
    size_t n = a->n < b->n ? a->n : b->n;
    int order = memcmp(wire_data(a->of) + a->at, wire_data(b->of) + b->at, n);

    return order ? order : (a->n > b->n) - (a->n < b->n);
}

static int check_keys(struct key *keys, size_t n, struct error *e)
{
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n; i++) {
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            return errors_set(e, -E_ARGUMENT, "a map has the same key twice");
    }
    return 0;
}

/* `pairs` pairs, whose types stand at *at over and over, or one after another up to '}'. */
static int put_pairs(struct remote *c, const char *at, size_t pairs, struct typed_list *list,
                     struct error *e)
{
    const char *from = at;
    struct key *keys = pairs < REMOTE_BODY_MAX ? calloc(pairs + 1, sizeof *keys) : NULL;
    int rc = keys ? typed_put_head(&c->scratch, TYPED_MAP, pairs) : -E_NOMEM;

    for (size_t i = 0; i < pairs && rc == 0; i++) {
        at = *at == '}' ? from : at;
        if (!strchr("biuxtdsSy", *at)) {
            rc = errors_set(e, -E_ARGUMENT, "a map's key cannot be a \"%c\"", *at);
            break;
        }
        keys[i].of = &c->scratch;
        keys[i].at = wire_length(&c->scratch);
        rc = put_one(c, &at, list, e);
        keys[i].n = wire_length(&c->scratch) - keys[i].at;
        if (rc == 0)
            rc = put_one(c, &at, list, e);
    }
    if (rc == 0)
        rc = check_keys(keys, pairs, e);
    free(keys);
    return rc;
}

static int put_map(struct remote *c, const char **format, struct typed_list *list, struct error *e)
{
    const char *from = *format + 1;
    unsigned n = count_inside(from, '}');

    *format = skip(*format, 0);
    if (n % 2 != 0)
        return errors_set(e, -E_ARGUMENT, "a map is made of pairs");
    return put_pairs(c, from, n / 2, list, e);
}

static int put_tuple(struct remote *c, const char **format, struct typed_list *list,
                     struct error *e)
{
    const char *at = *format + 1;
    int rc = typed_put_head(&c->scratch, TYPED_ARRAY, count_inside(at, ')'));

    while (*at != ')' && rc == 0)
        rc = put_one(c, &at, list, e);
    *format = at + 1;
    return rc;
}

static int put_array(struct remote *c, const char **format, struct typed_list *list,
                     struct error *e)
{
    unsigned n = NEXT(list, unsigned);
    const char *from = ++*format;
    int rc;

    if (*from == '{') {
        *format = skip(from, 0);
        if (count_inside(from + 1, '}') != 2)
            return errors_set(e, -E_ARGUMENT, "an array of pairs is a{KT}");
        return put_pairs(c, from + 1, n, list, e);
    }
    rc = typed_put_head(&c->scratch, TYPED_ARRAY, n);
    for (unsigned i = 0; i < n && rc == 0; i++) {
        *format = from;
        rc = put_one(c, format, list, e);
    }
    *format = skip(from, 0);
    return rc;
}

static int put_new_function(struct remote *c, struct typed_list *list)
{
    grapnel_function *callback = NEXT(list, grapnel_function *);
    void *arg = NEXT(list, void *);
    struct function *f = function_new(callback, arg, NULL);
    int rc = f ? put_function(c, f) : -E_NOMEM;

    if (f)
        function_drop(f);
    return rc;
}

static int put_unsigned(struct wire_buf *to, uint64_t v, struct error *e)
{
    if (v > INT64_MAX)
        return errors_set(e, -E_ARGUMENT, "integers are below 2^63");
    return typed_put_head(to, TYPED_UINT, v);
}

static int put_strings(struct wire_buf *to, char type, struct typed_list *list)
{
    const char *text = NEXT(list, const char *);
    size_t n;

    if (type == 's')
        return text ? typed_put_text(to, text, strlen(text)) : put_byte(to, NIL);
    n = NEXT(list, size_t);
    return type == 'S' ? typed_put_text(to, text ? text : "", n)
                       : put_string(to, TYPED_BYTES, text, n);
}

/* The other end refuses what is nested too deeply by ending the link. */
static int put_nested(struct remote *c, const struct value *v, int depth, struct error *e)
{
    if (depth + (int)values_height(v) > VALUES_DEPTH_MAX)
        return errors_set(e, -E_TOO_LARGE, "nested over %d levels", VALUES_DEPTH_MAX);
    return typed_put_value(c, v, e);
}

static int put_one(struct remote *c, const char **format, struct typed_list *list, struct error *e)
{
    struct wire_buf *to = &c->scratch;
    char type = **format;

    if (strchr("({a", type)) {
        int rc;
        list->depth++;
        rc = type == '('   ? put_tuple(c, format, list, e)
             : type == '{' ? put_map(c, format, list, e)
                           : put_array(c, format, list, e);
        list->depth--;
        return rc;
    }
    ++*format;
    switch (type) {
    case 'n':
        return put_byte(to, NIL);
    case 'b':
        return put_byte(to, NEXT(list, int) ? TRUE : FALSE);
    case 'i':
        return put_int(to, NEXT(list, int));
    case 'u':
        return put_unsigned(to, NEXT(list, unsigned), e);
    case 'x':
        return put_int(to, NEXT(list, int64_t));
    case 't':
        return put_unsigned(to, NEXT(list, uint64_t), e);
    case 'd':
        return put_double(to, NEXT(list, double));
    case 'v':
        return put_nested(c, NEXT(list, const struct value *), list->depth, e);
    case 'r': {
        const struct grapnel_ref *ref = NEXT(list, const struct grapnel_ref *);
        return ref ? put_object(c, ref, e) : put_byte(to, NIL);
    }
    case 'f':
        return put_new_function(c, list);
    default:
        return put_strings(to, type, list);
    }
}

int typed_put(struct remote *c, const char *format, struct typed_list *list, struct error *e)
{
    int rc = 0;

    for (const char *at = format; *at && rc == 0;)
        rc = put_one(c, &at, list, e);
    if ((rc == -E_TOO_LARGE && !e->code) || rc == -E_LIMIT)
        return errors_set(e, -E_TOO_LARGE, "over %u bytes; send it through a channel",
                          REMOTE_BODY_MAX);
    if (rc < 0 && e->code != rc)
        errors_set(e, rc, "arguments \"%.100s\"", format);
    return rc;
}
