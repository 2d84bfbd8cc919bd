/* One connection's byte pipe: between an instance on a host, whose bytes come and go in whichever
 * thread drives the context, and the peer in the thread of Lua. */
#ifndef GRAPNEL_LAUNCHER_LUA_LINE_H
#define GRAPNEL_LAUNCHER_LUA_LINE_H

#include "launcher/lua/host.h"
#include "launcher/remote/instance.h"

struct line;
struct peer;
struct peer_options;

/* Starts an instance on s, and a peer on it with *options, whose `wake` the line provides.  The
 * line gives *use (may be NULL) back in the end.  The instance's `output` is called without an
 * instance.  NULL with *e filled, and *use given back. */
struct line *line_start(lua_State *L, struct host *h, struct grapnel_server *s,
                        const struct host_use *use, const struct grapnel_instance_options *instance,
                        const struct peer_options *options, struct error *e);

struct peer *line_peer(struct line *line);
/* What line_start was given. */
const struct host_use *line_use(const struct line *line);

/* Hands over what the peer has to say, as far as there is room. */
void line_flush(struct line *line);
/* Gives the peer what came; no code of the user's runs in it. */
void line_serve(struct line *line);

/* In a child of fork: its peer learns that it is another process's. */
void line_forsake(struct line *line);

/* True when the instance has ended, and its peer knows. */
int line_over(const struct line *line);
/* True when the instance has answered, or is over. */
int line_settled(const struct line *line);
/* Of a settled one: 0, or negative with *e filled when it is over. */
int line_outcome(struct line *line, struct error *e);

/* The worker learns that this is the end, and leaves by itself. */
void line_leave(struct line *line);
/* Ends the instance and frees the line; what waits for it fails.  The server is given back. */
void line_end(struct line *line);

/* ---- in any thread, with the context's lock ---- */

/* True when nothing can be said on it any more, as far as is known. */
int line_is_lost(const struct line *line);
/* What is under way fails with this when the thread of Lua sees it, and the worker is asked to
 * leave, and stopped if it does not. */
void line_cut(struct line *line, int code, const char *text);
/* The instance has ended after line_cut, or has never said anything: then nobody waits for its end.
 */
int line_has_ended(const struct line *line);
/* Nobody else knows of this line any more: once it has ended, line_reap frees it. */
void line_abandon(struct line *line);
/* In the thread of Lua, without the lock: frees it if it is to be.  True when it was freed. */
int line_reap(struct line *line);

/* The member that chains the lines of a host. */
struct line **line_link(struct line *line);

#endif
