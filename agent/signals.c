#include "agent/signals.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* name, and whether a launcher may forward it */
#define SIGNALS(X)                                                                                 \
    X(HUP, 1)                                                                                      \
    X(INT, 1)                                                                                      \
    X(QUIT, 1)                                                                                     \
    X(ILL, 0)                                                                                      \
    X(TRAP, 0)                                                                                     \
    X(ABRT, 0)                                                                                     \
    X(BUS, 0)                                                                                      \
    X(FPE, 0)                                                                                      \
    X(KILL, 1)                                                                                     \
    X(USR1, 1)                                                                                     \
    X(SEGV, 0)                                                                                     \
    X(USR2, 1)                                                                                     \
    X(PIPE, 0)                                                                                     \
    X(ALRM, 0)                                                                                     \
    X(TERM, 1)                                                                                     \
    X(CHLD, 0)                                                                                     \
    X(CONT, 1)                                                                                     \
    X(STOP, 1)                                                                                     \
    X(TSTP, 0)                                                                                     \
    X(TTIN, 0)                                                                                     \
    X(TTOU, 0)                                                                                     \
    X(URG, 0)                                                                                      \
    X(XCPU, 0)                                                                                     \
    X(XFSZ, 0)                                                                                     \
    X(VTALRM, 0)                                                                                   \
    X(PROF, 0)                                                                                     \
    X(WINCH, 1)                                                                                    \
    X(SYS, 0)

static const struct {
    const char *name;
    int number;
    int forwarded;
} table[] = {
#define ROW(name, forwarded) {#name, SIG##name, forwarded},
    SIGNALS(ROW)
#undef ROW
};

#define COUNT (sizeof table / sizeof table[0])

const char *signals_name(int number, char *text, size_t size)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (table[i].number == number) {
            return table[i].name;
        }
    }
    snprintf(text, size, "%d", number);
    return text;
}

int signals_forwarded(const char *name)
{
    for (size_t i = 0; i < COUNT && name != NULL; i++) {
        if (table[i].forwarded && strcmp(table[i].name, name) == 0) {
            return table[i].number;
        }
    }
    return 0;
}
