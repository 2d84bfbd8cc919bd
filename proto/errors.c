#include "proto/errors.h"

#undef errors_set
#undef errors_set_system

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What goes over the wire to a host is spared what only a person at the launcher reads: names, ways
 * out, and the causes of failures before there is anything on the host. */
#ifdef GRAPNEL_AGENT
struct errors_row {
    int number;
    int exit;
    const char *text;
};
#define FAR_TEXT(phase, text) ((phase) > PHASE_LOCAL && (phase) < PHASE_DEPLOY ? "no line" : (text))
#define ROW(name, number, phase, exit, text, hint)                                                 \
    {                                                                                              \
        (number), (exit), FAR_TEXT(PHASE_##phase, text)                                            \
    }
#else
struct errors_row {
    int number;
    int exit;
    const char *text;
    enum errors_phase phase;
    const char *name;
    const char *hint;
};
#define ROW(name, number, phase, exit, text, hint)                                                 \
    {                                                                                              \
        (number), (exit), (text), PHASE_##phase, #name, (hint)                                     \
    }
#endif

static const struct errors_row errors_table[] = {
#define ERROR(name, number, phase, exit, text, hint) ROW(name, number, phase, exit, text, hint),
#include "proto/errors.def"
#undef ERROR
};

static const struct errors_row errors_ok = ROW(OK, 0, LOCAL, 0, "no error", "");
static const struct errors_row errors_unknown = ROW(UNKNOWN, -1, PROTOCOL, 255, "unknown error",
                                                    "use the same version of grapnel at both ends");

static const struct errors_row *row(int code)
{
    if (code == 0) {
        return &errors_ok;
    }
    for (size_t i = 0; i < sizeof(errors_table) / sizeof(errors_table[0]); i++) {
        int number = errors_table[i].number;
        if (number == code || -number == code) {
            return &errors_table[i];
        }
    }
    return &errors_unknown;
}

int errors_set(struct error *e, int code, const char *format, ...)
{
    if (e == NULL) {
        return code;
    }
    va_list args;
    va_start(args, format);
    if (vsnprintf(e->detail, sizeof(e->detail), format, args) < 0) {
        e->detail[0] = '\0';
    }
    va_end(args);
    e->code = code;
    return code;
}

/* strerror_r has two signatures (POSIX's returns int, GNU's a pointer); both are accepted. */
__attribute__((unused)) static const char *system_text_posix(int result, const char *buffer)
{
    return result == 0 ? buffer : "unknown system error";
}

__attribute__((unused)) static const char *system_text_gnu(const char *result, const char *buffer)
{
    (void)buffer;
    return result;
}

#define SYSTEM_TEXT(call, buffer)                                                                  \
    _Generic((call), int : system_text_posix, char * : system_text_gnu)((call), (buffer))

int errors_set_system(struct error *e, int code, int number, const char *format, ...)
{
    if (e == NULL) {
        return code;
    }
    char buffer[128] = "";
    const char *text = SYSTEM_TEXT(strerror_r(number, buffer, sizeof(buffer)), buffer);

    va_list args;
    va_start(args, format);
    int n = vsnprintf(e->detail, sizeof(e->detail), format, args);
    va_end(args);
    if (n < 0) {
        n = 0;
    }
    /* A long detail gives way: the system's text is the part that cannot be guessed. */
    size_t room = sizeof(e->detail) - 1;
    size_t tail = 2 + strlen(text);
    size_t at = (size_t)n < room - tail ? (size_t)n : room - tail;
    (void)snprintf(e->detail + at, sizeof(e->detail) - at, ": %s", text);
    e->code = code;
    return code;
}

const char *errors_text(int code)
{
    return row(code)->text;
}

int errors_exit(int code)
{
    return row(code)->exit;
}

int errors_known(int code)
{
    const struct errors_row *r = row(code);
    return r != &errors_unknown && r != &errors_ok;
}

#ifndef GRAPNEL_AGENT

const char *errors_name(int code)
{
    return row(code)->name;
}

const char *errors_hint(int code)
{
    return row(code)->hint;
}

enum errors_phase errors_phase(int code)
{
    return row(code)->phase;
}

const char *errors_phase_name(enum errors_phase phase)
{
    switch (phase) {
    case PHASE_LOCAL:
        return "local";
    case PHASE_RESOLVE:
        return "resolve";
    case PHASE_CONNECT:
        return "connect";
    case PHASE_KEX:
        return "kex";
    case PHASE_HOSTKEY:
        return "host key";
    case PHASE_AUTH:
        return "auth";
    case PHASE_SHELL:
        return "shell";
    case PHASE_NOEXEC:
        return "no-exec";
    case PHASE_NOSPACE:
        return "no-space";
    case PHASE_ARCH:
        return "architecture";
    case PHASE_DEPLOY:
        return "deploy";
    case PHASE_PROTOCOL:
        return "protocol";
    case PHASE_EXEC:
        return "exec";
    case PHASE_REMOTE:
        return "remote code";
    }
    return "unknown";
}

#endif
