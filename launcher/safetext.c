#include "launcher/safetext.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPE_MAX 12 /* bytes of the longest piece: "\u{10ffff}" */

/* Length of a character by its first byte; 0: none begins so. */
static unsigned length_of(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Whether c can be byte number i (from 1) of a character that begins with `first` (Unicode
 * standard, table 3-7: no surrogates, nothing overlong, nothing above U+10FFFF). */
static int continues(unsigned char first, unsigned i, unsigned char c)
{
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1) {
        low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
        high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    }
    return c >= low && c <= high;
}

/* Code points that change what one sees of others, or that cannot be seen. */
static int is_hidden(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00ad, 0x00ad},    /* soft hyphen */
        {0x034f, 0x034f},    /* grapheme joiner */
        {0x061c, 0x061c},    /* Arabic letter mark */
        {0x115f, 0x1160},    /* Hangul fillers */
        {0x17b4, 0x17b5},    /* Khmer invisible vowels */
        {0x180b, 0x180f},    /* Mongolian selectors */
        {0x200b, 0x200f},    /* zero width, direction marks */
        {0x2028, 0x202e},    /* line and paragraph separators, direction */
        {0x2060, 0x206f},    /* joiners, isolates, deprecated controls */
        {0x3164, 0x3164},    /* Hangul filler */
        {0xd800, 0xdfff},    /* surrogates */
        {0xe000, 0xf8ff},    /* private use: fonts decide */
        {0xfe00, 0xfe0f},    /* variation selectors */
        {0xfeff, 0xfeff},    /* byte order mark */
        {0xffa0, 0xffa0},    /* Hangul filler */
        {0xfff0, 0xfffb},    /* annotation */
        {0xfffe, 0xffff},    /* no characters */
        {0x1bca0, 0x1bca3},  /* shorthand controls */
        {0x1d173, 0x1d17a},  /* musical controls */
        {0xe0000, 0x10ffff}, /* tags, selectors, private use */
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return 1;
    return 0;
}

static uint32_t decode(const unsigned char *c, unsigned n)
{
    uint32_t v = n == 2 ? c[0] & 0x1fu : n == 3 ? c[0] & 0x0fu : c[0] & 0x07u;
    for (unsigned i = 1; i < n; i++)
        v = v << 6 | (c[i] & 0x3fu);
    return v;
}

static size_t escape_byte(unsigned char c, char out[ESCAPE_MAX])
{
    static const char names[] = "abtnvfr"; /* 0x07 to 0x0d */
    if (c >= 0x07 && c <= 0x0d)
        return (size_t)snprintf(out, ESCAPE_MAX, "\\%c", names[c - 0x07]);
    return (size_t)snprintf(out, ESCAPE_MAX, "\\x%02x", c);
}

/* One whole character of n bytes. */
static size_t show(const unsigned char *c, unsigned n, unsigned flags, char out[ESCAPE_MAX])
{
    if (n == 1) {
        int plain = (*c >= ' ' && *c < 0x7f) ||
                    ((flags & SAFETEXT_LINES) != 0 && (*c == '\n' || *c == '\t'));
        if (!plain)
            return escape_byte(*c, out);
        out[0] = (char)*c;
        return 1;
    }
    uint32_t v = decode(c, n);
    if (v < 0xa0 || is_hidden(v))
        return (size_t)snprintf(out, ESCAPE_MAX, "\\u{%x}", (unsigned)v);
    memcpy(out, c, n);
    return n;
}

/* Where pieces go: a bounded text or a buffer. */
struct target {
    char *out;
    size_t size, used, wanted; /* wanted: as if there were room for all */
    struct wire_buf *buf;
    int rc;
};

static void emit(struct target *t, const char *piece, size_t n)
{
    if (t->buf != NULL) {
        if (t->rc == 0)
            t->rc = wire_put(t->buf, piece, n);
        return;
    }
    /* Once something did not fit, nothing behind it may follow. */
    if (t->out != NULL && t->used == t->wanted && t->used + n < t->size) {
        memcpy(t->out + t->used, piece, n);
        t->used += n;
    }
    t->wanted += n;
}

static void emit_held_cr(struct safetext *st, struct target *t, int newline_follows)
{
    if (st->cr_held && !newline_follows)
        emit(t, "\\r", 2);
    st->cr_held = 0;
}

/* What is held did not become a character: each byte for itself. */
static void emit_broken(struct safetext *st, struct target *t)
{
    char piece[ESCAPE_MAX];
    for (unsigned i = 0; i < st->held_count; i++)
        emit(t, piece, escape_byte(st->held[i], piece));
    st->held_count = 0;
}

static void step(struct safetext *st, struct target *t, unsigned char c)
{
    char piece[ESCAPE_MAX];
    if (st->held_count > 0) {
        if (continues(st->held[0], st->held_count, c)) {
            st->held[st->held_count++] = c;
            if (st->held_count == length_of(st->held[0])) {
                emit(t, piece, show(st->held, st->held_count, st->flags, piece));
                st->held_count = 0;
            }
            return;
        }
        emit_broken(st, t);
    }
    emit_held_cr(st, t, c == '\n');
    unsigned n = length_of(c);
    if (n > 1) {
        st->held[st->held_count++] = c;
    } else if (c == '\r' && (st->flags & SAFETEXT_LINES) != 0) {
        st->cr_held = 1;
    } else if (n == 1) {
        emit(t, piece, show(&c, 1, st->flags, piece));
    } else {
        emit(t, piece, escape_byte(c, piece));
    }
}

static void run(struct safetext *st, struct target *t, const void *in, size_t n, int finish)
{
    const unsigned char *p = in;
    for (size_t i = 0; i < n && t->rc == 0; i++)
        step(st, t, p[i]);
    if (finish) {
        emit_broken(st, t);
        emit_held_cr(st, t, 0);
    }
}

size_t safetext_copy(char *out, size_t size, const void *in, size_t n, unsigned flags)
{
    struct safetext st = {.flags = flags};
    struct target t = {.out = out, .size = size};
    run(&st, &t, in, n, 1);
    if (size > 0)
        out[t.used] = '\0';
    return t.wanted;
}

char *safetext_dup(const void *in, size_t n, unsigned flags)
{
    size_t size = safetext_copy(NULL, 0, in, n, flags) + 1;
    char *out = malloc(size);
    if (out != NULL)
        (void)safetext_copy(out, size, in, n, flags);
    return out;
}

int safetext_feed(struct safetext *st, struct wire_buf *out, const void *in, size_t n)
{
    struct target t = {.buf = out};
    run(st, &t, in, n, 0);
    return t.rc;
}

int safetext_finish(struct safetext *st, struct wire_buf *out)
{
    struct target t = {.buf = out};
    run(st, &t, "", 0, 1);
    return t.rc;
}
