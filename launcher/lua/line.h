/* One connection's byte pipe: between an instance on a host, whose bytes come and go in whichever
 * thread drives the context, and the peer in the thread of Lua. */
#ifndef GRAPNEL_LAUNCHER_LUA_LINE_H
#define GRAPNEL_LAUNCHER_LUA_LINE_H

#include "launcher/instance.h"
#include "launcher/lua/host.h"

struct line;
struct peer;
struct peer_options;

/* Starts an instance on s, which the line gives back in the end, and a peer on it with *options,
 * whose `wake` the line provides.  The instance's `output` is called without an instance.  NULL
 * with *e filled (s is given back). */
struct line *line_start(lua_State *L, struct host *h, struct grapnel_server *s,
                        const struct grapnel_instance_options *instance,
                        const struct peer_options *options, struct grapnel_error *e);

struct peer *line_peer(struct line *line);
struct grapnel_server *line_server(struct line *line);

/* Hands over what the peer has to say, as far as there is room. */
void line_flush(struct line *line);
/* Gives the peer what came; no code of the user's runs in it. */
void line_serve(struct line *line);

/* True when the instance has ended, and its peer knows. */
int line_over(const struct line *line);
/* True when the instance has answered, or is over. */
int line_settled(const struct line *line);
/* Of a settled one: 0, or negative with *e filled when it is over. */
int line_outcome(struct line *line, struct grapnel_error *e);

/* The worker learns that this is the end, and leaves by itself. */
void line_leave(struct line *line);
/* Ends the instance and frees the line; what waits for it fails.  The server is given back. */
void line_end(struct line *line);

/* The member that chains the lines of a host. */
struct line **line_link(struct line *line);

#endif
