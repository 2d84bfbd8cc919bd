#include "launcher/cli/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 4096

int say_fail(struct grapnel_error *error, const char *name, const char *format, ...)
{
    va_list ap;

    *error = (struct grapnel_error){.code = -1,
                                    .exit_status = SAY_FAILED,
                                    .name = name,
                                    .phase = "command line",
                                    .text = "",
                                    .hint = ""};
    va_start(ap, format);
    vsnprintf(error->detail, sizeof error->detail, format, ap);
    va_end(ap);
    return -1;
}

/* The length of the harmless UTF-8 character at s, which has a zero byte somewhere behind it; 0:
 * that byte must be escaped. */
static size_t plain_length(const unsigned char *s)
{
    unsigned long c;
    size_t n;

    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    c = s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
        (c >= 0xd800 && c <= 0xdfff))
        return 0;
    /* C1 controls; zero width and direction marks; line separators and bidirectional controls. */
    if (c < 0xa0 || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
        (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0x61c)
        return 0;
    return n;
}

const char *say_safe(char *out, size_t size, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;

    while (*s) {
        size_t n = plain_length(s), need = n ? n : 4;

        if (used + need >= size)
            break;
        if (n)
            memcpy(out + used, s, n);
        else
            snprintf(out + used, size - used, "\\x%02x", *s);
        used += need;
        s += n ? n : 1;
    }
    if (size > 0)
        out[used] = '\0';
    return out;
}

size_t say_safe_bytes(char *to, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *s = bytes;
    char *at = to;

    for (size_t i = 0; i < n;) {
        size_t plain = s[i] == '\t' ? 1 : plain_length(s + i);

        if (plain) {
            memcpy(at, s + i, plain);
        } else {
            memcpy(at, "\\x", 2);
            at[2] = digits[s[i] >> 4];
            at[3] = digits[s[i] & 15];
        }
        at += plain ? plain : 4;
        i += plain ? plain : 1;
    }
    return (size_t)(at - to);
}

void say_text(FILE *f, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s) {
        size_t n = plain_length(s);

        if (n)
            fwrite(s, 1, n, f);
        else
            fprintf(f, "\\x%02x", *s);
        s += n ? n : 1;
    }
}

static void say_line(const char *text)
{
    char line[LINE_SIZE];
    size_t n;

    say_safe(line, sizeof line - 1, text);
    n = strlen(line);
    line[n] = '\n';
    fwrite(line, 1, n + 1, stderr);
}

void say_note(const char *format, ...)
{
    char text[LINE_SIZE] = "grapnel: ";
    size_t n = strlen(text);
    va_list ap;

    va_start(ap, format);
    vsnprintf(text + n, sizeof text - n, format, ap);
    va_end(ap);
    say_line(text);
}

void say_error(const struct grapnel_error *error)
{
    char text[LINE_SIZE];

    if (error->text && *error->text) {
        grapnel_error_format(error, text, sizeof text);
        say_line(text);
    } else {
        say_note("%s", error->detail);
    }
}

json_t *say_json_text(const char *text)
{
    json_t *json = json_string(text);
    size_t size = 4 * strlen(text) + 1;
    char *safe;

    if (json)
        return json;
    safe = malloc(size);
    if (safe)
        json = json_string(say_safe(safe, size, text));
    free(safe);
    return json;
}

char *say_base64(const void *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *s = bytes;
    char *text = malloc((n + 2) / 3 * 4 + 1), *t = text;

    for (; text && n > 0; n -= n < 3 ? n : 3, s += 3) {
        unsigned long bits = (unsigned long)s[0] << 16 | (n > 1 ? (unsigned long)s[1] << 8 : 0) |
                             (n > 2 ? s[2] : 0u);

        *t++ = digits[bits >> 18];
        *t++ = digits[bits >> 12 & 63];
        *t++ = '=';
        *t++ = '=';
        if (n > 1)
            t[-2] = digits[bits >> 6 & 63];
        if (n > 2)
            t[-1] = digits[bits & 63];
    }
    if (text)
        *t = '\0';
    return text;
}

int say_json_bytes(json_t *object, const char *key, const void *bytes, size_t n)
{
    json_t *text = json_stringn(n ? bytes : "", n);
    char name[64], *encoded;
    int rc;

    if (text)
        return json_object_set_new(object, key, text);
    encoded = say_base64(bytes, n);
    snprintf(name, sizeof name, "%s_base64", key);
    rc = json_object_set_new(object, name, encoded ? json_string(encoded) : NULL);
    free(encoded);
    return rc;
}

json_t *say_json_error(const struct grapnel_error *error)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", say_json_text(error->name), "phase",
                     say_json_text(error->phase), "text", say_json_text(error->text), "detail",
                     say_json_text(error->detail), "hint", say_json_text(error->hint));
}

static int output_failed(struct grapnel_error *error, int number)
{
    say_fail(error, "IO", "%s", "standard output");
    error->phase = "local";
    error->text = "output could not be written";
    snprintf(error->detail, sizeof error->detail, "standard output: %s", strerror(number));
    error->hint = number == ENOSPC ? "free some space where it goes to" : "see what reads it";
    return -1;
}

int say_json(json_t *object, struct grapnel_error *error)
{
    /* JSON escapes only some of what a terminal would obey. */
    size_t flags = isatty(STDOUT_FILENO) ? JSON_COMPACT | JSON_ENSURE_ASCII : JSON_COMPACT;
    int rc = 0;

    if (!object)
        return say_fail(error, "NOMEM", "out of memory");
    if (json_dumpf(object, stdout, flags) < 0 || putchar('\n') == EOF)
        rc = output_failed(error, errno);
    json_decref(object);
    return rc;
}

/* The UTF-8 character at s, of which there is no other kind than valid ones; returns its length. */
static size_t code_point(const unsigned char *s, unsigned long *c)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4, i;

    *c = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (i = 1; i < n && s[i]; i++)
        *c = *c << 6 | (s[i] & 0x3f);
    return i;
}

char *say_json_safe(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    char *copy, *to;
    unsigned long c;

    if (!isatty(STDOUT_FILENO))
        return strdup(text);
    to = copy = malloc(6 * strlen(text) + 1);
    /* What is no ASCII stands within strings only. */
    while (copy && *s) {
        s += code_point(s, &c);
        if (c >= 0x10000)
            to += sprintf(to, "\\u%04lx\\u%04lx", 0xd800 + ((c - 0x10000) >> 10),
                          0xdc00 + (c & 0x3ff));
        else if (c >= 0x7f)
            to += sprintf(to, "\\u%04lx", c);
        else
            *to++ = (char)c;
    }
    if (copy)
        *to = '\0';
    return copy;
}

int say_flush(struct grapnel_error *error)
{
    /* A failure of an earlier write has left its mark, but perhaps not its number. */
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    return output_failed(error, errno ? errno : EIO);
}
