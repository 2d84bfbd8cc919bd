/* The part of fs that waits for changes: Linux's inotify. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/fs.h"
#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"

#define WATCH "grapnel.fs.watch"

static const struct {
    const char *name;
    uint32_t bit;
    int usual;
} events[] = {
    {"create", IN_CREATE, 1},
    {"delete", IN_DELETE, 1},
    {"modify", IN_MODIFY, 1},
    {"attrib", IN_ATTRIB, 1},
    {"close_write", IN_CLOSE_WRITE, 1},
    {"moved_from", IN_MOVED_FROM, 1},
    {"moved_to", IN_MOVED_TO, 1},
    {"delete_self", IN_DELETE_SELF, 1},
    {"move_self", IN_MOVE_SELF, 1},
    {"access", IN_ACCESS, 0},
    {"open", IN_OPEN, 0},
    {"close", IN_CLOSE_NOWRITE, 0},
    {"unmount", IN_UNMOUNT, 0},
    {"overflow", IN_Q_OVERFLOW, 0},
};

/* User value 1: the watched paths by their numbers. */
struct watch {
    int fd;      /* -1: closed */
    int waiting; /* calls of next() */
    int closing;
    size_t at, have; /* of the buffer */
    _Alignas(struct inotify_event) char buffer[4096];
};

static double now(void)
{
    struct timespec t = {0};

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void shut(struct watch *w)
{
    if (w->fd >= 0) {
        close(w->fd);
        w->fd = -1;
    }
    w->at = w->have = 0;
}

static int watch_gc(lua_State *L)
{
    shut(luaL_checkudata(L, 1, WATCH));
    return 0;
}

static struct watch *check(lua_State *L)
{
    struct watch *w = luaL_checkudata(L, 1, WATCH);

    if (w->fd < 0 || w->closing) {
        luaL_error(L, "this watch is closed");
    }
    return w;
}

static uint32_t event_bit(lua_State *L, int arg, const char *name)
{
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (name != NULL && strcmp(name, events[i].name) == 0) {
            return events[i].bit;
        }
    }
    luaL_argerror(L, arg, "option 'events': a list of names of events expected");
    return 0;
}

/* The events of the options at `arg`. */
static uint32_t event_mask(lua_State *L, int arg)
{
    uint32_t mask = 0;

    if (lua_isnoneornil(L, arg) || lua_getfield(L, arg, "events") == LUA_TNIL) {
        for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
            mask |= events[i].usual ? events[i].bit : 0;
        }
        return mask;
    }
    luaL_argcheck(L, lua_istable(L, -1), arg, "option 'events': a list expected");
    for (int i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
        mask |= event_bit(L, arg, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return mask;
}

/*** watch:add(path [, options]) -> true | nil, message, errno
 * Watches one more file or directory. Options as for `fs.watch`.
 */
static int watch_add(lua_State *L)
{
    struct watch *w = check(L);
    const char *path = mods_path(L, 2);
    uint32_t mask = event_mask(L, 3);
    int number = inotify_add_watch(w->fd, path, mask);

    if (number < 0) {
        return mods_failed(L, path);
    }
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, number);
    return mods_done(L, 1, NULL);
}

/* Pushes the event as a table, or nothing (0) if it is none for users. */
static int push_event(lua_State *L, const struct inotify_event *e)
{
    const char *what = NULL;
    const char *watched;

    lua_getiuservalue(L, 1, 1);
    if ((e->mask & IN_IGNORED) != 0) {
        lua_pushnil(L);
        lua_rawseti(L, -2, e->wd);
        return 0;
    }
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        what = (e->mask & events[i].bit) != 0 ? events[i].name : what;
    }
    lua_rawgeti(L, -1, e->wd);
    watched = lua_tostring(L, -1);
    if (what == NULL || (watched == NULL && (e->mask & IN_Q_OVERFLOW) == 0)) {
        return 0;
    }
    mods_table(L, 0, 6);
    mods_set_text(L, "what", what);
    mods_set_flag(L, "directory", (e->mask & IN_ISDIR) != 0);
    if (watched != NULL) {
        size_t n = strlen(watched);
        mods_set_text(L, "watched", watched);
        if (e->len > 0) {
            mods_set_text(L, "name", e->name);
            lua_pushfstring(L, "%s%s%s", watched, n > 0 && watched[n - 1] == '/' ? "" : "/",
                            e->name);
        } else {
            lua_pushstring(L, watched);
        }
        lua_setfield(L, -2, "path");
    }
    if (e->cookie != 0) {
        mods_set_int(L, "cookie", e->cookie);
    }
    return 1;
}

/* Pushes the next event that has come: 1; else 0, or -1 with errno. */
static int take(lua_State *L, struct watch *w)
{
    for (;;) {
        const struct inotify_event *e;
        if (w->at == w->have) {
            ssize_t n = read(w->fd, w->buffer, sizeof w->buffer);
            if (n <= 0) {
                return n < 0 && errno != EAGAIN && errno != EINTR ? -1 : 0;
            }
            w->at = 0;
            w->have = (size_t)n;
        }
        e = (const struct inotify_event *)(const void *)(w->buffer + w->at);
        w->at += sizeof *e + e->len;
        if (push_event(L, e)) {
            return 1;
        }
        lua_settop(L, 2);
    }
}

static int fail(lua_State *L, int error)
{
    errno = error;
    return mods_failed(L, NULL);
}

static int next_continue(lua_State *L, int status, lua_KContext ctx)
{
    struct watch *w = lua_touserdata(L, 1);
    double deadline = lua_tonumber(L, 2);
    double left;
    int got;

    (void)status;
    (void)ctx;
    w->waiting--;
    if (w->closing || w->fd < 0) {
        if (w->waiting == 0) {
            shut(w);
        }
        return fail(L, EBADF);
    }
    got = take(L, w);
    if (got != 0) {
        return got > 0 ? 1 : mods_failed(L, NULL);
    }
    left = deadline < 0 ? -1 : deadline - now();
    if (deadline >= 0 && left <= 0) {
        return fail(L, ETIMEDOUT);
    }
    w->waiting++;
    return waitfd(L, w->fd, EV_READ, left, next_continue, 0);
}

/*** watch:next([seconds]) -> table | nil, message, errno
 * Waits for the next change, other calls run meanwhile: `what` (the event's name, or "unmount",
 * "overflow": some were lost), `path`, `name` (in a directory that is watched), `watched` (the path
 * given), `directory` (whether it is one), `cookie` (the same for both parts of a rename). After
 * that many seconds nil, a message and ETIMEDOUT.
 */
static int watch_next(lua_State *L)
{
    struct watch *w = check(L);
    lua_Number seconds = luaL_optnumber(L, 2, -1);

    luaL_argcheck(L, seconds == seconds, 2, "not a number");
    lua_settop(L, 1);
    lua_pushnumber(L, seconds < 0 || seconds > 1e9 ? -1 : now() + seconds);
    w->waiting++;
    return next_continue(L, LUA_OK, 0);
}

/*** watch:close()
 * Ends it. Calls that wait for it return nil, a message and EBADF.
 */
static int watch_close(lua_State *L)
{
    struct watch *w = luaL_checkudata(L, 1, WATCH);

    if (w->fd < 0 || w->closing) {
        return 0;
    }
    if (w->waiting == 0) {
        shut(w);
        return 0;
    }
    /* The descriptor is being waited for and must stay. A watch that goes is an event, which wakes
     * all; the last of them closes. */
    w->closing = 1;
    inotify_rm_watch(w->fd, inotify_add_watch(w->fd, "/", IN_DELETE_SELF));
    return 0;
}

/*** fs.watch(path [, options]) -> watch | nil, message, errno
 * Watches a file, or a directory and the files in it, for changes from now on. Option `events`: a
 * list of "create", "delete", "modify", "attrib", "close_write", "moved_from", "moved_to",
 * "delete_self", "move_self" (these are the usual), "access", "open", "close".
 */
static int fs_watch(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"add", watch_add}, {"next", watch_next},     {"close", watch_close},
        {"__gc", watch_gc}, {"__close", watch_close}, {NULL, NULL},
    };
    struct watch *w;

    mods_path(L, 1);
    lua_settop(L, 2);
    w = lua_newuserdatauv(L, sizeof *w, 1);
    memset(w, 0, sizeof *w);
    w->fd = -1;
    mods_class(L, WATCH, methods);
    luaL_setmetatable(L, WATCH);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_insert(L, 1);
    w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->fd < 0) {
        return mods_failed(L, NULL);
    }
    if (watch_add(L) != 1) {
        shut(w);
        return 3;
    }
    lua_settop(L, 1);
    return 1;
}

const luaL_Reg fs_watch_functions[] = {{"watch", fs_watch}, {NULL, NULL}};
