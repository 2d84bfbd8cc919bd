/* Key files parsed once and shared by all connections of a context, so that a passphrase is asked
 * for at most once per key and decrypting (0.2 s of CPU) is done once.
 * Used by the thread that drives the loop. */
#ifndef GRAPNEL_LAUNCHER_KEYRING_H
#define GRAPNEL_LAUNCHER_KEYRING_H

#include "launcher/blocking.h"
#include "launcher/ssh/keyfile.h"
#include "proto/errors.h"

struct asker;

#define KEYRING_PROMPTS 3 /* wrong passphrases before a key is given up */

struct keyring;
struct keyring_key;  /* one key file; lives as long as the keyring */
struct keyring_wait; /* one connection that waits for a passphrase */

/* NULL when memory is out.  blocking is borrowed. */
struct keyring *keyring_new(struct blocking *blocking);
/* Wipes and frees all keys.  A question that is being put to a person is withdrawn; what waited is
 * not told.  NULL is legal. */
void keyring_free(struct keyring *k);

/* The key at `path` (a private key file, or FILE with only FILE.pub there), read at the first call.
 * *out is set whenever memory suffices, also for a key that cannot be read.  A file that has
 * changed is read again, unless its passphrase is just being asked for.  Results as keyfile_load
 * without a passphrase. */
int keyring_get(struct keyring *k, const char *path, struct keyring_key **out, struct error *e);

/* The parsed key; NULL when it could not be read.  It may change (when it is unlocked): to be asked
 * for anew each time. */
const struct keyfile *keyring_file(const struct keyring_key *key);

/* Asks for the passphrase of a locked key in a thread, up to KEYRING_PROMPTS times.  done(arg,
 * code, e) follows from the loop: 0 (the key is unlocked), -E_PASSPHRASE (none, or wrong ones; it
 * is not asked for again), -E_CANCELLED, or others of ask_secret.  Several connections that wait
 * for the same key share the question.  batch: only what needs no person; asker: who is asked
 * instead of the terminal, or NULL.  NULL with *e filled:
 * -E_NOMEM, -E_PASSPHRASE (given up before), -E_SYSTEM. */
struct keyring_wait *keyring_unlock(struct keyring *k, struct keyring_key *key, int batch,
                                    struct asker *asker,
                                    void (*done)(void *arg, int code, const struct error *e),
                                    void *arg, struct error *e);
/* Passphrases that were given up may be asked for again. */
void keyring_forgive(struct keyring *k);
/* Loses interest before `done`.  NULL is legal. */
void keyring_unwait(struct keyring_wait *w);

#endif
