/* The output of many hosts in a folder: HOST.out and HOST.err, byte for byte. */
#ifndef GRAPNEL_CLI_FLEET_OUTDIR_H
#define GRAPNEL_CLI_FLEET_OUTDIR_H

#include "launcher/grapnel.h"

struct fleet_outdir;

/* Makes the folder where there is none; names of `count` hosts, which must outlive it.  NULL with
 * *error. */
struct fleet_outdir *fleet_outdir_new(const char *path, const char *const *names, size_t count,
                                      struct grapnel_error *error);
void fleet_outdir_free(struct fleet_outdir *d);

/* which: 1 stdout, 2 stderr.  What an earlier run has left in the file goes with the first bytes.
 * 0, or -1: then nothing more of the host is written. */
int fleet_outdir_write(struct fleet_outdir *d, size_t host, int which, const void *bytes, size_t n);
/* The host has ended; if anything was run there, it has files, be they empty. */
void fleet_outdir_end(struct fleet_outdir *d, size_t host, int ran);
/* errno of the first failure of the host's files; 0: there was none. */
int fleet_outdir_error(const struct fleet_outdir *d, size_t host);

#endif
