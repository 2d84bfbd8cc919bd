/* What tells servers apart: two ways to a host that are the same, whatever was typed, have the same
 * key, and no others have. */
#ifndef GRAPNEL_LAUNCHER_CACHE_SERVERKEY_H
#define GRAPNEL_LAUNCHER_CACHE_SERVERKEY_H

#include "launcher/route.h"

/* A text that is equal exactly for equal ways to the same place: after ssh_config, so that aliases
 * of one host share it.  In it is what decides who one is there, how one gets there and what is
 * demanded of the line (user, host, port, host key's name and files, identities, proxies,
 * algorithms, transport, sudo, lease, …), not what matters while connecting only (time limits,
 * questions to a person).  To be freed; NULL: memory is out.
 * r was made with these options. */
char *serverkey_make(const struct route *r, const struct grapnel_connect_options *o);

/* Likewise, equal for all ways to the same account on the same host, however they differ else: what
 * is demanded of the line and what one logs in with is not in it.  A host is one here that has one
 * name (or HostKeyAlias), port and proxy; no name is resolved. */
char *serverkey_place(const struct route *r, const struct grapnel_connect_options *o);

/* "user@host" for people, the host as typed.  To be freed; NULL: memory is out. */
char *serverkey_name(const struct route *r, const struct grapnel_connect_options *o);

#endif
