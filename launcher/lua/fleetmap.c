#include "launcher/lua/fleetmap.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "launcher/fleet/fleet.h"
#include "launcher/lua/fleetjob.h"
#include "launcher/lua/host.h"
#include "launcher/lua/luajson.h"
#include "launcher/lua/luavalue.h"
#include "launcher/lua/until.h"
#include "lua_fleetmap.h"
#include "proto/errors.h"

#define META  "grapnel.fleet.map"
#define AHEAD 1024      /* tasks that are there before they are asked for, at most … */
#define BYTES (1 << 20) /* … and with so much in their arguments no others */

enum { FLEET = 1, HOSTS = 2 }; /* what belongs to a map */

struct lua_map {
    struct host *host;
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job; /* NULL: all was told, or it was given up */
    /* Tasks that were put, from `at` on around; guarded by the context's lock. */
    struct grapnel_value *tasks[AHEAD];
    size_t at, n, most, bytes;
    int ended;   /* no more will be put */
    int counted; /* it is known how many there are: each of them is told of */
};

static struct lua_map *self(lua_State *L)
{
    struct lua_map *m = luaL_checkudata(L, 1, META);

    return host_lives(L) ? m : NULL;
}

/* ---- tasks ---- */

/* grapnel_map_options, in any thread */
static int next(void *arg, struct grapnel_value **args)
{
    struct lua_map *m = arg;

    if (m->n == 0 && m->ended)
        return GRAPNEL_MAP_END;
    if (m->n <= m->most / 2)
        host_stir(m->host);
    if (m->n == 0)
        return GRAPNEL_MAP_LATER;
    *args = m->tasks[m->at];
    m->at = (m->at + 1) % AHEAD;
    m->n--;
    m->bytes -= fleet_map_weight(*args);
    return GRAPNEL_MAP_TASK;
}

static int wants_more(struct lua_map *m, size_t most)
{
    int wants;

    context_lock(host_context(m->host));
    wants = m->job && !m->ended && m->n < most && m->bytes < BYTES;
    context_unlock_quiet(host_context(m->host));
    return wants;
}

/* wants(map, full) → true: tasks are to be put; as long as it says so, if full. */
static int wants(lua_State *L)
{
    struct lua_map *m = self(L);

    lua_pushboolean(L, m && wants_more(m, lua_toboolean(L, 2) ? m->most : (m->most + 1) / 2));
    return 1;
}

static void put_task(struct lua_map *m, struct grapnel_value *args)
{
    context_lock(host_context(m->host));
    if (args) {
        m->tasks[(m->at + m->n++) % AHEAD] = args;
        m->bytes += fleet_map_weight(args);
    } else {
        m->ended = 1;
    }
    context_unlock_quiet(host_context(m->host));
}

/* go(map): they were put. */
static int go(lua_State *L)
{
    struct lua_map *m = self(L);

    if (m && m->job)
        grapnel_fleet_map_more(m->job);
    return 0;
}

/* now(): monotonic seconds */
static int now(lua_State *L)
{
    lua_pushnumber(L, grapnel_now());
    return 1;
}

/* put(map, …): a task's arguments; the first one nil, or none: there are no more tasks. */
static int put(lua_State *L)
{
    struct lua_map *m = self(L);
    struct grapnel_value *args;
    int bad = 0;

    if (!m || lua_isnoneornil(L, 2)) {
        if (m)
            put_task(m, NULL);
        return 0;
    }
    args = grapnel_value_new_array();
    for (int i = 2, top = lua_gettop(L); i <= top && !bad; i++) {
        lua_pushvalue(L, i);
        bad = grapnel_value_append(args, luajson_value(L)) < 0;
    }
    if (bad) {
        grapnel_value_free(args);
        return luaL_error(L, "grapnel: the arguments cannot be copied");
    }
    put_task(m, args);
    return 0;
}

/* ---- results ---- */

static void set_integer(lua_State *L, const char *name, lua_Integer n)
{
    lua_pushinteger(L, n);
    lua_setfield(L, -2, name);
}

static void push_result(lua_State *L, const struct lua_map *m, const struct grapnel_map_result *r)
{
    lua_createtable(L, 0, 8);
    set_integer(L, "index", (lua_Integer)r->index + 1);
    set_integer(L, "begun", r->begun);
    lua_pushboolean(L, r->error == NULL);
    lua_setfield(L, -2, "ok");
    if (r->instance > 0) {
        lua_pushstring(L, grapnel_fleet_name(m->f, r->host));
        lua_setfield(L, -2, "host");
        set_integer(L, "instance", r->instance);
    }
    if (r->value) {
        luavalue_push(L, r->value);
        lua_setfield(L, -2, "value");
    }
    if (grapnel_value_count(r->results) > 1) {
        luavalue_push(L, r->results);
        set_integer(L, "n", (lua_Integer)grapnel_value_count(r->results));
        lua_setfield(L, -2, "results");
    }
    if (r->error) {
        fleetjob_push_error(L, r->error);
        lua_setfield(L, -2, "error");
    }
    if (r->thrown) {
        luavalue_push(L, r->thrown);
        lua_setfield(L, -2, "thrown");
    }
}

static void drop(struct lua_map *m)
{
    if (m->job) {
        context_lock(host_context(m->host));
        fleet_watch(m->job, NULL, NULL);
        context_unlock_quiet(host_context(m->host));
        grapnel_fleet_job_free(m->job);
        m->job = NULL;
    }
    for (; m->n > 0; m->n--, m->at = (m->at + 1) % AHEAD)
        grapnel_value_free(m->tasks[m->at]);
}

/* All was told: what became of the hosts is kept, and the fleet is free for the next job. */
static void conclude(lua_State *L, struct lua_map *m)
{
    struct grapnel_fleet_result r;

    lua_newtable(L);
    for (lua_Integer i = 1; grapnel_fleet_wait_any(m->job, 0, &r, NULL) == 0; i++) {
        fleetjob_push_result(L, m->f, &r);
        lua_rawseti(L, -2, i);
    }
    lua_setiuservalue(L, 1, HOSTS);
    drop(m);
}

/* fleet_watch */
static void on_told(void *arg)
{
    host_stir(arg);
}

static int has_result(struct lua_map *m)
{
    int has;

    context_lock(host_context(m->host));
    has = fleet_has_map_news(m->job);
    context_unlock_quiet(host_context(m->host));
    return has;
}

static int has_news(void *arg)
{
    struct lua_map *m = arg;

    return !m->job || wants_more(m, (m->most + 1) / 2) || has_result(m);
}

/* Pushes what `take` gives now; 0: nothing yet. */
static int push_now(lua_State *L, struct lua_map *m)
{
    struct grapnel_map_result r;
    struct grapnel_error e;
    int has = m->job && has_result(m);

    if (m->job && !has && !wants_more(m, (m->most + 1) / 2))
        return 0;
    if (!m->job) {
        lua_pushnil(L);
    } else if (!has) {
        lua_pushboolean(L, 0);
    } else if (grapnel_fleet_map_next(m->job, 0, &r, &e) == 0) {
        push_result(L, m, &r);
    } else {
        conclude(L, m);
        lua_pushnil(L);
        if (m->counted || e.code == -E_CLOSED || e.code == -E_CANCELLED)
            return 1;
        fleetjob_push_error(L, &e);
        return 2;
    }
    return 1;
}

static int told(lua_State *L, int status, lua_KContext context)
{
    struct lua_map *m = luaL_checkudata(L, 1, META);
    int result = until_result(L), n;

    (void)status;
    (void)context;
    if (result < 0 && result != -E_TIMEOUT)
        return until_raise(L, result);
    n = push_now(L, m);
    if (n > 0)
        return n;
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

/* take(map [, seconds]) → result; nil behind the last one, and why there were no more; nil,
 * "timeout"; or false: tasks are to be put. */
static int take(lua_State *L)
{
    struct lua_map *m = self(L);
    lua_Number seconds = luaL_optnumber(L, 2, HUGE_VAL);
    uint64_t deadline = UINT64_MAX;
    int n;

    luaL_argcheck(L, !isnan(seconds), 2, "not a time");
    lua_settop(L, 1);
    if (!m)
        return 0;
    n = push_now(L, m);
    if (n > 0)
        return n;
    if (seconds < 1e9)
        deadline = context_now() + (seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
    return until_suspend(L, has_news, m, deadline, told, 0);
}

/* ---- making and freeing ---- */

static int collect(lua_State *L)
{
    struct lua_map *m = self(L);

    if (m)
        drop(m);
    return 0;
}

/* map:cancel() */
static int cancel(lua_State *L)
{
    struct lua_map *m = self(L);

    if (m && m->job)
        grapnel_fleet_cancel(m->job);
    return 0;
}

/* map:counts() → table, of hosts; nil when all was told */
static int counts(lua_State *L)
{
    struct lua_map *m = self(L);

    if (!m || !m->job)
        return 0;
    fleetjob_push_counts(L, m->job);
    return 1;
}

/* map:hosts() → list of their results; nil before all was told */
static int hosts(lua_State *L)
{
    luaL_checkudata(L, 1, META);
    lua_getiuservalue(L, 1, HOSTS);
    return 1;
}

static lua_Integer get_integer(lua_State *L, const char *name, lua_Integer least)
{
    lua_Integer n = 0;

    if (lua_getfield(L, 4, name) != LUA_TNIL) {
        n = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : least - 1;
        if (n < least)
            luaL_error(L, "grapnel: option \"%s\" must be a whole number from %d on", name,
                       (int)least);
    }
    lua_pop(L, 1);
    return n;
}

static void read_options(lua_State *L, struct grapnel_map_options *o)
{
    lua_Number seconds;

    o->instances = (size_t)get_integer(L, "instances", 1);
    o->ahead = (size_t)get_integer(L, "ahead", 1);
    o->redo = (int)(get_integer(L, "redo", 0) & 0xffff);
    if (lua_getfield(L, 4, "redo") != LUA_TNIL && o->redo == 0)
        o->redo = -1;
    lua_getfield(L, 4, "ordered");
    o->ordered = lua_toboolean(L, -1);
    lua_getfield(L, 4, "timeout");
    seconds = luaL_optnumber(L, -1, 0.);
    luaL_argcheck(L, seconds >= 0. && seconds < 1e9, 4, "timeout");
    o->timeout = (int64_t)ceil(seconds * 1e3);
    lua_pop(L, 3);
    o->count = (uint64_t)luaL_optinteger(L, 5, 0);
}

int fleetmap_begin(lua_State *L, struct grapnel_fleet *f,
                   const struct grapnel_instance_options *instance)
{
    struct host *h = host_of(L);
    const char *what = luaL_checkstring(L, 2);
    int is_source = lua_toboolean(L, 3);
    struct grapnel_map_options o = {.path = is_source ? NULL : what,
                                    .source = is_source ? what : NULL,
                                    .instance = instance,
                                    .next = next};
    struct lua_map *m;
    struct grapnel_error e;
    char text[1600];

    read_options(L, &o);
    m = lua_newuserdatauv(L, sizeof *m, HOSTS);
    *m = (struct lua_map){.host = h, .f = f, .most = o.ahead && o.ahead < AHEAD ? o.ahead : AHEAD};
    luaL_setmetatable(L, META);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, FLEET);
    o.arg = m;
    m->counted = o.count > 0;
    m->job = grapnel_fleet_map(f, &o, NULL, NULL, NULL, &e);
    if (!m->job) {
        grapnel_error_format(&e, text, sizeof text);
        return luaL_error(L, "%s", text);
    }
    context_lock(host_context(h));
    fleet_watch(m->job, on_told, h);
    context_unlock_quiet(host_context(h));
    return 1;
}

void fleetmap_add(lua_State *L)
{
    static const luaL_Reg tools[] = {{"wants", wants}, {"put", put}, {"go", go},
                                     {"take", take},   {"now", now}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"cancel", cancel}, {"counts", counts}, {"hosts", hosts}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", collect}, {"__close", collect}, {NULL, NULL}};

    luaL_newmetatable(L, META);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, tools);
    lua_rotate(L, -3, -1); /* metatable, tools, begin */
    if (luaL_loadbufferx(L, lua_fleetmap, lua_fleetmap_size, "=grapnel", "t") != LUA_OK)
        lua_error(L);
    lua_insert(L, -4);
    lua_call(L, 3, 1);
}
