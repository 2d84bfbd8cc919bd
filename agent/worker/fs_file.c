/* The part of fs that has to do with open files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/fdio.h"
#include "agent/worker/fs.h"
#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"

#define RETRY_SECONDS 0.02 /* between two looks for the reader of a FIFO */

/* The flags of open(2) for a mode of fopen(3), with stdio's part of it in text; -1: it is none. */
static int open_flags(const char *mode, char text[4])
{
    int flags = *mode == 'r'   ? O_RDONLY
                : *mode == 'w' ? O_WRONLY | O_CREAT | O_TRUNC
                : *mode == 'a' ? O_WRONLY | O_CREAT | O_APPEND
                               : -1;

    if (flags < 0) {
        return -1;
    }
    memcpy(text, (const char[4]){*mode}, 4);
    for (const char *at = mode + 1; *at != '\0'; at++) {
        if (*at == '+' && text[1] == '\0') {
            text[1] = '+';
            flags = (flags & ~O_ACCMODE) | O_RDWR;
        } else if (*at == 'x' && (flags & O_CREAT) != 0) {
            flags |= O_EXCL;
        } else if (*at != 'b') {
            return -1;
        }
    }
    return flags;
}

/* Gives the closed file s the descriptor; nil, message, errno, or the file, which lies at
 * `index`. */
static int adopt(lua_State *L, int index, int fd, const char *mode, const char *path)
{
    luaL_Stream *s = lua_touserdata(L, index);

    if (fd < 0) {
        return mods_failed(L, path);
    }
    if (!mods_stream_file(s, fdopen(fd, mode))) {
        int error = errno;
        close(fd);
        errno = error;
        return mods_failed(L, path);
    }
    lua_pushvalue(L, index);
    return 1;
}

/* Pushes the stream of fdio's that is on top as a file (waiting.lua), where there are such. */
static int push_as_file(lua_State *L)
{
    if (lua_getfield(L, LUA_REGISTRYINDEX, MODS_FILE_OF_STREAM) == LUA_TFUNCTION) {
        lua_insert(L, -2);
        lua_call(L, 1, 1);
    } else {
        lua_pop(L, 1);
    }
    return 1;
}

/* Opens what may have to be waited for. Stack: path, stdio's part of the mode. ctx: the flags. What
 * can be sought in never makes wait: it is a file like others. */
static int open_on(lua_State *L, int status, lua_KContext ctx)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    const char *path = lua_tostring(L, 1);
    struct stat st;
    struct fdio *f;
    int fd;

    if (status < 0) {
        return luaL_error(L, "the instance ends");
    }
    f = fdio_new(L, sizeof *f, -1, "stream", none, none);
    mods_stream(L);
    fd = open(path, (int)ctx | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (fd < 0 && errno == ENXIO && stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
        lua_settop(L, 2);
        return waitfd_sleep(L, RETRY_SECONDS, open_on, ctx);
    }
    if (fd >= 0 && lseek(fd, 0, SEEK_CUR) < 0) {
        f->fd = fd;
        lua_pop(L, 1);
        return push_as_file(L);
    }
    if (fd >= 0) {
        (void)fcntl(fd, F_SETFL, (int)ctx & O_APPEND);
    }
    return adopt(L, 4, fd, lua_tostring(L, 2), path);
}

/*** fs.open(path [, mode [, permissions]]) -> file | nil, message, errno
 * As `io.open`. The mode may also hold an "x": the file must not be there yet. `permissions`: of a
 * new file, an integer or a text in octal ("600"). The file is not passed on to child processes.
 * Of FIFOs and of devices that have no position, the file is one of proc.popen's streams in Lua's
 * manner: other calls run while it waits, and it cannot be sought in.
 */
static int fs_open(lua_State *L)
{
    const char *path = mods_path(L, 1);
    const char *mode = luaL_optstring(L, 2, "r");
    mode_t permissions = fs_path_mode(L, 3, 3, 0666);
    char text[4];
    int flags = open_flags(mode, text);
    struct stat st;

    luaL_argcheck(L, flags >= 0, 2,
                  "not a mode: \"r\", \"w\", \"a\" and one of \"+\", \"b\", \"x\"");
    if (stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
        lua_settop(L, 1);
        lua_pushstring(L, text);
        return open_on(L, 0, flags);
    }
    mods_stream(L);
    return adopt(L, lua_gettop(L), open(path, flags | O_CLOEXEC | O_NOCTTY, permissions), text,
                 path);
}

/* The open file at `arg`. */
static FILE *check_file(lua_State *L, int arg)
{
    luaL_Stream *s = luaL_checkudata(L, arg, LUA_FILEHANDLE);

    luaL_argcheck(L, s->closef != NULL, arg, "a closed file");
    return s->f;
}

/*** fs.fileno(file) -> integer
 * Number of an open file's descriptor.
 */
static int fs_fileno(lua_State *L)
{
    lua_pushinteger(L, fileno(check_file(L, 1)));
    return 1;
}

/*** fs.truncate(path | file [, size]) -> true | nil, message, errno
 * Cuts a file (to nothing), or makes it longer with zeros.
 */
static int fs_truncate(lua_State *L)
{
    off_t size = (off_t)luaL_optinteger(L, 2, 0);

    if (lua_type(L, 1) == LUA_TSTRING) {
        const char *path = mods_path(L, 1);
        return mods_done(L, truncate(path, size) == 0, path);
    }
    FILE *f = check_file(L, 1);
    return mods_done(L, fflush(f) == 0 && ftruncate(fileno(f), size) == 0, NULL);
}

/*** fs.sync(path | file) -> true | nil, message, errno
 * Waits until what was written to a file (or a directory) is on its disk.
 */
static int fs_sync(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TSTRING) {
        const char *path = mods_path(L, 1);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        int ok = fd >= 0 && fsync(fd) == 0;
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        errno = error;
        return mods_done(L, ok, path);
    }
    FILE *f = check_file(L, 1);
    return mods_done(L, fflush(f) == 0 && fsync(fileno(f)) == 0, NULL);
}

/* Pushes a template for a new name, as the options at 1 want it. */
static char *template(lua_State *L)
{
    const char *directory = getenv("TMPDIR");
    const char *prefix = "grapnel-";
    const char *text;
    char *copy;
    size_t n;

    if (!lua_isnoneornil(L, 1)) {
        luaL_checktype(L, 1, LUA_TTABLE);
        lua_settop(L, 1);
        if (lua_getfield(L, 1, "directory") != LUA_TNIL) {
            directory = mods_path(L, 2);
        }
        if (lua_getfield(L, 1, "prefix") != LUA_TNIL) {
            prefix = mods_path(L, 3);
        }
    }
    directory = directory != NULL && directory[0] != '\0' ? directory : "/tmp";
    text = lua_pushfstring(L, "%s/%sXXXXXX", directory, prefix);
    n = strlen(text) + 1;
    copy = lua_newuserdatauv(L, n, 0);
    memcpy(copy, text, n);
    return copy;
}

/*** fs.tempdir([options]) -> path | nil, message, errno
 * Makes a new directory for oneself only. Options: `directory` it is made in ($TMPDIR or /tmp),
 * `prefix` of its name.
 */
static int fs_tempdir(lua_State *L)
{
    char *path = template(L);

    if (mkdtemp(path) == NULL) {
        return mods_failed(L, path);
    }
    lua_pushstring(L, path);
    return 1;
}

/*** fs.tempfile([options]) -> file, path | nil, message, errno
 * Makes a new file for oneself only, and opens it for reading and writing. Options as for
 * `fs.tempdir`. It stays there when it is closed.
 */
static int fs_tempfile(lua_State *L)
{
    char *path = template(L);
    int result;

    mods_stream(L);
    result = adopt(L, lua_gettop(L), mkostemp(path, O_CLOEXEC), "w+", path);
    if (result == 1) {
        lua_pushstring(L, path);
        result = 2;
    }
    return result;
}

const luaL_Reg fs_file_functions[] = {
    {"open", fs_open}, {"fileno", fs_fileno},   {"truncate", fs_truncate},
    {"sync", fs_sync}, {"tempdir", fs_tempdir}, {"tempfile", fs_tempfile},
    {NULL, NULL},
};
