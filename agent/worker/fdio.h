/* A descriptor as an object of Lua's that is read and written without holding up other tasks: what
 * a command's pipes, sockets and devices have in common.
 *
 * struct fdio is the first member of such an object's userdata; its descriptor is non-blocking. A
 * method that has to wait does so by fdio_wait, as its last act, and goes on in its continuation;
 * it keeps the moment when its time is over in its stack. What was read and not asked for yet stays
 * in the object, whatever becomes of the method: a timeout or a cancel loses nothing. */
#ifndef GRAPNEL_AGENT_WORKER_FDIO_H
#define GRAPNEL_AGENT_WORKER_FDIO_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>

struct fdio {
    int fd;         /* -1: closed */
    int socket;     /* bytes are sent, not written */
    int ended;      /* the end of file was read */
    double timeout; /* of each method, seconds; negative: none */
    char *bytes;    /* read ahead: [begin, end) of room */
    size_t begin, end, room;
    size_t searched; /* so many from `begin` on hold no end of a line */
};

/* Pushes a new object of `size` bytes, zero besides its struct fdio, which takes the descriptor
 * over (-1: it comes later), of the class: these methods and metamethods, besides those that all
 * have: read, write, lines, settimeout, getfd, close; __gc, __close, __tostring. */
struct fdio *fdio_new(lua_State *L, size_t size, int fd, const char *class, const luaL_Reg *methods,
                      const luaL_Reg *meta);

/* The object at index 1, of whatever class it is; an error when it is none. */
struct fdio *fdio_self(lua_State *L);

/* The object at any index; NULL when it is none. */
struct fdio *fdio_test(lua_State *L, int index);

/* Pushes the moment when a method that begins now and may last `seconds` (negative: for ever) has
 * to end. */
void fdio_deadline(lua_State *L, double seconds);

/* Waits until the descriptor can be read (EV_READ), written (EV_WRITE) or is closed, or for the
 * deadline at this index of the stack; then k runs with ctx and a status, and calls fdio_waited
 * first. */
int fdio_wait(lua_State *L, struct fdio *f, int events, int deadline, lua_KFunction k,
              lua_KContext ctx);

/* The same for a descriptor that is no object. */
int fdio_wait_for(lua_State *L, int fd, int events, int deadline, lua_KFunction k,
                  lua_KContext ctx);

/* Looks whether it goes on after a wait with this status, or begins (status 0). 0: it does. Or 3,
 * having pushed nil, "timeout" or "closed", errno. */
int fdio_waited(lua_State *L, const struct fdio *f, int status);

/* Returns nil, message, errno for an errno value. Those that LuaSocket has words for have these. */
int fdio_failed(lua_State *L, int number);

/* Closes it: whoever waits for it goes on and finds it so. Closed already is legal. */
void fdio_shut(lua_State *L, struct fdio *f);

/* Methods in the manner of LuaSocket; the comments are with the source. */
int fdio_receive(lua_State *L);
int fdio_send(lua_State *L);

#endif
