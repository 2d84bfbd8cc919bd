/*** module proc
 * Processes: run commands, talk with them, look at all of the host's; the instance's environment.
 *
 * A failure of the system gives nil, message, errno. Signals are named without SIG: "TERM".
 * What can be done with the streams of a command is told by the page "stream".
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/worker/child.h"
#include "agent/worker/mods.h"
#include "agent/worker/proc_list.h"
#include "agent/worker/proc_popen.h"
#include "agent/worker/proc_run.h"
#include "agent/worker/proc_start.h"

extern char **environ;

static pid_t check_pid(lua_State *L, int arg)
{
    lua_Integer pid = luaL_checkinteger(L, arg);

    luaL_argcheck(L, pid > INT32_MIN && pid <= INT32_MAX, arg, "out of range");
    return (pid_t)pid;
}

/*** proc.exists(pid) -> boolean
 * Whether there is such a process.
 */
static int proc_exists(lua_State *L)
{
    pid_t pid = check_pid(L, 1);

    lua_pushboolean(L, pid > 0 && (kill(pid, 0) == 0 || errno == EPERM));
    return 1;
}

/*** proc.signal(pid [, signal]) -> true | nil, message, errno
 * Sends a signal ("TERM"; a name or a number) to a process, or to a group: its number negative.
 */
static int proc_signal(lua_State *L)
{
    pid_t pid = check_pid(L, 1);

    return mods_done(L, kill(pid, proc_start_signal(L, 2, "TERM")) == 0, NULL);
}

/*** proc.pid() -> integer
 * The number of the instance's own process.
 */
static int proc_pid(lua_State *L)
{
    lua_pushinteger(L, getpid());
    return 1;
}

/*** proc.ppid() -> integer
 * The number of its parent.
 */
static int proc_ppid(lua_State *L)
{
    lua_pushinteger(L, getppid());
    return 1;
}

static const char *check_name(lua_State *L, int arg)
{
    size_t n;
    const char *name = luaL_checklstring(L, arg, &n);

    luaL_argcheck(L, n > 0 && strlen(name) == n && strchr(name, '=') == NULL, arg,
                  "not a name of a variable");
    return name;
}

/*** proc.env() -> table
 * The instance's environment, values by names.
 */
static int proc_env(lua_State *L)
{
    mods_table(L, 0, 32);
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        const char *value = strchr(*at, '=');
        if (value != NULL) {
            lua_pushlstring(L, *at, (size_t)(value - *at));
            lua_pushstring(L, value + 1);
            lua_rawset(L, -3);
        }
    }
    return 1;
}

/*** proc.getenv(name) -> string | nil
 * A variable of the instance's environment.
 */
static int proc_getenv(lua_State *L)
{
    lua_pushstring(L, getenv(check_name(L, 1)));
    return 1;
}

/*** proc.setenv(name, value) -> true | nil, message, errno
 * Sets a variable for the instance and all that it starts later.
 */
static int proc_setenv(lua_State *L)
{
    const char *name = check_name(L, 1);
    size_t n;
    const char *value = luaL_checklstring(L, 2, &n);

    luaL_argcheck(L, strlen(value) == n, 2, "a value cannot hold a zero byte");
    return mods_done(L, setenv(name, value, 1) == 0, NULL);
}

/*** proc.unsetenv(name) -> true | nil, message, errno
 * Takes a variable away.
 */
static int proc_unsetenv(lua_State *L)
{
    return mods_done(L, unsetenv(check_name(L, 1)) == 0, NULL);
}

/*** proc.nice([value [, pid]]) -> integer | nil, message, errno
 * The priority of a process (default: the instance's), from -20 to 19, lowest last; set first if
 * there is a value.
 */
static int proc_nice(lua_State *L)
{
    id_t pid = (id_t)(lua_isnoneornil(L, 2) ? 0 : check_pid(L, 2));
    int value;

    if (!lua_isnoneornil(L, 1) &&
        setpriority(PRIO_PROCESS, pid, (int)luaL_checkinteger(L, 1)) != 0) {
        return mods_failed(L, NULL);
    }
    errno = 0;
    value = getpriority(PRIO_PROCESS, pid);
    if (value == -1 && errno != 0) {
        return mods_failed(L, NULL);
    }
    lua_pushinteger(L, value);
    return 1;
}

static const char *const limit_names[] = {"as",      "core",  "cpu", "data",  "fsize", "nofile",
                                          "memlock", "nproc", "rss", "stack", NULL};
/* C libraries disagree about its type. */
#ifdef __GLIBC__
typedef __rlimit_resource_t limit_kind;
#else
typedef int limit_kind;
#endif

static const limit_kind limits[] = {RLIMIT_AS,    RLIMIT_CORE,   RLIMIT_CPU,     RLIMIT_DATA,
                                    RLIMIT_FSIZE, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_NPROC,
                                    RLIMIT_RSS,   RLIMIT_STACK};

static lua_Integer limit_number(rlim_t value)
{
    return value == RLIM_INFINITY ? -1 : (lua_Integer)value;
}

static rlim_t check_limit(lua_State *L, int arg, rlim_t now)
{
    lua_Integer value = luaL_optinteger(L, arg, limit_number(now));

    return value < 0 ? RLIM_INFINITY : (rlim_t)value;
}

/*** proc.rlimit(name [, soft [, hard]]) -> soft, hard | nil, message, errno
 * A limit of the instance and of what it starts later; set first if there is a value; -1: none.
 * name: as core cpu data fsize nofile memlock nproc rss stack.
 */
static int proc_rlimit(lua_State *L)
{
    limit_kind which = limits[luaL_checkoption(L, 1, NULL, limit_names)];
    struct rlimit r;

    if (getrlimit(which, &r) != 0) {
        return mods_failed(L, NULL);
    }
    if (!lua_isnoneornil(L, 2) || !lua_isnoneornil(L, 3)) {
        r.rlim_cur = check_limit(L, 2, r.rlim_cur);
        r.rlim_max = check_limit(L, 3, r.rlim_max);
        if (setrlimit(which, &r) != 0) {
            return mods_failed(L, NULL);
        }
    }
    lua_pushinteger(L, limit_number(r.rlim_cur));
    lua_pushinteger(L, limit_number(r.rlim_max));
    return 2;
}

/*** proc.rlimits() -> table
 * All of them by name, each a table with soft and hard.
 */
static int proc_rlimits(lua_State *L)
{
    struct rlimit r;

    mods_table(L, 0, 10);
    for (int i = 0; limit_names[i] != NULL; i++) {
        if (getrlimit(limits[i], &r) == 0) {
            mods_table(L, 0, 2);
            mods_set_int(L, "soft", limit_number(r.rlim_cur));
            mods_set_int(L, "hard", limit_number(r.rlim_max));
            lua_setfield(L, -2, limit_names[i]);
        }
    }
    return 1;
}

int mod_proc(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"run", proc_run},         {"popen", proc_popen},
        {"list", proc_list},       {"info", proc_list_info},
        {"exists", proc_exists},   {"signal", proc_signal},
        {"pid", proc_pid},         {"ppid", proc_ppid},
        {"env", proc_env},         {"getenv", proc_getenv},
        {"setenv", proc_setenv},   {"unsetenv", proc_unsetenv},
        {"nice", proc_nice},       {"rlimit", proc_rlimit},
        {"rlimits", proc_rlimits}, {NULL, NULL},
    };

    /* A command that does not read what it is given is no reason to die. */
    (void)signal(SIGPIPE, SIG_IGN);
    child_open(L);
    luaL_newlib(L, functions);
    return 1;
}
