/* A mapped piece of a device or file, whose every access is checked (a Lua object). */
#ifndef GRAPNEL_AGENT_WORKER_DEV_REGION_H
#define GRAPNEL_AGENT_WORKER_DEV_REGION_H

#include <lua.h>

/* device:mmap: the arguments of that method from index 2 on, `fd` what is mapped.  Pushes the
 * region; or nil, message, errno. */
int dev_region_map(lua_State *L, int fd);

#endif
