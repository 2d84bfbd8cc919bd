/* A transport: runs one command text in a host's login shell and carries its bytes.
 *
 * There are three: ssh2 (libssh2, in process), command (a program that gives a shell, such as the
 * OpenSSH client), local (a child process), and, beside them, broker
 * (transport_broker.h), which has no shell.  All callbacks run in the thread that drives the loop,
 * never from within a call of transport_* (so that state is simple); a callback may call anything
 * here but transport_free on its own transport from within `input`, where transport_free is
 * deferred by the transport itself.
 */
#ifndef GRAPNEL_LAUNCHER_TRANSPORT_TRANSPORT_H
#define GRAPNEL_LAUNCHER_TRANSPORT_TRANSPORT_H

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/errors.h"

struct asker;
struct blocking;
struct keyring;
struct knownhosts;
struct sshconfig;
struct transport;

struct transport_handler {
    /* A phase has begun (note ""), or what was chosen in it is known now (the same phase once more,
     * with a note for a person: "127.0.0.1 port 22", "curve25519-sha256, ssh-ed25519, ...",
     * "publickey ssh-ed25519 /home/u/.ssh/id_ed25519").  note is never NULL and safe to print. When
     * a connection has to be made anew, the phases begin again at PHASE_CONNECT. */
    void (*phase)(void *arg, enum errors_phase phase, const char *note);
    /* The command was accepted and may run: transport_write works from now on. */
    void (*opened)(void *arg);
    /* What it wrote to stdout / stderr. */
    void (*input)(void *arg, const uint8_t *bytes, size_t n);
    void (*diagnostics)(void *arg, const uint8_t *bytes, size_t n);
    /* There is room again after transport_write took less than it was given. */
    void (*writable)(void *arg);
    /* The command's output ended (after all input).  status: exit status, 128 + signal, or -1 when
     * unknown.  The connection below may still live: transport_again. */
    void (*finished)(void *arg, int status);
    /* It failed: e->code is negative.  Nothing comes after this. */
    void (*failed)(void *arg, const struct error *e);
    /* Something worth telling a person who asked for it; level 1 (-v) to 3 (-vvv), or 0: also to
     * one who did not.  Safe to print. */
    void (*trace)(void *arg, int level, const char *text);
};

/* A host's key, for who wants nothing else of it.  Texts live during the callback, and are safe to
 * print. */
struct transport_host_key {
    const char *name;        /* the host's in known_hosts: "web1", "[web1]:2222" */
    const char *type;        /* "ssh-ed25519"; NULL: the host has none that was asked for, and of
                                the rest only `offered` counts */
    const char *fingerprint; /* "SHA256:…" */
    const char *key;         /* in base64, as in known_hosts */
    unsigned bits;
    int state;        /* enum knownhosts_state */
    int authority;    /* a @cert-authority stands for the host in known_hosts */
    int same_type;    /* of a changed key: the line that it differs from has one of the same type */
    const char *file; /* the line of known_hosts that decides; NULL: none */
    size_t line;
    const char *other_type, *other_fingerprint, *other_key; /* of a changed key: that line's */
    const char *offered; /* the host's algorithms of keys, as it names them, comma separated: NOT
                            safe to print */
};

struct transport_scan {
    const char *algorithms; /* of the key, comma separated; NULL: those of a connection */
    /* Runs once, after the key exchange; nothing comes after it, and nobody logs in. */
    void (*told)(void *arg, const struct transport_host_key *key);
};

/* Where to and how.  All pointers are borrowed and must live as long as the transport. */
struct transport_options {
    struct ev_loop *loop;
    struct blocking *blocking;
    const char *host;               /* as typed, for messages */
    const struct sshconfig *config; /* ssh2: the host's settings, complete */
    struct keyring **keys;          /* ssh2: parsed key files, shared by all connections; made
                                       where it is NULL (transport_ssh2_free_keys) */
    struct knownhosts *known_hosts; /* ssh2: parsed known_hosts, shared; NULL: made from config … */
    struct sshfiles *files;         /* … by way of this; may be NULL */
    char *const *argv;              /* command and local: program and arguments, NULL-terminated;
                                       ssh2: the program that leads to the host; NULL: none */
    char *const *environment;       /* command: the program's; NULL: ours */
    int command_appended;           /* command: the text is the last argument (ssh), else: written
                                       to the program's stdin as a line (any shell) */
    int64_t connect_timeout_ms;     /* resolve to auth together, 0: config's, or 30 s */
    int interactive;                /* may ask a person */
    struct asker *asker;            /* ssh2: asked instead of the terminal; NULL: none */
    const struct transport_scan *scan; /* ssh2: only the host's key is wanted; NULL: a command */
};

/* Starts.  *handler is copied.  command: the text for the login shell.  NULL with *e filled. */
struct transport *transport_ssh2(const struct transport_options *options, const char *command,
                                 const struct transport_handler *handler, void *arg,
                                 struct error *e);
struct transport *transport_command(const struct transport_options *options, const char *command,
                                    const struct transport_handler *handler, void *arg,
                                    struct error *e);
struct transport *transport_local(const struct transport_options *options, const char *command,
                                  const struct transport_handler *handler, void *arg,
                                  struct error *e);

/* Runs another command text over the same connection after `finished` (ssh2: a new channel of the
 * session; command and local: the program anew).  `opened` follows.  0 or negative. */
int transport_again(struct transport *t, const char *command, struct error *e);

/* True when transport_again may be called now, and the connection costs nobody a new login: after
 * `finished`, for ssh2.  While it is idle it is still looked after: what the server asks is
 * answered, and when it closes the connection `failed` says so. */
int transport_idle(const struct transport *t);

/* Takes as many of n bytes as it has room for, and returns how many (0..n): the rest is offered
 * again after `writable`. */
size_t transport_write(struct transport *t, const uint8_t *bytes, size_t n);
/* No more input for the command: its stdin ends after what was written. */
void transport_eof(struct transport *t);
/* Stops or resumes reading. */
void transport_pause(struct transport *t, int paused);
/* Ends the command and the connection without waiting for the host.  NULL is legal. */
void transport_free(struct transport *t);

/* "ssh2", "command" or "local"; and bytes of the connection itself as far as known. */
const char *transport_name(const struct transport *t);
struct transport_counters {
    uint64_t sent, received; /* bytes on the wire, SSH's own included; 0 when unknown */
};
struct transport_counters transport_counters(const struct transport *t);

/* For those who write a transport: each begins its struct with this. */
struct transport {
    const struct transport_class *class;
};
struct transport_class {
    const char *name;
    int (*again)(struct transport *t, const char *command, struct error *e);
    size_t (*write)(struct transport *t, const uint8_t *bytes, size_t n);
    void (*eof)(struct transport *t);
    void (*pause)(struct transport *t, int paused);
    void (*free)(struct transport *t);
    struct transport_counters (*counters)(const struct transport *t);
    int (*idle)(const struct transport *t); /* NULL: never */
};

#endif
