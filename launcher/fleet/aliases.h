/* Which names of a fleet lead to the same place: the first that asks is it, the others are told
 * which one that was. */
#ifndef GRAPNEL_LAUNCHER_FLEET_ALIASES_H
#define GRAPNEL_LAUNCHER_FLEET_ALIASES_H

#include <stddef.h>

struct aliases;

/* For so many hosts.  NULL: memory is out. */
struct aliases *aliases_new(size_t hosts);
void aliases_free(struct aliases *a);
/* The host that has asked with this key (of serverkey.h) first: `host`, if none has. */
size_t aliases_claim(struct aliases *a, const char *key, size_t host);

#endif
