#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/values.h"
#include "proto/values_impl.h"

static int put(struct wire_buf *out, const char *s)
{
    return wire_put(out, s, strlen(s));
}

/* One code point of valid UTF-8 at `at`; sets its bytes. */
static uint32_t code_point(const uint8_t *at, size_t *bytes)
{
    if (at[0] < 0x80) {
        *bytes = 1;
        return at[0];
    }
    *bytes = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    uint32_t c = at[0] & (0x7fu >> *bytes);
    for (size_t i = 1; i < *bytes; i++) {
        c = c << 6 | (at[i] & 0x3fu);
    }
    return c;
}

/* A JSON string of valid UTF-8.  Escapes more than JSON asks for: DEL and the C1 controls, so
 * that a host's text cannot steer a terminal on which the JSON is looked at. */
static int put_text(struct wire_buf *out, const char *s, size_t n)
{
    int rc = put(out, "\"");
    const uint8_t *at = (const uint8_t *)s;
    for (size_t i = 0, bytes; rc == 0 && i < n; i += bytes) {
        uint32_t c = code_point(at + i, &bytes);
        char escape[8] = "";
        if (c == '"' || c == '\\') {
            escape[0] = '\\';
            escape[1] = (char)c;
            escape[2] = '\0';
        } else if (c == '\n') {
            strcpy(escape, "\\n");
        } else if (c == '\t') {
            strcpy(escape, "\\t");
        } else if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)(c & 0xffffu));
        }
        rc = escape[0] != '\0' ? put(out, escape) : wire_put(out, at + i, bytes);
    }
    return rc != 0 ? rc : put(out, "\"");
}

static int put_base64(struct wire_buf *out, const uint8_t *at, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int rc = put(out, "\"");
    for (size_t i = 0; rc == 0 && i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t v = 0;
        for (size_t j = 0; j < 3; j++) {
            v = v << 8 | (j < have ? at[i + j] : 0u);
        }
        char group[5] = "====";
        for (size_t j = 0; j <= have; j++) {
            group[j] = digits[v >> (18 - 6 * j) & 0x3f];
        }
        rc = put(out, group);
    }
    return rc != 0 ? rc : put(out, "\"");
}

/* A finite float with as many digits as bring back the same one, whatever the locale. */
static int put_float(struct wire_buf *out, double d)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d) {
            break;
        }
    }
    char clean[48];
    size_t n = 0;
    int is_integer = 1;
    for (const char *p = text; *p != '\0'; p++) {
        int known = strchr("0123456789+-e", *p) != NULL;
        is_integer = is_integer && known && *p != 'e';
        if (known) {
            clean[n++] = *p;
        } else if (n > 0 && clean[n - 1] != '.') {
            clean[n++] = '.'; /* the locale's decimal point, of one or more bytes */
        }
    }
    clean[n] = '\0';
    int rc = put(out, clean);
    return rc == 0 && is_integer ? put(out, ".0") : rc;
}

static int put_ref(struct wire_buf *out, const struct values_ref *ref)
{
    int rc = put(out, "{\"ref\":");
    if (rc == 0) {
        rc = ref->kind != NULL ? put_text(out, ref->kind, ref->kind_length) : put(out, "\"home\"");
    }
    return rc != 0 ? rc : put(out, "}");
}

static int put_scalar(struct wire_buf *out, const struct value *v)
{
    char number[24];
    switch (values_type(v)) {
    case VALUE_BOOL:
        return put(out, v->boolean ? "true" : "false");
    case VALUE_INT:
        (void)snprintf(number, sizeof(number), "%lld", (long long)v->integer);
        return put(out, number);
    case VALUE_FLOAT:
        if (isnan(v->real)) {
            return put(out, "\"NaN\"");
        }
        if (isinf(v->real)) {
            return put(out, v->real < 0 ? "\"-Infinity\"" : "\"Infinity\"");
        }
        return put_float(out, v->real);
    case VALUE_BYTES:
        if (!values_is_utf8(v->bytes, v->count)) {
            int rc = put(out, "{\"base64\":");
            rc = rc != 0 ? rc : put_base64(out, (const uint8_t *)v->bytes, v->count);
            return rc != 0 ? rc : put(out, "}");
        }
        return put_text(out, v->bytes, v->count);
    case VALUE_TEXT:
        return put_text(out, v->bytes, v->count);
    case VALUE_REF:
        return put_ref(out, v->ref);
    case VALUE_NIL:
    case VALUE_ARRAY:
    case VALUE_MAP:
        break;
    }
    return put(out, "null");
}

/* JSON's keys are strings: other scalars become the string of what they would be as values, and
 * bytes that are not UTF-8 their base64. */
static int put_key(struct wire_buf *out, const struct value *key)
{
    if (key->type == VALUE_BYTES && !values_is_utf8(key->bytes, key->count)) {
        return put_base64(out, (const uint8_t *)key->bytes, key->count);
    }
    int quoted = key->type == VALUE_TEXT || key->type == VALUE_BYTES ||
                 (key->type == VALUE_FLOAT && !isfinite(key->real));
    int rc = quoted ? 0 : put(out, "\"");
    rc = rc != 0 ? rc : put_scalar(out, key);
    return rc != 0 || quoted ? rc : put(out, "\"");
}

static int put_value(struct wire_buf *out, const struct value *v)
{
    enum values_type type = values_type(v);
    if (type != VALUE_ARRAY && type != VALUE_MAP) {
        return put_scalar(out, v);
    }
    int is_map = type == VALUE_MAP;
    int rc = put(out, is_map ? "{" : "[");
    for (size_t i = 0; rc == 0 && i < v->count; i++) {
        if (i > 0) {
            rc = put(out, ",");
        }
        if (rc == 0 && is_map) {
            rc = put_key(out, v->items[2 * i]);
            rc = rc != 0 ? rc : put(out, ":");
        }
        if (rc == 0) {
            rc = put_value(out, is_map ? v->items[2 * i + 1] : v->items[i]);
        }
    }
    return rc != 0 ? rc : put(out, is_map ? "}" : "]");
}

char *values_json(const struct value *v)
{
    struct wire_buf out = {0};
    if (put_value(&out, v) != 0 || wire_put_u8(&out, 0) != 0) {
        wire_free(&out);
        return NULL;
    }
    /* Nothing was taken from the front, so the allocation is the string. */
    return (char *)out.data;
}
