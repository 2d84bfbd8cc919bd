/* Somebody who is asked in place of this process's own terminal: a person at the other end of a
 * line.  Shared by all who may have a question; may be asked from any thread. */
#ifndef GRAPNEL_LAUNCHER_ASKER_H
#define GRAPNEL_LAUNCHER_ASKER_H

#include "launcher/ssh/ask.h"

struct asker;

/* As ask_secret, and BLOCKS as it does; `answer` has room for ASK_SECRET_MAX bytes.  0 with *n, or
 * negative with *e. */
typedef int asker_function(void *arg, const struct ask_options *question, char *answer, size_t *n,
                           struct error *e);

/* gone(arg) runs when nobody has it any more.  from_file: passwords come from a file there.  NULL:
 * memory is out (gone does not run). */
struct asker *asker_new(asker_function *ask, void (*gone)(void *arg), void *arg, int from_file);
/* One more who has it, and one less.  NULL is legal. */
struct asker *asker_hold(struct asker *a);
void asker_free(struct asker *a);

int asker_ask(struct asker *a, const struct ask_options *question, char *answer, size_t *n,
              struct error *e);
/* True when a question of that kind can be put at all. */
int asker_possible(const struct asker *a, const struct ask_options *question);
int asker_from_file(const struct asker *a);

#endif
