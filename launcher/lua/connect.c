#include "launcher/lua/connect.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "launcher/lua/held.h"
#include "launcher/lua/interact.h"
#include "launcher/lua/luavalue.h"
#include "launcher/lua/options.h"
#include "launcher/lua/until.h"
#include "launcher/lua/wanted.h"
#include "lua_dress.h"
#include "peer/peer.h"

#define NAME_BYTES 512

int connect_fail(lua_State *L, const char *host, const struct error *e)
{
    struct grapnel_error error;
    char text[1600];

    context_error(&error, host, e);
    grapnel_error_format(&error, text, sizeof text);
    return luaL_error(L, "%s", text);
}

/* ---- what a connection has besides what its peer gives it ---- */

/* Upvalue 1: a userdata with the line, which all of the connection's methods share.  NULL: the
 * connection is closed, or the state is. */
static struct line **place_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static struct line *line_of(lua_State *L)
{
    return host_lives(L) ? *place_of(L) : NULL;
}

/* close(): also as the method of a to-be-closed variable. */
static int close_line(lua_State *L)
{
    struct line *line = line_of(L);

    if (line && !context_forked(host_context(host_of(L)), NULL)) {
        *place_of(L) = NULL;
        line_end(line);
    }
    return 0;
}

int connect_facts(lua_State *L, struct grapnel_server *s)
{
    struct grapnel_value *v = NULL;
    struct grapnel_error e;
    char text[1600], *json;

    if (!s)
        return luaL_error(L, "EOF: the connection is closed");
    json = grapnel_facts_json(s, 0, -1, &e);
    if (json)
        v = grapnel_value_from_json(json, strlen(json), &e);
    grapnel_string_free(json);
    if (!v) {
        grapnel_error_format(&e, text, sizeof text);
        return luaL_error(L, "%s", text);
    }
    luavalue_push(L, v);
    grapnel_value_free(v);
    return 1;
}

/* facts(): what the agent told of its host. */
static int facts(lua_State *L)
{
    struct line *line = line_of(L);

    return connect_facts(L, line ? host_server(host_of(L), line_use(line)) : NULL);
}

/* Adds the methods to the connection on top of the stack. */
static void add_methods(lua_State *L, struct line *line)
{
    static const luaL_Reg methods[] = {{"close", close_line}, {"facts", facts}, {NULL, NULL}};
    struct line **place = lua_newuserdatauv(L, sizeof(struct line *), 0);

    *place = line;
    luaL_setfuncs(L, methods, 1);
}

void connect_push(lua_State *L, struct line *line, int alone)
{
    if (alone)
        peer_push(L, line_peer(line));
    else
        peer_push_new(L, line_peer(line));
    if (alone)
        add_methods(L, line);
    interact_set_method(L);
}

/* ---- connecting ---- */

/* Under way: a userdata, as what waits for it may go on elsewhere. */
struct attempt {
    struct host *host;
    struct wanted *wanted;
    struct held *held; /* NULL: the connection is not the cache's */
    struct line *line;
    uint64_t deadline_us;
    int early; /* the line was begun before the server was ready */
};

/* Where things are on the stack, from the first wait on. */
enum {
    TARGET = 1, /* as it was typed */
    OPTIONS,
    ATTEMPT,
    WANTED,
    BEGUN,           /* what follows is there when there is a line: */
    SERVICE = BEGUN, /* or nil */
    REQUIRE,         /* what answers the far `require`, or nil */
    TELEPORT,        /* whether functions are sent */
    CONNECTION,
};

static struct attempt *attempt_of(lua_State *L)
{
    return lua_touserdata(L, ATTEMPT);
}

static void drop_line(struct attempt *a)
{
    if (a->held)
        held_fail(a->held);
    else if (a->line)
        line_end(a->line);
    a->line = NULL;
}

/* What there is of the connection goes away. */
static void undo(struct attempt *a)
{
    drop_line(a);
    wanted_leave(a->wanted);
}

static int fail(lua_State *L, const struct error *e)
{
    undo(attempt_of(L));
    return connect_fail(L, lua_tostring(L, TARGET), e);
}

static int fail_wait(lua_State *L, int result)
{
    struct error e = {0};

    if (result == -E_TIMEOUT) {
        errors_set(&e, -E_CONNECT_TIMEOUT, "the instance has not answered");
        return fail(L, &e);
    }
    undo(attempt_of(L));
    return until_raise(L, result);
}

struct line *connect_start(lua_State *L, struct host *h, struct grapnel_server *s,
                           const struct host_use *use, const char *name,
                           const struct grapnel_instance_options *o, bool teleport, struct error *e)
{
    struct peer_options options = {.opener = true,
                                   .policy = PEER_PASSED,
                                   .teleport = teleport,
                                   .name = name,
                                   .depth_max = o->depth};

    return line_start(L, h, s, use, o, &options, e);
}

/* Stack: as to CONNECTION, and, if it failed, an error value. */
static int dressed(lua_State *L, int status, lua_KContext context)
{
    (void)context;
    if (status != LUA_OK && status != LUA_YIELD) {
        undo(attempt_of(L));
        return lua_error(L);
    }
    wanted_leave(attempt_of(L)->wanted);
    lua_settop(L, CONNECTION);
    return 1;
}

/* What dress.lua is called with: seconds that are left, or nil. */
static void push_time_left(lua_State *L)
{
    uint64_t deadline = attempt_of(L)->deadline_us;

    if (deadline == UINT64_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, ((double)deadline - (double)context_now()) / 1e6);
}

static int dress(lua_State *L)
{
    if (lua_isnil(L, SERVICE) && !lua_toboolean(L, REQUIRE) && lua_toboolean(L, TELEPORT))
        return dressed(L, LUA_OK, 0);
    if (luaL_loadbufferx(L, lua_dress, lua_dress_size, "=grapnel", "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_pushvalue(L, CONNECTION);
    lua_pushvalue(L, SERVICE);
    lua_pushvalue(L, REQUIRE);
    lua_pushvalue(L, TELEPORT);
    peer_push_module(L);
    push_time_left(L);
    return dressed(L, lua_pcallk(L, 6, 0, 0, 0, dressed), 0);
}

/* Whoever closes one that is being made need not wait for its server. */
static int was_closed(const struct attempt *a)
{
    struct grapnel_connection *slot;
    int closed;

    if (!a->held)
        return 0;
    context_lock(host_context(a->host));
    slot = held_slot(a->held);
    closed = !slot || !slot->of;
    context_unlock_quiet(host_context(a->host));
    return closed;
}

static int begin(lua_State *L);

static int connected(lua_State *L, int status, lua_KContext context)
{
    int result = until_result(L);
    struct attempt *a = attempt_of(L);
    struct error e = {0};

    (void)status;
    (void)context;
    if (result < 0)
        return fail_wait(L, result);
    /* What kept it from starting is told best by the server. */
    if (wanted_outcome(a->wanted, &e) < 0)
        return fail(L, &e);
    if (line_outcome(a->line, &e) < 0) {
        if (!a->early || e.code == -E_INSTANCE || was_closed(a))
            return fail(L, &e);
        drop_line(a); /* it travelled with an attempt that failed, and another one did not */
        lua_settop(L, WANTED);
        return begin(L);
    }
    connect_push(L, a->line, !a->held);
    return dress(L);
}

/* A line that is over before anything was heard on it has the server's end to thank, as a rule. */
static int is_settled(void *arg)
{
    struct attempt *a = arg;

    return line_settled(a->line) &&
           (!line_over(a->line) || wanted_settled(a->wanted) || was_closed(a));
}

/* The name of the connection; the target is as it was typed. */
static void make_name(struct attempt *a, const char *target, int number, char *name, size_t size)
{
    struct grapnel_connection *slot;

    snprintf(name, size, "%s:%d", target, number > 0 ? number : 1);
    if (!a->held)
        return;
    context_lock(host_context(a->host));
    slot = held_slot(a->held);
    if (slot)
        snprintf(name, size, "%s", slot->name);
    context_unlock_quiet(host_context(a->host));
}

static struct line *start(lua_State *L, struct attempt *a, const struct options_lua *o,
                          struct error *e)
{
    char name[NAME_BYTES];
    struct host_use use = {.cached = wanted_server(a->wanted)};
    struct grapnel_server *s = host_server(a->host, &use);

    if (!s) {
        errors_set(e, -E_CLOSED, "the connection was closed");
        return NULL;
    }
    make_name(a, lua_tostring(L, TARGET), o->instance.number, name, sizeof name);
    if (!a->held) {
        context_lock(host_context(a->host));
        cache_hold(use.cached);
        context_unlock_quiet(host_context(a->host));
    }
    return connect_start(L, a->host, s, a->held ? NULL : &use, name, &o->instance, o->teleport, e);
}

static void push_option(lua_State *L, int index)
{
    if (index)
        lua_pushvalue(L, index);
    else
        lua_pushnil(L);
}

/* Stack: to WANTED.  The worker goes out with the agent, before anybody has answered. */
static int begin(lua_State *L)
{
    struct attempt *a = attempt_of(L);
    struct options_lua o;
    struct error e = {0};

    options_lua_read(L, OPTIONS, &o);
    a->early = !wanted_settled(a->wanted);
    a->line = start(L, a, &o, &e);
    if (!a->line || (a->held && held_begin(a->held, a->line, &e) < 0))
        return fail(L, &e);
    push_option(L, o.service);
    push_option(L, o.require);
    lua_pushboolean(L, o.teleport);
    lua_rotate(L, BEGUN, 3);
    lua_settop(L, TELEPORT);
    return until_suspend(L, is_settled, a, a->deadline_us, connected, 0);
}

static int ready(lua_State *L, int status, lua_KContext context)
{
    int result = until_result(L);
    struct error e = {0};

    (void)status;
    (void)context;
    if (result < 0)
        return fail_wait(L, result);
    if (wanted_outcome(attempt_of(L)->wanted, &e) < 0)
        return fail(L, &e);
    return begin(L);
}

/* Stack: to WANTED. */
static int go(lua_State *L)
{
    struct attempt *a = attempt_of(L);

    a->wanted = wanted_at(L, WANTED);
    lua_settop(L, WANTED);
    if (wanted_takes(a->wanted))
        return begin(L);
    return until_suspend(L, wanted_settled, a->wanted, a->deadline_us, ready, 0);
}

static struct attempt *push_attempt(lua_State *L)
{
    struct attempt *a = lua_newuserdatauv(L, sizeof *a, 0);

    *a = (struct attempt){.host = host_of(L)};
    return a;
}

static void read_options(lua_State *L, struct attempt *a, struct options_lua *o)
{
    options_lua_read(L, OPTIONS, o);
    a->deadline_us = UINT64_MAX;
    if (o->connect.connect_timeout > 0)
        a->deadline_us = context_now() + (uint64_t)o->connect.connect_timeout * 1000;
}

int connect_to(lua_State *L)
{
    const char *target = luaL_checkstring(L, TARGET);
    struct options_lua o;
    struct error e = {0};

    lua_settop(L, OPTIONS);
    read_options(L, push_attempt(L), &o);
    if (!wanted_push(L, host_of(L), target, &o.connect, 1, &e))
        return connect_fail(L, target, &e);
    lua_insert(L, WANTED); /* what is behind it has kept the options */
    return go(L);
}

int connect_held(lua_State *L)
{
    struct held *held = held_at(L, 2);
    struct options_lua o;

    luaL_checkstring(L, 4);
    lua_settop(L, 4);
    lua_pushvalue(L, 1);
    push_attempt(L)->held = held; /* it lives by the caller */
    lua_pushvalue(L, 3);
    lua_rotate(L, TARGET, WANTED);
    read_options(L, attempt_of(L), &o);
    return go(L);
}
