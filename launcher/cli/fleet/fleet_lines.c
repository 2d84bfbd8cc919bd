#include "launcher/cli/fleet/fleet_lines.h"

#include <stdlib.h>
#include <string.h>

static int reserve(struct fleet_lines *l, size_t n)
{
    size_t size = l->size ? l->size : 256;
    unsigned char *bytes;

    while (size < l->used + n + 1)
        size *= 2;
    if (size == l->size)
        return 0;
    bytes = realloc(l->bytes, size);
    if (!bytes)
        return -1;
    l->bytes = bytes;
    l->size = size;
    return 0;
}

static void tell_held(struct fleet_lines *l, size_t n, fleet_lines_tell *tell, void *arg)
{
    unsigned char next = l->bytes[n];

    l->bytes[n] = '\0';
    tell(arg, l->bytes, n);
    l->bytes[n] = next;
    l->used -= n;
    memmove(l->bytes, l->bytes + n, l->used);
}

/* Where a line that is too long is cut: not within a UTF-8 character. */
static size_t cut(const struct fleet_lines *l)
{
    size_t n = l->used;

    for (int i = 0; i < 3 && (l->bytes[n - 1] & 0xc0) == 0x80; i++)
        n--;
    return l->bytes[n - 1] >= 0xc0 ? n - 1 : l->used;
}

/* Bytes without a newline. */
static int keep(struct fleet_lines *l, const unsigned char *bytes, size_t n, fleet_lines_tell *tell,
                void *arg)
{
    while (n > 0) {
        size_t part = FLEET_LINES_MAX - l->used < n ? FLEET_LINES_MAX - l->used : n;

        if (reserve(l, part) < 0)
            return -1;
        memcpy(l->bytes + l->used, bytes, part);
        l->used += part;
        bytes += part;
        n -= part;
        /* One that is exactly as long may still end here. */
        if (l->used == FLEET_LINES_MAX && n > 0)
            tell_held(l, cut(l), tell, arg);
    }
    return 0;
}

int fleet_lines_feed(struct fleet_lines *l, const void *bytes, size_t n, fleet_lines_tell *tell,
                     void *arg)
{
    const unsigned char *at = bytes, *end = at + n;

    while (at < end) {
        const unsigned char *newline = memchr(at, '\n', (size_t)(end - at));

        if (keep(l, at, (size_t)((newline ? newline : end) - at), tell, arg) < 0)
            return -1;
        if (!newline)
            return 0;
        if (reserve(l, 0) < 0)
            return -1;
        tell_held(l, l->used, tell, arg);
        at = newline + 1;
    }
    return 0;
}

void fleet_lines_end(struct fleet_lines *l, fleet_lines_tell *tell, void *arg)
{
    if (l->used > 0)
        tell_held(l, l->used, tell, arg);
    free(l->bytes);
    *l = (struct fleet_lines){0};
}
