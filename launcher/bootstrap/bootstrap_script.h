/* The text of the bootstrap: what a login shell is told to run. */
#ifndef GRAPNEL_LAUNCHER_BOOTSTRAP_BOOTSTRAP_SCRIPT_H
#define GRAPNEL_LAUNCHER_BOOTSTRAP_BOOTSTRAP_SCRIPT_H

#include "launcher/bootstrap/bootstrap.h"

/* The command text for an agent of which `size` bytes are sent; its status lines have the nonce,
 * which is of letters and digits.  For the caller to free; NULL: out of memory. */
char *bootstrap_script(const struct bootstrap_options *o, size_t size, const char *nonce);

#endif
