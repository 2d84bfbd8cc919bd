/* The part of fs that goes through whole trees: without recursion, without following links, and
 * through descriptors, so that nobody can lead it elsewhere by renaming a directory meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/fs.h"
#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"

#define TREE       "grapnel.fs.walk"
#define DEPTH_MAX  256 /* each level is an open descriptor */
#define TURN       512 /* removals between two pauses */
#define BATCH_MOST 10000

struct level {
    DIR *dir;
    size_t length; /* of the path of this directory */
    int removed;   /* entries, in this pass */
};

struct tree {
    int depth, most;
    int stats;
    int error;         /* of the entry just found: a directory that cannot be opened */
    lua_Integer batch; /* 0: one by one */
    char *path;        /* of the entry just found */
    size_t room;
    struct stat st;
    struct level levels[DEPTH_MAX];
};

static void tree_end(struct tree *t)
{
    while (t->depth > 0) {
        closedir(t->levels[--t->depth].dir);
    }
    free(t->path);
    t->path = NULL;
}

static int tree_gc(lua_State *L)
{
    tree_end(luaL_checkudata(L, 1, TREE));
    return 0;
}

/* Sets the path to its first `length` bytes, and /name; 0, or -1 with errno. */
static int tree_path(struct tree *t, size_t length, const char *name)
{
    size_t n = strlen(name);

    if (length + n + 2 > t->room) {
        size_t room = (length + n + 2) * 2;
        char *path = realloc(t->path, room);
        if (path == NULL) {
            return -1;
        }
        t->path = path;
        t->room = room;
    }
    if (length > 0 && t->path[length - 1] != '/') {
        t->path[length++] = '/';
    }
    memcpy(t->path + length, name, n + 1);
    return 0;
}

/* Goes into the directory `name` of the one with descriptor `at`, whose whole path is set. */
static int tree_enter(struct tree *t, int at, const char *name, int flags)
{
    int fd;

    if (t->depth == t->most) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    if (fd < 0) {
        return -1;
    }
    t->levels[t->depth] = (struct level){.dir = fdopendir(fd), .length = strlen(t->path)};
    if (t->levels[t->depth].dir == NULL) {
        close(fd);
        return -1;
    }
    t->depth++;
    return 0;
}

static struct tree *tree_new(lua_State *L);

/* Pushes a tree whose first directory is `path`, or nothing more than itself: then errno tells. */
static struct tree *tree_open(lua_State *L, const char *path, int flags)
{
    struct tree *t = tree_new(L);

    return tree_path(t, 0, path) == 0 && tree_enter(t, AT_FDCWD, path, flags) == 0 ? t : NULL;
}

/* ---- remove ---- */

/* The directory on top is read to its end. 1: goes on, or it was the last: 0; -1 with errno. */
static int remove_level(struct tree *t)
{
    struct level *top = &t->levels[t->depth - 1];
    int up = AT_FDCWD;
    const char *name = t->path;

    /* Some file systems pass over entries when others are removed: so until nothing comes. */
    if (top->removed) {
        top->removed = 0;
        rewinddir(top->dir);
        return 1;
    }
    t->path[top->length] = '\0';
    closedir(top->dir);
    t->depth--;
    if (t->depth > 0) {
        up = dirfd(top[-1].dir);
        name = t->path + top[-1].length;
        name += strspn(name, "/");
        top[-1].removed = 1;
    }
    if (unlinkat(up, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
        return -1;
    }
    return t->depth > 0;
}

/* One entry. 1: goes on; 0: all is gone; -1 with errno, and the path tells where. */
static int remove_step(struct tree *t)
{
    struct level *top = &t->levels[t->depth - 1];
    const struct dirent *entry = (errno = 0, readdir(top->dir));
    int error;

    if (entry == NULL) {
        return errno != 0 ? -1 : remove_level(t);
    }
    if (fs_stat_dots(entry->d_name)) {
        return 1;
    }
    if (tree_path(t, top->length, entry->d_name) != 0) {
        return -1;
    }
    if (unlinkat(dirfd(top->dir), entry->d_name, 0) == 0 || errno == ENOENT) {
        top->removed = 1;
        return 1;
    }
    error = errno;
    if (tree_enter(t, dirfd(top->dir), entry->d_name, O_NOFOLLOW) == 0) {
        return 1;
    }
    errno = errno == ENOTDIR || errno == ELOOP ? error : errno;
    return -1;
}

static int remove_continue(lua_State *L, int status, lua_KContext ctx)
{
    struct tree *t = lua_touserdata(L, (int)ctx);

    (void)status;
    for (int i = 0; i < TURN; i++) {
        int more = remove_step(t);
        if (more <= 0) {
            int result = mods_done(L, more == 0, t->path);
            tree_end(t);
            return result;
        }
    }
    return waitfd_sleep(L, 0, remove_continue, ctx);
}

/*** fs.remove(path [, options]) -> true | nil, message, errno
 * Removes a file, a link or an empty directory. Options: `recursive` (true: a directory with all
 * that is in it; links are removed, not followed; at most 256 levels), `missing_ok` (true: no error
 * if it is not there). What stands before a failure is gone.
 */
static int fs_remove(lua_State *L)
{
    const char *path = mods_path(L, 1);
    int recursive = mods_option_flag(L, 2, "recursive", 0);
    int missing_ok = mods_option_flag(L, 2, "missing_ok", 0);
    int error;

    lua_settop(L, 2);
    if (unlink(path) == 0 || (errno == ENOENT && missing_ok)) {
        return mods_done(L, 1, NULL);
    }
    error = errno;
    if (rmdir(path) == 0) {
        return mods_done(L, 1, NULL);
    }
    if (recursive && (errno == ENOTEMPTY || errno == EEXIST)) {
        if (tree_open(L, path, O_NOFOLLOW) == NULL) {
            return mods_failed(L, path);
        }
        return remove_continue(L, LUA_OK, lua_gettop(L));
    }
    errno = errno == ENOTDIR ? error : errno;
    return mods_failed(L, path);
}

/* ---- walk ---- */

/* Looks at the entry in `dir`: fills st, the mode at least; 0, or -1 if it is gone. */
static int walk_look(struct tree *t, DIR *dir, const struct dirent *entry)
{
    if (t->stats || entry->d_type == DT_UNKNOWN) {
        return fstatat(dirfd(dir), entry->d_name, &t->st, AT_SYMLINK_NOFOLLOW);
    }
    t->st.st_mode = (mode_t)entry->d_type << 12;
    return 0;
}

/* Finds the next entry: 1, 0 at the end, -1 when memory is out. */
static int walk_step(struct tree *t)
{
    while (t->depth > 0) {
        struct level *top = &t->levels[t->depth - 1];
        const struct dirent *entry = readdir(top->dir);
        if (entry == NULL) {
            closedir(top->dir);
            t->depth--;
            continue;
        }
        if (fs_stat_dots(entry->d_name) || walk_look(t, top->dir, entry) != 0) {
            continue;
        }
        if (tree_path(t, top->length, entry->d_name) != 0) {
            return -1;
        }
        t->error = 0;
        if (S_ISDIR(t->st.st_mode) && t->depth < t->most &&
            tree_enter(t, dirfd(top->dir), entry->d_name, O_NOFOLLOW) != 0) {
            t->error = errno;
        }
        return 1;
    }
    return 0;
}

static void push_entry(lua_State *L, const struct tree *t)
{
    mods_table(L, 0, t->stats ? 20 : 2);
    if (t->stats) {
        fs_stat_set(L, &t->st);
    } else {
        mods_set_text(L, "type", fs_stat_type(t->st.st_mode));
    }
    mods_set_text(L, "path", t->path);
    mods_set_text(L, "error", t->error != 0 ? strerror(t->error) : NULL);
}

static int walk_batch(lua_State *L, struct tree *t)
{
    lua_Integer n = 0;

    mods_table(L, (int)t->batch, 0);
    while (n < t->batch && walk_step(t) > 0) {
        push_entry(L, t);
        lua_rawseti(L, -2, ++n);
    }
    if (n == 0) {
        lua_pushnil(L);
    }
    return 1;
}

/*** walk:next() -> path, type [, message] | table | nil
 * The next entry, or batch; nil at the end. A walk can be called instead, and stands in a `for`.
 */
static int walk_next(lua_State *L)
{
    struct tree *t = luaL_checkudata(L, 1, TREE);

    if (t->batch > 0) {
        return walk_batch(L, t);
    }
    if (walk_step(t) <= 0) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushstring(L, t->path);
    if (t->stats) {
        push_entry(L, t);
    } else {
        lua_pushstring(L, fs_stat_type(t->st.st_mode));
    }
    lua_pushstring(L, t->error != 0 ? strerror(t->error) : NULL);
    return 3;
}

/*** walk:close()
 * Ends a walk before its time.
 */
static int walk_close(lua_State *L)
{
    return tree_gc(L);
}

static struct tree *tree_new(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"next", walk_next}, {"close", walk_close}, {"__call", walk_next},
        {"__gc", tree_gc},   {"__close", tree_gc},  {NULL, NULL},
    };
    struct tree *t = lua_newuserdatauv(L, sizeof *t, 0);

    memset(t, 0, sizeof *t);
    t->most = DEPTH_MAX;
    mods_class(L, TREE, methods);
    luaL_setmetatable(L, TREE);
    return t;
}

/*** fs.walk(path [, options]) -> walk | nil, message, errno
 * Goes through a tree, each directory before what is in it, links not followed, in no order:
 * `for path, type in fs.walk("/etc") do`. A directory that cannot be read gets a third value, why.
 * Options: `depth` (levels; 1: only the directory itself; 256), `stat` (true: a table as from
 * `fs.lstat`, with `path`, in place of the type), `batch` (n: lists of up to n tables with `path`,
 * `type`, `error`: fewer round trips from afar).
 */
static int fs_walk(lua_State *L)
{
    const char *path = mods_path(L, 1);
    lua_Integer depth = mods_option_int(L, 2, "depth", DEPTH_MAX);
    lua_Integer batch = mods_option_int(L, 2, "batch", 0);
    int stats = mods_option_flag(L, 2, "stat", 0);
    struct tree *t;

    luaL_argcheck(L, depth >= 1 && depth <= DEPTH_MAX, 2, "option 'depth': 1 to 256 expected");
    luaL_argcheck(L, batch >= 0 && batch <= BATCH_MOST, 2, "option 'batch': at most 10000");
    t = tree_open(L, path, 0);
    if (t == NULL) {
        return mods_failed(L, path);
    }
    t->most = (int)depth;
    t->batch = batch;
    t->stats = stats;
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, -3); /* what `for` closes */
    return 4;
}

const luaL_Reg fs_tree_functions[] = {{"remove", fs_remove}, {"walk", fs_walk}, {NULL, NULL}};
