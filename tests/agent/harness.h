/* A launcher for tests: drives a real agent over a socket pair with a real link, and looks at the
 * end for processes and descriptors that were left.
 *
 * Everything here fails the running test (Check) when it cannot do what it says, or when it takes
 * longer than HARNESS_PATIENCE_MS. */
#ifndef TESTS_AGENT_HARNESS_H
#define TESTS_AGENT_HARNESS_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/stream.h"
#include "proto/wire.h"

#define HARNESS_PATIENCE_MS 20000

struct harness {
    pid_t guardian; /* the process that was started; 0 once its end was taken */
    int status;     /* its end, as of waitpid */
    int fd;         /* the line; -1: closed */
    int errors;     /* the agent's stderr */
    struct link *link;
    struct value *facts; /* of HELLO; NULL before */
    int said_goodbye, goodbye_code;
    int line_ended;
    int mute;          /* nothing is sent or received any more: a frozen line */
    int descriptors;   /* open in the test at the beginning */
    uint32_t features; /* that its link offers */
    /* Links within its streams, see nest.h. */
    struct harness *outer;  /* has the line; NULL: it has one itself */
    struct harness *nested; /* the first of those within … */
    struct harness *beside; /* … and the next one */
    /* Of one within: as link_tick; wakes its stream. */
    uint64_t (*tick)(struct harness *nested, uint64_t now);
};

struct harness_options {
    const char *const *argv; /* after the program; NULL: {"stdio", NULL} */
    const char *program;     /* NULL: harness_agent */
    const char *const *env;  /* "NAME=text" to set, NULL at its end; NULL: none */
    int bare;                /* no link: the test writes and reads the line itself */
    int closed_errors;       /* descriptor 2 is closed */
    uint32_t lease_ms;       /* the launcher's, for HELLO */
    uint32_t features;       /* … and what it offers */
};

/* Path of the agent under test: GRAPNEL_AGENT, or the one that was built. */
const char *harness_agent(void);

/* True when test and agent run under valgrind, which has descriptors, signals and a memory of its
 * own, and slows everything down. */
int harness_valgrind(void);

/* True when test and agent are built with AddressSanitizer, which keeps the memory that they let go
 * of. */
int harness_sanitized(void);

/* Starts an agent.  options may be NULL. */
struct harness *harness_start(const struct harness_options *options);
/* Begins the link of a bare one. */
void harness_begin(struct harness *h, uint32_t lease_ms);
/* For a bare one.  Sends n bytes, or what of them the agent takes before it leaves. */
void harness_send(struct harness *h, const void *bytes, size_t n);
/* ... Reads up to a newline, into text[size], and no further. */
void harness_read_line(struct harness *h, char *text, size_t size);
/* ... Reads the line to its end: the code of the agent's GOODBYE, 0 when there is none. */
int harness_last_code(struct harness *h);
/* Drives the line until `done` is true. */
void harness_until(struct harness *h, int (*done)(void *arg), void *arg);
void harness_until_greeted(struct harness *h);
/* Lets the agent's end of the line see its end of file. */
void harness_close(struct harness *h);
/* Waits until the guardian has left; its exit status, or 128 + signal. */
int harness_wait(struct harness *h);
/* All that the agent wrote to stderr until it left, in text[size]. */
void harness_errors(struct harness *h, char *text, size_t size);
/* Ends the agent (by goodbye if the line stands), checks that nothing is left, and frees h. */
void harness_end(struct harness *h);
/* The same without a goodbye, for what has ended otherwise. */
void harness_gone(struct harness *h);

/* Waits until process `pid` (anybody's child) runs no more. */
void harness_wait_process(pid_t pid);
int harness_process_runs(pid_t pid);

/* ---- commands ---- */

/* A shell line that starts children in every disguise: one that ignores TERM, one in a session of
 * its own, one orphaned in a session of its own, one stopped.  Their numbers are printed. */
#define HARNESS_STUBBORN                                                                           \
    "sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & "                                      \
    "setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & "                                   \
    "(setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000 >/dev/null' & ) & "                   \
    "sh -c 'echo $$; kill -STOP $$; exec sleep 1000' & "
#define HARNESS_STUBBORN_COUNT 4

struct run {
    struct harness *h;
    struct stream *s;     /* NULL once closed */
    struct stream *err_s; /* NULL: none, or closed */
    struct wire_buf out, err;
    int out_eof, err_eof, err_closed;
    int closed, code;
    int err_closed_first; /* stderr's stream was closed before the command's */
    struct value *result;
    char text[512];
    const uint8_t *input; /* stdin */
    size_t input_left;
    uint64_t endless; /* bytes of stdin to make up */
    uint64_t sent;    /* bytes of stdin taken by the link */
    int hold;         /* what comes is not consumed */
    int count_only;   /* what comes is not kept */
    uint64_t received;
};

/* Arguments for exec: argv up to NULL; or a line for /bin/sh. */
struct value *harness_argv(const char *word, ...) __attribute__((sentinel));
struct value *harness_line(const char *line);

/* Opens an exec.  args is taken over.  HARNESS_STDERR adds a pipe for stderr. */
#define HARNESS_STDERR   1
#define HARNESS_NO_INPUT 2 /* stdin stays open, and nothing is sent */
void harness_run(struct harness *h, struct run *r, struct value *args, int flags);
/* Waits for its CLOSE. */
void harness_finish(struct run *r);
/* Both. */
void harness_do(struct harness *h, struct run *r, struct value *args, int flags);
/* Waits until at least n bytes of stdout came. */
void harness_output(struct run *r, size_t n);
/* Waits for a whole line on stdout, starting at *from, and returns the number in it. */
long harness_number(struct run *r, size_t *from);
/* The numbers that HARNESS_STUBBORN prints. */
void harness_stubborn(struct run *r, pid_t *pids);
/* stdout as a text, valid until more comes. */
const char *harness_text(struct run *r);
const char *harness_err_text(struct run *r);
int64_t harness_int(const struct run *r, const char *name, int64_t fallback);
const char *harness_string(const struct run *r, const char *name);
void harness_free(struct run *r);

/* A call, waited for: 0 with *result (or NULL to drop it), or the code. */
int harness_call(struct harness *h, const char *name, struct value *args, struct value **result);
int64_t harness_usage(struct harness *h, const char *name);

#endif
