/* Folding: many names in the few words that stand for them, web[01-20]. */
#ifndef GRAPNEL_LAUNCHER_TARGETS_FOLD_H
#define GRAPNEL_LAUNCHER_TARGETS_FOLD_H

#include <stddef.h>

/* Appends the terms that stand for names at(arg, 0 .. count - 1), with commas between them, to
 * *out, which the caller frees (terminated, also when there are none).  Exact: expanding gives
 * these names again, each once.  Names that are alike but for their numbers become products of
 * ranges where these are exact; terms come in the order of their text, numbers in theirs.  The time
 * is that of reading and sorting.  0, -E_NOMEM or -E_LIMIT. */
int fold_names(const char *(*at)(const void *arg, size_t i), const void *arg, size_t count,
               char **out);

#endif
