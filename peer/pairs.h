/* Iteration over far objects, a page of pairs at a time. */
#ifndef GRAPNEL_PEER_PAIRS_H
#define GRAPNEL_PEER_PAIRS_H

#include <lua.h>
#include <stdbool.h>

#define PAIRS_FIRST 64   /* pairs of the first page; each further one has twice as many … */
#define PAIRS_MOST  4096 /* … up to this */
#define PAIRS_BYTES (64 * 1024) /* a page is ended when it has so many bytes */

struct serving;
struct world;

/* A lua_CFunction, the metamethod __pairs of proxies (upvalue 1: the world). */
int pairs_start(lua_State *L);

/* Makes the iterator's metatable; replaces the global ipairs by one that knows proxies. */
void pairs_init(lua_State *L, struct world *w);

/* buffiter(proxy [, most [, "pairs"|"ipairs"|"iterator"]]): pages of exactly that many pairs. */
int pairs_buffiter(lua_State *L);

/* Answers `next` for a table without a metatable: object, how, state, most on the stack. */
int pairs_answer_plain(lua_State *L, struct serving *s, bool sequence, size_t most);
/* Of the state that such an answer gave, or nil, at idx (absolute): makes it helpers.lua's.  False:
 * it is something else. */
bool pairs_unbox(lua_State *L, int idx);
/* Answers with what helpers.lua's page has gathered in the table on top. */
int pairs_answer_state(lua_State *L, struct serving *s);

#endif
