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
 * - A child of fork() has no part in the contexts of its parent: what would send or wait fails with
 *   ARGUMENT there, what frees does nothing, and nothing of the parent's is touched.  It can make a
 *   context of its own.
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

struct asker;
struct grapnel;
struct grapnel_broker;
struct grapnel_server;
struct grapnel_exec;
struct grapnel_instance;
struct grapnel_instance_options;
struct grapnel_value;
struct grapnel_ref;
struct grapnel_future;
struct grapnel_request;
struct grapnel_connection;
struct grapnel_targets;
struct grapnel_fleet;
struct grapnel_fleet_job;

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
    /* The program waits in here as long as a server is open (grapnel_drive and the like): no
     * heartbeat thread is started for servers.  While it is elsewhere, nothing happens. */
    int driven;
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
    struct asker *asker;     /* the library's own: NULL */
    int interactive;         /* may ask a person for passwords and passphrases */
    int broker;              /* 1: use this account's broker when it holds the server, else connect;
                                2: only so, or fail with NOT_HELD */
    int one_shot;            /* only what is started before the agent answers will be run: it
                                leaves by itself afterwards, which saves a round trip */
    int cache_agent;         /* keep the agent on the host, in ~/.cache/grapnel, and do not send it
                                where it is kept (it is checked there each time before it runs) */
    /* A phase of the connection has begun: its name (static), what was chosen, and microseconds
     * since the connection was started.  The last is "ready". */
    void (*phase)(void *arg, const char *phase, const char *note, int64_t elapsed_us);
    void *phase_arg;
    /* Of instances that the connection cache makes: its limits, folder, variables and so on; not
     * its number and its callbacks.  Copied.  Elsewhere of no effect.  May be NULL. */
    const struct grapnel_instance_options *instance;
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
/* As grapnel_close, but the SSH connection stays, where grapnel has made it itself (transport
 * "ssh2"): grapnel_deploy starts another agent on it without a new login.  Calls that are not
 * answered fail at once with CLOSED; instances and commands end and are of no use then.  0 when the
 * agent has left, or there was none; negative when it had to be left alone (-TIMEOUT: the line was
 * cut then, and the agent cleans up by itself), or was lost.  grapnel_server_state tells what is
 * left of the server. */
GRAPNEL_API int grapnel_undeploy(struct grapnel_server *s, int64_t timeout,
                                 struct grapnel_error *error);
/* Starts a new agent on the connection of an undeployed server, or one whose agent was lost, and
 * returns at once, as grapnel_open does: wait with grapnel_wait_ready.  0, also when there is or
 * comes an agent already; negative when no connection is left, or its agent is just being
 * undeployed. */
GRAPNEL_API int grapnel_deploy(struct grapnel_server *s, struct grapnel_error *error);

/* Where a target would lead, without connecting to it: a map of "transport" (ssh2, openssh, local
 * or command), "user", "host", "port", "identities" (an array of files), "ssh_agent", "jump" and
 * "proxy" as ssh_config has them, each only where there is one, "place", the same text for all
 * targets that lead to the same account on the same host (by their names: nothing is resolved), and
 * what would be sent first, "agent" with its "agent_bytes".  May run `ssh -G`.  For
 * grapnel_value_free; NULL with *error. */
GRAPNEL_API struct grapnel_value *grapnel_route(struct grapnel *g, const char *target,
                                                const struct grapnel_connect_options *options,
                                                struct grapnel_error *error);

enum grapnel_server_state {
    GRAPNEL_CONNECTING, /* the agent has not answered yet */
    GRAPNEL_DEPLOYED,   /* it has */
    GRAPNEL_UNDEPLOYED, /* no agent; the SSH connection is kept, and looked after */
    GRAPNEL_GONE,       /* neither: it can only be freed */
};
GRAPNEL_API enum grapnel_server_state grapnel_server_state(struct grapnel_server *s);
/* Milliseconds since anything was heard of the agent; -1: there is none, or not yet. */
GRAPNEL_API int64_t grapnel_server_silence(struct grapnel_server *s);
/* Asks the agent for a sign of life, and waits for it; *round_trip_us (may be NULL) is how long it
 * took.  0, or negative: -TIMEOUT (< 0: as long as the lease), or what the server ended with. */
GRAPNEL_API int grapnel_ping(struct grapnel_server *s, int64_t timeout, int64_t *round_trip_us,
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
    const char *transport; /* "ssh2", "command", "local", "broker"; static */
    const char *agent;     /* "linux-x86_64"; lives as long as the server */
    int64_t agent_bytes;   /* what was sent of it (deflated) */
    int64_t boot_attempts; /* 1, or more when a guess was wrong or a fallback was needed */
    int64_t round_trip_us; /* smoothed minimum, 0: unknown */
    int64_t link_sent, link_received; /* bytes of the link's frames */
    int64_t line_sent, line_received; /* bytes on the wire, 0: unknown */
    int64_t early_bytes;              /* bytes that went with the agent before it answered */
};
GRAPNEL_API void grapnel_server_info(struct grapnel_server *s, struct grapnel_server_info *info);
/* Removes the agents that are kept on the host for the account (cache_agent), whatever launchers
 * they are of.  0 with *count (may be NULL) how many, or negative. */
GRAPNEL_API int grapnel_purge(struct grapnel_server *s, int64_t timeout, int64_t *count,
                              struct grapnel_error *error);
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

/* ---- instances: code on the host ----
 *
 *     struct grapnel_instance *i = grapnel_instance_open(s, NULL, &error);
 *     struct grapnel_value *names;
 *     if (grapnel_call(i, "sys.uname", &names, &error, "") == 0)
 *         puts(grapnel_value_string(grapnel_value_get(names, "sysname"), NULL));
 *     grapnel_value_free(names);
 *     grapnel_instance_free(i);
 *
 * An instance is a process of its own on the host, the worker, with a Lua state of its own.  The
 * worker is sent with the first instance of a server.  What ends one instance (a crash, os.exit, a
 * limit) ends no other. */

struct grapnel_instance_options {
    int64_t memory;      /* limit of the worker's memory, bytes; 0: none */
    int64_t cpu_seconds; /* limit of its processor time; 0: none */
    int depth;           /* most calls within calls, there and back; 0: 64 */
    const char *cwd;
    const char *const *env;   /* NULL-terminated "NAME=value" */
    const char *const *unset; /* NULL-terminated names */
    int number;               /* for messages: "root@web1:2"; 0: 1 */
    int held;                 /* not a worker of its own, but that which the broker holds under this
                                 number on a server that it holds (options.broker): what is put there
                                 stays, and calls, refs and channels are this one's alone.  Limits,
                                 cwd, env, unset and output are of no effect */
    int64_t call_timeout;     /* of grapnel_call and its like; 0: none */
    size_t calls_max;         /* calls that may be unanswered, and then LIMIT; 0: 1,048,576 */
    /* What the worker and its children write to their stdout and stderr.  NULL: dropped, but for
     * the end of it, which stands in the error when the instance dies. */
    void (*output)(void *arg, struct grapnel_instance *i, const void *bytes, size_t n);
    /* The instance has died, or its line has: every call has failed with the same error.  Not
     * called for what grapnel_instance_free or _reopen end. */
    void (*ended)(void *arg, struct grapnel_instance *i, const struct grapnel_error *error);
    void *arg;
};

/* Starts an instance and returns at once; calls may follow at once, also before the agent has
 * answered, and cost no round trip of their own then.  options may be NULL.  NULL with *error
 * filled. */
GRAPNEL_API struct grapnel_instance *
grapnel_instance_open(struct grapnel_server *s, const struct grapnel_instance_options *options,
                      struct grapnel_error *error);
/* 0 while it lives; or the code it ended with, and *error. */
GRAPNEL_API int grapnel_instance_error(struct grapnel_instance *i, struct grapnel_error *error);
/* "root@web1:2"; lives as long as the instance. */
GRAPNEL_API const char *grapnel_instance_name(const struct grapnel_instance *i);
/* A new worker with the same options, after the old one has died or instead of it; the old one's
 * refs are STALE then, and its calls fail with CANCELLED.  0 or negative. */
GRAPNEL_API int grapnel_instance_reopen(struct grapnel_instance *i, struct grapnel_error *error);
/* Lets the worker end by itself, with all that it has started, and waits for that: 0; or negative
 * when it did not within timeout (default 5 s).  Calls that are not answered fail with CANCELLED.
 * The instance can then be reopened or freed. */
GRAPNEL_API int grapnel_instance_close(struct grapnel_instance *i, int64_t timeout,
                                       struct grapnel_error *error);
/* Stops the worker if it lives, and frees the instance; pending calls fail with CANCELLED.  Its
 * server may be freed earlier.  NULL is legal.  Every instance, future, ref and value with a ref in
 * it must be freed before grapnel_free. */
GRAPNEL_API void grapnel_instance_free(struct grapnel_instance *i);

/* ---- values: data by copy ----
 *
 * What is returned const lives as long as the value it is taken from.  Wrong types give the
 * fallback, 0 or NULL; NULL is taken for nil.  A value may be read by several threads at once. */

enum grapnel_type {
    GRAPNEL_NIL,
    GRAPNEL_BOOL,
    GRAPNEL_INT, /* 64 bits, signed */
    GRAPNEL_FLOAT,
    GRAPNEL_BYTES,
    GRAPNEL_TEXT, /* UTF-8 */
    GRAPNEL_ARRAY,
    GRAPNEL_MAP, /* keys are scalars */
    GRAPNEL_REF, /* an object at the other end, or a function of ours */
};

GRAPNEL_API enum grapnel_type grapnel_value_type(const struct grapnel_value *v);
GRAPNEL_API int64_t grapnel_value_int(const struct grapnel_value *v, int64_t fallback);
GRAPNEL_API double grapnel_value_float(const struct grapnel_value *v, double fallback);
GRAPNEL_API int grapnel_value_bool(const struct grapnel_value *v, int fallback);
/* Text or bytes, with a zero byte behind; n may be NULL, but then what has zero bytes inside gives
 * NULL. */
GRAPNEL_API const char *grapnel_value_string(const struct grapnel_value *v, size_t *n);
/* Items of an array, pairs of a map, else 0. */
GRAPNEL_API size_t grapnel_value_count(const struct grapnel_value *v);
GRAPNEL_API const struct grapnel_value *grapnel_value_at(const struct grapnel_value *array,
                                                         size_t i);
GRAPNEL_API const struct grapnel_value *grapnel_value_get(const struct grapnel_value *map,
                                                          const char *key);
/* Pair i of a map; 0 behind the last one. */
GRAPNEL_API int grapnel_value_pair(const struct grapnel_value *map, size_t i,
                                   const struct grapnel_value **key,
                                   const struct grapnel_value **item);
GRAPNEL_API int grapnel_value_equal(const struct grapnel_value *a, const struct grapnel_value *b);
/* One JSON text, for grapnel_string_free; NULL when memory is out.  Bytes that are not UTF-8 become
 * {"base64": "…"}, NaN and infinities strings, refs {"ref": "function"}. */
GRAPNEL_API char *grapnel_value_json(const struct grapnel_value *v);

/* Makers; NULL when memory is out.  Strings are text if they are UTF-8, else bytes. */
GRAPNEL_API struct grapnel_value *grapnel_value_new_nil(void);
GRAPNEL_API struct grapnel_value *grapnel_value_new_bool(int v);
GRAPNEL_API struct grapnel_value *grapnel_value_new_int(int64_t v);
GRAPNEL_API struct grapnel_value *grapnel_value_new_float(double v);
GRAPNEL_API struct grapnel_value *grapnel_value_new_string(const char *text, size_t n);
GRAPNEL_API struct grapnel_value *grapnel_value_new_bytes(const void *bytes, size_t n);
GRAPNEL_API struct grapnel_value *grapnel_value_new_array(void);
GRAPNEL_API struct grapnel_value *grapnel_value_new_map(void);
GRAPNEL_API struct grapnel_value *grapnel_value_new_ref(struct grapnel_ref *ref);
/* The value of one JSON text.  NULL with *error: ARGUMENT for what is no JSON, integers over 64
 * bits, or nesting over 64. */
GRAPNEL_API struct grapnel_value *grapnel_value_from_json(const char *text, size_t n,
                                                          struct grapnel_error *error);
/* Put `item`, which belongs to the container then and is freed also on failure, into it; both are
 * complete by then.  NULL is taken for memory that is out.  0 or negative. */
GRAPNEL_API int grapnel_value_append(struct grapnel_value *array, struct grapnel_value *item);
GRAPNEL_API int grapnel_value_set(struct grapnel_value *map, const char *key,
                                  struct grapnel_value *item);
GRAPNEL_API int grapnel_value_set_pair(struct grapnel_value *map, struct grapnel_value *key,
                                       struct grapnel_value *item);
/* Frees what is the caller's, with all inside.  NULL is legal. */
GRAPNEL_API void grapnel_value_free(struct grapnel_value *v);

/* ---- calls ----
 *
 * What is called is named by a path, "sys.uname": the module "sys", loaded with require, and its
 * function "uname"; or the name of a global, or "execute" or "eval" with a source text.
 *
 * The format tells the types of the arguments, one after another:
 *
 *     n           nil; takes no argument        s  const char *: a string; NULL is nil
 *     b           int: true or false            S  const char *, size_t: a string of that length
 *     i u x t     int, unsigned, int64_t,       y  const void *, size_t: bytes
 *                 uint64_t (below 2^63)         v  const struct grapnel_value *; NULL is nil
 *     d           double                        r  struct grapnel_ref *
 *     f           grapnel_function *, void *: a function of ours that the other end may call
 *     (…)         an array of these:             "(sx)", "one", (int64_t)1
 *     aT          an array of unsigned many T:   "as", 2u, "one", "two"
 *     {KTKT…}     a map of these pairs:          "{sssx}", "name", "x", "size", (int64_t)1
 *     a{KT}       a map of unsigned many pairs:  "a{si}", 2u, "one", 1, "two", 2
 *
 * What is called runs as a task of its own there, so that calls do not wait for each other.
 *
 * Results come by copy; functions, files and what else cannot be copied come as refs.  The first
 * result is the value of the call, nil if there is none.  A first result of nil with a text for the
 * second is how functions of Lua say that they failed: then the call fails with REMOTE and that
 * text.  An error in the code there is REMOTE, too, with its message and the remote traceback. */

/* Calls and waits.  0 with *reply (which may be NULL) for grapnel_value_free, negative with *error
 * and *reply NULL.  Not from a callback. */
GRAPNEL_API int grapnel_call(struct grapnel_instance *i, const char *path,
                             struct grapnel_value **reply, struct grapnel_error *error,
                             const char *format, ...);
/* The same for a function, or another callable object, at the other end. */
GRAPNEL_API int grapnel_call_ref(struct grapnel_ref *ref, struct grapnel_value **reply,
                                 struct grapnel_error *error, const char *format, ...);
/* Starts a call and does not wait: thousands may be under way at once.  NULL with *error. */
GRAPNEL_API struct grapnel_future *grapnel_call_start(struct grapnel_instance *i, const char *path,
                                                      struct grapnel_error *error,
                                                      const char *format, ...);
GRAPNEL_API struct grapnel_future *grapnel_call_ref_start(struct grapnel_ref *ref,
                                                          struct grapnel_error *error,
                                                          const char *format, ...);

#define GRAPNEL_CALL_REFS     0x1u /* tables among the results come as refs, not as copies */
#define GRAPNEL_CALL_NO_REPLY 0x2u /* nobody wants results or errors: it is answered at once */

struct grapnel_call_options {
    const char *path;                 /* either this */
    struct grapnel_ref *ref;          /* or this, of that instance */
    const char *op;                   /* with ref: another operation than a call: "index" [key],
                                         "newindex" [key, value], "len" [], "tostring" [],
                                         "op" [name, operand] or [name], "obtain" [], "close" [] */
    const struct grapnel_value *args; /* an array; NULL: none */
    unsigned flags;
    int64_t timeout; /* of the future: see grapnel_future_expire; 0: none */
};

/* As grapnel_call_start, with arguments that were made ready. */
GRAPNEL_API struct grapnel_future *grapnel_callv(struct grapnel_instance *i,
                                                 const struct grapnel_call_options *call,
                                                 struct grapnel_error *error);

/* ---- futures: answers that are under way ---- */

/* True when the answer has come, or will not come any more. */
GRAPNEL_API int grapnel_future_ready(const struct grapnel_future *f);
/* Waits for it: 0 when there is a value, else negative with *error: the call has failed; or
 * -TIMEOUT after `timeout` (< 0: none), and it goes on (grapnel_future_ready tells the two apart).
 */
GRAPNEL_API int grapnel_future_wait(struct grapnel_future *f, int64_t timeout,
                                    struct grapnel_error *error);
/* The value; NULL when it is not ready or has failed.  Lives as long as f. */
GRAPNEL_API const struct grapnel_value *grapnel_future_value(struct grapnel_future *f);
/* The array of all results, also of nil and a text; NULL likewise.  Lives as long as f. */
GRAPNEL_API const struct grapnel_value *grapnel_future_results(struct grapnel_future *f);
/* The value, for grapnel_value_free; f has none any more. */
GRAPNEL_API struct grapnel_value *grapnel_future_take(struct grapnel_future *f);
/* 0 while it is not ready, and when there is a value; else negative with *error. */
GRAPNEL_API int grapnel_future_error(struct grapnel_future *f, struct grapnel_error *error);
/* What the code there threw, if that was it: any value, a string as a rule; and the traceback
 * (which may be NULL).  NULL if nothing was thrown.  Lives as long as f. */
GRAPNEL_API const struct grapnel_value *grapnel_future_thrown(struct grapnel_future *f,
                                                              const char **traceback);
/* Stops the task there.  It ends with CANCELLED as a rule, when the other end confirms. */
GRAPNEL_API void grapnel_future_cancel(struct grapnel_future *f);
/* Cancels it, and lets it end with TIMEOUT, if it is not ready `timeout` from now.  < 0: no limit
 * any more. */
GRAPNEL_API int grapnel_future_expire(struct grapnel_future *f, int64_t timeout);
/* done(arg, f) runs when it is ready, in this call if it is.  One for each future: a second one
 * takes its place. */
GRAPNEL_API void grapnel_future_on_done(struct grapnel_future *f,
                                        void (*done)(void *arg, struct grapnel_future *f),
                                        void *arg);
/* Cancels it if it is not ready (done will not run), and frees it.  NULL is legal. */
GRAPNEL_API void grapnel_future_free(struct grapnel_future *f);

/* ---- refs: objects at the other end ----
 *
 * A ref is counted.  The object lives there as long as a ref or a value holds it here.  Two refs to
 * the same object are the same pointer.  With its instance a ref ends: STALE.  NULL is none: what
 * is asked of it fails with ARGUMENT, and is NULL. */

/* The ref in a value, for grapnel_ref_free; NULL when it is none, or a function of ours. */
GRAPNEL_API struct grapnel_ref *grapnel_value_ref(const struct grapnel_value *v);
GRAPNEL_API struct grapnel_ref *grapnel_ref_share(struct grapnel_ref *ref);
GRAPNEL_API void grapnel_ref_free(struct grapnel_ref *ref);
/* "table", "function", "userdata", "thread", "file"; and a name for people, or NULL. */
GRAPNEL_API const char *grapnel_ref_kind(const struct grapnel_ref *ref);
GRAPNEL_API const char *grapnel_ref_name(const struct grapnel_ref *ref);
/* object[key], object[key] = value, #object, and the object's copy; they wait as grapnel_call does.
 * The format is of the key, or of key and value. */
GRAPNEL_API int grapnel_ref_index(struct grapnel_ref *ref, struct grapnel_value **reply,
                                  struct grapnel_error *error, const char *format, ...);
GRAPNEL_API int grapnel_ref_set(struct grapnel_ref *ref, struct grapnel_error *error,
                                const char *format, ...);
GRAPNEL_API int64_t grapnel_ref_length(struct grapnel_ref *ref, struct grapnel_error *error);
GRAPNEL_API int grapnel_ref_obtain(struct grapnel_ref *ref, struct grapnel_value **reply,
                                   struct grapnel_error *error);

/* ---- functions of ours that the other end may call ----
 *
 * It can call what was passed to it, and reach nothing else here. */

/* A call from the other end: args is an array, alive during the callback.  Answer, now or later,
 * once, with grapnel_return or grapnel_fail.  Calls that are started within count as nested in it,
 * for the limit of depth. */
typedef void grapnel_function(void *arg, struct grapnel_request *request,
                              const struct grapnel_value *args);

/* A value that is this function; every one made is an object of its own.  gone(arg), which may be
 * NULL, runs when neither a value here nor the other end hold it any more.  NULL when memory is
 * out (gone does not run). */
GRAPNEL_API struct grapnel_value *grapnel_value_new_function(grapnel_function *function, void *arg,
                                                             void (*gone)(void *arg));
/* Answers with results in the format above ("" for none; several are several results), and frees
 * the request.  0, or negative: then the caller there was told of the failure. */
GRAPNEL_API int grapnel_return(struct grapnel_request *request, const char *format, ...);
/* Throws an error with this message there, and frees the request. */
GRAPNEL_API void grapnel_fail(struct grapnel_request *request, const char *message);
/* True when the caller there has cancelled its call: an answer is still needed. */
GRAPNEL_API int grapnel_request_cancelled(const struct grapnel_request *request);

/* ---- the connection cache ----
 *
 *     struct grapnel_connect_options o = {.user = "george"};
 *     struct grapnel_connection *c = grapnel_get_connection(g, "web1", &o, 1, &error);
 *     grapnel_call(grapnel_connection_instance(c), "sys.uname", &names, &error, "");
 *     grapnel_connection_release(c);
 *
 * A context keeps connections: instances by number, "george@web1:1", on servers by what leads to
 * them.  Who asks for one that is there gets it; who asks for one that is not has it made.  Threads
 * that ask for the same at once get the same one, or all of them the error of the one attempt,
 * which is not kept.  One that has died is remade, once, when somebody asks for it.
 *
 * The instances of one user@host share one agent and one SSH connection.  Servers are told apart by
 * user, host, port, identities and whatever else of the options matters, exactly, after ssh_config:
 * aliases of one host share a server.  The user is "root" where neither options, ssh_options nor
 * host name one, whatever ssh_config says.  (one_shot is of no effect here.)  When the files of
 * ssh_config change, hosts are where they say from then on; what a Match exec finds is believed for
 * five seconds.  A server that a name led to before stays, and is closed as others are.
 *
 * options.instance matters when the instance is made.  Who gets one that is there, whatever it asks
 * for, gets it as it is; and one that is remade is remade as it was.  Where limits must differ,
 * take another number, or close it first.
 *
 * In a child of fork() all of this fails with ARGUMENT, and nothing of the parent's is touched. */

/* Gets instance 1 to 65535 of that server: from the cache, or made now.  It has answered; if it was
 * in the cache, its server was heard of lately or has answered now.  What is returned is the same
 * for all who ask for the same one, until it is closed; each is to be given back by
 * grapnel_connection_release.  NULL with *error.  Not from a callback, unless it is there. */
GRAPNEL_API struct grapnel_connection *
grapnel_get_connection(struct grapnel *g, const char *host,
                       const struct grapnel_connect_options *options, int instance,
                       struct grapnel_error *error);
/* It is not used any more: the cache may close it when its limits say so.  Every connection is to
 * be released before grapnel_free.  NULL is legal. */
GRAPNEL_API void grapnel_connection_release(struct grapnel_connection *c);
/* Its instance, never to be closed or freed by others than the cache; lives until the release. */
GRAPNEL_API struct grapnel_instance *grapnel_connection_instance(struct grapnel_connection *c);
/* Its server, likewise, for commands; NULL when the connection was closed.  Lives until the server
 * is closed, whoever does that. */
GRAPNEL_API struct grapnel_server *grapnel_connection_server(struct grapnel_connection *c);
/* "george@web1:1"; lives as long as the connection. */
GRAPNEL_API const char *grapnel_connection_name(const struct grapnel_connection *c);
/* 1, and one more each time that its instance was remade: what was in it is gone then. */
GRAPNEL_API int grapnel_connection_generation(struct grapnel_connection *c);
/* A new, empty instance in its place, on a new agent or line if the old one has died.  Waits, and
 * so is not for callbacks.  0 or negative. */
GRAPNEL_API int grapnel_connection_reconnect(struct grapnel_connection *c,
                                             struct grapnel_error *error);

/* Makes instances 1 to n on each of these hosts (NULL-terminated), all at once, and waits for them:
 * 0 when all are in the cache, or negative with the first *error; the others are there all the
 * same. */
GRAPNEL_API int grapnel_create_connections(struct grapnel *g, const char *const *hosts,
                                           const struct grapnel_connect_options *options, int n,
                                           struct grapnel_error *error);

/* Asks that instance, which must be in the cache, for an answer: 0 with *round_trip_us (may be
 * NULL), or negative: NOT_HELD, TIMEOUT (timeout < 0: none), or what it has ended with.  Nothing is
 * made. */
GRAPNEL_API int grapnel_check_connection(struct grapnel *g, const char *host,
                                         const struct grapnel_connect_options *options,
                                         int instance, int64_t timeout, int64_t *round_trip_us,
                                         struct grapnel_error *error);
/* Asks all of them at once: the list of those that do not answer within timeout; NULL with *error.
 */
GRAPNEL_API char **grapnel_check_connections(struct grapnel *g, int64_t timeout,
                                             struct grapnel_error *error);
/* Glusto's other words for the two. */
#define grapnel_ping_connection  grapnel_check_connection
#define grapnel_ping_connections grapnel_check_connections

/* Lists, newest first, NULL-terminated, for grapnel_strings_free; NULL with *error.  Connections
 * are "user@host:N", servers "user@host", with the host as it was typed first.  A deployed server
 * has an agent; SSH connections also stand for servers that are undeployed. */
GRAPNEL_API char **grapnel_list_connections(struct grapnel *g, struct grapnel_error *error);
GRAPNEL_API char **grapnel_list_deployed_servers(struct grapnel *g, struct grapnel_error *error);
GRAPNEL_API char **grapnel_list_ssh_connections(struct grapnel *g, struct grapnel_error *error);
GRAPNEL_API void grapnel_strings_free(char **list);

/* Close what is in use, too: what is under way fails at once, with CLOSED.  They wait until the
 * hosts confirm that all is gone, and return how many they have closed, maybe 0; negative with
 * *error when one did not leave in good order, but it is closed all the same.  They concern that
 * user on that host and port, after ssh_config, whatever the other options; the user as for
 * getting. host NULL: every host, and every user unless options name one.  instance 0: every one.
 * Not from callbacks. */
GRAPNEL_API int grapnel_close_connection(struct grapnel *g, const char *host,
                                         const struct grapnel_connect_options *options,
                                         int instance, struct grapnel_error *error);
GRAPNEL_API int grapnel_close_connections(struct grapnel *g, struct grapnel_error *error);
/* Closes its instances and ends the agent; the SSH connection stays, and the next connection takes
 * it (grapnel_undeploy tells where it can stay). */
GRAPNEL_API int grapnel_close_deployed_server(struct grapnel *g, const char *host,
                                              const struct grapnel_connect_options *options,
                                              struct grapnel_error *error);
GRAPNEL_API int grapnel_close_deployed_servers(struct grapnel *g, struct grapnel_error *error);
/* The SSH connection with all that is on it. */
GRAPNEL_API int grapnel_close_ssh_connection(struct grapnel *g, const char *host,
                                             const struct grapnel_connect_options *options,
                                             struct grapnel_error *error);
GRAPNEL_API int grapnel_close_ssh_connections(struct grapnel *g, struct grapnel_error *error);

struct grapnel_cache_limits {
    int64_t idle;       /* what nobody has used for so long is closed; 0: never */
    size_t servers;     /* most of them; 0: any number.  One that is not in use makes room for a new
                           one, the longest unused first; else LIMIT */
    size_t connections; /* likewise */
    int64_t fresh;      /* a server that was heard of so recently is taken to be alive; default 2 s;
                           < 0: is always asked */
    int64_t patience;   /* for the answer of one that is asked; default 5 s */
    int reconnect;      /* attempts to reconnect a server in use that was lost, before anybody asks
                           for it; 0: none, < 0: any number.  One whose agent does not last for
                           back_off_most counts with those that failed */
    int64_t back_off;   /* wait before the first of them, doubled for each, less up to a quarter at
                           random; default 0.5 s … */
    int64_t back_off_most; /* … but not longer than this; default 60 s */
    /* A connection in use has a new, empty instance, of this generation; or an attempt to reconnect
     * it has failed, with *error.  May be NULL. */
    void (*renewed)(void *arg, struct grapnel_connection *c, int generation,
                    const struct grapnel_error *error);
    void *arg;
};

/* From now on; *limits, which may be NULL for none, is copied.  0 or negative. */
GRAPNEL_API int grapnel_cache_limits(struct grapnel *g, const struct grapnel_cache_limits *limits,
                                     struct grapnel_error *error);

/* ---- the broker: a process that holds servers between commands ----
 *
 * One for each account and machine, on a socket below $XDG_RUNTIME_DIR or in /tmp/grapnel-UID.  A
 * connection with options.broker runs through it when it holds the server: it passes bytes on, and
 * what a client has started ends with the client. */

struct grapnel_broker_options {
    int64_t idle; /* it leaves after so long with nothing to hold; 0: a minute */
    int lock;     /* a descriptor that is closed when it listens; 0: none */
    void (*listening)(void *arg, const char *socket);
    void *arg;
};
/* Is the broker, until it is not needed any more or a signal says so (INT, TERM, HUP).  0, or
 * negative when it could not listen.  The context is of no other use. */
GRAPNEL_API int grapnel_broker_run(struct grapnel *g, const struct grapnel_broker_options *options,
                                   struct grapnel_error *error);

/* A line to the broker, not for several threads at once.  start: a program and its arguments,
 * NULL-terminated, that is the broker, for where there is none: it gets its end of a pipe as
 * stdout, on which it says "ready" or why not, a log as stderr, and the lock as descriptor 3. NULL:
 * none is started.  NULL with *error filled: NOT_HELD when there is none. */
GRAPNEL_API struct grapnel_broker *grapnel_broker_open(struct grapnel *g, const char *const *start,
                                                       struct grapnel_error *error);
GRAPNEL_API void grapnel_broker_free(struct grapnel_broker *b);
GRAPNEL_API int64_t grapnel_broker_pid(const struct grapnel_broker *b);

struct grapnel_hold_options {
    const struct grapnel_connect_options *connect;
    int instance; /* 0: 1 */
    /* Limits, cwd, env and unset of its worker, which is started when it is first used.  One that
     * is in use already and has others fails with ARGUMENT.  NULL: whatever it has, or none. */
    const struct grapnel_instance_options *worker;
    int64_t keep; /* close it when it was not used for so long; 0: never; < 0: as it was */
    /* For each target, in order: what is held as a JSON object (name, server, instance, agent,
     * generation, workers; ended: why that of before had, if this has put a new one in its place),
     * alive during the callback; or NULL, and why not.  May be NULL. */
    void (*each)(void *arg, size_t i, const char *json, const struct grapnel_error *error);
    void *arg;
};
/* An instance whose worker has died stays held, and tells why to who uses it, until it is asked for
 * here again: then it gets a new one, which is empty.
 *
 * Has it connect to the targets (NULL-terminated) at the same time, where it does not hold them
 * yet, and waits.  0 when all were told, whatever became of them. */
GRAPNEL_API int grapnel_broker_hold(struct grapnel_broker *b, const char *const *targets,
                                    const struct grapnel_hold_options *options,
                                    struct grapnel_error *error);
/* What it holds, as a JSON array, newest first, to be freed by grapnel_string_free.  usage: with
 * what the agents take on their hosts, which they are asked for.  NULL with *error. */
GRAPNEL_API char *grapnel_broker_list(struct grapnel_broker *b, int usage,
                                      struct grapnel_error *error);
/* Closes what it holds at the target's place (of the target's user, where one is named; target
 * NULL: all that it holds): instance 0: whole servers, else that instance of them.  undeploy: the
 * SSH connections stay.  Waits; a JSON array of what was closed, [{"name", "error", "detail"}]. */
GRAPNEL_API char *grapnel_broker_close(struct grapnel_broker *b, const char *target,
                                       const struct grapnel_connect_options *options, int instance,
                                       int undeploy, struct grapnel_error *error);
/* Tells it to leave when what is under way has ended. */
GRAPNEL_API int grapnel_broker_leave(struct grapnel_broker *b, struct grapnel_error *error);

/* ---- targets: sets of hosts by name ----
 *
 * The language is ClusterShell's. web[01-20,30-40/2].example.com: ranges of numbers, whose leading
 * zeros are kept; several brackets make a product: r[1-4]n[01-16]. Operators stand between names
 * and are done from left to right, none before another: , (union) ! (difference) & (intersection)
 * ^ (symmetric difference). They compare names as they are written; but behind ! & ^ a host as the
 * inventory calls it means its target, too. Words with spaces between them are united. @group and
 * @source:group are the hosts of a group, @* and @source:* those of all groups; the group's name
 * may have ranges, too. A name is [USER@]HOST[:PORT] or ssh://..., and is not looked into: brackets
 * with a colon in them at the start of the host are those around an IPv6 address, [fe80::1]:22, and
 * ranges may stand in them, [fe80::[1-9]]:22, which are decimal there as well.
 *
 * A set has each name once, in the order in which they were first mentioned. These objects belong
 * to no context, know no lock, and may be used by one thread at a time. */

struct grapnel_targets_options {
    const char *groups;    /* file of groups instead of the usual ones ($XDG_CONFIG_HOME or
                              ~/.config, grapnel/groups, and /etc/grapnel/groups); "none": none */
    const char *inventory; /* an inventory of Ansible's (INI): its groups are @ansible:GROUP */
    size_t limit;          /* most names in the set; default 10,000,000 */
    int64_t timeout;       /* of each command that a source of groups consists of; default 30 s */
};

/* Makes an empty set. Files are read when they are needed first. NULL with *error filled. */
GRAPNEL_API struct grapnel_targets *
grapnel_targets_new(const struct grapnel_targets_options *options, struct grapnel_error *error);
/* NULL is legal. */
GRAPNEL_API void grapnel_targets_free(struct grapnel_targets *t);

/* Adds what a text stands for. May run commands (of sources of groups), and waits for them. 0, or
 * negative with *error filled: then the set is as it was. */
GRAPNEL_API int grapnel_targets_add(struct grapnel_targets *t, const char *text,
                                    struct grapnel_error *error);
/* Removes what a text stands for, by what it names, not by how it is written: a HOST without a user
 * and a port takes all of its names out of the set, root@HOST and HOST:22 as well; with one of them
 * it is that name only. A host as the inventory calls it (that of the options, or of a group that
 * was used) is its target as well. Results as above; grapnel_targets_count before and after tells
 * whether it was of use. */
GRAPNEL_API int grapnel_targets_exclude(struct grapnel_targets *t, const char *text,
                                        struct grapnel_error *error);
/* Adds what the lines of a file stand for ("-": standard input). What follows a # at the start of a
 * word is a comment. Results as above; an error says which line it is. */
GRAPNEL_API int grapnel_targets_add_file(struct grapnel_targets *t, const char *path,
                                         struct grapnel_error *error);

GRAPNEL_API size_t grapnel_targets_count(const struct grapnel_targets *t);
/* Name i (from 0); NULL: there is none. Until the set changes. Never with control characters, or
 * what else a terminal might obey. */
GRAPNEL_API const char *grapnel_targets_name(const struct grapnel_targets *t, size_t i);
/* What the inventory, or that of a source of groups, knows of a name of the set (or of a host as it
 * is called there) under this key: a variable of the host, or of a group that it is in, or
 * inventory_hostname. NULL: nothing, with error->code 0, or *error tells why it cannot be read.
 * Until the set is freed. */
GRAPNEL_API const char *grapnel_targets_value(struct grapnel_targets *t, const char *name,
                                              const char *key, struct grapnel_error *error);

/* The whole set, or n names of any set (n may be 0), in few words: web[01-20],db1. Exact, and
 * sorted; what grapnel_targets_add reads. For grapnel_string_free; NULL: memory is out. */
GRAPNEL_API char *grapnel_targets_fold(const struct grapnel_targets *t);
GRAPNEL_API char *grapnel_targets_fold_names(const char *const *names, size_t n);

/* ---- fleets: many hosts that are asked together ----
 *
 *     const char *hosts[] = {"web1", "web2", NULL}, *argv[] = {"uptime", NULL};
 *     struct grapnel_exec_options uptime = {.argv = argv};
 *     struct grapnel_fleet *f = grapnel_fleet_new(g, hosts, NULL, &error);
 *     struct grapnel_fleet_job *job = grapnel_fleet_run(f, &uptime, NULL, NULL, &error);
 *     struct grapnel_fleet_result r;
 *     while (grapnel_fleet_wait_any(job, -1, &r, &error) == 0)
 *         printf("%s: %s", grapnel_fleet_name(f, r.host), r.out ? r.out : r.error->text);
 *     grapnel_fleet_job_free(job);
 *     grapnel_fleet_free(f);
 *
 * A job is done on every host of a fleet once, on as many at a time as the options, the descriptors
 * of this process and the servers admit: few hosts are connected to at first, more while that goes
 * well, fewer where connections are refused; what was refused for that reason is tried again.  All
 * of it is done in the context's loop, without a thread or a process for a host, and what one host
 * does or fails to do holds up no other.
 *
 * A host is its index in the list, from 0.  A fleet does one job at a time.  What needs a fleet, a
 * job or a command fails with ARGUMENT where that is NULL, as when it could not be made. */

struct grapnel_fleet_options {
    /* Of every host; its phase and one_shot are of no effect.  NULL: the defaults. */
    const struct grapnel_connect_options *connect;
    /* May change them for one host, before it is connected to; what it puts there is read when it
     * has returned.  A callback as any other.  NULL: nothing is changed. */
    void (*adjust)(void *arg, size_t host, struct grapnel_connect_options *connect);
    void *adjust_arg;
    size_t fanout;    /* most hosts at work at once; 0: as many as there are descriptors for,
                         of which a job raises the process's own limit as far as it may */
    int keep;         /* connections last until grapnel_fleet_close, from one job to the next */
    int aliases;      /* names that lead to the same account on the same host, after
                         ssh_config, are each a host of their own; else the first one is it */
    int retry;        /* further attempts of a host that could not be connected to, but for what
                         its key or a login was refused for.  None is made when what is to be
                         done may have begun there */
    int64_t back_off; /* wait before the first of them, doubled for each, less up to a quarter
                         at random; default 1 s … */
    int64_t back_off_most; /* … but not longer than this; default 30 s */
    size_t batch;          /* so many hosts begin, and the next when these have ended; 0: all are
                              one batch */
    size_t max_fail;       /* when so many have failed, no other begins; 0: whatever fails */
    int64_t total_timeout; /* of a job, and then it is cancelled with TIMEOUT; 0: none */
    size_t memory;         /* most output that is kept, of all hosts together; default 256 MiB */
};

/* Where the time of a host went, in this order; of its last attempt. */
enum grapnel_fleet_phase {
    GRAPNEL_FLEET_RESOLVE,
    GRAPNEL_FLEET_CONNECT,
    GRAPNEL_FLEET_KEX, /* and the check of the host key */
    GRAPNEL_FLEET_AUTH,
    GRAPNEL_FLEET_DEPLOY, /* from the login shell to the agent's answer */
    GRAPNEL_FLEET_EXEC,   /* until the end of what was to be done */
    GRAPNEL_FLEET_PHASES
};
/* "resolve", "connect", …; static. */
GRAPNEL_API const char *grapnel_fleet_phase_name(int phase);

struct grapnel_fleet_result {
    size_t host;
    int failed; /* it has an error, or a command whose status is not 0 */
    /* How the command has ended, also beside an error when it was stopped; NULL: it has not, or
     * there was none. */
    const struct grapnel_exec_status *status;
    const struct grapnel_value *value;   /* what a call, facts or ping gave; NULL: none */
    const struct grapnel_value *results; /* the array of all that a call gave; NULL: none */
    const struct grapnel_error *error;   /* what failed, and its phase; NULL: nothing */
    /* Output that was gathered, with a terminating zero; NULL: none was, the handler had it. */
    const char *out, *err;
    size_t out_length, err_length;
    int attempts;  /* to connect; 0: it was connected already, or never begun */
    int begun;     /* what was to be done may have begun there */
    int confirmed; /* the host has said that all of it has ended, or it never began */
    int alias;     /* nothing was done: the name leads to where that of `same` does */
    size_t same;
    int64_t phase_us[GRAPNEL_FLEET_PHASES]; /* microseconds; -1: it did not come to that */
    double began, ended;                    /* grapnel_now; began 0: it was not begun */
};

/* Callbacks of a job; any may be NULL. */
struct grapnel_fleet_handler {
    /* It is connected to, or used; once for each host that is begun. */
    void (*began)(void *arg, size_t host);
    /* Bytes of a command's or script's stdout (which 1) or stderr (2), or of what an instance
     * prints (1): as those of grapnel_exec_handler, with grapnel_fleet_consumed.  NULL: gathered
     * for the result.
     */
    size_t (*output)(void *arg, size_t host, int which, const uint8_t *bytes, size_t n);
    /* It has ended; once for each host, in the order in which they end.  Lives during the callback.
     * NULL: grapnel_fleet_wait_any. */
    void (*ended)(void *arg, const struct grapnel_fleet_result *result);
    /* All have ended. */
    void (*done)(void *arg);
    /* Changes the command of one host (grapnel_fleet_run), before it is connected to; what it puts
     * there is read when it has returned.  Negative: the host fails with ARGUMENT. */
    int (*prepare)(void *arg, size_t host, struct grapnel_exec_options *command);
};

/* Makes a fleet of these targets (NULL-terminated), as grapnel_open has them; nothing is connected
 * to yet.  NULL with *error. */
GRAPNEL_API struct grapnel_fleet *grapnel_fleet_new(struct grapnel *g, const char *const *targets,
                                                    const struct grapnel_fleet_options *options,
                                                    struct grapnel_error *error);
GRAPNEL_API size_t grapnel_fleet_count(const struct grapnel_fleet *f);
/* As it was given; lives as long as the fleet. */
GRAPNEL_API const char *grapnel_fleet_name(const struct grapnel_fleet *f, size_t host);
/* Ends the connections that were kept, in good order, all at once, and waits up to timeout (default
 * 5 s): 0, or negative with the first *error.  The next job connects anew.  Not while a job runs.
 */
GRAPNEL_API int grapnel_fleet_close(struct grapnel_fleet *f, int64_t timeout,
                                    struct grapnel_error *error);
/* Cuts what is kept, and frees it.  Its job must have been freed before, and it before its context.
 * NULL is legal. */
GRAPNEL_API void grapnel_fleet_free(struct grapnel_fleet *f);

/* Start a job and return at once.  handler and arg may be NULL; what the callbacks are told may
 * come before the call returns, if another thread drives the context.  NULL with *error: CLOSED
 * when there is a job that is not freed. */

/* A command.  Of its descriptors (use_fds) only `in` counts: it is read once, in this process, and
 * goes to every host from where it stands; without it there is no input.  In memory there is no
 * more of it than hosts take at the moment; what is no file goes through an unlinked one. */
GRAPNEL_API struct grapnel_fleet_job *grapnel_fleet_run(struct grapnel_fleet *f,
                                                        const struct grapnel_exec_options *command,
                                                        const struct grapnel_fleet_handler *handler,
                                                        void *arg, struct grapnel_error *error);
/* A sign of life: the value is its round trip in microseconds. */
GRAPNEL_API struct grapnel_fleet_job *
grapnel_fleet_ping(struct grapnel_fleet *f, const struct grapnel_fleet_handler *handler, void *arg,
                   struct grapnel_error *error);
/* The facts: the value is a map. */
GRAPNEL_API struct grapnel_fleet_job *
grapnel_fleet_facts(struct grapnel_fleet *f, const struct grapnel_fleet_handler *handler, void *arg,
                    struct grapnel_error *error);
/* A call by path ("fs.stat", "eval", "execute"), each in a new instance with these options (may be
 * NULL; its callbacks are of no effect), or with `held` in that which the broker holds of the host;
 * the value is its first result, by copy.  Its timeout is from when the agent has answered, and
 * then it fails with EXEC_TIMEOUT. */
GRAPNEL_API struct grapnel_fleet_job *
grapnel_fleet_call(struct grapnel_fleet *f, const struct grapnel_instance_options *instance,
                   const struct grapnel_call_options *call,
                   const struct grapnel_fleet_handler *handler, void *arg,
                   struct grapnel_error *error);
/* The keys by which hosts prove who they are: nobody logs in, and no agent is sent.  wanted: kinds
 * of keys, "ed25519,ecdsa,rsa" or "all", each of which takes a connection of its own (what a host
 * has none of is left out); NULL: the one that a connection would use.  The connections are made by
 * the built-in transport; those that ProxyJump or ProxyCommand leads through others.  The value is
 * a map:
 *   "name"      what known_hosts calls the host: "web1", "[web1]:2222", or its HostKeyAlias
 *   "write_to"  the first of the user's known_hosts files; not there when ssh_config names none
 *   "hashed"    true when names are to be hashed there
 *   "unread"    the keyword of ssh_config that may say more of its keys than the known_hosts files,
 *               RevokedHostKeys or KnownHostsCommand, which only the OpenSSH client heeds; not
 * there when there is none "keys"      a list of maps: "type" "bits" "fingerprint" "key"
 * "ssh-ed25519", 256, "SHA256:…", in base64 "state"   "new": nothing is known of the host, or only
 * its keys of other types, one of which it has shown, too.  "known".  "changed": other keys are
 * known.  "revoked": it is marked so.  "authority": it is not known, but a @cert-authority stands
 * for the host, whose certificate only the OpenSSH client can check "file" "line" "own"  the line
 * of known_hosts that decides, and whether the file is one of the user's; not there for what is new
 *     "old_type" "old_fingerprint" "old_key"  what stands in that line, of a changed key
 * grapnel_known_hosts_write puts them down. */
GRAPNEL_API struct grapnel_fleet_job *
grapnel_fleet_keys(struct grapnel_fleet *f, const char *wanted,
                   const struct grapnel_fleet_handler *handler, void *arg,
                   struct grapnel_error *error);

/* One key for known_hosts, of those that grapnel_fleet_keys has told. */
struct grapnel_known_host {
    const char *file;    /* to be changed: "write_to", or that in which old_key stands */
    const char *name;    /* the host's "name" */
    const char *key;     /* "key" */
    const char *old_key; /* the key in whose place it comes, for this name only; NULL: none */
    int hashed;          /* the name is written hashed */
    /* Filled: NULL: it stands there now; else why it does not (static), and the line in the way, or
     * 0. */
    const char *kept;
    size_t line;
};
/* Puts n keys down: those of a file together, by one write at its end, or, where old ones go, by
 * putting a new file in its place (mode and owner stay, symbolic links are followed).  What others
 * have written there meanwhile stays.  A file that is missing is made (0600), as is ~/.ssh (0700).
 * 0, and then look at each `kept`; or negative with the first *error of a file that could not be
 * changed, whose hosts are all kept. */
GRAPNEL_API int grapnel_known_hosts_write(struct grapnel_known_host *hosts, size_t n,
                                          struct grapnel_error *error);

/* A Lua script, in a new instance likewise.  Its `channel` receives the lines of the input, as
 * those of grapnel_fleet_run come by it; what is sent into it is a line of JSON on stdout (1), keys
 * in order.  What it prints is stdout and stderr, and what programs print that it starts is stderr.
 * With os.exit, or when a signal ends its process, it has a status as a command has. */
struct grapnel_fleet_script {
    const char *name;   /* in messages */
    const char *source; /* `length` bytes */
    size_t length;
    const char *const *args; /* NULL-terminated; NULL: none */
    int use_in, in;          /* true: the input is this descriptor's; else there is none */
    int64_t timeout;         /* from when the agent has answered; 0: none */
};
GRAPNEL_API struct grapnel_fleet_job *
grapnel_fleet_script(struct grapnel_fleet *f, const struct grapnel_instance_options *instance,
                     const struct grapnel_fleet_script *script,
                     const struct grapnel_fleet_handler *handler, void *arg,
                     struct grapnel_error *error);

/* ---- map: tasks spread over the hosts of a fleet ----
 *
 *     static int next(void *arg, struct grapnel_value **args) // 1, 2, … 1000
 *     {
 *         int64_t *n = arg;
 *         if (++*n > 1000)
 *             return GRAPNEL_MAP_END;
 *         *args = grapnel_value_new_array();
 *         if (grapnel_value_append(*args, grapnel_value_new_int(*n)) < 0)
 *             return -1;
 *         return GRAPNEL_MAP_TASK;
 *     }
 *
 *     int64_t n = 0;
 *     struct grapnel_map_options map = {.source = "function(n) return n * n end",
 *                                       .next = next, .arg = &n, .ordered = 1};
 *     struct grapnel_fleet_job *job = grapnel_fleet_map(f, &map, NULL, NULL, &error);
 *     struct grapnel_map_result r;
 *     while (grapnel_fleet_map_next(job, -1, &r, &error) == 0)
 *         printf("%lld\n", (long long)grapnel_value_int(r.value, 0));
 *     grapnel_fleet_job_free(job);
 *
 * Each host has some instances, and each of these does one task after another, whichever comes
 * next.  A fleet of one host with the transport "local" is this machine with all its processors.
 *
 * Tasks that take little time go several to a message, as many as take a few milliseconds; so what
 * is begun where is not foreseeable.  Where one turns out to take long, those that were sent along
 * with it go to others.  When an instance or its host dies, the tasks that it had are
 * done again, elsewhere or in a new instance, each of them alone then, so that one which kills what
 * it runs in takes no others with it.  So every task is done at least once, and some may be done
 * more than once, or half: what a task does to the world must bear that, or `redo` must be -1. */

/* What `next` returns. */
enum {
    GRAPNEL_MAP_END = 0, /* there are no more */
    GRAPNEL_MAP_TASK = 1,
    GRAPNEL_MAP_LATER = 2, /* none just now: grapnel_fleet_map_more tells when to ask again */
};

struct grapnel_map_options {
    /* Either this is called with the arguments of each task: a path as for grapnel_call, "fs.stat"
     * … */
    const char *path;
    /* … or this, Lua source: an expression that is a function, or a chunk that returns one, which
     * is run once in each instance, and so can prepare what all tasks there use. */
    const char *source;
    /* Of each instance; may be NULL.  Its callbacks are of no effect. */
    const struct grapnel_instance_options *instance;
    size_t instances; /* on each host; 0: as many as it has processors */
    /* The arguments of the next task, an array for grapnel_value_free, which belongs to the map
     * then (NULL: none); negative: there are no more, as something has failed.  A callback as any
     * other, called when there is somebody to do the task, and not again after GRAPNEL_MAP_END. */
    int (*next)(void *arg, struct grapnel_value **args);
    void *arg;       /* its */
    uint64_t count;  /* so many tasks there will be, 0: not known.  The last ones are shared out
                        evenly then, and each is told of, also when no host is left */
    int ordered;     /* results come in the order of the tasks; else as they come */
    int redo;        /* a task is begun at most so many times more when what had it has died, and
                        then fails with LOST; 0: 2; -1: never, and each is sent alone then */
    int64_t timeout; /* of each task: it is stopped and fails with TIMEOUT; 0: none.  Each is sent
                        alone then */
    size_t ahead; /* most tasks that are taken from `next` and whose result is not told; 0: as many
                     as the fleet's option `memory` admits for arguments and results */
};

struct grapnel_map_result {
    uint64_t index;                      /* of the task, from 0, in the order of `next` */
    const struct grapnel_value *value;   /* its first result; NULL: none, or it has failed */
    const struct grapnel_value *results; /* an array of all; NULL: it has failed */
    /* NULL: it is done.  REMOTE: the code has failed, as calls do; TIMEOUT; LOST; CANCELLED, or
     * what the last host ended with: it was not done. */
    const struct grapnel_error *error;
    const struct grapnel_value *thrown; /* what the code threw; NULL: nothing */
    size_t host;                        /* where it was done last */
    int instance;                       /* which one there, from 1; 0: it was never begun */
    int begun;                          /* how often it was begun, or may have been */
};

/* A job that does tasks until there are no more.  It fails a host that cannot be reached or whose
 * instances do not start; the others go on.  Of a host's result (handler, grapnel_fleet_wait_any)
 * the value is how many tasks it has done; what the tasks print is its output.  Hosts that are not
 * begun when all tasks are done are not connected to any more, which is no failure.
 *
 * result(arg, …) gets each result, once, and what it points to lives during the callback; before
 * the handler's `done`.  NULL: grapnel_fleet_map_next. */
GRAPNEL_API struct grapnel_fleet_job *
grapnel_fleet_map(struct grapnel_fleet *f, const struct grapnel_map_options *map,
                  void (*result)(void *arg, const struct grapnel_map_result *r),
                  const struct grapnel_fleet_handler *handler, void *arg,
                  struct grapnel_error *error);
/* Waits for the next result of a map without `result`: 0 with *r, which lives until the next such
 * call or the job's end; -TIMEOUT (timeout < 0: none).  Behind the last one CLOSED when all tasks
 * of `next` were told of, else why they were not: CANCELLED, TIMEOUT of the job, ARGUMENT when
 * `next` has failed, or what the last host ended with. */
GRAPNEL_API int grapnel_fleet_map_next(struct grapnel_fleet_job *job, int64_t timeout,
                                       struct grapnel_map_result *r, struct grapnel_error *error);
/* `next`, which has returned GRAPNEL_MAP_LATER, is to be called again. */
GRAPNEL_API void grapnel_fleet_map_more(struct grapnel_fleet_job *job);

/* ---- fleets: while a job runs ---- */

/* n bytes more of those that `output` has kept are done with. */
GRAPNEL_API void grapnel_fleet_consumed(struct grapnel_fleet_job *job, size_t host, int which,
                                        size_t n);
/* Nothing more begins, and what runs is stopped: each host ends when it confirms that, or after
 * grace and a few seconds without confirmation, when its line is cut.  Does not wait. */
GRAPNEL_API void grapnel_fleet_cancel(struct grapnel_fleet_job *job);
/* The same for one host that is at work; harmless for any other. */
GRAPNEL_API void grapnel_fleet_stop(struct grapnel_fleet_job *job, size_t host);
/* Waits for the end of all hosts: 0, or -TIMEOUT (< 0: none). */
GRAPNEL_API int grapnel_fleet_wait(struct grapnel_fleet_job *job, int64_t timeout,
                                   struct grapnel_error *error);
/* Waits for the next host that has ended, of jobs whose handler has no `ended`: 0 with *result,
 * which lives until the next such call or the job's end; -TIMEOUT; or -CLOSED when all have been
 * told. */
GRAPNEL_API int grapnel_fleet_wait_any(struct grapnel_fleet_job *job, int64_t timeout,
                                       struct grapnel_fleet_result *result,
                                       struct grapnel_error *error);

struct grapnel_fleet_counts { /* `hosts` is the sum of all others */
    size_t hosts;
    size_t queued;     /* not begun, or waiting for another attempt */
    size_t connecting; /* until the agent has answered */
    size_t running;    /* until the end of what is done there, and of its connection */
    size_t done;       /* ended without failure */
    size_t failed;     /* ended otherwise … */
    size_t skipped;    /* … but for those that were not begun, and aliases */
};
GRAPNEL_API void grapnel_fleet_counts(struct grapnel_fleet_job *job,
                                      struct grapnel_fleet_counts *counts);
/* Cancels what is not over, without waiting (lines are cut, and their hosts clean up by themselves;
 * no callback follows), and frees it.  NULL is legal. */
GRAPNEL_API void grapnel_fleet_job_free(struct grapnel_fleet_job *job);

/* ---- waiting ---- */

/* Drives the context for up to timeout (< 0: for ever), until grapnel_stop is called (by a callback
 * or another thread).  0: stopped, -TIMEOUT. */
GRAPNEL_API int grapnel_drive(struct grapnel *g, int64_t timeout);
GRAPNEL_API void grapnel_stop(struct grapnel *g);
/* The same until fd can be written (or has failed), too, which must stay open so long: for programs
 * whose callbacks put output by that must not be waited for.  1: it can. */
GRAPNEL_API int grapnel_drive_writable(struct grapnel *g, int fd, int64_t timeout);
/* For programs with an event loop of their own: a descriptor, the context's, which is readable (in
 * poll, select, epoll) when grapnel_dispatch has something to do, be it that bytes have come, that
 * something is to be sent, or that a time is up.  From the first call on callbacks run only in
 * threads that are in grapnel_dispatch or wait for something in here, never in the heartbeat
 * thread: so the program must dispatch when the descriptor says so, or leases lapse.  Negative:
 * failed. */
GRAPNEL_API int grapnel_fd(struct grapnel *g);
/* Does what there is to do, in this thread, and does not wait.  0, or negative. */
GRAPNEL_API int grapnel_dispatch(struct grapnel *g);
/* Monotonic seconds. */
GRAPNEL_API double grapnel_now(void);
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
