#include "launcher/lua/module.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

#include "launcher/connection.h"
#include "launcher/lua/cached.h"
#include "launcher/lua/connect.h"
#include "launcher/lua/fleet.h"
#include "launcher/lua/host.h"
#include "launcher/lua/input.h"
#include "launcher/lua/until.h"
#include "peer/peer.h"
#include "proto/errors.h"

#define NAME_BYTES 512

/* ---- letting things happen ---- */

static int is_deserted(void *arg)
{
    return !host_alive(arg);
}

static int driven(lua_State *L, int status, lua_KContext context)
{
    int result = until_result(L);

    (void)status;
    (void)context;
    if (result < 0 && result != -E_TIMEOUT)
        return until_raise(L, result);
    lua_pushboolean(L, result == 0);
    return 1;
}

/* drive([seconds]): lets calls from hosts, callbacks and tasks run for so long, or until the last
 * connection has ended: then it returns true. */
static int drive(lua_State *L)
{
    struct host *h = host_of(L);
    lua_Number seconds = luaL_optnumber(L, 1, HUGE_VAL);
    uint64_t deadline = UINT64_MAX;

    luaL_argcheck(L, !isnan(seconds), 1, "not a time");
    if (seconds < 1e9)
        deadline = context_now() + (seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
    return until_suspend(L, is_deserted, h, deadline, driven, 0);
}

void module_use(lua_State *L, struct grapnel *g)
{
    host_on(L, g);
}

void module_connect(lua_State *L, struct grapnel_server *s,
                    const struct grapnel_instance_options *o)
{
    static const struct grapnel_instance_options defaults;
    struct host_use use = {.own = s};
    struct error e = {0};
    char target[NAME_BYTES], name[NAME_BYTES + 16];
    struct line *line;

    if (!o)
        o = &defaults;
    snprintf(target, sizeof target, "%s", connection_target(s));
    snprintf(name, sizeof name, "%s:%d", target, o->number > 0 ? o->number : 1);
    line = connect_start(L, host_of(L), s, &use, name, o, true, &e);
    if (!line)
        connect_fail(L, target, &e);
    else
        connect_push(L, line, 1);
}

/* now(): monotonic seconds */
static int now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)context_now() / 1e6);
    return 1;
}

int luaopen_grapnel(lua_State *L)
{
    static const luaL_Reg functions[] = {{"connect", connect_to},
                                         {"drive", drive},
                                         {"now", now},
                                         {"lines", input_lines},
                                         {NULL, NULL}};

    host_of(L);
    peer_push_module(L);
    luaL_setfuncs(L, functions, 0);
    cached_add(L);
    fleet_add(L);
    return 1;
}
