/* Error codes and their texts: the table itself is errors.def. */
#ifndef GRAPNEL_PROTO_ERRORS_H
#define GRAPNEL_PROTO_ERRORS_H

#include <stddef.h>

/* Results are 0 or one of these, negated: `return -E_NOMEM`. */
enum errors_code {
    E_OK = 0,
#define ERROR(name, number, phase, exit, text, hint) E_##name = (number),
#include "proto/errors.def"
#undef ERROR
};

/* Where a thing failed, in the order in which a connection passes them. */
enum errors_phase {
    PHASE_LOCAL,
    PHASE_RESOLVE,
    PHASE_CONNECT,
    PHASE_KEX,
    PHASE_HOSTKEY,
    PHASE_AUTH,
    PHASE_SHELL,
    PHASE_NOEXEC,
    PHASE_NOSPACE,
    PHASE_ARCH,
    PHASE_DEPLOY,
    PHASE_PROTOCOL,
    PHASE_EXEC,
    PHASE_REMOTE,
};

/* One failure with its particulars.  Lives wherever its owner puts it; holds no memory. */
struct error {
    int code;          /* 0, or a negative code */
    char detail[1000]; /* the particulars, for a person; may be empty; always terminated */
};

/* Fills *e (which may be NULL) with `code` (negative) and a printf-formatted detail, cut to fit.
 * Returns code, so that it can end a function: return errors_set(e, -E_IO, "%s", path). */
int errors_set(struct error *e, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As errors_set, and appends ": " and the system's text for errno value `number`. */
int errors_set_system(struct error *e, int code, int number, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The analyser does not see from here that the result is `code`, and so not zero. */
#ifdef __clang_analyzer__
#define errors_set(e, code, ...) ((void)errors_set(e, code, __VA_ARGS__), (code))
#define errors_set_system(e, code, number, ...)                                                    \
    ((void)errors_set_system(e, code, number, __VA_ARGS__), (code))
#endif

/* The table's columns for a code of either sign.  An unknown code (a newer peer's) has the name
 * "UNKNOWN", the phase PHASE_PROTOCOL and the exit status 255.  Never NULL; static storage. */
const char *errors_text(int code);
int errors_exit(int code);

/* True when `code` (either sign) is in the table. */
int errors_known(int code);

/* Not on the host's side, which tells a code, and leaves its words to the launcher. */
#ifndef GRAPNEL_AGENT
const char *errors_name(int code);
const char *errors_hint(int code);
enum errors_phase errors_phase(int code);

/* "resolve", "host key", "no-exec" and so on.  Static storage. */
const char *errors_phase_name(enum errors_phase phase);
#endif

#endif
