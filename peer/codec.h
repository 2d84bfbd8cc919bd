/* Lua values as CBOR, and back: encoded from the stack, decoded onto it.
 *
 * Plain values are copied.  Tables, functions, userdata and threads go by reference (peer_impl.h);
 * tables whose metatable says __copy, and all tables in copy mode, are copied deeply. */
#ifndef GRAPNEL_PEER_CODEC_H
#define GRAPNEL_PEER_CODEC_H

#include <lua.h>
#include <stdbool.h>

#include "proto/errors.h"
#include "proto/wire.h"

#define CODEC_DEPTH_MAX 64                  /* tables within tables, by copy */
#define CODEC_CALL_MAX  (64u * 1024 * 1024) /* bytes of a call's body */
#define CODEC_FEW_MAX   (1024 * 1024)       /* … of what opens a channel, of an error value */
#define CODEC_KEEP      (1024 * 1024)       /* memory for making bodies that stays */
#define CODEC_ITEM_MAX  (64u * 1024 * 1024) /* bytes of a channel's item */

struct peer;

/* ---- encoding ---- */

struct codec_out {
    struct peer *p;
    lua_State *L;
    struct wire_buf *to;
    bool copy;          /* tables are copied */
    bool lenient;       /* a table that cannot be copied for a cycle goes by reference */
    bool guarded;       /* a service's: what exposes nothing is copied */
    bool service;       /* a service itself: never copied */
    struct error error; /* why it failed */
    int depth_told;     /* of the calls in which we are, for calls.c */
    bool tell_depth;
    unsigned depth; /* of tables */
    const void *path[CODEC_DEPTH_MAX];
};

/* Begins a message in the peer's own buffer, of at most `limit` bytes.  Raises an error in a
 * finalizer. */
void codec_begin(struct codec_out *c, struct peer *p, lua_State *L, size_t limit);

/* Append the value at idx; an array's head; a text; an integer.  0 or negative, with c->error
 * filled: then codec_give_up.  May raise memory errors of Lua; runs no Lua code. */
int codec_put(struct codec_out *c, int idx);
int codec_put_array(struct codec_out *c, size_t n);
int codec_put_map(struct codec_out *c, size_t n);
int codec_put_text(struct codec_out *c, const char *text);
int codec_put_int(struct codec_out *c, int64_t v);
int codec_put_home(struct codec_out *c, int64_t id);

/* The message is not sent after all: takes back the references in it.  Returns its code. */
int codec_give_up(struct codec_out *c, int code);

/* codec_give_up, and raises c->error as an error of Lua. */
int codec_raise(struct codec_out *c, int code);

/* ---- decoding ---- */

/* A cursor over bytes that have passed strict_check. */
struct codec_in {
    struct peer *p;
    lua_State *L;
    const uint8_t *at, *end;
    int stale; /* references in it to objects that are gone: they were made nil */
};

void codec_open(struct codec_in *c, struct peer *p, lua_State *L, const uint8_t *bytes, size_t n);
/* Enters an array (its items follow, one by one) and gives its count; false and nothing read if
 * the next item is none. */
bool codec_array(struct codec_in *c, size_t *n);
/* Pushes the next item.  Raises memory errors, and "malformed" for equal keys in a map. */
void codec_get(struct codec_in *c);
/* Reads a text or an integer; false and nothing read: the next item is something else. */
bool codec_text(struct codec_in *c, const char **text, size_t *n);
bool codec_int(struct codec_in *c, int64_t *v);
/* True when the next item is a map. */
bool codec_is_map(const struct codec_in *c);

#endif
