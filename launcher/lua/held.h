/* Lua's connections in the cache: what lies in a slot of it, the line that is in force.
 *
 * The cache calls in any thread and closes what it likes, but lines are made and freed in the
 * thread of Lua: so the two meet here. */
#ifndef GRAPNEL_LAUNCHER_LUA_HELD_H
#define GRAPNEL_LAUNCHER_LUA_HELD_H

#include <lua.h>

#include "launcher/cache/cache.h"
#include "launcher/lua/host.h"

struct held;
struct line;

/* The one in this slot; NULL: it is none of Lua's.  Needs the context's lock. */
struct held *held_of(const struct grapnel_connection *c);

/* Pushes a userdata that keeps a new one in memory, which is in slot `number` of s from now on, to
 * be given a line.  NULL with *e filled, and nothing is pushed.  May raise errors. */
struct held *held_push(lua_State *L, struct host *h, struct cached *s, int number, struct error *e);
/* The one of the userdata at that index. */
struct held *held_at(lua_State *L, int index);

/* Its slot in the cache, to be looked at with the context's lock; NULL: it was closed, and nobody
 * holds it. */
struct grapnel_connection *held_slot(const struct held *held);
struct host *held_host(const struct held *held);

/* What the program has got from its line holds it in the cache, as far as is known since this was
 * called last.  In the thread of Lua, with the context's lock. */
void held_note_use(struct held *held);
/* The same of those of a host. */
void held_note_uses(struct held *first);

/* The line that is in force, or was last; NULL: there is none. */
struct line *held_line(struct held *held);
/* Whether it can be used, or is being made. */
int held_is_alive(struct held *held);
/* The line is in force from now on, and what it had before is left.  0, or negative with *e filled:
 * it was closed meanwhile; then the line is left. */
int held_begin(struct held *held, struct line *line, struct error *e);
/* No line has come of it, or none that is of use. */
void held_fail(struct held *held);

/* What the cache has done with it since this was asked last.  *made_anew: it is to be given a line;
 * *told: what grapnel_cache_limits.renewed tells, with *generation and *error (code 0: none). */
void held_news(struct held *held, int *made_anew, int *told, int *generation,
               struct grapnel_error *error);
/* As grapnel_cache_limits.renewed: for held_news. */
void held_renewed(void *host, struct grapnel_connection *c, int generation,
                  const struct grapnel_error *error);

/* Keeps the values on top, which are popped: a table, and a function that is called in a task with
 * table[userdata's held as lightuserdata] when there are news.  The table forgets those that the
 * cache has freed. */
void held_set_up(lua_State *L);
/* Looks after those of a host.  No code of the user's runs in it. */
void held_serve(struct held *first, lua_State *L);
/* The state is being closed: takes it out of the cache, and out of its host. */
void held_end(struct held *held);
/* The member that chains those of a host. */
struct held **held_link(struct held *held);

#endif
