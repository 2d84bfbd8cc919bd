/*** module fs
 * Files and directories. Paths are bytes; any that the system allows will do. Whatever fails in
 * the system returns nil, a message and the error's number. Files are those of Lua's io library:
 * `read`, `write`, `lines`, `seek`, `close` work on them as there.
 */
#include "agent/worker/fs.h"
#include "agent/worker/mods.h"

int mod_fs(lua_State *L)
{
    lua_createtable(L, 0, 48);
    luaL_setfuncs(L, fs_stat_functions, 0);
    luaL_setfuncs(L, fs_path_functions, 0);
    luaL_setfuncs(L, fs_file_functions, 0);
    luaL_setfuncs(L, fs_data_functions, 0);
    luaL_setfuncs(L, fs_glob_functions, 0);
    luaL_setfuncs(L, fs_tree_functions, 0);
    luaL_setfuncs(L, fs_watch_functions, 0);
    return 1;
}
