/* What a configuration was read from, so that who remembers what it said can tell when it may say
 * something else.  Needs no lock, but one user at a time. */
#ifndef GRAPNEL_LAUNCHER_SSHSOURCES_H
#define GRAPNEL_LAUNCHER_SSHSOURCES_H

#include <stdint.h>

struct sshsources;

/* Adds a file, or the folder that decides what a pattern means, as it is now; to be called before
 * it is read.  One that is not there counts, too.  *list is made at the first.  Beyond 64 no more
 * are taken.  0 or -E_NOMEM. */
int sshsources_add(struct sshsources **list, const char *path);
/* The same for an Include's argument, ready to be expanded as a pattern. */
int sshsources_add_pattern(struct sshsources **list, const char *pattern);

/* One more holder, which is what it returns; one less.  NULL is legal. */
struct sshsources *sshsources_hold(struct sshsources *s);
void sshsources_free(struct sshsources *s);

/* True when both are the same files in the same state.  NULL: nothing was read. */
int sshsources_same(const struct sshsources *a, const struct sshsources *b);
/* True when something is not as it was, or was changed so shortly before it was added that a
 * further change could not be told from that one.  Looks at most every 100 µs of now_us, which is
 * what makes it cost next to nothing.  NULL: false. */
int sshsources_changed(struct sshsources *s, uint64_t now_us);

#endif
