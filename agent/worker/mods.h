/* The worker's own modules, and what several of them need. */
#ifndef GRAPNEL_AGENT_WORKER_MODS_H
#define GRAPNEL_AGENT_WORKER_MODS_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdio.h>

/* The openers of mods.def, in the manner of luaopen_*: push the module's table and return 1. */
#define MODULE(name) int mod_##name(lua_State *L);
#include "agent/worker/mods.def"
#undef MODULE

/* Puts all modules of mods.def into package.preload. */
void mods_preload(lua_State *L);

/* Pushes a new table that crosses a link by copy: its metatable is "grapnel.copy", whose field
 * __copy is true.  The numbers are those of lua_createtable. */
void mods_table(lua_State *L, int array, int fields);

/* The same mark for the table on top of the stack. */
void mods_mark(lua_State *L);

/* Each sets a field of the table on top of the stack. */
void mods_set_int(lua_State *L, const char *name, lua_Integer value);
void mods_set_number(lua_State *L, const char *name, lua_Number value);
void mods_set_text(lua_State *L, const char *name, const char *value); /* NULL: no field */
void mods_set_flag(lua_State *L, const char *name, int value);

/* Returns nil, "what: message", errno of the error in errno; `what` may be NULL. */
int mods_failed(lua_State *L, const char *what);

/* Returns true if `ok`, else as mods_failed. */
int mods_done(lua_State *L, int ok, const char *what);

/* The text argument at `arg` as a path: an error if it is none or holds a zero byte. */
const char *mods_path(lua_State *L, int arg);

/* Field `name` of the options table at `arg`, which may be absent; the default where it is nil.
 * Values of another type are errors that name the field. */
int mods_option_flag(lua_State *L, int arg, const char *name, int fallback);
lua_Integer mods_option_int(lua_State *L, int arg, const char *name, lua_Integer fallback);
lua_Number mods_option_number(lua_State *L, int arg, const char *name, lua_Number fallback);

/* In the registry: the function that makes a file in Lua's manner of a stream of fdio's. */
#define MODS_FILE_OF_STREAM "grapnel.file"

/* Makes a metatable of that name for userdata: `methods` are its fields, and __index is itself. */
void mods_class(lua_State *L, const char *name, const luaL_Reg *methods);

/* The C functions in the table on top work on plain data: the launcher sends tables among their
 * arguments as copies.  Done for modules and classes made here. */
void mods_procedures(lua_State *L);

/* Sets the sizes of a file system on the table on top of the stack. */
struct statvfs;
void mods_set_space(lua_State *L, const struct statvfs *v);

/* Pushes a file of the io library, closed as yet: so nothing is left open when memory is out.
 * mods_stream_file gives it its FILE (NULL: returns 0, and it stays closed), mods_stream_close
 * closes it at once. */
luaL_Stream *mods_stream(lua_State *L);
int mods_stream_file(luaL_Stream *s, FILE *f);
void mods_stream_close(luaL_Stream *s);

/* Reads a small file (of /proc, /sys) into text[size], cut where it is longer, zero at its end.
 * Bytes, or -1 with errno. */
int mods_read(const char *path, char *text, size_t size);

#endif
