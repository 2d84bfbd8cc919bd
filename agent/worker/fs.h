/* The parts of the module fs.  Each table ends with NULLs. */
#ifndef GRAPNEL_AGENT_WORKER_FS_H
#define GRAPNEL_AGENT_WORKER_FS_H

#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>
#include <sys/stat.h>

extern const luaL_Reg fs_stat_functions[];
extern const luaL_Reg fs_path_functions[];
extern const luaL_Reg fs_file_functions[];
extern const luaL_Reg fs_data_functions[];
extern const luaL_Reg fs_glob_functions[];
extern const luaL_Reg fs_tree_functions[];
extern const luaL_Reg fs_watch_functions[];

/* A file's type as a text: "file", "directory", "link", … */
const char *fs_stat_type(mode_t mode);

/* Sets what stat(2) tells on the table on top of the stack. */
void fs_stat_set(lua_State *L, const struct stat *st);

/* A directory for the collector to close; NULL: closed. */
struct directory {
    DIR *dir;
};

/* Pushes one that is closed, so that none stays open when memory is out. */
struct directory *fs_stat_open(lua_State *L);
void fs_stat_close(struct directory *d);

/* Sorts the list on top of the stack, by table.sort. */
void fs_stat_sort(lua_State *L);

/* Whether a directory's entry is "." or "..". */
int fs_stat_dots(const char *name);

/* Permissions: an integer at stack index `index`, or a text of octal digits; `fallback` where there
 * is nothing.  `arg` is the argument to blame. */
mode_t fs_path_mode(lua_State *L, int index, int arg, mode_t fallback);

/* Field "mode" of the options at `arg`. */
mode_t fs_path_mode_option(lua_State *L, int arg, mode_t fallback);

#endif
