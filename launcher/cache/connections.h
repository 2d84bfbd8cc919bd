/* What the files of the public connection cache share. */
#ifndef GRAPNEL_LAUNCHER_CACHE_CONNECTIONS_H
#define GRAPNEL_LAUNCHER_CACHE_CONNECTIONS_H

#include "launcher/cache/cache.h"

/* Instances of C, struct grapnel_instance, in the cache. */
extern const struct cache_end_class connections_class;

/* The cache of g; NULL with *e filled. */
struct cache *connections_cache(struct grapnel *g, struct error *e);
/* The options (may be NULL) as they are meant for this host: with the default user. */
struct grapnel_connect_options connections_options(const char *host,
                                                   const struct grapnel_connect_options *options);
/* 0 for a host, or a list of them, that is not NULL; or -E_ARGUMENT with *e filled. */
int connections_host(const void *host, struct error *e);
/* 0 for the number of an instance; or -E_ARGUMENT with *e filled. */
int connections_number(int instance, struct error *e);

#endif
