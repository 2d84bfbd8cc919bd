/* Files of ssh's that many connections need at the same time, ssh_config and known_hosts: while
 * somebody holds them they are read once; else each time, so that changes are seen.
 * Used by one thread at a time. */
#ifndef GRAPNEL_LAUNCHER_SSH_SSHFILES_H
#define GRAPNEL_LAUNCHER_SSH_SSHFILES_H

#include "launcher/ssh/knownhosts.h"
#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/sshsources.h"
#include "proto/wire.h"

struct sshfiles;

/* NULL: memory is out. */
struct sshfiles *sshfiles_new(void);
/* NULL is legal. */
void sshfiles_free(struct sshfiles *f);

/* What is read from now on is kept for others, until as many have released it. */
void sshfiles_hold(struct sshfiles *f);
void sshfiles_release(struct sshfiles *f);

/* sshconfig_load for that host of what these options name (of which `file` and the settings count
 * only); *sources (sshsources.h), for sshsources_free, is what it was read from.  Results as
 * sshconfig_open and sshconfig_load.  f may be NULL. */
int sshfiles_config(struct sshfiles *f, const struct sshconfig_options *options, const char *host,
                    struct sshconfig **out, struct sshsources **sources, struct error *e);
/* sshfiles_known.c: as knownhosts_open, for knownhosts_free, but *out may be others', too.  f may
 * be NULL. */
int sshfiles_known_hosts(struct sshfiles *f, const char *const *files, size_t count,
                         struct knownhosts **out, struct error *e);

/* ---- what is kept, for those above ---- */

/* Writes to *b what a thing of that kind ('c' ssh_config, 'k' known_hosts) is made of: 0 or
 * -E_NOMEM. */
int sshfiles_name(struct wire_buf *b, char kind, const char *first, const char *const *list,
                  size_t n);
/* What is kept under this name; NULL: nothing. */
void *sshfiles_find(struct sshfiles *f, const struct wire_buf *name);
/* Keeps it until the last holder has gone, and then drops it; the name is taken over.  False:
 * nobody holds f, or there is too much of it, and it is the caller's. */
int sshfiles_keep(struct sshfiles *f, struct wire_buf *name, void *thing,
                  void (*drop)(void *thing));

#endif
