/* Calls whose arguments were encoded before, for the library's own use.  Needs the context's lock.
 */
#ifndef GRAPNEL_LAUNCHER_REMOTE_CALL_H
#define GRAPNEL_LAUNCHER_REMOTE_CALL_H

#include "launcher/grapnel.h"
#include "proto/errors.h"
#include "proto/wire.h"

/* Calls ref with `count` arguments, which are values without refs, encoded one behind another.
 * NULL with *e filled. */
struct grapnel_future *call_encoded(const struct grapnel_ref *ref, size_t count,
                                    const struct wire_buf *args, struct error *e);

#endif
