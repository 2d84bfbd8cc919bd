/* The part of fs that looks: what a file is, what a directory holds. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/worker/fs.h"
#include "agent/worker/mods.h"

#define DIRECTORY "grapnel.directory"

const char *fs_stat_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFLNK:
        return "link";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
        return "char";
    case S_IFBLK:
        return "block";
    default:
        return "other";
    }
}

/* As `ls -l` writes it. */
static void set_mode_text(lua_State *L, mode_t mode)
{
    static const char letters[] = "rwxrwxrwx";
    char text[11] = "?---------";
    const char *type = fs_stat_type(mode);

    /* file - directory d link l fifo p socket s char c block b */
    text[0] = type[0] == 'f' ? (S_ISFIFO(mode) ? 'p' : '-') : type[0] == 'o' ? '?' : type[0];
    for (int i = 0; i < 9; i++) {
        text[i + 1] = (mode & (0400u >> i)) != 0 ? letters[i] : '-';
    }
    if ((mode & S_ISUID) != 0) {
        text[3] = text[3] == 'x' ? 's' : 'S';
    }
    if ((mode & S_ISGID) != 0) {
        text[6] = text[6] == 'x' ? 's' : 'S';
    }
    if ((mode & S_ISVTX) != 0) {
        text[9] = text[9] == 'x' ? 't' : 'T';
    }
    mods_set_text(L, "mode_text", text);
}

static void set_time(lua_State *L, const char *name, const char *name_ns, const struct timespec *t)
{
    mods_set_number(L, name, (lua_Number)t->tv_sec + (lua_Number)t->tv_nsec / 1e9);
    mods_set_int(L, name_ns, (lua_Integer)t->tv_sec * 1000000000 + t->tv_nsec);
}

void fs_stat_set(lua_State *L, const struct stat *st)
{
    mods_set_text(L, "type", fs_stat_type(st->st_mode));
    mods_set_int(L, "mode", st->st_mode & 07777);
    set_mode_text(L, st->st_mode);
    mods_set_int(L, "size", st->st_size);
    mods_set_int(L, "uid", st->st_uid);
    mods_set_int(L, "gid", st->st_gid);
    mods_set_int(L, "nlink", (lua_Integer)st->st_nlink);
    mods_set_int(L, "ino", (lua_Integer)st->st_ino);
    mods_set_int(L, "dev", (lua_Integer)st->st_dev);
    mods_set_int(L, "blocks", st->st_blocks);
    mods_set_int(L, "blksize", st->st_blksize);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
        mods_set_int(L, "major", major(st->st_rdev));
        mods_set_int(L, "minor", minor(st->st_rdev));
    }
    set_time(L, "atime", "atime_ns", &st->st_atim);
    set_time(L, "mtime", "mtime_ns", &st->st_mtim);
    set_time(L, "ctime", "ctime_ns", &st->st_ctim);
}

static int look(lua_State *L, int flags)
{
    struct stat st;
    luaL_Stream *s = luaL_testudata(L, 1, LUA_FILEHANDLE);
    const char *path = NULL;
    int failed;

    if (s != NULL) {
        luaL_argcheck(L, s->closef != NULL, 1, "a closed file");
        failed = fstat(fileno(s->f), &st) != 0;
    } else {
        path = mods_path(L, 1);
        failed = fstatat(AT_FDCWD, path, &st, flags) != 0;
    }
    if (failed) {
        return mods_failed(L, path);
    }
    mods_table(L, 0, 19);
    fs_stat_set(L, &st);
    return 1;
}

/*** fs.stat(path | file) -> table | nil, message, errno
 * What a path leads to, or an open file: `type` ("file", "directory", "link", "fifo", "socket",
 * "char", "block"), `mode` (a number, permissions only), `mode_text` ("-rw-r--r--"), `size`, `uid`,
 * `gid`, `nlink`, `ino`, `dev`, `blocks` (of 512 bytes), `blksize`, for devices `major` and
 * `minor`, and `atime`, `mtime`, `ctime` in seconds, `atime_ns`, `mtime_ns`, `ctime_ns` as
 * integers.
 */
static int fs_stat(lua_State *L)
{
    return look(L, 0);
}

/*** fs.lstat(path) -> table | nil, message, errno
 * The same of a link itself.
 */
static int fs_lstat(lua_State *L)
{
    return look(L, AT_SYMLINK_NOFOLLOW);
}

/*** fs.exists(path) -> text | false
 * The `type` of what a path leads to, or false: also when that cannot be found out.
 */
static int fs_exists(lua_State *L)
{
    struct stat st;

    if (stat(mods_path(L, 1), &st) != 0) {
        lua_pushboolean(L, 0);
    } else {
        lua_pushstring(L, fs_stat_type(st.st_mode));
    }
    return 1;
}

/*** fs.access(path [, what]) -> true | nil, message, errno
 * Whether the worker may do it: `what` is made of the letters "r", "w", "x" ("": whether it is
 * there at all).
 */
static int fs_access(lua_State *L)
{
    const char *path = mods_path(L, 1);
    const char *what = luaL_optstring(L, 2, "");
    int mode = F_OK;

    for (const char *at = what; *at != '\0'; at++) {
        luaL_argcheck(L, strchr("rwx", *at) != NULL, 2, "letters of \"rwx\" expected");
        mode |= *at == 'r' ? R_OK : *at == 'w' ? W_OK : X_OK;
    }
    return mods_done(L, faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0, path);
}

/*** fs.df(path) -> table | nil, message, errno
 * The file system that holds a path: `total`, `free`, `available` (to users), `used` in bytes,
 * `files`, `files_free`, `name_max`, `read_only`.
 */
static int fs_df(lua_State *L)
{
    const char *path = mods_path(L, 1);
    struct statvfs v;

    if (statvfs(path, &v) != 0) {
        return mods_failed(L, path);
    }
    mods_table(L, 0, 8);
    mods_set_space(L, &v);
    return 1;
}

void fs_stat_close(struct directory *d)
{
    if (d->dir != NULL) {
        closedir(d->dir);
        d->dir = NULL;
    }
}

static int directory_gc(lua_State *L)
{
    fs_stat_close(luaL_checkudata(L, 1, DIRECTORY));
    return 0;
}

struct directory *fs_stat_open(lua_State *L)
{
    static const luaL_Reg methods[] = {{"__gc", directory_gc}, {NULL, NULL}};
    struct directory *d = lua_newuserdatauv(L, sizeof *d, 0);

    d->dir = NULL;
    mods_class(L, DIRECTORY, methods);
    luaL_setmetatable(L, DIRECTORY);
    return d;
}

void fs_stat_sort(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "table") == LUA_TTABLE &&
        lua_getfield(L, -1, "sort") == LUA_TFUNCTION) {
        lua_pushvalue(L, -4);
        lua_call(L, 1, 0);
        lua_pop(L, 2);
        return;
    }
    luaL_error(L, "there is no table.sort");
}

/* Replaces the names of the list on top of the stack by tables about them. */
static void stat_all(lua_State *L, int fd)
{
    lua_Integer n = luaL_len(L, -1);

    for (lua_Integer i = 1; i <= n; i++) {
        struct stat st;
        lua_rawgeti(L, -1, i);
        mods_table(L, 0, 20);
        lua_insert(L, -2);
        if (fstatat(fd, lua_tostring(L, -1), &st, AT_SYMLINK_NOFOLLOW) == 0) {
            lua_setfield(L, -2, "name");
            fs_stat_set(L, &st);
        } else {
            lua_setfield(L, -2, "name"); /* gone meanwhile */
        }
        lua_rawseti(L, -2, i);
    }
}

int fs_stat_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/*** fs.list(path [, options]) -> list | nil, message, errno
 * The names in a directory, sorted, without "." and "..". With the option `stat` a table as from
 * `fs.lstat` for each, with `name` (and nothing else if the file has gone meanwhile).
 */
static int fs_list(lua_State *L)
{
    const char *path = lua_isnone(L, 1) ? "." : mods_path(L, 1);
    int stats = mods_option_flag(L, 2, "stat", 0);
    struct directory *d = fs_stat_open(L);
    const struct dirent *entry;
    int n = 0;

    d->dir = opendir(path);
    if (d->dir == NULL) {
        return mods_failed(L, path);
    }
    mods_table(L, 16, 0);
    while ((errno = 0, entry = readdir(d->dir)) != NULL) {
        if (!fs_stat_dots(entry->d_name)) {
            lua_pushstring(L, entry->d_name);
            lua_rawseti(L, -2, ++n);
        }
    }
    if (errno != 0) {
        int result = mods_failed(L, path);
        fs_stat_close(d);
        return result;
    }
    fs_stat_sort(L);
    if (stats) {
        stat_all(L, dirfd(d->dir));
    }
    fs_stat_close(d);
    return 1;
}

const luaL_Reg fs_stat_functions[] = {
    {"stat", fs_stat}, {"lstat", fs_lstat}, {"exists", fs_exists}, {"access", fs_access},
    {"df", fs_df},     {"list", fs_list},   {NULL, NULL},
};
