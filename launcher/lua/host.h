/* What all connections of one Lua state share: a context, the tasks, and the servers behind the
 * connections.  Everything here is called in the thread of that Lua state. */
#ifndef GRAPNEL_LAUNCHER_LUA_HOST_H
#define GRAPNEL_LAUNCHER_LUA_HOST_H

#include <lua.h>

#include "launcher/context.h"

struct cached;
struct held;
struct host;
struct input;
struct line;
struct tasks;
struct until;

/* Makes it for L at the first call, with its tasks; it is freed with the state.  Raises an error
 * of Lua's when that fails. */
struct host *host_of(lua_State *L);
/* The same at the first call, on a context of the caller's, which must outlive the state. */
struct host *host_on(lua_State *L, struct grapnel *g);

/* False where there is none, and when the state is being closed and has freed it. */
int host_lives(lua_State *L);

struct grapnel *host_context(struct host *h);
struct tasks *host_tasks(struct host *h);

/* A server that something uses: a held one of the cache, or one of its own, or none. */
struct host_use {
    struct cached *cached;
    struct grapnel_server *own;
};
/* Gives it back.  If that ends it (it is an own one, or one that is passing through the cache, and
 * nobody else uses it): waits until the host confirms that all is gone. */
void host_leave_server(struct host *h, const struct host_use *use);
/* The server itself; NULL: it was closed, or there is none. */
struct grapnel_server *host_server(struct host *h, const struct host_use *use);

/* A line is looked after from now on, or no more. */
void host_add_line(struct host *h, struct line *line);
void host_remove_line(struct host *h, struct line *line);

/* The same for an input. */
void host_add_input(struct host *h, struct input *in);
void host_remove_input(struct host *h, struct input *in);

/* The same for what it has in the cache. */
void host_add_held(struct host *h, struct held *held);
void host_remove_held(struct host *h, struct held *held);

/* held_note_uses of them; needs the context's lock. */
void host_note_uses(struct host *h);

/* The same for what is waited for. */
void host_add_until(struct host *h, struct until *u);
void host_remove_until(struct host *h, struct until *u);

/* Lets the Lua thread see what has happened on its lines meanwhile. */
void host_look(struct host *h);

/* True while a connection is alive. */
int host_alive(const struct host *h);

/* Something has happened that the Lua thread must see; needs the context's lock. */
void host_stir(struct host *h);

#endif
