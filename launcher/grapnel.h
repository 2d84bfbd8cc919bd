/* libgrapnel: throws a small agent over SSH onto a host, holds the line, and runs commands there.
 *
 * This header is the whole public face.
 *
 *     struct grapnel *g = grapnel_new(NULL, &error);
 *     struct grapnel_server *s = grapnel_connect(g, "root@web1", NULL, &error);
 *     struct grapnel_result result;
 *     const char *argv[] = {"uname", "-a", NULL};
 *     struct grapnel_exec_options run = {.argv = argv};
 *     if (grapnel_run(s, &run, &result, &error) == 0)
 *         fwrite(result.out, 1, result.out_length, stdout);
 *     grapnel_result_clear(&result);
 *     grapnel_server_free(s);
 *     grapnel_free(g);
 *
 * Rules that hold everywhere:
 * - Option structs may be all zero; zero or NULL in a member means its default.  What they point
 *   to is read during the call only.
 * - Functions that can fail return 0 or a negative code (or NULL), and fill *error, which may be
 *   NULL.  Codes: grapnel_error_name.
 * - Every function may be called from any thread; objects of one context share one lock.  Waiting
 *   releases it.  Callbacks run with no lock of the caller's needed, one at a time per context, in
 *   whichever thread drives the loop (one that waits, or the context's own heartbeat thread); they
 *   may call anything here that does not wait, and must not block.
 * - Times are milliseconds, sizes are bytes.
 * - After fork() a child must not use a context of its parent.
 */
#ifndef GRAPNEL_H
#define GRAPNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GRAPNEL_API __attribute__((visibility("default")))
#else
#define GRAPNEL_API
#endif

struct grapnel;
struct grapnel_server;
struct grapnel_exec;

/* ---- errors ---- */

struct grapnel_error {
    int code;          /* 0, or negative */
    int exit_status;   /* what a process that ends for this reason should exit with */
    const char *name;  /* "HOSTKEY_UNKNOWN"; static */
    const char *phase; /* "host key"; static */
    const char *text;  /* the cause, for a person; static */
    const char *hint;  /* the way out, for a person; static */
    char host[256];    /* the target, as typed; may be empty */
    char detail[1000]; /* the particulars; may be empty; harmless for terminals */
};

/* Name of a code of either sign; static. */
GRAPNEL_API const char *grapnel_error_name(int code);
/* "grapnel: host: phase: cause: detail (way out)" in at most n bytes with the terminating zero. */
GRAPNEL_API void grapnel_error_format(const struct grapnel_error *error, char *text, size_t n);

/* ---- context ---- */

struct grapnel_options {
    int verbose; /* 1..3: how much `trace` gets */
    /* Something worth telling, of level 0 (a warning, whatever `verbose` is) to 3; host may be
     * NULL. Harmless for terminals. */
    void (*trace)(void *arg, int level, const char *host, const char *text);
    void *trace_arg;
    const char *agents; /* folder of agent binaries, with "workers" in it or beside it; default: the
                           environment's GRAPNEL_AGENTS, the build tree, the installed folder */
};

/* Makes a context.  NULL with *error filled. */
GRAPNEL_API struct grapnel *grapnel_new(const struct grapnel_options *options,
                                        struct grapnel_error *error);
/* Waits for callbacks to end, and frees it with all of its servers, as grapnel_server_free does:
 * those handles are of no use then.  Commands must have been freed before.  NULL is legal.  Not
 * from a callback. */
GRAPNEL_API void grapnel_free(struct grapnel *g);

GRAPNEL_API const char *grapnel_version(void);

/* ---- servers: one agent on a host ---- */

struct grapnel_connect_options {
    const char *user;                  /* over that of the target and of ssh_config */
    unsigned port;                     /* likewise; 0: 22 or ssh_config's */
    const char *config_file;           /* ssh_config file instead of the usual ones; "none" */
    const char *const *identity_files; /* NULL-terminated; before ssh_config's */
    const char *const *ssh_options;    /* NULL-terminated "Key=Value", as ssh's -o; the first one
                                          of a key wins, also over the target's user and port */
    size_t late_options;               /* so many of the last of them do not win over the target,
                                          as ssh does with what stands behind the host */
    const char *transport;   /* "auto" (default), "ssh2", "openssh", "local", or a command line
                                that gives a shell on its stdin and stdout */
    const char *sudo_user;   /* run the agent as this user through sudo -n; "" is root */
    int64_t connect_timeout; /* resolve to agent's HELLO; default 30 s or ssh_config's */
    int64_t lease;           /* silence after which either side gives up; default 30 s; >= 1 s */
    int interactive;         /* may ask a person for passwords and passphrases */
    int one_shot;            /* only what is started before the agent answers will be run: it
                                leaves by itself afterwards, which saves a round trip */
    /* A phase of the connection has begun: its name (static), what was chosen, and microseconds
     * since the connection was started.  The last is "ready". */
    void (*phase)(void *arg, const char *phase, const char *note, int64_t elapsed_us);
    void *phase_arg;
};

/* Starts to connect and returns at once: commands may be started before it is ready, and are sent
 * with the agent, without a round trip of their own.  target: [user@]host[:port], [user@][v6]:port,
 * ssh://…, or any word for the transports "local" and command lines.  NULL with *error filled for
 * what is wrong at once (bad target, bad configuration). */
GRAPNEL_API struct grapnel_server *grapnel_open(struct grapnel *g, const char *target,
                                                const struct grapnel_connect_options *options,
                                                struct grapnel_error *error);
/* Waits until the agent has answered: 0, or negative.  timeout < 0: as long as the connection's own
 * limits allow; on -TIMEOUT the attempt goes on. */
GRAPNEL_API int grapnel_wait_ready(struct grapnel_server *s, int64_t timeout,
                                   struct grapnel_error *error);
/* grapnel_open and grapnel_wait_ready; NULL (nothing to free) on failure. */
GRAPNEL_API struct grapnel_server *grapnel_connect(struct grapnel *g, const char *target,
                                                   const struct grapnel_connect_options *options,
                                                   struct grapnel_error *error);
/* Ends the server in good order: cancels the commands that still run (wait for them first if they
 * are to end by themselves; `done` is called as usual), lets nothing more be started, and waits
 * until the agent confirms that all is gone, also what commands have left behind, and leaves.  0,
 * or negative when it did not within timeout (default 5 s).  The server can then only be freed. */
GRAPNEL_API int grapnel_close(struct grapnel_server *s, int64_t timeout,
                              struct grapnel_error *error);
/* Cuts the line at once if it is not closed (the agent then cleans up by itself), ends running
 * commands with CLOSED, and frees it.  NULL is legal. */
GRAPNEL_API void grapnel_server_free(struct grapnel_server *s);

/* The host's facts (from the agent's HELLO) as one JSON object, to be freed by grapnel_string_free;
 * NULL before it is ready.  ask: asks the agent anew (waits up to timeout). */
GRAPNEL_API char *grapnel_facts_json(struct grapnel_server *s, int ask, int64_t timeout,
                                     struct grapnel_error *error);
GRAPNEL_API void grapnel_string_free(char *s);

struct grapnel_server_info {
    const char *target;    /* as typed; lives as long as the server */
    const char *transport; /* "ssh2", "command", "local"; static */
    const char *agent;     /* "linux-x86_64"; lives as long as the server */
    int64_t agent_bytes;   /* what was sent of it (deflated) */
    int64_t boot_attempts; /* 1, or more when a guess was wrong or a fallback was needed */
    int64_t round_trip_us; /* smoothed minimum, 0: unknown */
    int64_t link_sent, link_received; /* bytes of the link's frames */
    int64_t line_sent, line_received; /* bytes on the wire, 0: unknown */
    int64_t early_bytes;              /* bytes that went with the agent before it answered */
};
GRAPNEL_API void grapnel_server_info(struct grapnel_server *s, struct grapnel_server_info *info);
/* Memory and processes on the host as the agent counts them: JSON, as grapnel_facts_json. */
GRAPNEL_API char *grapnel_usage_json(struct grapnel_server *s, int64_t timeout,
                                     struct grapnel_error *error);

/* ---- exec ---- */

struct grapnel_exec_options {
    const char *const *argv; /* NULL-terminated: run exactly, no shell */
    const char *line;        /* or: a line for the account's login shell */
    const char *shell;       /* another shell for it */
    const char *cwd;
    const char *const *env;   /* NULL-terminated "NAME=value" */
    const char *const *unset; /* NULL-terminated names */
    int clean_env;            /* start from a nearly empty environment */
    int merge;                /* stderr into stdout */
    int64_t timeout;          /* stop it after so long; 0: none */
    int64_t output_limit;     /* stop it after so many bytes of stdout and stderr; 0: none */
    int64_t grace;            /* between TERM and KILL; default 2 s */
    int use_fds;              /* the descriptors below are used (they are duplicated, and their
                                 flags are left alone), instead of callbacks */
    int in, out, err;         /* -1: none (nothing to read; output discarded) */
    int no_input;             /* without use_fds: stdin is /dev/null */
};

struct grapnel_exec_status {
    int exited; /* true: exit_status; false: signal */
    int exit_status;
    const char *signal; /* "TERM", or "unknown"; static; NULL if it exited */
    int signal_number;  /* the number of a signal of that name here; 0: there is none */
    int core;
    const char *reason; /* "timeout", "output-limit", "cancelled", or NULL; static */
    int64_t left;       /* with a reason: processes of it that go on, being another user's */
    int64_t pid;
    int64_t wall_us, user_us, system_us;
    int64_t max_rss; /* bytes */
    int local_error; /* use_fds: errno of a failed write to out or err (EPIPE, ENOSPC), or 0 */
    int input_error; /* use_fds: errno of a failed read from in (EISDIR, EIO), or 0.  With either,
                        the command was cancelled: it is never told that cut input was all */
};

struct grapnel_exec_handler {
    /* Bytes of stdout / stderr: return how many are done with; for the others, which you keep,
     * call grapnel_exec_consumed later.  Not reading holds up only this command.  NULL: discarded.
     */
    size_t (*out)(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n);
    size_t (*err)(void *arg, struct grapnel_exec *x, const uint8_t *bytes, size_t n);
    /* There is room for input after grapnel_exec_write took less than it was given. */
    void (*writable)(void *arg, struct grapnel_exec *x);
    /* It ended: status, or a failure (status NULL).  The last callback, exactly once. */
    void (*done)(void *arg, struct grapnel_exec *x, const struct grapnel_exec_status *status,
                 const struct grapnel_error *error);
};

/* Starts a command; handler may be NULL (wait with grapnel_exec_wait).  NULL with *error filled. */
GRAPNEL_API struct grapnel_exec *grapnel_exec_start(struct grapnel_server *s,
                                                    const struct grapnel_exec_options *options,
                                                    const struct grapnel_exec_handler *handler,
                                                    void *arg, struct grapnel_error *error);
/* Input: takes as many of n bytes as there is room for, returns how many, or negative. */
GRAPNEL_API int64_t grapnel_exec_write(struct grapnel_exec *x, const void *bytes, size_t n);
GRAPNEL_API int grapnel_exec_eof(struct grapnel_exec *x);
/* which: 1 stdout, 2 stderr. */
GRAPNEL_API void grapnel_exec_consumed(struct grapnel_exec *x, int which, size_t n);
/* "INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH", "KILL", "CONT", "STOP"; ARGUMENT for
 * others.  Of a command that dies of it, output that nobody takes for half a second is dropped.
 * Does not wait. */
GRAPNEL_API int grapnel_exec_signal(struct grapnel_exec *x, const char *name,
                                    struct grapnel_error *error);
/* Stops it with all its descendants, wherever they have gone (TERM, then KILL), and nothing else;
 * `done` follows when the host confirms that they are gone.  What it may not signal, programs of
 * another user, is counted in the status as `left`.  Output that nobody takes for half a second
 * after that is dropped, as at the time limit: a reader who sleeps does not hold up the end.  Does
 * not wait. */
GRAPNEL_API int grapnel_exec_cancel(struct grapnel_exec *x);
/* Waits for its end: 0 with *status (may be NULL), negative with *error. */
GRAPNEL_API int grapnel_exec_wait(struct grapnel_exec *x, int64_t timeout,
                                  struct grapnel_exec_status *status, struct grapnel_error *error);
/* Cancels it if it still runs (`done` will not be called), and frees it.  NULL is legal.  Every
 * command must be freed, and before grapnel_free; its server may be freed earlier. */
GRAPNEL_API void grapnel_exec_free(struct grapnel_exec *x);

/* The whole thing, gathered. */
struct grapnel_result {
    struct grapnel_exec_status status;
    char *out; /* out_length bytes and a terminating zero; freed by grapnel_result_clear */
    size_t out_length;
    char *err;
    size_t err_length;
};
/* Runs a command with `input` (may be NULL) and waits.  Output over options->output_limit (default
 * here: 64 MiB) stops it.  0 whatever the command's own status; negative with *error. */
GRAPNEL_API int grapnel_run_input(struct grapnel_server *s,
                                  const struct grapnel_exec_options *options, const void *input,
                                  size_t input_length, struct grapnel_result *result,
                                  struct grapnel_error *error);
GRAPNEL_API int grapnel_run(struct grapnel_server *s, const struct grapnel_exec_options *options,
                            struct grapnel_result *result, struct grapnel_error *error);
GRAPNEL_API void grapnel_result_clear(struct grapnel_result *result);

/* ---- waiting ---- */

/* Drives the context for up to timeout (< 0: for ever), until grapnel_stop is called (by a callback
 * or another thread).  0: stopped, -TIMEOUT. */
GRAPNEL_API int grapnel_drive(struct grapnel *g, int64_t timeout);
GRAPNEL_API void grapnel_stop(struct grapnel *g);
/* Cuts the lines of all servers at once, upon which their hosts clean up by themselves, without
 * waiting: for a program that is told to end.  What waits for a server or runs on one ends with
 * CANCELLED, and so does what is begun in g later.  All of it is still to be freed. */
GRAPNEL_API void grapnel_abandon(struct grapnel *g);
/* Runs callback(arg, signal) in the loop when the process gets that signal, until g is freed.  For
 * programs whose main thread waits in here: a signal then needs no handler of their own. */
GRAPNEL_API int grapnel_on_signal(struct grapnel *g, int signal,
                                  void (*callback)(void *arg, int signal), void *arg);

#ifdef __cplusplus
}
#endif
#endif
