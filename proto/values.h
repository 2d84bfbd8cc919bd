/* Values: plain data by copy, as CBOR (RFC 8949) through libcbor's streaming functions. */
#ifndef GRAPNEL_PROTO_VALUES_H
#define GRAPNEL_PROTO_VALUES_H

#include "proto/wire.h"

#define VALUES_DEPTH_MAX 64    /* nesting of arrays and maps */
#define VALUES_ITEMS_MAX 65536 /* items in one decoded value, all levels together */
#define VALUES_KIND_MAX  32    /* bytes of a ref's kind */

enum values_type {
    VALUE_NIL,
    VALUE_BOOL,
    VALUE_INT,   /* -2^63 .. 2^63-1 */
    VALUE_FLOAT, /* binary64 */
    VALUE_BYTES,
    VALUE_TEXT, /* UTF-8, checked; may hold zero bytes */
    VALUE_ARRAY,
    VALUE_MAP, /* pairs in order of arrival; keys are scalars (not arrays or maps) */
    VALUE_REF, /* an object of one of the ends, or a channel: see values_ref */
};

struct value;

/* Makers.  NULL when memory is out.  The caller owns the result until it is put into a container
 * or freed with values_free (which takes NULL and frees what is inside).  Bytes are copied. */
struct value *values_nil(void);
struct value *values_bool(int v);
struct value *values_int(int64_t v);
struct value *values_float(double v);
struct value *values_bytes(const void *bytes, size_t n);
struct value *values_text(const char *s); /* terminated; must be valid UTF-8, else made bytes */
struct value *values_text_n(const char *s, size_t n);
struct value *values_array(void);
struct value *values_map(void);

/* A ref, to be sent only over a link on which LINK_FEATURE_REFS is in force.  With a kind: an
 * object of the sender's ("table", "function", "userdata", "thread", "file"), with a name for
 * people to see (NULL: none); or "channel": the stream of that id on this link.  Without one (kind
 * NULL): an object of the receiver's that comes home.  Nothing is counted here: see refs.h.
 * NULL also when id < 1, or kind is not 1 to VALUES_KIND_MAX bytes of UTF-8, or name not UTF-8, or
 * there is a name without a kind. */
struct value *values_ref(int64_t id, const char *kind, const char *name);
/* Hangs what its owner likes on a ref (VALUE_REF): drop(object) runs when the ref is freed.  Where
 * there was something before, that is forgotten. */
void values_ref_bind(struct value *ref, void *object, void (*drop)(void *object));
void values_free(struct value *v);

/* Puts `item` (owned by the container afterwards, and freed even on failure; NULL is taken as
 * out of memory, so that makers can be nested without a check) at the end; an equal key's item is
 * replaced in its place.  Both are to be complete: nothing can be put into them afterwards.
 * 0, -E_NOMEM, -E_ARGUMENT (not a container of that kind, or a container as key), or -E_TOO_LARGE
 * (VALUES_DEPTH_MAX).  A map looks for the key one by one: maps of thousands are slow to build. */
int values_append(struct value *array, struct value *item);
int values_set(struct value *map, const char *key, struct value *item);
int values_set_pair(struct value *map, struct value *key, struct value *item);

/* Looking.  NULL v is treated as nil.  Wrong types give the fallback or 0/NULL, never a crash:
 * what came from the peer may be anything. */
enum values_type values_type(const struct value *v);
int64_t values_as_int(const struct value *v, int64_t fallback);
double values_as_float(const struct value *v, double fallback); /* takes integers too */
int values_as_bool(const struct value *v, int fallback);
/* Text or bytes with a zero byte appended after *n bytes; n may be NULL, then contents with zero
 * bytes inside are refused.  NULL for other types.  Valid while v lives. */
const char *values_as_string(const struct value *v, size_t *n);
/* True when the n bytes are UTF-8 (RFC 3629: no surrogates, no overlong forms). */
int values_is_utf8(const void *bytes, size_t n);
/* What a ref is made of: the id (0: v is no ref), kind (NULL: comes home, or no ref), name (NULL:
 * none; for people, so that what stands behind a zero byte may be lost).  Valid while v lives. */
int64_t values_ref_id(const struct value *v);
const char *values_ref_kind(const struct value *v);
const char *values_ref_name(const struct value *v);
/* What was hung on v together with that drop; else NULL. */
void *values_ref_object(const struct value *v, void (*drop)(void *object));
/* Calls each(arg, ref) for all refs in v, itself included, until one returns other than 0, which is
 * the result. */
int values_each_ref(struct value *v, int (*each)(void *arg, struct value *ref), void *arg);
unsigned values_height(const struct value *v); /* levels of arrays and maps (refs, too) in it */
size_t values_count(const struct value *v);    /* items of an array, pairs of a map, else 0 */
const struct value *values_at(const struct value *array, size_t i);
/* Takes an item out of an array, for the caller to free; nil (NULL) is left in its place.  NULL
 * when there is none. */
struct value *values_take(struct value *array, size_t i);
const struct value *values_get(const struct value *map, const char *key);
int values_pair(const struct value *map, size_t i, const struct value **key,
                const struct value **item);

/* Appends the deterministic ("preferred") encoding of RFC 8949 section 4.1; map order is kept.
 * NULL is encoded as nil.  What it encodes values_decode accepts; on failure nothing is appended.
 * 0, -E_NOMEM, -E_LIMIT (the buffer's limit) or -E_TOO_LARGE (the limits above). */
int values_encode(const struct value *v, struct wire_buf *out);

/* Decodes exactly n bytes: one item, nothing after it.  Half and single floats and indefinite
 * lengths are accepted; tags, undefined, other simple values, integers outside int64, text that is
 * not UTF-8, containers as map keys, equal keys in one map (two readers could take different ones
 * for the truth) and anything over the limits above are not.  Memory taken is bounded by a small
 * multiple of n.  0 with *v for the caller to free; -E_MALFORMED; -E_TOO_LARGE (a limit above, or
 * a length of 2^32 and more); -E_NOMEM. */
int values_decode(const void *bytes, size_t n, struct value **v);

/* The same, but refs are allowed too: tag 39 around an int (comes home) or an array of id, kind
 * and perhaps name.  (That array is a level, and it and what is in it are items, like others.) */
int values_decode_refs(const void *bytes, size_t n, struct value **v);

/* As values_decode_refs, with that many items at most in place of VALUES_ITEMS_MAX.  What it gives
 * need not be one that values_encode accepts. */
int values_decode_many(const void *bytes, size_t n, size_t items, struct value **v);

/* Structural equality; floats by bit pattern except that NaN equals NaN; map order ignored; refs
 * by id and kind. */
int values_equal(const struct value *a, const struct value *b);

/* One JSON text (RFC 8259) of v in a new terminated string for the caller to free, or NULL when
 * memory is out: bytes become {"base64": "…"} unless they are UTF-8, NaN and infinities strings,
 * refs {"ref": "kind"} ("home" for one that comes home). */
char *values_json(const struct value *v);

#endif
