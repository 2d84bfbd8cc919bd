#include "agent/intro.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "proto/link.h"

#define BEFORE "'n=" /* the script begins with its nonce */

/* The client chooses the text, and a part of it is said back: hexadecimal digits, nothing else. */
static const char *find_nonce(const char *command)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = command != NULL ? strstr(command, BEFORE) : NULL;

    if (at == NULL) {
        return NULL;
    }
    at += sizeof BEFORE - 1;
    return strspn(at, digits) == INTRO_NONCE && at[INTRO_NONCE] == ';' ? at : NULL;
}

size_t intro_line(const char *command, char *line, size_t size)
{
    const char *nonce = find_nonce(command);
    struct utsname u;
    int n;

    if (nonce == NULL || uname(&u) != 0) {
        return 0;
    }
    n = snprintf(line, size, "@grapnel %.*s sys %s %s\n", INTRO_NONCE, nonce, u.sysname, u.machine);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

/* An agent that was sent unpacked holds the preface somewhere, but not behind so many zeros. */
static void take_byte(struct intro *i, uint8_t byte)
{
    if (i->matched > 0 && byte == (uint8_t)LINK_PREFACE[i->matched]) {
        i->matched++;
        i->over = i->matched == LINK_PREFACE_SIZE;
        return;
    }
    if (i->matched > 0) {
        i->zeros = 0;
    }
    i->matched = byte == (uint8_t)LINK_PREFACE[0] && i->zeros >= INTRO_ZEROS;
    if (i->matched == 0) {
        i->zeros = byte == 0 ? i->zeros + 1 : 0;
    }
}

size_t intro_take(struct intro *i, const uint8_t *bytes, size_t n)
{
    size_t at = 0;

    while (at < n && !i->over) {
        take_byte(i, bytes[at++]);
    }
    i->passed += at;
    return at;
}
