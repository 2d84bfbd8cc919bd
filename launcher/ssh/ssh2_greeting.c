#include "launcher/ssh/ssh2_greeting.h"

#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshkey.h"
#include "proto/errors.h"
#include "proto/wire.h"

enum { MSG_DISCONNECT = 1, MSG_KEXINIT = 20, MSG_NEWKEYS = 21 };
enum { COOKIE = 16 };

enum state { LINES, PACKETS, BEHIND, BROKEN };

struct ssh2_greeting {
    enum state state;
    uint8_t first[SSH2_GREETING_TEXT_MAX];
    size_t first_n;
    size_t lines, bytes;
    char version[SSH2_GREETING_TEXT_MAX];
    int has_version;
    size_t line_n; /* bytes of the line that is being read, kept in `version` */
    struct wire_buf packet;
    char *names[SSH2_GREETING_LISTS];
    char *disconnect;
    uint64_t behind;
};

struct ssh2_greeting *ssh2_greeting_new(void)
{
    return calloc(1, sizeof(struct ssh2_greeting));
}

void ssh2_greeting_free(struct ssh2_greeting *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < SSH2_GREETING_LISTS; i++)
        free(g->names[i]);
    free(g->disconnect);
    wire_free(&g->packet);
    free(g);
}

/* One byte of the lines that come first.  A line that is too long keeps its beginning only: it
 * cannot be the version line then (RFC 4253 allows that 255 bytes). */
static int line_byte(struct ssh2_greeting *g, uint8_t byte)
{
    if (++g->bytes > SSH2_GREETING_BYTES_MAX || byte == 0)
        return -E_NOT_SSH;
    if (byte != '\n') {
        if (g->line_n < sizeof g->version)
            g->version[g->line_n++] = (char)byte;
        return 0;
    }
    if (g->line_n && g->version[g->line_n - 1] == '\r')
        g->line_n--;
    if (g->line_n >= sizeof g->version)
        g->line_n = 0;
    g->version[g->line_n] = '\0';
    if (g->line_n > 4 && memcmp(g->version, "SSH-", 4) == 0) {
        g->state = PACKETS;
        g->has_version = 1;
        return 0;
    }
    g->line_n = 0;
    return ++g->lines > SSH2_GREETING_LINES_MAX ? -E_NOT_SSH : 0;
}

static char *text_of(const uint8_t *at, size_t n)
{
    char *text = malloc(n + 1);

    if (!text)
        return NULL;
    /* A zero byte must not hide what follows it. */
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(at[i] ? at[i] : '?');
    text[n] = '\0';
    return text;
}

static int read_names(struct ssh2_greeting *g, struct wire_reader *r)
{
    const uint8_t *at;
    size_t n;

    for (size_t i = 0; i < COOKIE; i++)
        wire_get_u8(r);
    for (size_t i = 0; i < SSH2_GREETING_LISTS; i++) {
        sshkey_get_string(r, &at, &n);
        if (r->short_read)
            return -E_MALFORMED;
        free(g->names[i]);
        g->names[i] = text_of(at, n);
        if (!g->names[i])
            return -E_NOMEM;
    }
    return 0;
}

static int read_payload(struct ssh2_greeting *g, const uint8_t *payload, size_t n)
{
    struct wire_reader r;
    const uint8_t *at;
    size_t length;

    wire_reader_init(&r, payload, n);
    switch (wire_get_u8(&r)) {
    case MSG_KEXINIT:
        return read_names(g, &r);
    case MSG_NEWKEYS:
        g->state = BEHIND;
        return 0;
    case MSG_DISCONNECT:
        wire_get_u32(&r);
        sshkey_get_string(&r, &at, &length);
        if (r.short_read)
            return -E_MALFORMED;
        free(g->disconnect);
        g->disconnect = text_of(at, length);
        return g->disconnect ? 0 : -E_NOMEM;
    default:
        return 0;
    }
}

/* Takes one packet out of the buffer: 1, 0 when it is not complete yet, or negative. */
static int take_packet(struct ssh2_greeting *g)
{
    struct wire_reader r;
    size_t have = wire_length(&g->packet);
    uint32_t size;
    uint8_t padding;
    int result;

    if (have < 5)
        return 0;
    wire_reader_init(&r, wire_data(&g->packet), have);
    size = wire_get_u32(&r);
    padding = wire_get_u8(&r);
    if (size < 2 || size > SSH2_GREETING_PACKET_MAX || padding > size - 2)
        return -E_MALFORMED;
    if (have < 4 + (size_t)size)
        return 0;
    result = read_payload(g, r.at, size - 1 - padding);
    wire_take(&g->packet, 4 + (size_t)size);
    return result < 0 ? result : 1;
}

int ssh2_greeting_feed(struct ssh2_greeting *g, const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    int result = 0;

    while (g->first_n < sizeof g->first && g->first_n < n && g->state == LINES && !g->bytes)
        g->first[g->first_n] = bytes[g->first_n], g->first_n++;
    while (g->state == LINES && i < n && !result)
        result = line_byte(g, bytes[i++]);
    if (g->state == PACKETS && !result) {
        result = wire_put(&g->packet, bytes + i, n - i);
        i = n;
        while (!result && g->state == PACKETS) {
            int taken = take_packet(g);

            if (taken <= 0) {
                result = taken;
                break;
            }
        }
        if (g->state == BEHIND) {
            g->behind = wire_length(&g->packet);
            wire_free(&g->packet);
        }
    }
    if (g->state == BEHIND)
        g->behind += n - i;
    if (result < 0) {
        g->state = BROKEN;
        wire_free(&g->packet);
    }
    return result;
}

const char *ssh2_greeting_version(const struct ssh2_greeting *g)
{
    return g->has_version ? g->version : "";
}

const uint8_t *ssh2_greeting_first(const struct ssh2_greeting *g, size_t *n)
{
    *n = g->first_n;
    return g->first;
}

const char *ssh2_greeting_names(const struct ssh2_greeting *g, enum ssh2_greeting_list which)
{
    return g->names[which];
}

const char *ssh2_greeting_disconnect(const struct ssh2_greeting *g)
{
    return g->disconnect;
}

uint64_t ssh2_greeting_behind(const struct ssh2_greeting *g)
{
    return g->behind;
}
