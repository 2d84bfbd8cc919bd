/* Between the files of fdio: reading and writing as methods of its objects. */
#ifndef GRAPNEL_AGENT_WORKER_FDIO_INTERNAL_H
#define GRAPNEL_AGENT_WORKER_FDIO_INTERNAL_H

#include "agent/worker/fdio.h"

#define FDIO_TURN ((size_t)1 << 20) /* bytes after which others have their turn */

/* Methods; the comments are with the source. */
int fdio_read(lua_State *L);
int fdio_lines(lua_State *L);
int fdio_write(lua_State *L);

/* Gives the buffer another size, 0: none, with Lua's own allocator, so that the memory counts as
 * Lua's. Raises the error when there is none. */
void fdio_resize(lua_State *L, struct fdio *f, size_t room);

#endif
