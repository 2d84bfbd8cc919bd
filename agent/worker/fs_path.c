/* The part of fs that works on names: links, permissions, owners, times. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/fs.h"
#include "agent/worker/mods.h"

mode_t fs_path_mode(lua_State *L, int index, int arg, mode_t fallback)
{
    long mode = -1;
    char *end = NULL;

    if (lua_isnoneornil(L, index)) {
        return fallback;
    }
    if (lua_isinteger(L, index)) {
        lua_Integer n = lua_tointeger(L, index);
        mode = n > 07777 ? -1 : (long)n;
    } else if (lua_type(L, index) == LUA_TSTRING) {
        mode = strtol(lua_tostring(L, index), &end, 8);
    }
    luaL_argcheck(L, mode >= 0 && mode <= 07777 && (end == NULL || *end == '\0'), arg,
                  "permissions expected: an integer up to 4095, or a text in octal like \"644\"");
    return (mode_t)mode;
}

mode_t fs_path_mode_option(lua_State *L, int arg, mode_t fallback)
{
    mode_t mode;

    if (lua_isnoneornil(L, arg)) {
        return fallback;
    }
    lua_getfield(L, arg, "mode");
    mode = fs_path_mode(L, lua_gettop(L), arg, fallback);
    lua_pop(L, 1);
    return mode;
}

/* Makes the directories above the last name, as `mkdir -p` does; 0, or -1. */
static int make_parents(char *path)
{
    for (char *at = path + 1; *at != '\0'; at++) {
        if (*at != '/' || at[-1] == '/') {
            continue;
        }
        *at = '\0';
        int made = mkdir(path, 0777) == 0 || errno == EEXIST || errno == EROFS || errno == EACCES;
        int error = errno;
        struct stat st;
        if (made && stat(path, &st) != 0) {
            made = 0; /* the error was the first one's */
        }
        errno = error;
        *at = '/';
        if (!made) {
            return -1;
        }
    }
    return 0;
}

static int is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*** fs.mkdir(path [, options]) -> true | nil, message, errno
 * Makes a directory. Options: `parents` (true: those above as well, and no error if it is there
 * already), `mode` (permissions; 777 less the umask).
 */
static int fs_mkdir(lua_State *L)
{
    size_t n;
    const char *path = mods_path(L, 1);
    int parents = mods_option_flag(L, 2, "parents", 0);
    mode_t mode = fs_path_mode_option(L, 2, 0777);

    if (parents && path[0] != '\0') {
        char *copy;
        n = strlen(path);
        copy = lua_newuserdatauv(L, n + 1, 0);
        memcpy(copy, path, n + 1);
        while (n > 1 && copy[n - 1] == '/') {
            copy[--n] = '\0';
        }
        if (make_parents(copy) != 0) {
            return mods_failed(L, path);
        }
    }
    if (mkdir(path, mode) != 0 && !(parents && errno == EEXIST && is_directory(path))) {
        if (parents && errno != EEXIST && is_directory(path)) {
            return mods_done(L, 1, NULL); /* a root directory that refuses in its own way */
        }
        return mods_failed(L, path);
    }
    return mods_done(L, 1, NULL);
}

/*** fs.rename(from, to) -> true | nil, message, errno
 * Gives a file or directory another name on the same file system; a file of that name is replaced.
 */
static int fs_rename(lua_State *L)
{
    const char *from = mods_path(L, 1);

    return mods_done(L, rename(from, mods_path(L, 2)) == 0, from);
}

/*** fs.link(target, path) -> true | nil, message, errno
 * Makes `path` another name of the file `target`.
 */
static int fs_link(lua_State *L)
{
    const char *target = mods_path(L, 1);
    const char *path = mods_path(L, 2);

    return mods_done(L, link(target, path) == 0, path);
}

/*** fs.symlink(target, path) -> true | nil, message, errno
 * Makes `path` a symbolic link to `target`, which need not be there.
 */
static int fs_symlink(lua_State *L)
{
    const char *target = mods_path(L, 1);
    const char *path = mods_path(L, 2);

    return mods_done(L, symlink(target, path) == 0, path);
}

/*** fs.readlink(path) -> text | nil, message, errno
 * What a symbolic link says.
 */
static int fs_readlink(lua_State *L)
{
    const char *path = mods_path(L, 1);
    char text[PATH_MAX];
    ssize_t n = readlink(path, text, sizeof text);

    if (n < 0) {
        return mods_failed(L, path);
    }
    lua_pushlstring(L, text, (size_t)n);
    return 1;
}

/*** fs.realpath(path) -> text | nil, message, errno
 * The absolute path without links, "." and "..", of something that is there.
 */
static int fs_realpath(lua_State *L)
{
    const char *path = mods_path(L, 1);
    char text[PATH_MAX];

    if (realpath(path, text) == NULL) {
        return mods_failed(L, path);
    }
    lua_pushstring(L, text);
    return 1;
}

/*** fs.chmod(path, mode) -> true | nil, message, errno
 * Sets the permissions: an integer, or a text in octal ("644").
 */
static int fs_chmod(lua_State *L)
{
    const char *path = mods_path(L, 1);

    luaL_checkany(L, 2);
    return mods_done(L, chmod(path, fs_path_mode(L, 2, 2, 0)) == 0, path);
}

/* The user or group at `arg`: a number, a name, or nil (as it is: -1).  0, or pushes nil, message,
 * errno. */
static int owner(lua_State *L, int arg, int group, lua_Integer *id)
{
    const char *name;
    int found;

    *id = -1;
    if (lua_isnoneornil(L, arg)) {
        return 0;
    }
    if (lua_type(L, arg) != LUA_TSTRING) {
        *id = luaL_checkinteger(L, arg);
        luaL_argcheck(L, *id >= 0 && *id < 0xffffffffLL, arg, "not the number of an account");
        return 0;
    }
    name = lua_tostring(L, arg);
    if (group) {
        const struct group *g = getgrnam(name);
        found = g != NULL;
        *id = found ? (lua_Integer)g->gr_gid : -1;
    } else {
        const struct passwd *p = getpwnam(name);
        found = p != NULL;
        *id = found ? (lua_Integer)p->pw_uid : -1;
    }
    if (found) {
        return 0;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "no such %s: %s", group ? "group" : "user", name);
    lua_pushinteger(L, ENOENT);
    return -1;
}

/*** fs.chown(path, user, group [, options]) -> true | nil, message, errno
 * Sets the owners: names or numbers; nil leaves one as it is. Option `follow` (true): false changes
 * a link itself.
 */
static int fs_chown(lua_State *L)
{
    const char *path = mods_path(L, 1);
    int follow = mods_option_flag(L, 4, "follow", 1);
    lua_Integer user, group;

    if (owner(L, 2, 0, &user) != 0 || owner(L, 3, 1, &group) != 0) {
        return 3;
    }
    return mods_done(
        L,
        fchownat(AT_FDCWD, path, (uid_t)user, (gid_t)group, follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0,
        path);
}

/* The time at `arg`: seconds, "now", or nil: as it is. */
static struct timespec time_at(lua_State *L, int arg)
{
    struct timespec t = {.tv_nsec = UTIME_OMIT};
    lua_Number seconds;

    if (lua_isnoneornil(L, arg)) {
        return t;
    }
    if (lua_type(L, arg) == LUA_TSTRING && strcmp(lua_tostring(L, arg), "now") == 0) {
        t.tv_nsec = UTIME_NOW;
        return t;
    }
    seconds = luaL_checknumber(L, arg);
    luaL_argcheck(L, seconds > -1e15 && seconds < 1e15, arg, "out of range");
    t.tv_sec = (time_t)floor(seconds);
    t.tv_nsec = (long)((seconds - floor(seconds)) * 1e9);
    return t;
}

/*** fs.utime(path, atime, mtime [, options]) -> true | nil, message, errno
 * Sets the times of last access and change: seconds, "now", or nil for as it is. Options: `follow`
 * (true): false changes a link itself; `atime_ns`, `mtime_ns`: nanoseconds within the second, for
 * whom a number is too coarse.
 */
static int fs_utime(lua_State *L)
{
    const char *path = mods_path(L, 1);
    int follow = mods_option_flag(L, 4, "follow", 1);
    struct timespec times[2] = {time_at(L, 2), time_at(L, 3)};

    times[0].tv_nsec = (long)mods_option_int(L, 4, "atime_ns", times[0].tv_nsec);
    times[1].tv_nsec = (long)mods_option_int(L, 4, "mtime_ns", times[1].tv_nsec);
    return mods_done(L, utimensat(AT_FDCWD, path, times, follow ? 0 : AT_SYMLINK_NOFOLLOW) == 0,
                     path);
}

/*** fs.cwd() -> text | nil, message, errno
 * The worker's working directory.
 */
static int fs_cwd(lua_State *L)
{
    char text[PATH_MAX];

    if (getcwd(text, sizeof text) == NULL) {
        return mods_failed(L, NULL);
    }
    lua_pushstring(L, text);
    return 1;
}

/*** fs.chdir(path) -> true | nil, message, errno
 * Changes it, for all that runs in this instance.
 */
static int fs_chdir(lua_State *L)
{
    const char *path = mods_path(L, 1);

    return mods_done(L, chdir(path) == 0, path);
}

/*** fs.umask([mode]) -> integer
 * The permissions that new files do not get; sets them if there is an argument. Returns the old
 * ones.
 */
static int fs_umask(lua_State *L)
{
    mode_t old = umask(0);

    umask(old); /* at once: what follows may raise an error */
    umask(fs_path_mode(L, 1, 1, old));
    lua_pushinteger(L, old);
    return 1;
}

/*** fs.mkfifo(path [, mode]) -> true | nil, message, errno
 * Makes a named pipe.
 */
static int fs_mkfifo(lua_State *L)
{
    const char *path = mods_path(L, 1);

    return mods_done(L, mkfifo(path, fs_path_mode(L, 2, 2, 0666)) == 0, path);
}

const luaL_Reg fs_path_functions[] = {
    {"mkdir", fs_mkdir},       {"rename", fs_rename},
    {"link", fs_link},         {"symlink", fs_symlink},
    {"readlink", fs_readlink}, {"realpath", fs_realpath},
    {"chmod", fs_chmod},       {"chown", fs_chown},
    {"utime", fs_utime},       {"cwd", fs_cwd},
    {"chdir", fs_chdir},       {"umask", fs_umask},
    {"mkfifo", fs_mkfifo},     {NULL, NULL},
};
