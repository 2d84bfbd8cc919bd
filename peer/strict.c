#include "peer/strict.h"

#include <string.h>

#include "peer/heads.h"
#include "proto/errors.h"
#include "proto/values.h"

struct strict {
    const uint8_t *at, *end;
    size_t items, refs;
    strict_told *told;
    void *arg;
};

bool strict_is_text(const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    size_t left = n;
    for (; left >= 8; at += 8, left -= 8) {
        uint64_t eight;
        memcpy(&eight, at, 8);
        if ((eight & UINT64_C(0x8080808080808080)) != 0) {
            return values_is_utf8(at, left);
        }
    }
    for (; left > 0; at++, left--) {
        if (*at >= 0x80) {
            return values_is_utf8(at, left);
        }
    }
    return true;
}

/* A float's bits that are a NaN. */
static bool is_nan(const struct head *h)
{
    switch (h->info) {
    case HEADS_HALF:
        return (h->v & 0x7c00) == 0x7c00 && (h->v & 0x3ff) != 0;
    case HEADS_SINGLE:
        return (h->v & 0x7f800000) == 0x7f800000 && (h->v & 0x7fffff) != 0;
    case HEADS_DOUBLE:
        return (h->v >> 52 & 0x7ff) == 0x7ff && (h->v & ((UINT64_C(1) << 52) - 1)) != 0;
    default:
        return false;
    }
}

static int read_head(struct strict *s, struct head *h)
{
    if (!heads_read(&s->at, s->end, h)) {
        return -E_MALFORMED;
    }
    return ++s->items > STRICT_ITEMS_MAX ? -E_TOO_LARGE : 0;
}

/* Passes over the bytes of a string. */
static int skip_string(struct strict *s, const struct head *h)
{
    if (h->v > (uint64_t)(s->end - s->at)) {
        return -E_MALFORMED;
    }
    if (h->major == HEAD_TEXT && !strict_is_text(s->at, (size_t)h->v)) {
        return -E_MALFORMED;
    }
    s->at += h->v;
    return 0;
}

static int read_id(struct strict *s, struct head *h)
{
    int rc = read_head(s, h);
    if (rc != 0 || (h->major == HEAD_ARRAY && h->v >= 2 && h->v <= 3)) {
        return rc;
    }
    return h->major == HEAD_UINT && h->v >= 1 && h->v <= INT64_MAX ? 0 : -E_MALFORMED;
}

static bool known_kind(const char *kind, size_t n, enum strict_ref *what)
{
    static const char *const kinds[] = {"table",  "function", "userdata",
                                        "thread", "file",     "procedure"};
    *what = STRICT_FAR;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (n == strlen(kinds[i]) && memcmp(kind, kinds[i], n) == 0) {
            return true;
        }
    }
    *what = STRICT_CHANNEL;
    return n == 7 && memcmp(kind, "channel", 7) == 0;
}

/* What stands behind tag 39. */
static int check_ref(struct strict *s)
{
    struct head h;
    enum strict_ref what = STRICT_HOME;
    int rc = read_id(s, &h);
    if (rc == 0 && h.major == HEAD_ARRAY) {
        uint64_t slots = h.v;
        struct head text;
        rc = read_id(s, &h);
        if (rc != 0 || h.major != HEAD_UINT || (rc = read_head(s, &text)) != 0) {
            return rc != 0 ? rc : -E_MALFORMED;
        }
        const char *kind = (const char *)s->at;
        rc = text.major != HEAD_TEXT ? -E_MALFORMED : skip_string(s, &text);
        if (rc == 0 && !known_kind(kind, (size_t)text.v, &what)) {
            return -E_MALFORMED;
        }
        if (rc == 0 && slots == 3 && (rc = read_head(s, &text)) == 0) {
            bool is_string = text.major == HEAD_TEXT || text.major == HEAD_BYTES;
            rc = is_string ? skip_string(s, &text) : -E_MALFORMED;
        }
    }
    if (rc == 0) {
        s->refs++;
        if (s->told != NULL) {
            s->told(s->arg, what, (int64_t)h.v);
        }
    }
    return rc;
}

static int check_simple(const struct head *h)
{
    bool known = h->info >= HEADS_FALSE && h->info <= HEADS_NIL;
    bool real = h->info >= HEADS_HALF && h->info <= HEADS_DOUBLE;
    return known || real ? 0 : -E_MALFORMED;
}

static int check_item(struct strict *s, unsigned depth);

static int check_key(struct strict *s)
{
    const uint8_t *before = s->at;
    struct head h;
    if (!heads_read(&before, s->end, &h)) {
        return -E_MALFORMED;
    }
    bool nil = h.major == HEAD_SIMPLE && (h.info == HEADS_NIL || is_nan(&h));
    if (nil || h.major == HEAD_ARRAY || h.major == HEAD_MAP || h.major == HEAD_TAG) {
        return -E_MALFORMED;
    }
    return check_item(s, 0);
}

static int check_container(struct strict *s, const struct head *h, unsigned depth)
{
    if (depth >= STRICT_DEPTH_MAX) {
        return -E_TOO_LARGE;
    }
    /* Each item takes a byte at least. */
    if (h->v > (uint64_t)(s->end - s->at)) {
        return -E_MALFORMED;
    }
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < h->v; i++) {
        if (h->major == HEAD_MAP) {
            rc = check_key(s);
        }
        if (rc == 0) {
            rc = check_item(s, depth + 1);
        }
    }
    return rc;
}

static int check_item(struct strict *s, unsigned depth)
{
    struct head h;
    int rc = read_head(s, &h);
    if (rc != 0) {
        return rc;
    }
    switch ((enum heads_major)h.major) {
    case HEAD_UINT:
    case HEAD_NEGINT:
        return h.v <= INT64_MAX ? 0 : -E_MALFORMED;
    case HEAD_BYTES:
    case HEAD_TEXT:
        return skip_string(s, &h);
    case HEAD_ARRAY:
    case HEAD_MAP:
        return check_container(s, &h, depth);
    case HEAD_TAG:
        return h.v == HEADS_TAG_REF ? check_ref(s) : -E_MALFORMED;
    case HEAD_SIMPLE:
        return check_simple(&h);
    }
    return -E_MALFORMED;
}

int strict_check(const void *bytes, size_t n, strict_told *told, void *arg, size_t *refs)
{
    struct strict s = {.at = bytes, .end = (const uint8_t *)bytes + n, .told = told, .arg = arg};
    int rc = check_item(&s, 0);
    if (rc == 0 && s.at != s.end) {
        rc = -E_MALFORMED;
    }
    if (refs != NULL) {
        *refs = s.refs;
    }
    return rc;
}

size_t strict_tell(const void *bytes, size_t n, size_t items, strict_told *told, void *arg)
{
    struct strict s = {.at = bytes, .end = (const uint8_t *)bytes + n, .told = told, .arg = arg};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < items; i++) {
        rc = check_item(&s, 0);
    }
    return (size_t)(s.at - (const uint8_t *)bytes);
}
