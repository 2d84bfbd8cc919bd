/* A real sshd on a free loopback port, with keys of its own, and one run of the ssh2 transport
 * against it (or against anything else that listens). */
#ifndef TESTS_UNIT_SSH2RIG_H
#define TESTS_UNIT_SSH2RIG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/grapnel.h"
#include "launcher/transport/transport.h"
#include "proto/errors.h"
#include "proto/wire.h"

#define RIG_SETTINGS_MAX 16
#define RIG_TRACE_MAX    16384

/* Starts sshd in `folder` (sshtools_folder), on keys made there: hostkey, and the users' keys id
 * (ed25519), id_rsa, id_ecdsa, id_locked (passphrase "secret"), which may log in; id_stranger,
 * which may not.  known_hosts holds the host key.  extra: further lines of sshd_config ("" for
 * none). Returns the port; *pid is to be given to rig_stop.  0 when there is no sshd on this
 * machine. */
unsigned rig_sshd(const char *folder, const char *extra, pid_t *pid);
void rig_stop(pid_t pid);
/* Starts to connect to it with the key id, as grapnel_open; never NULL. */
struct grapnel_server *rig_open(struct grapnel *g, unsigned port, int cache_agent);

/* Listens on a free loopback port and answers one connection after another with `text` (n bytes);
 * then closes it (linger 0), or keeps it open (1). */
unsigned rig_fake(const void *text, size_t n, int linger, pid_t *pid);

/* When the transport is freed from within a callback. */
enum rig_free {
    RIG_FREE_AFTER,
    RIG_FREE_PHASE,
    RIG_FREE_OPENED,
    RIG_FREE_INPUT,
    RIG_FREE_TRACE,
    RIG_FREE_FINISHED,
    RIG_FREE_FAILED
};

struct rig_run {
    /* What is wanted.  Settings as ssh's -o; "UserKnownHostsFile" and "IdentityFile" have to be
     * given, with paths. */
    unsigned port;
    const char *host, *user; /* NULL: 127.0.0.1 and the user who runs the test */
    const char *settings[RIG_SETTINGS_MAX];
    const char *command;
    const char *again; /* a second command on the same connection */
    const void *send;  /* for its stdin */
    size_t send_n;
    size_t send_pattern; /* or this many bytes of rig_pattern */
    int keep_stdin;      /* do not end its stdin */
    int lockstep;        /* sends a piece, some turns of the loop later another; waits for both */
    int interactive;
    int64_t timeout_ms;   /* connect_timeout_ms; 0: 10 s */
    int pause_every;      /* pauses for a moment after so many inputs */
    int pause_until_sent; /* does not read until all is sent */
    int discard;          /* checks the output against rig_pattern instead of keeping it */
    enum rig_free free_at;
    int free_phase;                    /* for RIG_FREE_PHASE: enum errors_phase */
    double free_after_s;               /* frees it after this time, wherever it is; 0: never */
    const char *environment;           /* "NAME=value" put into the environment */
    void (*opened)(struct rig_run *r); /* something to do then */

    /* What came of it. */
    int opened_n, finished_n, failed_n, writable_n, status;
    struct error e;
    struct wire_buf out, diagnostics;
    uint64_t checked, mismatches; /* discard */
    char phases[400];             /* "resolve connect kex ..." */
    char trace[RIG_TRACE_MAX];
    double seconds;
    struct transport *t;
    struct ev_loop *loop;
};

/* Runs it to its end (at most 60 s, then the test fails).  Checks that descriptors are not
 * leaked.*/
void rig_run(struct rig_run *r);
void rig_clear(struct rig_run *r);

/* The byte at a place of the endless test pattern. */
uint8_t rig_pattern(uint64_t at);

#endif
