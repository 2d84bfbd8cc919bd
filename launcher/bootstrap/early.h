/* What was sent of a link before the peer's HELLO, kept for another attempt: the preface and whole
 * frames.  Another attempt may take another agent, and then some of it must be said differently. */
#ifndef GRAPNEL_LAUNCHER_BOOTSTRAP_EARLY_H
#define GRAPNEL_LAUNCHER_BOOTSTRAP_EARLY_H

#include "proto/wire.h"

/* Gives the OPEN of stream `id` another body (n bytes).  0 (also when it is not among them),
 * -E_NOMEM or -E_TOO_LARGE; on failure nothing has changed. */
int early_replace(struct wire_buf *early, uint32_t id, const uint8_t *body, size_t n);

/* Puts `now` in the place of `before`, n bytes each, where that stands (once, and in one piece) in
 * the body of an OPEN. */
void early_exchange(struct wire_buf *early, const uint8_t *before, const uint8_t *now, size_t n);

#endif
