/* Two Lua states in one process, each one end of a link, joined back to back in memory: `near` has
 * what the launcher has, `far` what a worker has.  While one waits, bytes are pumped and the other
 * one's tasks run. */
#ifndef TESTS_UNIT_PEERPAIR_H
#define TESTS_UNIT_PEERPAIR_H

#include <lauxlib.h>
#include <lua.h>

#include "peer/peer.h"

struct peerpair;

struct peerpair_end {
    struct peerpair *pair;
    struct peerpair_end *other;
    lua_State *L;
    struct tasks *tasks;
    struct peer *peer;
};

struct peerpair {
    struct peerpair_end near, far;
    size_t cut;        /* bytes for each peer_input, 0: all */
    uint64_t moved;    /* bytes, both ways */
    int frozen;        /* nothing moves */
    char warned[1024]; /* warnings of near */
};

/* far_options may be NULL: PEER_OPEN.  near has the globals conn and grapnel, and the functions of
 * peerpair.c's table. */
struct peerpair *peerpair_new(const struct peer_options *far_options);
void peerpair_free(struct peerpair *p);

/* Moves bytes and runs tasks until nothing happens any more. */
void peerpair_run(struct peerpair *p);
/* Runs a chunk in the near state; its results are left on the stack.  Fails the test on error. */
void peerpair_do(struct peerpair *p, const char *code);
/* Runs each function of the table that the Lua file returns, each with a new pair (options as
 * above); the test fails with the errors of all. */
void peerpair_file(const char *path, const struct peer_options *far_options);

#endif
