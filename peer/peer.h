/* A Lua state as one end of a link: what the worker and the launcher's Lua are made of.
 *
 * A peer does no input or output of its own: its owner feeds it what the pipe delivers and takes
 * what the pipe is to carry, as with a link.  It belongs to the thread of its Lua state.  Nothing
 * of the state's code runs within these functions (but for metamethods of collected objects): calls
 * that came run when the owner calls tasks_run. */
#ifndef GRAPNEL_PEER_PEER_H
#define GRAPNEL_PEER_PEER_H

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peer/tasks.h"

/* In the registry: a table whose keys are functions that work on plain data.  The other end sends
 * tables among their arguments as copies. */
#define PEER_PROCEDURES "grapnel.procedures"

#define PEER_DEPTH_MAX 64 /* calls within calls, both ends together: the default */

/* What the other end may do here. */
enum peer_policy {
    PEER_OPEN,    /* all: it is the owner of this process */
    PEER_PASSED,  /* use what was passed to it, and nothing else */
    PEER_SERVICE, /* use what the service that was set as root exposes */
};

struct peer;

struct peer_options {
    bool opener; /* of the link: one end is, the other is not */
    enum peer_policy policy;
    int depth_max; /* 0: PEER_DEPTH_MAX */
    bool teleport; /* functions are sent and taken as bytecode */
    size_t links;  /* with PEER_OPEN: further links within this one, at most; each has what belongs
                    * to the state, and the namespace, in common with it */
    /* One of those has ended.  The calls that it served are cancelled; what they have begun beside
     * them has this tasks_owner, and goes on.  May be NULL. */
    void (*left)(void *arg, uint64_t owner);
    /* There is something to send where there was nothing.  May be NULL. */
    void (*wake)(void *arg);
    void *arg;
    const char *name; /* "root@web1:1", for errors; copied */
};

/* Makes one end.  Call it where errors may be raised: memory out is one of Lua's.  The state keeps
 * nothing of it alive: peer_free it before the state is closed. */
struct peer *peer_new(lua_State *L, struct tasks *t, const struct peer_options *o);

/* n bytes of the pipe came.  0, or the negative code with which the link has ended. */
int peer_input(struct peer *p, const uint8_t *bytes, size_t n);

/* As link_output and link_sent. */
int peer_output(struct peer *p, const uint8_t **bytes, size_t *n);
/* False when peer_output would give nothing. */
int peer_has_output(const struct peer *p);
void peer_sent(struct peer *p, size_t n);

/* True while the owner must not read from the pipe. */
int peer_congested(const struct peer *p);

/* The pipe is gone: everything that waits for the other end fails with this code and detail. */
void peer_lost(struct peer *p, int code, const char *detail);

/* Says goodbye; the owner goes on until peer_finished. */
void peer_close(struct peer *p);
bool peer_finished(const struct peer *p);

/* 0 while the link lives, else the code it ended with; *detail (may be NULL) tells more. */
int peer_error(const struct peer *p, const char **detail);

/* peer_lost with E_CLOSED if it still lives; the state's proxies of it are stale from here on.
 * NULL is legal. */
void peer_free(struct peer *p);

/* Sets the object on top of the stack (popped) as what the other end gets as `root`.  With
 * PEER_SERVICE it is the service: its on_connect and on_disconnect are called. */
void peer_set_root(lua_State *L, struct peer *p);

/* True when that was done with PEER_SERVICE. */
bool peer_serves(const struct peer *p);

/* Pushes the version of grapnel, a string. */
void peer_push_version(lua_State *L);

/* Pushes the connection object for Lua, which lives as long as the peer. */
void peer_push(lua_State *L, struct peer *p);
/* Pushes a new one, which lives as long as somebody has it. */
void peer_push_new(lua_State *L, struct peer *p);

/* True while the link lives and a call is under way on it, of either end, or the state has anything
 * that leads to it: proxies, channels, futures, a connection object of peer_push_new or something
 * got from it.  What waits for the garbage collector is had. */
bool peer_in_use(const struct peer *p);

/* Pushes the table of functions that `require "grapnel"` gives (async, timed, copy, …), for the
 * binding to add connect to. */
void peer_push_module(lua_State *L);

#endif
