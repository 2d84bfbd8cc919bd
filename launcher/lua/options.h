/* The options of connections: one table of what there is, read into those of the C interface.
 */
#ifndef GRAPNEL_LAUNCHER_LUA_OPTIONS_H
#define GRAPNEL_LAUNCHER_LUA_OPTIONS_H

#include <lua.h>

#include "launcher/grapnel.h"

struct options_lua {
    struct grapnel_connect_options connect;
    struct grapnel_instance_options instance;
    int teleport;
    int service; /* stack indices of the values of `service` … */
    int require; /* … and `require`; 0: not given */
};

/* Reads the table at that index, if there is one.  What *o points to stays on the stack, which must
 * not be cut before *o is done with.  Raises an error about what is unknown or of a wrong type. */
void options_lua_read(lua_State *L, int index, struct options_lua *o);

#endif
