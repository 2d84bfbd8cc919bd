/* The part of fs that moves whole files, in pieces between which other tasks run. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/fs.h"
#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"

#define JOB       "grapnel.fs.job"
#define PIECE     ((size_t)64 << 10)
#define TURN      ((size_t)4 << 20) /* bytes between two pauses */
#define READ_MOST ((lua_Integer)64 << 20)

/* What a call has open while it pauses.  A cancelled one is ended by the collector. */
struct job {
    int in, out; /* -1: none */
    int append, atomic, exclusive, sync, preserve;
    int mode_given;
    mode_t mode;      /* if given, else of a new file before the umask */
    lua_Integer done; /* bytes */
    size_t room;      /* of the buffer of read_file */
    size_t most;
    char *buffer;     /* user value 1 */
    char *temporary;  /* user value 2: a file to remove; NULL: none */
    const char *path; /* of what is written */
    char real[PATH_MAX];
};

static void shut(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static void job_end(struct job *j)
{
    shut(&j->in);
    shut(&j->out);
    if (j->temporary != NULL) {
        unlink(j->temporary);
        j->temporary = NULL;
    }
}

static int job_gc(lua_State *L)
{
    job_end(luaL_checkudata(L, 1, JOB));
    return 0;
}

/* nil, message, errno. */
static int job_failed(lua_State *L, struct job *j, const char *path)
{
    int result = mods_failed(L, path);

    job_end(j);
    return result;
}

/* Pushes one at index 4. */
static struct job *job_new(lua_State *L)
{
    static const luaL_Reg methods[] = {{"__gc", job_gc}, {NULL, NULL}};
    struct job *j;

    lua_settop(L, 3);
    j = lua_newuserdatauv(L, sizeof *j, 2);
    memset(j, 0, sizeof *j);
    j->in = j->out = -1;
    mods_class(L, JOB, methods);
    luaL_setmetatable(L, JOB);
    return j;
}

static int read_grow(lua_State *L, struct job *j, size_t room)
{
    char *buffer = lua_newuserdatauv(L, room, 0);

    memcpy(buffer, j->buffer, (size_t)j->done);
    lua_setiuservalue(L, 4, 1);
    j->buffer = buffer;
    j->room = room;
    return 0;
}

static int read_continue(lua_State *L, int status, lua_KContext ctx)
{
    struct job *j = lua_touserdata(L, 4);

    (void)status;
    for (size_t turn = 0; turn < TURN;) {
        size_t room;
        ssize_t n;
        if ((size_t)j->done == j->room) {
            read_grow(L, j, j->room > j->most / 2 ? j->most + 1 : j->room * 2);
        }
        room = j->room - (size_t)j->done;
        n = read(j->in, j->buffer + j->done, room < TURN ? room : TURN);
        if (n == 0) {
            job_end(j);
            lua_pushlstring(L, j->buffer, (size_t)j->done);
            lua_pushnil(L); /* the buffer need not wait for the collector's next round */
            lua_setiuservalue(L, 4, 1);
            return 1;
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        j->done += n > 0 ? n : 0;
        if (n < 0 || (size_t)j->done > j->most) {
            errno = n < 0 ? errno : EFBIG;
            return job_failed(L, j, lua_tostring(L, 1));
        }
        turn += (size_t)n;
    }
    return waitfd_sleep(L, 0, read_continue, ctx);
}

/*** fs.read_file(path [, most]) -> bytes | nil, message, errno
 * The whole contents of a file; an error if it has more than `most` bytes (67108864).
 */
static int fs_read_file(lua_State *L)
{
    const char *path = mods_path(L, 1);
    lua_Integer most = luaL_optinteger(L, 2, READ_MOST);
    struct stat st;
    struct job *j;
    size_t room = PIECE;

    luaL_argcheck(L, most >= 0 && most < PTRDIFF_MAX / 2, 2, "out of range");
    j = job_new(L);
    j->most = (size_t)most;
    j->in = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (j->in < 0 || fstat(j->in, &st) != 0) {
        return job_failed(L, j, path);
    }
    if (S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= most) {
        room = (size_t)st.st_size + 1;
    }
    j->buffer = "";
    read_grow(L, j, room <= j->most ? room : j->most + 1);
    return read_continue(L, LUA_OK, 0);
}

/* Takes the options at 3 for what is to be written. */
static void output_options(lua_State *L, struct job *j)
{
    j->atomic = mods_option_flag(L, 3, "atomic", 0);
    j->append = mods_option_flag(L, 3, "append", 0);
    j->exclusive = mods_option_flag(L, 3, "exclusive", 0);
    j->sync = mods_option_flag(L, 3, "sync", 0);
    j->preserve = mods_option_flag(L, 3, "preserve", 0);
    j->mode = fs_path_mode_option(L, 3, (mode_t)-1);
    j->mode_given = j->mode != (mode_t)-1;
    j->mode = j->mode_given ? j->mode : 0666;
    luaL_argcheck(L, !j->atomic || (!j->append && !j->exclusive), 3,
                  "'atomic' goes neither with 'append' nor with 'exclusive'");
}

/* A file of a name of its own, beside the one that it is to replace. */
static int output_temporary(lua_State *L, struct job *j)
{
    static const char name[] = ".grapnel-XXXXXX";
    const char *slash;
    struct stat st;
    char *path;
    size_t n;
    mode_t mask = umask(0);

    umask(mask);
    if (!j->mode_given) {
        j->mode = stat(j->path, &st) == 0 ? st.st_mode & 07777 : j->mode & ~mask;
    }
    if (realpath(j->path, j->real) != NULL) {
        j->path = j->real; /* a link stays one */
    }
    slash = strrchr(j->path, '/');
    n = slash == NULL ? 0 : (size_t)(slash - j->path) + 1;
    path = lua_newuserdatauv(L, n + sizeof name, 0);
    memcpy(path, j->path, n);
    memcpy(path + n, name, sizeof name);
    lua_setiuservalue(L, 4, 2);
    j->out = mkostemp(path, O_CLOEXEC);
    j->temporary = j->out >= 0 ? path : NULL;
    j->mode_given = 1;
    return j->out < 0 ? -1 : 0;
}

static int output_open(lua_State *L, struct job *j)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
                (j->append ? O_APPEND : 0) | (j->exclusive ? O_EXCL : 0);

    if (j->atomic) {
        return output_temporary(L, j);
    }
    j->out = open(j->path, flags, j->mode & 0777);
    return j->out < 0 ? -1 : 0;
}

/* Empties what is to be written, unless that is `original` (NULL: there is none). */
static int output_empty(struct job *j, const struct stat *original)
{
    struct stat st;

    if (fstat(j->out, &st) != 0) {
        return -1;
    }
    if (original != NULL && st.st_dev == original->st_dev && st.st_ino == original->st_ino) {
        errno = EEXIST;
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        j->mode_given = 0; /* a device stays as it is */
        return 0;
    }
    return j->append || st.st_size == 0 ? 0 : ftruncate(j->out, 0);
}

static int output_write(struct job *j, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t got = write(j->out, bytes, n);
        if (got < 0 && errno != EINTR) {
            return -1;
        }
        got = got < 0 ? 0 : got;
        bytes += got;
        n -= (size_t)got;
        j->done += got;
    }
    return 0;
}

/* The new name is on the disk only when its directory is. */
static void sync_directory(char *path)
{
    char *slash = strrchr(path, '/');
    int fd;

    if (slash != NULL) {
        slash[1] = '\0';
    }
    fd = open(slash == NULL ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

/* The last steps; returns the bytes written, or nil, message, errno. */
static int output_finish(lua_State *L, struct job *j)
{
    int fd = j->out;

    if ((j->mode_given && fchmod(fd, j->mode) != 0) || (j->sync && fsync(fd) != 0)) {
        return job_failed(L, j, j->path);
    }
    j->out = -1;
    if (close(fd) != 0 || (j->temporary != NULL && rename(j->temporary, j->path) != 0)) {
        return job_failed(L, j, j->path);
    }
    if (j->temporary != NULL && j->sync) {
        sync_directory(j->temporary);
    }
    j->temporary = NULL;
    job_end(j);
    lua_pushinteger(L, j->done);
    return 1;
}

static int write_continue(lua_State *L, int status, lua_KContext ctx)
{
    struct job *j = lua_touserdata(L, 4);
    size_t n;
    const char *bytes = lua_tolstring(L, 2, &n);
    size_t left = n - (size_t)j->done;

    (void)status;
    if (output_write(j, bytes + j->done, left < TURN ? left : TURN) != 0) {
        return job_failed(L, j, j->path);
    }
    return (size_t)j->done == n ? output_finish(L, j) : waitfd_sleep(L, 0, write_continue, ctx);
}

/*** fs.write_file(path, bytes [, options]) -> integer | nil, message, errno
 * Makes the string the contents of a file; returns its length. Options: `append` (true: adds it),
 * `exclusive` (true: the file must not be there yet), `atomic` (true: through a new file that then
 * takes the name, so that nobody ever sees a part of it), `sync` (true: waits for the disk), `mode`
 * (permissions).
 */
static int fs_write_file(lua_State *L)
{
    const char *path = mods_path(L, 1);
    struct job *j;

    luaL_checkstring(L, 2);
    j = job_new(L);
    j->path = path;
    output_options(L, j);
    if (output_open(L, j) != 0 || output_empty(j, NULL) != 0) {
        return job_failed(L, j, path);
    }
    return write_continue(L, LUA_OK, 0);
}

/* Owner and times of the original, as far as they may be given. */
static void preserve(struct job *j)
{
    struct stat st;

    if (j->preserve && fstat(j->in, &st) == 0) {
        const struct timespec times[2] = {st.st_atim, st.st_mtim};
        if (fchown(j->out, st.st_uid, st.st_gid) != 0) {
            j->mode &= 0777; /* others than the owner do not get its special bits */
        }
        futimens(j->out, times);
    }
}

static int copy_continue(lua_State *L, int status, lua_KContext ctx)
{
    struct job *j = lua_touserdata(L, 4);
    char piece[PIECE];

    (void)status;
    for (size_t turn = 0; turn < TURN;) {
        ssize_t n = read(j->in, piece, sizeof piece);
        if (n == 0) {
            preserve(j);
            return output_finish(L, j);
        }
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return job_failed(L, j, lua_tostring(L, 1));
        }
        if (output_write(j, piece, (size_t)n) != 0) {
            return job_failed(L, j, j->path);
        }
        turn += (size_t)n;
    }
    return waitfd_sleep(L, 0, copy_continue, ctx);
}

/*** fs.copy(from, to [, options]) -> integer | nil, message, errno
 * Copies a file; returns the bytes copied. `to` is a file's name; a new one gets the original's
 * permissions less the umask. Options: those of `fs.write_file`, and `preserve` (true: permissions,
 * times and where possible owner are the original's). Other calls run meanwhile.
 */
static int fs_copy(lua_State *L)
{
    const char *from = mods_path(L, 1);
    struct job *j;
    struct stat st;

    mods_path(L, 2);
    j = job_new(L);
    j->path = lua_tostring(L, 2);
    output_options(L, j);
    j->in = open(from, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (j->in < 0 || fstat(j->in, &st) != 0) {
        return job_failed(L, j, from);
    }
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return job_failed(L, j, from);
    }
    if (!j->mode_given && S_ISREG(st.st_mode)) {
        j->mode = st.st_mode & (j->preserve ? 07777 : 0777);
        j->mode_given = j->preserve;
    }
    if (output_open(L, j) != 0 || output_empty(j, &st) != 0) {
        return job_failed(L, j, j->path);
    }
    return copy_continue(L, LUA_OK, 0);
}

const luaL_Reg fs_data_functions[] = {
    {"read_file", fs_read_file},
    {"write_file", fs_write_file},
    {"copy", fs_copy},
    {NULL, NULL},
};
