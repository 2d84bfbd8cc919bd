/* The inside of serving, for serve.c and serve_ops.c only. */
#ifndef GRAPNEL_PEER_SERVE_H
#define GRAPNEL_PEER_SERVE_H

#include "peer/peer_impl.h"

/* One call of the other end's, from its arrival to its answer. */
struct serving {
    struct serving *next, *prev; /* in the peer's list */
    struct serving *after;       /* in its queue */
    struct peer *p;
    struct task *task; /* NULL: in the queue */
    uint32_t id;
    int depth;
    bool copy;     /* results are copied */
    bool answered; /* nothing more is to be said */
    bool silent;   /* it was answered before it ran … */
    bool late;     /* … or is to get that same answer at its end */
    bool cancelled;
    bool root;    /* the answer is a service itself */
    bool guarded; /* what is called was reached through what this end serves */
    struct message m;
};

/* Functions of helpers.lua, by their place. */
enum serve_helper {
    HELPER_INDEX = 1,
    HELPER_NEWINDEX,
    HELPER_LEN,
    HELPER_TOSTRING,
    HELPER_CLOSE,
    HELPER_OPERATORS, /* a table of functions by name */
    HELPER_PAGE,
    HELPER_FIND,
};

/* Pushes a helper. */
void serve_push_helper(lua_State *L, struct world *w, enum serve_helper which);

/* Answers with all values on the stack above `base`. */
int serve_answer(lua_State *L, struct serving *s, int base);
/* An answer at once, for calls that want none; but while very many of those run, when it has ended:
 * so they count among the unanswered ones, of which there is a limit. */
void serve_no_reply(struct serving *s);
/* Answers that it failed in a way of the protocol's own. */
int serve_fail(struct serving *s, int code, const char *detail);

/* For continuations, when they have answered: goes on with the next call. */
int serve_go_on(lua_State *L, struct serving *s);

/* The operations.  The cursor stands at the arguments, of which there are n; each ends with an
 * answer, or with a call whose continuation answers and goes on. */
typedef int serve_operation(lua_State *L, struct serving *s, struct codec_in *in, size_t n);
/* NULL: there is no such operation. */
serve_operation *serve_find(const char *name, size_t n);

/* What the client may see of the service's object at index 1 under the key at index 2 is
 * pushed; false, and nothing pushed: denied. */
bool serve_exposed(lua_State *L);
/* True when what is sent now is a service's: always with PEER_SERVICE, and at other ends while they
 * serve a call of something that is guarded. */
bool serve_guards(struct peer *p);
/* True when the value at idx is a list of services, not a service. */
bool serve_is_list(lua_State *L, int idx);
/* Pushes the service of this end that has the name at index 1; false, and nothing pushed: none. */
bool serve_named(lua_State *L, const struct peer *p);
/* The object at idx shows what it exposes, and nothing else: from here on.  May raise errors. */
void serve_guard(lua_State *L, struct peer *p, int idx);
/* True when it does. */
bool serve_guarded(lua_State *L, const struct peer *p, int idx);
/* True when the table at idx exposes something: it goes by reference. */
bool serve_exposes(lua_State *L, int idx);

#endif
