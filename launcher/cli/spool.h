/* A command's output gathered in memory (an unlinked file where there is no such thing), by way of
 * a descriptor that it is written to. */
#ifndef GRAPNEL_CLI_SPOOL_H
#define GRAPNEL_CLI_SPOOL_H

#include <stddef.h>

/* A descriptor to write to, close-on-exec.  -1 with errno. */
int spool_open(void);
/* The same in an unlinked file in any case, in $TMPDIR or /tmp, for what may be much. */
int spool_open_file(void);
/* All that was written, *n bytes, to be freed by free().  NULL with errno. */
char *spool_read(int fd, size_t *n);

#endif
