#include "launcher/lua/fleet.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/fleet/fleet.h"
#include "launcher/lua/fleetjob.h"
#include "launcher/lua/fleetmap.h"
#include "launcher/lua/host.h"
#include "launcher/lua/luajson.h"
#include "launcher/lua/luavalue.h"
#include "launcher/lua/options.h"

#define META     "grapnel.fleet"
#define CLOSE_MS 5000

struct lua_fleet {
    struct grapnel_fleet *f; /* NULL: none, or closed */
    struct grapnel_instance_options instance;
};

static int raise_error(lua_State *L, const struct grapnel_error *e)
{
    char text[1600];

    grapnel_error_format(e, text, sizeof text);
    return luaL_error(L, "%s", text);
}

static struct lua_fleet *self(lua_State *L)
{
    struct lua_fleet *box = luaL_checkudata(L, 1, META);

    if (!box->f || !host_lives(L))
        luaL_error(L, "the fleet is closed");
    return box;
}

/* ---- options ---- */

static lua_Integer get_count(lua_State *L, const char *name)
{
    lua_Integer n = 0;

    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        n = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
        if (n < 0)
            luaL_error(L, "grapnel: option \"%s\" must be a whole number from 0 on", name);
    }
    lua_pop(L, 1);
    return n;
}

static int64_t get_time(lua_State *L, const char *name)
{
    lua_Number s = 0.;

    if (lua_getfield(L, 2, name) != LUA_TNIL) {
        s = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1.;
        if (!(s >= 0. && s <= 1e9))
            luaL_error(L, "grapnel: option \"%s\" must be a number of seconds", name);
    }
    lua_pop(L, 1);
    return (int64_t)ceil(s * 1e3);
}

static int get_flag(lua_State *L, const char *name)
{
    int is;

    lua_getfield(L, 2, name);
    is = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return is;
}

static void check_names(lua_State *L)
{
    static const char *const names[] = {"connect",  "fanout",   "keep",          "aliases",
                                        "retry",    "back_off", "back_off_most", "batch",
                                        "max_fail", "memory",   "total_timeout", NULL};

    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;

        while (names[i] && strcmp(names[i], name) != 0)
            i++;
        if (!names[i])
            luaL_error(L, "grapnel: a fleet has no option \"%s\"", name);
    }
}

/* Of the table at index 2.  What is pushed is pointed to. */
static void read_options(lua_State *L, struct grapnel_fleet_options *o, struct options_lua *connect)
{
    *o = (struct grapnel_fleet_options){.connect = &connect->connect};
    lua_getfield(L, 2, "connect");
    options_lua_read(L, lua_gettop(L), connect);
    o->fanout = (size_t)get_count(L, "fanout");
    o->keep = get_flag(L, "keep");
    o->aliases = get_flag(L, "aliases");
    o->retry = (int)(get_count(L, "retry") & 0xffff);
    o->back_off = get_time(L, "back_off");
    o->back_off_most = get_time(L, "back_off_most");
    o->batch = (size_t)get_count(L, "batch");
    o->max_fail = (size_t)get_count(L, "max_fail");
    o->total_timeout = get_time(L, "total_timeout");
    o->memory = (size_t)get_count(L, "memory");
}

/* Puts the names that the text at index 1 stands for in its place, as a table. */
static void expand(lua_State *L)
{
    struct grapnel_error e;
    struct grapnel_targets *t = grapnel_targets_new(NULL, &e);

    if (!t || grapnel_targets_add(t, lua_tostring(L, 1), &e) < 0) {
        grapnel_targets_free(t);
        raise_error(L, &e);
        return;
    }
    lua_newtable(L);
    for (size_t i = 0; i < grapnel_targets_count(t); i++) {
        lua_pushstring(L, grapnel_targets_name(t, i));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    grapnel_targets_free(t);
    lua_replace(L, 1);
}

/* The targets at index 1, as an array that lives by what is pushed. */
static const char **read_targets(lua_State *L)
{
    size_t n;
    const char **names;

    if (lua_type(L, 1) == LUA_TSTRING)
        expand(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    n = lua_rawlen(L, 1);
    names = lua_newuserdatauv(L, (n + 1) * sizeof *names, 0);
    for (size_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i + 1) != LUA_TSTRING)
            luaL_error(L, "grapnel: targets are strings");
        names[i] = lua_tostring(L, -1);
        lua_pop(L, 1); /* it stays in the table */
    }
    names[n] = NULL;
    return names;
}

/* fleet(targets [, options]) → fleet */
static int make(lua_State *L)
{
    struct host *h = host_of(L);
    struct grapnel_fleet_options o;
    struct options_lua connect;
    struct grapnel_error e;
    struct lua_fleet *box;
    const char **names;

    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    box = lua_newuserdatauv(L, sizeof *box, 1); /* index 3; its value keeps what options point to */
    box->f = NULL;
    luaL_setmetatable(L, META);
    check_names(L);
    names = read_targets(L);
    read_options(L, &o, &connect);
    box->instance = connect.instance;
    box->f = grapnel_fleet_new(host_context(h), names, &o, &e);
    if (!box->f)
        return raise_error(L, &e);
    lua_createtable(L, 4, 0); /* strings of the instance's options live by what is on the stack */
    for (int i = 4, top = lua_gettop(L); i < top; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, top, i - 3);
    }
    lua_setiuservalue(L, 3, 1);
    lua_settop(L, 3);
    return 1;
}

/* ---- jobs ---- */

/* The string at that field becomes a file to read it from; NULL: there is none. */
static FILE *input_of(lua_State *L, int options)
{
    FILE *file = NULL;
    const char *text;
    size_t n;

    if (lua_getfield(L, options, "input") != LUA_TNIL) {
        text = luaL_checklstring(L, -1, &n);
        file = tmpfile();
        if (file && (fwrite(text, 1, n, file) != n || fflush(file) != 0)) {
            fclose(file);
            file = NULL;
        }
        if (!file)
            luaL_error(L, "grapnel: no place for the input");
        else
            rewind(file);
    }
    lua_pop(L, 1);
    return file;
}

/* Words of the table at that index, NULL-terminated; pushes what keeps them. */
static const char **words(lua_State *L, int index, const char *what)
{
    size_t n = lua_rawlen(L, index), length;
    const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);

    for (size_t i = 0; i < n; i++) {
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING)
            luaL_error(L, "grapnel: %s must be a list of strings", what);
        list[i] = lua_tolstring(L, -1, &length);
        if (strlen(list[i]) != length)
            luaL_error(L, "grapnel: a zero byte in %s", what);
        lua_pop(L, 1);
    }
    list[n] = NULL;
    return list;
}

static const char *text_at(lua_State *L, int index, const char *what)
{
    size_t length;
    const char *text = luaL_checklstring(L, index, &length);

    if (strlen(text) != length)
        luaL_error(L, "grapnel: a zero byte in %s", what);
    return text;
}

static void read_command(lua_State *L, struct grapnel_exec_options *x)
{
    *x = (struct grapnel_exec_options){0};
    if (lua_istable(L, 2))
        x->argv = words(L, 2, "a command");
    else
        x->line = text_at(L, 2, "a command");
    if (lua_getfield(L, 3, "cwd") != LUA_TNIL)
        x->cwd = text_at(L, -1, "cwd");
    if (lua_getfield(L, 3, "env") != LUA_TNIL) { /* {"NAME=value"} */
        luaL_checktype(L, -1, LUA_TTABLE);
        x->env = words(L, lua_gettop(L), "env");
    }
    lua_getfield(L, 3, "timeout");
    x->timeout = (int64_t)ceil(luaL_optnumber(L, -1, 0.) * 1e3);
    lua_getfield(L, 3, "merge");
    x->merge = lua_toboolean(L, -1);
}

/* fleet:run(command [, options]) → job */
static int run(lua_State *L)
{
    struct lua_fleet *box = self(L);
    struct grapnel_exec_options x;
    struct grapnel_fleet_job *job;
    struct grapnel_error e;
    FILE *input;

    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        lua_newtable(L);
        lua_replace(L, 3);
    }
    luaL_checktype(L, 3, LUA_TTABLE);
    read_command(L, &x);
    input = input_of(L, 3);
    x.use_fds = input != NULL;
    x.in = input ? fileno(input) : -1;
    job = grapnel_fleet_run(box->f, &x, NULL, NULL, &e);
    if (input)
        fclose(input);
    return job ? fleetjob_push(L, box->f, job) : raise_error(L, &e);
}

/* fleet:call(path, …) → job */
static int call(lua_State *L)
{
    struct lua_fleet *box = self(L);
    struct grapnel_call_options c = {.path = luaL_checkstring(L, 2)};
    struct grapnel_value *args = grapnel_value_new_array();
    struct grapnel_fleet_job *job = NULL;
    struct grapnel_error e;
    int bad = 0;

    for (int i = 3, top = lua_gettop(L); i <= top && !bad; i++) {
        lua_pushvalue(L, i);
        bad = grapnel_value_append(args, luajson_value(L)) < 0;
    }
    c.args = args;
    if (!bad)
        job = grapnel_fleet_call(box->f, &box->instance, &c, NULL, NULL, &e);
    grapnel_value_free(args);
    if (bad)
        return luaL_error(L, "grapnel: the arguments cannot be copied");
    return job ? fleetjob_push(L, box->f, job) : raise_error(L, &e);
}

/* fleet:ping(), fleet:facts() → job */
static int ping(lua_State *L)
{
    struct lua_fleet *box = self(L);
    struct grapnel_error e;
    struct grapnel_fleet_job *job = grapnel_fleet_ping(box->f, NULL, NULL, &e);

    return job ? fleetjob_push(L, box->f, job) : raise_error(L, &e);
}

static int facts(lua_State *L)
{
    struct lua_fleet *box = self(L);
    struct grapnel_error e;
    struct grapnel_fleet_job *job = grapnel_fleet_facts(box->f, NULL, NULL, &e);

    return job ? fleetjob_push(L, box->f, job) : raise_error(L, &e);
}

/* fleet:map(…) → job: of fleetmap.lua, for which this begins it. */
static int map(lua_State *L)
{
    struct lua_fleet *box = self(L);

    return fleetmap_begin(L, box->f, &box->instance);
}

/* ---- the end ---- */

/* fleet:close(): the connections that were kept, in good order. */
static int close_kept(lua_State *L)
{
    struct lua_fleet *box = self(L);
    struct grapnel_error e;

    if (grapnel_fleet_close(box->f, CLOSE_MS, &e) < 0)
        return raise_error(L, &e);
    return 0;
}

static int count(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)grapnel_fleet_count(self(L)->f));
    return 1;
}

static int collect(lua_State *L)
{
    struct lua_fleet *box = lua_touserdata(L, 1);

    if (box->f && host_lives(L))
        grapnel_fleet_free(box->f);
    box->f = NULL;
    return 0;
}

/* As a to-be-closed variable: in good order, and without a word when a job is still there. */
static int leave(lua_State *L)
{
    struct lua_fleet *box = luaL_checkudata(L, 1, META);

    if (box->f && host_lives(L))
        grapnel_fleet_close(box->f, CLOSE_MS, NULL);
    return 0;
}

void fleet_add(lua_State *L)
{
    static const luaL_Reg methods[] = {{"run", run},     {"call", call},        {"ping", ping},
                                       {"facts", facts}, {"close", close_kept}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", collect}, {"__close", leave}, {"__len", count}, {NULL, NULL}};

    if (luaL_newmetatable(L, META)) {
        luaL_setfuncs(L, meta, 0);
        luaL_newlib(L, methods);
        lua_pushcfunction(L, map);
        fleetmap_add(L);
        lua_setfield(L, -2, "map");
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
    fleetjob_add(L);
    lua_pushcfunction(L, make);
    lua_setfield(L, -2, "fleet");
}
