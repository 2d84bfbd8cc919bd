/* What the files of the public connection cache share. */
#ifndef GRAPNEL_LAUNCHER_CONNECTIONS_H
#define GRAPNEL_LAUNCHER_CONNECTIONS_H

#include "launcher/grapnel.h"

/* The options (may be NULL) as they are meant for this host: with the default user. */
struct grapnel_connect_options connections_options(const char *host,
                                                   const struct grapnel_connect_options *options);

#endif
