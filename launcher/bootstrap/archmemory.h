/* Which system each host was found to be, so that the right agent is sent at the first attempt.
 * A wrong or lost memory costs a round trip, nothing else. */
#ifndef GRAPNEL_LAUNCHER_BOOTSTRAP_ARCHMEMORY_H
#define GRAPNEL_LAUNCHER_BOOTSTRAP_ARCHMEMORY_H

#include <stddef.h>

#define ARCHMEMORY_FILE_MAX (256 * 1024) /* bytes; a larger file is begun anew */

/* Copies the `uname -sm` that `host` ("name:port") had last time to uname (size bytes), "" if
 * unknown.  From $XDG_CACHE_HOME/grapnel/architectures, or ~/.cache/grapnel/architectures. */
void archmemory_recall(const char *host, char *uname, size_t size);

/* Notes it.  Failures are nobody's concern.  Concurrent writers do not harm each other. */
void archmemory_note(const char *host, const char *uname);

#endif
