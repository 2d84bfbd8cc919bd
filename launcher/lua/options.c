#include "launcher/lua/options.h"

#include <lauxlib.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

enum kind {
    TEXT,
    COUNT,   /* int or unsigned, from 0 */
    DEPTH,   /* the same, as far as a worker takes it */
    SIZE,    /* int64_t, from 0 */
    SECONDS, /* int64_t of milliseconds */
    FLAG,    /* int */
    LIST,    /* one text, or an array of them */
    SETTING, /* a map of names to texts, as NAME=value */
    VALUE,   /* int: a stack index */
};

static const struct option {
    const char *name;
    enum kind kind;
    size_t member;
} options[] = {
#define OPTION(name, kind, member)                                                                 \
    {                                                                                              \
        name, kind, offsetof(struct options_lua, member)                                           \
    }
    OPTION("user", TEXT, connect.user),
    OPTION("port", COUNT, connect.port),
    OPTION("config", TEXT, connect.config_file),
    OPTION("identity", LIST, connect.identity_files),
    OPTION("options", LIST, connect.ssh_options),
    OPTION("transport", TEXT, connect.transport),
    OPTION("sudo", TEXT, connect.sudo_user),
    OPTION("connect_timeout", SECONDS, connect.connect_timeout),
    OPTION("lease", SECONDS, connect.lease),
    OPTION("cache_agent", FLAG, connect.cache_agent),
    OPTION("broker", FLAG, connect.broker),
    OPTION("instance", COUNT, instance.number),
    OPTION("held", FLAG, instance.held),
    OPTION("memory", SIZE, instance.memory),
    OPTION("cpu", SIZE, instance.cpu_seconds),
    OPTION("depth", DEPTH, instance.depth),
    OPTION("cwd", TEXT, instance.cwd),
    OPTION("env", SETTING, instance.env),
    OPTION("service", VALUE, service),
    OPTION("teleport", FLAG, teleport),
    OPTION("require", VALUE, require),
#undef OPTION
};

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    }
    return NULL;
}

static int wrong(lua_State *L, const struct option *o, const char *wanted)
{
    return luaL_error(L, "grapnel: option \"%s\" must be %s", o->name, wanted);
}

/* The text on top, converted in its place. */
static const char *text(lua_State *L, const struct option *o)
{
    const char *s = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;

    if (!s || strlen(s) != lua_rawlen(L, -1))
        wrong(L, o, "a string without zero bytes");
    return s;
}

static lua_Integer count(lua_State *L, const struct option *o, lua_Integer most)
{
    int is_int;
    lua_Integer n = lua_tointegerx(L, -1, &is_int);

    if (!is_int || lua_type(L, -1) != LUA_TNUMBER || n < 0 || n > most) {
        if (most == INT64_MAX)
            wrong(L, o, "a whole number from 0 on");
        wrong(L, o, lua_pushfstring(L, "a whole number from 0 to %I", most));
    }
    return n;
}

static int64_t milliseconds(lua_State *L, const struct option *o)
{
    lua_Number s = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1.;

    if (!(s >= 0. && s <= 1e9))
        wrong(L, o, "a number of seconds");
    return (int64_t)ceil(s * 1e3);
}

/* An array of pointers to the strings of the Lua array on top, which it replaces there; the strings
 * live by `keep`, a table on the stack. */
static const char **pointers(lua_State *L, const struct option *o)
{
    size_t n = lua_rawlen(L, -1);
    const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 1);

    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -2, (lua_Integer)i + 1);
        list[i] = text(L, o);
        lua_pop(L, 1);
    }
    list[n] = NULL;
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, 1); /* the strings live as long as the pointers */
    return list;
}

static const char **list(lua_State *L, const struct option *o)
{
    if (lua_type(L, -1) == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
    } else if (!lua_istable(L, -1)) {
        wrong(L, o, "a string or a list of strings");
    }
    return pointers(L, o);
}

static const char **settings(lua_State *L, const struct option *o)
{
    int map = lua_gettop(L), made;

    if (!lua_istable(L, map))
        wrong(L, o, "a table of names and values");
    lua_newtable(L);
    made = map + 1;
    for (lua_pushnil(L); lua_next(L, map); lua_settop(L, made + 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
            wrong(L, o, "a table of names and values");
        if (strchr(lua_tostring(L, -2), '=') || !*lua_tostring(L, -2))
            wrong(L, o, "a table of names without \"=\", and values");
        luaL_tolstring(L, -1, NULL);
        lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), lua_tostring(L, -1));
        lua_rawseti(L, made, (lua_Integer)lua_rawlen(L, made) + 1);
    }
    lua_remove(L, map);
    return pointers(L, o);
}

/* Reads the value on top into its member. */
static void put(lua_State *L, const struct option *o, struct options_lua *to)
{
    char *at = (char *)to + o->member;

    switch (o->kind) {
    case TEXT:
        *(const char **)(void *)at = text(L, o);
        break;
    case COUNT:
        *(int *)(void *)at = (int)count(L, o, 65535);
        break;
    case DEPTH:
        *(int *)(void *)at = (int)count(L, o, 1000);
        break;
    case SIZE:
        *(int64_t *)(void *)at = count(L, o, INT64_MAX);
        break;
    case SECONDS:
        *(int64_t *)(void *)at = milliseconds(L, o);
        break;
    case FLAG:
        *(int *)(void *)at = lua_toboolean(L, -1);
        break;
    case LIST:
        *(const char *const **)(void *)at = list(L, o);
        break;
    case SETTING:
        *(const char *const **)(void *)at = settings(L, o);
        break;
    case VALUE:
        *(int *)(void *)at = lua_gettop(L) - 1; /* where it is when the key has gone on top */
        break;
    }
}

/* The option's name is below the top. */
static int unknown(lua_State *L)
{
    luaL_Buffer b;

    luaL_tolstring(L, -2, NULL);
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        luaL_addstring(&b, i ? ", " : "");
        luaL_addstring(&b, options[i].name);
    }
    luaL_pushresult(&b);
    return luaL_error(L, "grapnel: there is no option \"%s\" (there are: %s)", lua_tostring(L, -2),
                      lua_tostring(L, -1));
}

/* What the broker holds is there already, and is others', too. */
static void check_held(lua_State *L, struct options_lua *o)
{
    const struct grapnel_instance_options *i = &o->instance;

    if (i->memory || i->cpu_seconds || i->cwd || i->env || o->service || !o->teleport)
        luaL_error(L, "grapnel: option \"held\" takes an instance as it is: without memory, cpu, "
                      "cwd, env, service and teleport");
    o->connect.broker = 1;
}

void options_lua_read(lua_State *L, int index, struct options_lua *o)
{
    *o = (struct options_lua){.teleport = 1, .instance.number = 1};
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, (int)(sizeof options / sizeof options[0]) + 8, NULL);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const struct option *known =
            lua_type(L, -2) == LUA_TSTRING ? find(lua_tostring(L, -2)) : NULL;
        if (!known)
            unknown(L);
        else
            put(L, known, o);
        lua_pushvalue(L, -2); /* the value stays below */
        lua_remove(L, -3);
    }
    if (o->instance.held)
        check_held(L, o);
    if (o->service && lua_type(L, o->service) != LUA_TSTRING && !lua_istable(L, o->service))
        luaL_error(L, "grapnel: option \"service\" must be a file's name or a table");
}
