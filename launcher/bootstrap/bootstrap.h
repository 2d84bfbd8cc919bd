/* The bootstrap: from a login shell to a running agent.
 *
 * One command text, the same for every login shell, starts /bin/sh with a script that tells the
 * host's system at once, takes the agent from its stdin, tries temporary directories until one
 * lets it run, and becomes the agent.  This file makes the text and reads the answers; it moves no
 * bytes itself.
 */
#ifndef GRAPNEL_LAUNCHER_BOOTSTRAP_BOOTSTRAP_H
#define GRAPNEL_LAUNCHER_BOOTSTRAP_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#include "launcher/bootstrap/agents.h"
#include "proto/errors.h"

/* Zero bytes after the agent: a `head` that reads ahead may swallow up to its buffer of them. */
#define BOOTSTRAP_PADDING 8192
/* As many stand before the link where no agent is sent: one that is there already, as it serves,
 * knows by them where the link begins. */
#define BOOTSTRAP_LEAD      64
#define BOOTSTRAP_NOISE_MAX (256 * 1024) /* bytes of banners before the first status line */
#define BOOTSTRAP_TEXT      1600         /* bytes of foreign text that are kept */

struct bootstrap;

/* What becomes of the agent on the host.  What is kept lies in ~/.cache/grapnel, named by its hash;
 * nobody trusts it: it is copied to where the agent would have been unpacked, the copy is checked
 * by a program of the host (b2sum, sha256sum, openssl or shasum), and then run. */
enum bootstrap_keep {
    BOOTSTRAP_KEEP_NOT, /* it is sent, and nothing is kept */
    BOOTSTRAP_KEEP,     /* it is sent, and a copy is kept for the next time */
    BOOTSTRAP_KEPT,     /* the copy that is kept is used: nothing is sent.  If there is none that
                           can be used, the next attempt is one of the others */
};

struct bootstrap_options {
    const struct agents_binary *agent;
    const char *sudo_user; /* NULL: no sudo; "": root */
    int plain;             /* send the agent unpacked */
    int skip;              /* so many of the temporary directories are not tried */
    enum bootstrap_keep keep;
    unsigned lease_ms;   /* the agent's patience with a silent launcher; 0: endless */
    unsigned patience_s; /* the script's, with an agent that does not come; 0: endless */
};

/* Starts an attempt.  NULL with *e filled (-E_ARGUMENT: sudo_user is not a user name). */
struct bootstrap *bootstrap_new(const struct bootstrap_options *options, struct error *e);
void bootstrap_free(struct bootstrap *b);

/* The command text for the login shell, and what to send to its stdin ahead of the link's bytes:
 * the agent, if it is sent, and zeros, bootstrap_payload_size bytes.  bootstrap_payload gives
 * those from byte `at` on, as far as they lie in one piece (*n is 0 at the end only).  All live as
 * long as b. */
const char *bootstrap_command(const struct bootstrap *b);
size_t bootstrap_payload_size(const struct bootstrap *b);
const uint8_t *bootstrap_payload(const struct bootstrap *b, size_t at, size_t *n);

enum bootstrap_result {
    BOOTSTRAP_MORE,    /* feed it more */
    BOOTSTRAP_STARTED, /* the agent speaks: what is left is the link's */
    BOOTSTRAP_AGAIN,   /* this attempt failed, and the next may do: see bootstrap_next */
    BOOTSTRAP_FAILED,  /* *e says why */
};

/* Feeds n bytes of the command's stdout; *used are taken.  After MORE all are. */
enum bootstrap_result bootstrap_input(struct bootstrap *b, const uint8_t *bytes, size_t n,
                                      size_t *used, struct error *e);
/* Feeds what it wrote to stderr (kept for messages). */
void bootstrap_diagnostics(struct bootstrap *b, const uint8_t *bytes, size_t n);
/* The command ended with `status` (-1: unknown) before the agent spoke.  AGAIN or FAILED with *e.
 */
enum bootstrap_result bootstrap_ended(struct bootstrap *b, int status, struct error *e);
/* The host's first status line has come: its shell runs our script. */
int bootstrap_shell_runs(const struct bootstrap *b);

/* After AGAIN: changes *options (those of this attempt) to what the next must do differently.
 * Returns the host's `uname -sm` (lives as long as b) when it needs another agent, else NULL. */
const char *bootstrap_next(const struct bootstrap *b, struct bootstrap_options *options);

/* What is worth telling of the copy that was, or was to be, kept: static; NULL: nothing.  *level is
 * 0 when everybody should know (the copy was not what it should have been), else 1 or 2. */
const char *bootstrap_kept(const struct bootstrap *b, int *level);

/* (b may be NULL: none.)  The last text that came without being ours, harmless for terminals, its
 * lines joined by "|": "" if none.  At most BOOTSTRAP_TEXT bytes are kept; of those the last that
 * fit into n. */
void bootstrap_noise(const struct bootstrap *b, char *text, size_t n);

#endif
