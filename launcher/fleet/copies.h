/* Options of the public header that outlive the call that brought them: copies with strings and
 * lists of their own. */
#ifndef GRAPNEL_LAUNCHER_FLEET_COPIES_H
#define GRAPNEL_LAUNCHER_FLEET_COPIES_H

#include "launcher/grapnel.h"

/* Each fills all of *to, which is to be cleared whatever the result: 0, or -E_NOMEM (of a call's
 * arguments: -E_ARGUMENT where they cannot be copied, too).  `from` may be NULL: the defaults. */
int copies_connect(struct grapnel_connect_options *to, const struct grapnel_connect_options *from);
int copies_exec(struct grapnel_exec_options *to, const struct grapnel_exec_options *from);
int copies_instance(struct grapnel_instance_options *to,
                    const struct grapnel_instance_options *from);
int copies_call(struct grapnel_call_options *to, const struct grapnel_call_options *from);

/* Free what is in a copy; all zero is legal. */
void copies_clear_connect(struct grapnel_connect_options *o);
void copies_clear_exec(struct grapnel_exec_options *o);
void copies_clear_instance(struct grapnel_instance_options *o);
void copies_clear_call(struct grapnel_call_options *o);

#endif
