/* A program that is run to its end, with nothing on its input and its output in memory. */
#ifndef GRAPNEL_LAUNCHER_CAPTURE_H
#define GRAPNEL_LAUNCHER_CAPTURE_H

#include <stddef.h>

#define CAPTURE_ERRORS 400 /* bytes of its error output that are kept */

struct capture {
    const char *program; /* found by PATH */
    char *const *argv;
    char *const *env;    /* NULL: this process's */
    unsigned timeout_ms; /* then it is killed, with what it has started */
    size_t limit;        /* bytes of output; more is an error */
};

struct capture_result {
    char *out; /* terminated; the caller frees it; NULL when there was an error */
    size_t length;
    char errors[CAPTURE_ERRORS]; /* the beginning of its error output; terminated */
    int status;                  /* as from waitpid; only when 0 was returned */
    int number;                  /* why it could not be started: an errno value, else 0 */
};

/* Waits for it.  INT, TERM, HUP and QUIT that come to this thread meanwhile have it killed first,
 * with what it has started, and act then as they usually do; where the process goes on, the result
 * is -E_CANCELLED.  0, however it ended; or -E_NOMEM, -E_DESCRIPTORS, -E_SYSTEM, -E_TIMEOUT,
 * -E_LIMIT. */
int capture_run(const struct capture *c, struct capture_result *r);

#endif
