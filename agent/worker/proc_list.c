#include "agent/worker/proc_list.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <lauxlib.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/mods.h"
#include "agent/worker/object.h"

#define TEXT_MAX 65536

/* What all processes of one answer need. */
struct system {
    double boot; /* seconds since 1970 */
    double ticks;
    double page;
    int users; /* stack index of a table: names by uid */
};

static void read_system(lua_State *L, struct system *s)
{
    char text[TEXT_MAX];
    const char *at;

    s->boot = 0;
    s->ticks = (double)sysconf(_SC_CLK_TCK);
    s->page = (double)sysconf(_SC_PAGESIZE);
    if (mods_read("/proc/stat", text, sizeof text) > 0 && (at = strstr(text, "\nbtime ")) != NULL) {
        s->boot = strtod(at + 7, NULL);
    }
    lua_newtable(L);
    s->users = lua_gettop(L);
}

/* Sets uid and user of the table on top. */
static void set_user(lua_State *L, const struct system *s, uid_t uid)
{
    mods_set_int(L, "uid", uid);
    if (lua_geti(L, s->users, uid) == LUA_TNIL) {
        const struct passwd *pw = getpwuid(uid);
        lua_pop(L, 1);
        if (pw != NULL) {
            lua_pushstring(L, pw->pw_name);
        } else {
            lua_pushfstring(L, "%d", (int)uid);
        }
        lua_pushvalue(L, -1);
        lua_seti(L, s->users, uid);
    }
    lua_setfield(L, -2, "user");
}

/* Sets the fields that /proc/PID/stat tells; its second word is in brackets and may hold any. */
static int set_stat(lua_State *L, const struct system *s, char *text)
{
    char *name = strchr(text, '(');
    char *end = strrchr(text, ')');
    char state[2] = {0, 0};
    double v[23] = {0}; /* the words from the fourth on */
    char *at;

    if (name == NULL || end == NULL || end < name || end[1] == '\0' || end[2] == '\0') {
        return -1;
    }
    *end = '\0';
    state[0] = end[2];
    at = end + 3;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        v[i] = strtod(at, &at);
    }
    mods_set_text(L, "name", name + 1);
    mods_set_text(L, "state", state);
    mods_set_int(L, "ppid", (lua_Integer)v[0]);
    mods_set_int(L, "group", (lua_Integer)v[1]);
    mods_set_int(L, "session", (lua_Integer)v[2]);
    mods_set_number(L, "user_time", v[10] / s->ticks);
    mods_set_number(L, "system_time", v[11] / s->ticks);
    mods_set_int(L, "nice", (lua_Integer)v[15]);
    mods_set_int(L, "threads", (lua_Integer)v[16]);
    mods_set_number(L, "started", s->boot + v[18] / s->ticks);
    mods_set_int(L, "rss", (lua_Integer)(v[20] * s->page));
    return 0;
}

static void set_cmdline(lua_State *L, const char *path, char *text)
{
    int n = mods_read(path, text, TEXT_MAX);

    while (n > 0 && text[n - 1] == '\0') {
        n--;
    }
    for (int i = 0; i < n; i++) {
        text[i] = text[i] == '\0' ? ' ' : text[i];
    }
    lua_pushlstring(L, text, n > 0 ? (size_t)n : 0);
    lua_setfield(L, -2, "cmdline");
}

/* Pushes a process; nothing, and -1, when there is none. */
static int push_process(lua_State *L, const struct system *s, long pid)
{
    char path[64];
    char text[TEXT_MAX];
    struct stat st;

    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (stat(path, &st) != 0 || mods_read(path, text, sizeof text) <= 0) {
        return -1;
    }
    mods_table(L, 0, 16);
    mods_set_int(L, "pid", pid);
    set_user(L, s, st.st_uid);
    if (set_stat(L, s, text) != 0) {
        lua_pop(L, 1);
        return -1;
    }
    (void)snprintf(path, sizeof path, "/proc/%ld/cmdline", pid);
    set_cmdline(L, path, text);
    return 0;
}

static int compare(const void *a, const void *b)
{
    const long *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* Reads the numbers of all processes into *pids (to be freed). How many; -1 with errno. */
static long read_pids(long **pids)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    size_t n = 0, room = 0;

    *pids = NULL;
    if (dir == NULL) {
        return -1;
    }
    while ((entry = readdir(dir)) != NULL) {
        long pid = isdigit((unsigned char)entry->d_name[0]) ? strtol(entry->d_name, NULL, 10) : 0;
        if (pid <= 0) {
            continue;
        }
        if (n == room) {
            long *more = realloc(*pids, (room + 1024) * sizeof *more);
            if (more == NULL) {
                break;
            }
            *pids = more;
            room += 1024;
        }
        (*pids)[n++] = pid;
    }
    closedir(dir);
    if (n > 0) {
        qsort(*pids, n, sizeof **pids, compare);
    }
    return (long)n;
}

static int free_memory(lua_State *L)
{
    long **pids = lua_touserdata(L, 1);

    free(*pids);
    *pids = NULL;
    return 0;
}

/* Pushes a pointer whose memory is freed even if the answer does not find enough of it. */
static long **push_memory(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", free_memory}, {NULL, NULL}};
    long **pids = lua_newuserdatauv(L, sizeof *pids, 0);

    *pids = NULL;
    object_class(L, "grapnel.pids", none, meta);
    return pids;
}

/*** proc.list() -> table | nil, message, errno
 * All processes of the host by rising pid, each a table: pid, ppid, group, session, name, cmdline,
 * user, uid, state (a letter, as in ps), nice, threads, rss (bytes), user_time, system_time (CPU
 * seconds), started (seconds since 1970).
 */
int proc_list(lua_State *L)
{
    struct system s;
    long **pids;
    long n;
    lua_Integer k = 0;

    read_system(L, &s);
    pids = push_memory(L);
    n = read_pids(pids);
    if (n < 0) {
        return mods_failed(L, "/proc");
    }
    mods_table(L, (int)n, 0);
    for (long i = 0; i < n; i++) {
        if (push_process(L, &s, (*pids)[i]) == 0) {
            lua_rawseti(L, -2, ++k);
        }
    }
    return 1;
}

static void set_link(lua_State *L, long pid, const char *name)
{
    char path[64];
    char target[4096];
    ssize_t n;

    (void)snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    n = readlink(path, target, sizeof target);
    if (n >= 0) {
        lua_pushlstring(L, target, (size_t)n);
        lua_setfield(L, -2, name);
    }
}

/*** proc.info([pid]) -> table | nil, message, errno
 * One process as in list (default: the instance's own), with exe and cwd where they may be seen.
 */
int proc_list_info(lua_State *L)
{
    lua_Integer pid = luaL_optinteger(L, 1, getpid());
    struct system s;

    read_system(L, &s);
    if (push_process(L, &s, (long)pid) != 0) {
        errno = ESRCH;
        return mods_failed(L, NULL);
    }
    set_link(L, (long)pid, "exe");
    set_link(L, (long)pid, "cwd");
    return 1;
}
