/* A whole file in memory. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_TEXTFILE_H
#define GRAPNEL_LAUNCHER_TARGETS_TEXTFILE_H

#include <stddef.h>
#include <sys/stat.h>

#include "proto/errors.h"

/* Reads at most `limit` bytes; more is an error.  *text, which the caller frees, is terminated. *st
 * (which may be NULL) is what fstat said.  0, -E_IO (then *missing, which may be NULL, tells
 * whether there is no such file), -E_LIMIT, -E_NOMEM with *e filled. */
int textfile_read(const char *path, size_t limit, char **text, size_t *n, struct stat *st,
                  int *missing, struct error *e);

#endif
