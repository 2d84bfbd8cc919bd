#include "agent/worker/proc_popen.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "agent/clock.h"
#include "agent/worker/fdio.h"
#include "agent/worker/mods.h"
#include "agent/worker/proc_start.h"
#include "agent/worker/waitfd.h"
#include "proto/errors.h"

#define PROCESS       "process"
#define STREAM        "stream"
#define GRACE_SECONDS 2.0 /* from TERM to KILL */

/* Its user value is a table: stdin, stdout, stderr, pid. */
struct process {
    struct child *child;
};

static const char *const names[] = {"stdin", "stdout", "stderr"};

static struct process *self(lua_State *L)
{
    return luaL_checkudata(L, 1, PROCESS);
}

/* Stack: the object, the deadline. */
static int wait_on(lua_State *L, int status, lua_KContext ctx)
{
    struct process *p = self(L);
    lua_Integer at = lua_tointeger(L, 2);
    lua_Integer now = (lua_Integer)clock_now_us();
    int how = 0;

    if (child_ended(p->child, &how)) {
        proc_start_result(L, how);
        return 1;
    }
    if (status == -E_TIMEOUT || (at >= 0 && at <= now)) {
        return fdio_failed(L, ETIMEDOUT);
    }
    if (status < 0) {
        return luaL_error(L, "the instance ends");
    }
    return waitfd_child(L, at < 0 ? -1 : (double)(at - now) / 1e6, wait_on, ctx);
}

/*** process:wait([timeout]) -> table | nil, message, errno
 * Waits for its end: `status` (its exit status) or `signal` (the name of what killed it), `code`
 * (as a shell tells it). May be called again.
 */
static int process_wait(lua_State *L)
{
    lua_Number seconds = luaL_optnumber(L, 2, -1);

    (void)self(L);
    lua_settop(L, 1);
    fdio_deadline(L, seconds);
    return wait_on(L, 0, 0);
}

/*** process:poll() -> table | nil
 * As wait, at once: nil while it runs.
 */
static int process_poll(lua_State *L)
{
    int status;

    if (!child_ended(self(L)->child, &status)) {
        lua_pushnil(L);
    } else {
        proc_start_result(L, status);
    }
    return 1;
}

/*** process:kill([signal]) -> true | nil, message, errno
 * Sends a signal ("TERM"; a name or a number) to it and to all of its process group.
 */
static int process_kill(lua_State *L)
{
    int number = proc_start_signal(L, 2, "TERM");

    return mods_done(L, child_signal(self(L)->child, number) == 0, NULL);
}

static void close_streams(lua_State *L)
{
    for (int i = 0; i < 3 && lua_getiuservalue(L, 1, 1) == LUA_TTABLE; i++) {
        struct fdio *f;
        lua_getfield(L, -1, names[i]);
        f = fdio_test(L, -1);
        if (f != NULL) {
            fdio_shut(L, f);
        }
        lua_pop(L, 2);
    }
}

/* Stack: the object, the deadline. ctx: the signal that comes next. */
static int close_on(lua_State *L, int status, lua_KContext ctx)
{
    struct process *p = self(L);
    lua_Integer at = lua_tointeger(L, 2);
    lua_Integer now = (lua_Integer)clock_now_us();

    if (child_ended(p->child, NULL)) {
        return process_poll(L);
    }
    if (status < 0 && status != -E_TIMEOUT) {
        return luaL_error(L, "the instance ends");
    }
    if (at >= 0 && at <= now) {
        (void)child_signal(p->child, SIGKILL);
        at = -1;
        lua_pushinteger(L, at);
        lua_replace(L, 2);
    }
    return waitfd_child(L, at < 0 ? -1 : (double)(at - now) / 1e6, close_on, ctx);
}

/*** process:close() -> table
 * Closes its streams and ends it: TERM for its process group, KILL two seconds later; the result is
 * that of wait. A variable declared <close> does so at its end. A process that is only collected
 * goes on without its streams; in an instance that is held (`grapnel connect --instance`) until the
 * command ends that has started it.
 */
static int process_close(lua_State *L)
{
    struct process *p = self(L);

    lua_settop(L, 1);
    close_streams(L);
    fdio_deadline(L, GRACE_SECONDS);
    if (p->child == NULL) {
        return 0;
    }
    (void)child_signal(p->child, SIGTERM);
    return close_on(L, 0, 0);
}

static int process_collect(lua_State *L)
{
    struct process *p = self(L);

    child_forget(p->child);
    p->child = NULL;
    return 0;
}

static int process_tostring(lua_State *L)
{
    lua_pushfstring(L, PROCESS " (%d)", (int)child_pid(self(L)->child));
    return 1;
}

/* Fields first, then methods: upvalue. */
static int process_index(lua_State *L)
{
    (void)self(L);
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pushvalue(L, 2);
        lua_rawget(L, lua_upvalueindex(1));
    }
    return 1;
}

static struct process *push_process(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"wait", process_wait},   {"poll", process_poll}, {"kill", process_kill},
        {"close", process_close}, {NULL, NULL},
    };
    static const luaL_Reg meta[] = {
        {"__gc", process_collect},
        {"__close", process_close},
        {"__tostring", process_tostring},
        {NULL, NULL},
    };
    struct process *p = lua_newuserdatauv(L, sizeof *p, 1);

    p->child = NULL;
    if (luaL_newmetatable(L, PROCESS)) {
        luaL_setfuncs(L, meta, 0);
        luaL_newlib(L, methods);
        lua_pushcclosure(L, process_index, 1);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
    return p;
}

/*** proc.popen(command [, options]) -> process | nil, message, errno
 * Starts a command; command and options as of run, without input, timeout and max, and all three of
 * stdin, stdout and stderr are pipes where nothing else is said. process.stdin, process.stdout and
 * process.stderr are their streams (nil: none), process.pid is its number. It runs in a session of
 * its own and ends with the instance at the latest.
 */
int proc_popen(lua_State *L)
{
    static const luaL_Reg none[] = {{NULL, NULL}};
    struct proc_start s = {.stdio = {PROC_PIPE, PROC_PIPE, PROC_PIPE}};
    struct fdio *streams[3];
    struct process *p;

    lua_settop(L, 2);
    p = push_process(L);
    lua_createtable(L, 0, 4);
    for (int i = 0; i < 3; i++) {
        streams[i] = fdio_new(L, sizeof *streams[i], -1, STREAM, none, none);
        lua_setfield(L, -2, names[i]);
    }
    lua_setiuservalue(L, 3, 1);
    p->child = proc_start(L, &s);
    if (p->child == NULL) {
        return 3;
    }
    lua_getiuservalue(L, 3, 1);
    for (int i = 0; i < 3; i++) {
        if (s.fds[i] < 0) {
            lua_pushnil(L);
            lua_setfield(L, -2, names[i]);
        } else {
            streams[i]->fd = s.fds[i];
        }
    }
    mods_set_int(L, "pid", child_pid(p->child));
    lua_settop(L, 3);
    return 1;
}
