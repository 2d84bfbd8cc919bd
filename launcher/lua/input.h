/* Lines of a descriptor of this process, waited for while calls and channels go on. */
#ifndef GRAPNEL_LAUNCHER_LUA_INPUT_H
#define GRAPNEL_LAUNCHER_LUA_INPUT_H

#include <lua.h>

struct input;

/* A lua_CFunction: lines([file]) gives an iterator over the lines of a file (default: standard
 * input), without their ends.  The file must not be read otherwise meanwhile. */
int input_lines(lua_State *L);

/* The member that chains the inputs of a host. */
struct input **input_link(struct input *in);

/* Looks for descriptors that have become ready, for a thread that computes and leaves the loop no
 * time; needs the context's lock. */
void input_look(struct input *first);
/* Lets those whose descriptor has become ready go on; in the thread of Lua. */
void input_serve(struct input *first);

#endif
