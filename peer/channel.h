/* Channels: streams that carry values both ways.
 *
 * An item is its length (u32, big-endian) and one CBOR item.  What was received and not yet taken
 * is held against the stream's credit, so that a reader that does not read stops the sender. */
#ifndef GRAPNEL_PEER_CHANNEL_H
#define GRAPNEL_PEER_CHANNEL_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/values.h"

#define CHANNEL_QUEUE (256 * 1024) /* bytes that wait to be sent, over which send waits */

/* Of all channels together: bytes of items larger than a window; of those that came and ended
 * before anybody asked for them, how many are kept, and their bytes. */
#define CHANNEL_LOOSE_MAX       ((size_t)512 * 1024 * 1024)
#define CHANNEL_ORPHANS_MAX     1024
#define CHANNEL_ORPHANS_HOLDING (16 * 1024 * 1024)

struct peer;
struct world;
struct stream;
struct error;

/* Makes the metatable. */
void channel_init(lua_State *L, struct world *w);

/* The stream of the channel at idx: 1; 0: it is no channel; -1: not one of p's that is open. */
int channel_id(lua_State *L, struct peer *p, int idx, uint32_t *stream);
/* Pushes the channel of that stream, or nil when it is gone: then false. */
bool channel_push(struct peer *p, lua_State *L, uint32_t stream);

/* A lua_CFunction: (core, service, arguments table or nil) → a new channel. */
int channel_open(lua_State *L);

/* The other end opens a stream (link_handler.open). */
int channel_offer(struct peer *p, struct stream *s, const char *service, const struct value *args,
                  struct error *e);

/* A lua_CFunction: the task of remote_exec. */
int channel_exec_run(lua_State *L);
/* Cancels what runs for the other end; frees what remains of it. */
void channel_exec_end(struct peer *p);
void channel_exec_free(struct peer *p);

/* Frees what the other end opened and nobody has asked for. */
void channel_free(struct peer *p);

#endif
