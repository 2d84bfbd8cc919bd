/* What the files of the room share: one end's inside.  Not for anyone else.
 *
 * The link's callbacks run no Lua at all: what came is checked (strict.h), copied, and decoded
 * later, in the coroutine that it is for, where errors of Lua are caught. */
#ifndef GRAPNEL_PEER_IMPL_H
#define GRAPNEL_PEER_IMPL_H

#include <lauxlib.h>
#include <lua.h>

#include "peer/codec.h"
#include "peer/peer.h"
#include "proto/link.h"
#include "proto/refs.h"
#include "proto/stream.h"

#define PEER_CALLS_MAX     65536 /* unanswered calls, each way */
#define PEER_SILENT_MAX    16384 /* calls that were answered before they ran */
#define PEER_RELEASE_MAX   256   /* released references that are told at once */
#define PEER_NAME_MAX      128
#define PEER_SERVING_LISTS 1024 /* a power of two: cancels find their call among very many */
#define MESSAGE_INSIDE     112  /* bytes of a message that need no memory of their own */

/* A message that came: checked, and what comes home in it is held until message_done. */
struct message {
    uint8_t *bytes; /* inside, or allocated */
    size_t n;
    bool refs; /* there are references in it */
    uint8_t inside[MESSAGE_INSIDE];
};

/* What the peers of one Lua state share. */
struct world {
    struct tasks *tasks;
    /* Metatables: their addresses, and their places in the registry. */
    const void *proxy_meta, *copy_meta, *channel_meta, *future_meta;
    int procedures_ref; /* set of functions */
    int proxy_ref, copy_ref, channel_ref, future_ref, pairs_ref, waiter_ref, channel_wait_ref;
    int loaded_ref;  /* package.loaded */
    int helpers_ref; /* functions made of peer/helpers.lua, by serve.c's numbers; LUA_NOREF: not yet
                      */
    int module_ref;  /* the table grapnel */
    int conn_code_ref, classic_ref, far_ref; /* compiled Lua of ours; LUA_NOREF: not yet */
    bool text_only;                          /* nothing here loads bytecode any more */
    uint64_t peers;                          /* so many there have been */
};

struct calls_call;
struct serving;
struct channel;
struct channel_exec;

struct peer {
    struct world *world;
    struct tasks *tasks;
    lua_State *L; /* a thread of our own */
    struct link *link;
    struct peer_options o;
    char name[PEER_NAME_MAX];
    uint64_t number;    /* the owner of the tasks that run for the other end */
    struct error error; /* why the link is over; code 0: it lives */
    size_t holders;     /* who point here, peer_free's caller included … */
    size_t own;         /* … and so many of them are what is kept here as long as it lives */
    uint64_t sent_at;   /* when output was last asked for (µs): sending it takes no time */
    bool closing, freed;
    bool held; /* calls wait: what is served is being told of its client */

    /* Places in the registry. */
    int thread_ref;   /* L */
    int anchors_ref;  /* address → object that was handed out */
    int imports_ref;  /* id → proxy, weak */
    int channels_ref; /* stream id → channel, weak */
    int conn_ref;     /* the connection object */
    int root_ref;     /* what we serve as root */
    int services_ref; /* all that we serve: that, or a list of which it is the first */
    int guarded_ref;  /* weak set: what was reached through it, where not everything is a service */
    int runner_ref;   /* serve_runner, with a core as its upvalue */
    int exec_ref;     /* channel_exec_run, the same */
    int service_ref;  /* api_service, the same */
    int builtins_ref; /* functions that an owner calls by name alone */
    int family_ref;   /* what they have in common with those of the links within */

    struct refs *refs;   /* objects handed out */
    struct wire_buf out; /* the message that is being encoded */
    int64_t *issued;     /* references in it */
    size_t issued_n, issued_size;
    int64_t released[2 * PEER_RELEASE_MAX]; /* id, count, id, count, … */
    size_t released_n;                      /* pairs */

    struct calls_call *calls_spare;
    size_t calls_pending;    /* not answered yet */
    uint64_t calls_answered; /* so many were, ever */
    struct calls_slab *calls_slabs;
    struct serving *servings[PEER_SERVING_LISTS]; /* those that live, by id */
    size_t servings_n;
    struct serving *queue, *queue_last; /* those of them that no task has taken yet */
    struct task *standby;               /* will take them */
    size_t silent;                      /* that were answered before they ran */
    struct serving *serving_spare;
    struct channel_exec *execs;
    struct channel *channels; /* those whose stream lives, or for which nobody has asked yet */
    size_t orphans;           /* those of the latter whose stream has ended … */
    size_t orphan_bytes;      /* … and what they hold */
    size_t loose, loose_max;  /* bytes of items that no credit accounts for */

    struct within *within; /* further links */
    size_t within_n;
    struct peer *family; /* of one of those: the one that it is within; else NULL */
};

/* ---- peer.c ---- */

/* The Lua state's world, made when it is not there.  May raise errors. */
struct world *peer_world(lua_State *L);
/* Pushes one of our Lua files as a function; *place keeps it, unless it is NULL.  Compiling takes a
 * good part of what a connection takes.  May raise errors. */
void peer_push_code(lua_State *L, int *place, const char *code, size_t n);
void peer_hold(struct peer *p);
void peer_let(struct peer *p);
/* Pushes what a failure of the protocol's own is told by: an error object for eof (the link's end),
 * denied, cancelled and timeout, else a text. */
void peer_push_error(lua_State *L, struct peer *p, int code, const char *detail);
/* … and raises it. */
int peer_raise(lua_State *L, struct peer *p, int code, const char *detail);
/* The depth of the call in which L runs; 0: none. */
int peer_depth(const struct peer *p);
/* Pushes the table of functions that an owner calls by name alone. */
void peer_push_builtins(lua_State *L, struct peer *p);
/* True after peer_free: what came before can no longer be decoded. */
bool peer_unusable(const struct peer *p);
/* True while the other end can be asked; else p->error tells why not. */
bool peer_alive(struct peer *p);

/* ---- message.c ---- */

/* Checks and copies n bytes.  0; -E_MALFORMED and -E_TOO_LARGE: a breach; -E_STALE: it names an
 * object of ours that is gone; -E_NOMEM.  On failure nothing is kept; the far objects in it are
 * released. */
int message_take(struct peer *p, struct message *m, const uint8_t *bytes, size_t n);
/* Lets go of a message; `decoded`: its references to far objects have become proxies. */
void message_done(struct peer *p, struct message *m, bool decoded);

/* ---- proxy.c: objects that cross ---- */

struct proxy {
    struct peer *p;
    int64_t id;
    int64_t count; /* how often it was received */
    uint8_t kind;  /* an index of proxy_kinds */
};
extern const char *const proxy_kinds[]; /* NULL at the end */
/* A function that works on plain data: tables among its arguments are best sent as copies. */
bool proxy_is_procedure(const struct proxy *x);

/* Makes the metatable.  world->proxy_meta is set. */
void proxy_init(lua_State *L, struct world *w);
/* The proxy at idx, or NULL. */
struct proxy *proxy_at(lua_State *L, const struct world *w, int idx);
/* Pushes the proxy of a far object, one more time received. */
void proxy_push(struct peer *p, lua_State *L, int64_t id, const char *kind, size_t n);
/* Pushes an object of ours, or nil when it is gone: then false. */
bool proxy_push_home(struct peer *p, lua_State *L, int64_t id);
/* Hands out the object at idx: its number, or negative. */
int64_t proxy_issue(struct peer *p, lua_State *L, int idx);
/* Far objects are no longer held.  Told to the other end in batches. */
void proxy_released(struct peer *p, int64_t id, int64_t count);
void proxy_flush(struct peer *p);

/* ---- calls.c: what we ask ---- */

enum calls_state { CALLS_IDLE, CALLS_PENDING, CALLS_ANSWERED };

/* One call of ours.  Kept in slabs of the peer's; a call that nobody waits for any more is given
 * back when its answer comes. */
struct calls_call {
    struct peer *p;
    struct calls_call *next_spare;
    char *text;
    void (*told)(struct calls_call *c); /* the answer came; NULL: only `wait` is woken */
    void *arg;
    uint32_t id;
    enum calls_state state;
    int code;
    bool abandoned;
    struct message m;
    struct tasks_wait wait; /* behind all that those need that nobody waits for: they are many */
};

/* Begins a call's body: [name, [flags?…  The caller puts `n` arguments. */
void calls_begin(struct codec_out *c, struct peer *p, lua_State *L, const char *name, size_t n);
/* Sends what calls_begin began.  The call, pending; raises errors. */
struct calls_call *calls_send(struct codec_out *c);
/* Sends a call whose answer nobody wants. */
void calls_send_only(struct codec_out *c);
/* Waits for the answer and returns the results, or raises the error.  As a C function's last act.
 */
int calls_wait(lua_State *L, struct calls_call *c);
/* Of an answered call: pushes its results and returns their number ≥ 0; or pushes the error value
 * and returns -1.  Raises malformed answers and memory errors. */
int calls_results(lua_State *L, struct calls_call *c);
/* Of an answered call: when its results fit into `size` bytes at `at` they are moved there, and the
 * call is given back.  How many bytes; 0: nothing was done. */
size_t calls_take_small(struct calls_call *c, uint8_t *at, size_t size);
/* Pushes what that took; returns the number of results.  May raise errors as calls_results. */
int calls_push_small(lua_State *L, const uint8_t *bytes, size_t n);
/* {error = …, traceback = …} at the top becomes the error value. */
void calls_push_failure(lua_State *L);
/* traceback(e): a lua_CFunction: what the far end told where its error e came from, or nil. */
int calls_traceback(lua_State *L);
/* Between an error's text and that. */
#define CALLS_TRACEBACK "\nremote traceback:\n"
/* Gives a call back: cancelled if it is pending and `cancel`. */
void calls_drop(struct calls_call *c, bool cancel);
/* The frees of peer_free. */
void calls_free(struct peer *p);

/* `callee` at index 1 (a proxy or a path text), arguments above it: sends it.  flags: CALLS_*. */
#define CALLS_COPY     1
#define CALLS_NO_REPLY 2
#define CALLS_DELIVER  0x10000000 /* not told: the arguments are copied */
struct calls_call *calls_send_call(lua_State *L, struct peer *p, unsigned flags);

/* ---- serve.c: what we are asked ---- */

/* A lua_CFunction: a task that serves. */
int serve_runner(lua_State *L);
void serve_call(struct peer *p, uint32_t id, const uint8_t *body, size_t n);
/* Some of what waits to be sent was sent: goes on, if it was that that stopped it. */
void serve_resume(struct peer *p);
void serve_cancel(struct peer *p, uint32_t id);
/* Cancels all that runs for the other end. */
void serve_end(struct peer *p);
void serve_free(struct peer *p);

#endif
