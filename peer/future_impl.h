/* What future.c (the objects) and future_start.c (what makes them) share. */
#ifndef GRAPNEL_PEER_FUTURE_IMPL_H
#define GRAPNEL_PEER_FUTURE_IMPL_H

#include "peer/future.h"
#include "peer/peer_impl.h"

/* User values of a future. */
enum { USER_RESULTS = 1, USER_CALLBACKS, USER_COUNT = 2 };

struct waiter {
    struct tasks_wait wait;
    struct waiter *next;
    struct future *future; /* NULL: not in its list */
};

/* The time after which nobody wants it any more. */
struct expiry {
    struct tasks_timer timer;
    struct future *future;
};

#define FUTURE_SMALL 24 /* bytes of an answer that are kept here */

/* Small, because there may be very many: with its user values it is one of malloc's quick sizes. */
struct future {
    struct world *world;
    struct waiter *waiters;
    union {
        struct {
            struct calls_call *call; /* NULL once its results are taken, and of local ones */
            struct task *task;       /* of a local function that runs */
            struct expiry *expiry;   /* NULL: none; while it is not ready */
        };
        uint8_t small[FUTURE_SMALL]; /* the answer instead: a call's record is large */
    };
    int results;     /* how many, once they are taken: one is the user value, more are a table */
    uint8_t small_n; /* bytes in `small`; 0: it is not used */
    bool ready, taken, failed, anchored, expired;
};

/* Pushes a new one. */
struct future *future_make(lua_State *L, struct world *w);
/* Before it gets ready. */
void future_forget_expiry(struct future *f);
/* It is ready: its callbacks begin, and then who waits goes on. */
void future_settle(struct future *f);
/* Keeps the values above `base` (popped) as the results of the future at index `at`. */
void future_keep(lua_State *L, struct future *f, int at, int base);
/* The future at idx stays until its callbacks have begun. */
void future_anchor(lua_State *L, int idx);

/* Puts async and call_no_reply into the table on top. */
void future_start_init(lua_State *L, struct world *w);

#endif
