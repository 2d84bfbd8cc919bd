/* What channel.c (the Lua side), channel_stream.c (the link's side) and channel_exec.c share. */
#ifndef GRAPNEL_PEER_CHANNEL_IMPL_H
#define GRAPNEL_PEER_CHANNEL_IMPL_H

#include "peer/channel.h"
#include "peer/peer_impl.h"
#include "peer/strict.h"

#define CHANNEL_REFS 0x80000000u /* in a length: there are references in the item */

struct channel {
    struct channel *next, *prev; /* in the peer's list, until it is ended and claimed */
    struct peer *p;
    struct stream *s; /* NULL: ended */
    uint32_t id;
    unsigned holders; /* the stream and the Lua object */
    bool listed, claimed;

    struct wire_buf in;
    size_t scanned;  /* bytes of whole items at the front of `in`, checked */
    size_t held;     /* bytes that the stream has not got credit for */
    size_t loose;    /* bytes in `in` beyond those */
    size_t orphan;   /* ended, and nobody has asked for it: what it holds, and 1 */
    unsigned enders; /* who wait for the end only: nothing holds the other end up */
    bool callback;   /* has one, which gets all items */
    bool eof;        /* nothing more will come */
    bool told;       /* by the other end, which sends nothing more */
    bool dropped;    /* closed while it had a callback, which gets no more items */
    int code;        /* why it ended, 0: in order */
    char *text;
    struct message result; /* what the other end's CLOSE said, when it is a failure */

    struct wire_buf out;
    bool shut; /* nothing more is sent */

    struct channel_wait *waits;
};

/* Someone who waits for anything to happen. */
struct channel_wait {
    struct tasks_wait wait;
    struct channel_wait *next;
    struct channel *c;
    uint64_t deadline;
};

/* ---- channel_stream.c ---- */

/* A channel in the peer's list, without a stream; NULL: out of memory. */
struct channel *channel_make(struct peer *p);
extern const struct stream_handler channel_handler;
void channel_attach(struct channel *c, struct stream *s);
void channel_let(struct channel *c);
/* Somebody has asked for it. */
void channel_claim(struct channel *c);
/* Moves what waits to be sent into the stream, to be followed by EOF or CLOSE. */
void channel_flush(struct channel *c);
/* The first whole item: its bytes, valid until the link is used again; taken from the buffer.
 * False: there is none. */
bool channel_take(struct channel *c, const uint8_t **bytes, size_t *n, bool *refs);
/* strict_told: an object that came home in an item has been decoded. */
void channel_unpin(void *arg, enum strict_ref what, int64_t id);
/* Gives credit for what is not held any more. */
void channel_credit(struct channel *c);

/* ---- channel.c ---- */

/* The channel at index 1; raises an error if it is none. */
struct channel *channel_self(lua_State *L);

/* ---- channel_io.c ---- */

/* The methods, of which module.lua keeps three for itself; __call: the next item, nothing at the
 * end in order; close; __gc of waits. */
extern const luaL_Reg channel_methods[10];
int channel_step(lua_State *L);
int channel_close(lua_State *L);
int channel_collect_wait(lua_State *L);
/* Ends both directions, when all that was sent has gone. */
void channel_shut(struct channel *c);

/* ---- channel_exec.c ---- */

/* Closes the stream with a failure: the error value at that index of L, a text or nil above it.
 * What cannot be sent is said so.  May raise memory errors. */
void channel_fail(lua_State *L, struct channel *c, int error);

/* Runs what OPEN's arguments say.  0 or negative, with e filled. */
int channel_exec(struct channel *c, const struct value *args, struct error *e);

#endif
