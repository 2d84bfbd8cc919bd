#include "agent/worker/mods.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "peer/peer.h"

static const luaL_Reg modules[] = {
#define MODULE(name) {#name, mod_##name},
#include "agent/worker/mods.def"
#undef MODULE
    {NULL, NULL},
};

void mods_procedures(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PEER_PROCEDURES);
    for (lua_pushnil(L); lua_next(L, -3); lua_pop(L, 1)) {
        if (lua_iscfunction(L, -1)) {
            lua_pushvalue(L, -1);
            lua_pushboolean(L, 1);
            lua_rawset(L, -5);
        }
    }
    lua_pop(L, 1);
}

/* What `require` calls; upvalue 1: the module's own opener. */
static int open_module(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    mods_procedures(L);
    return 1;
}

void mods_preload(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (const luaL_Reg *m = modules; m->name != NULL; m++) {
        lua_pushcfunction(L, m->func);
        lua_pushcclosure(L, open_module, 1);
        lua_setfield(L, -2, m->name);
    }
    lua_pop(L, 1);
}

void mods_mark(lua_State *L)
{
    if (luaL_newmetatable(L, "grapnel.copy")) {
        mods_set_flag(L, "__copy", 1);
    }
    lua_setmetatable(L, -2);
}

void mods_table(lua_State *L, int array, int fields)
{
    lua_createtable(L, array, fields);
    mods_mark(L);
}

void mods_set_int(lua_State *L, const char *name, lua_Integer value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

void mods_set_number(lua_State *L, const char *name, lua_Number value)
{
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

void mods_set_text(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void mods_set_flag(lua_State *L, const char *name, int value)
{
    lua_pushboolean(L, value);
    lua_setfield(L, -2, name);
}

int mods_failed(lua_State *L, const char *what)
{
    return luaL_fileresult(L, 0, what);
}

int mods_done(lua_State *L, int ok, const char *what)
{
    return luaL_fileresult(L, ok, what);
}

const char *mods_path(lua_State *L, int arg)
{
    size_t n;
    const char *path = luaL_checklstring(L, arg, &n);

    luaL_argcheck(L, strlen(path) == n, arg, "a path cannot hold a zero byte");
    return path;
}

/* Pushes the field (nil without options); its type. */
static int option(lua_State *L, int arg, const char *name)
{
    if (lua_isnoneornil(L, arg)) {
        lua_pushnil(L);
        return LUA_TNIL;
    }
    luaL_checktype(L, arg, LUA_TTABLE);
    return lua_getfield(L, arg, name);
}

static void option_error(lua_State *L, int arg, const char *name, const char *wanted)
{
    luaL_argerror(
        L, arg,
        lua_pushfstring(L, "option '%s': %s expected, got %s", name, wanted, luaL_typename(L, -1)));
}

int mods_option_flag(lua_State *L, int arg, const char *name, int fallback)
{
    int type = option(L, arg, name);
    int value = type == LUA_TNIL ? fallback : lua_toboolean(L, -1);

    lua_pop(L, 1);
    return value;
}

lua_Integer mods_option_int(lua_State *L, int arg, const char *name, lua_Integer fallback)
{
    int is = 1;
    int type = option(L, arg, name);
    lua_Integer value = type == LUA_TNIL ? fallback : lua_tointegerx(L, -1, &is);

    if (!is) {
        option_error(L, arg, name, "integer");
    }
    lua_pop(L, 1);
    return value;
}

lua_Number mods_option_number(lua_State *L, int arg, const char *name, lua_Number fallback)
{
    int is = 1;
    int type = option(L, arg, name);
    lua_Number value = type == LUA_TNIL ? fallback : lua_tonumberx(L, -1, &is);

    if (!is) {
        option_error(L, arg, name, "number");
    }
    lua_pop(L, 1);
    return value;
}

void mods_class(lua_State *L, const char *name, const luaL_Reg *methods)
{
    if (luaL_newmetatable(L, name)) {
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
        luaL_setfuncs(L, methods, 0);
        mods_procedures(L);
    }
    lua_pop(L, 1);
}

void mods_set_space(lua_State *L, const struct statvfs *v)
{
    lua_Integer unit = (lua_Integer)v->f_frsize;

    mods_set_int(L, "total", (lua_Integer)v->f_blocks * unit);
    mods_set_int(L, "free", (lua_Integer)v->f_bfree * unit);
    mods_set_int(L, "available", (lua_Integer)v->f_bavail * unit);
    mods_set_int(L, "used", (lua_Integer)(v->f_blocks - v->f_bfree) * unit);
    mods_set_int(L, "files", (lua_Integer)v->f_files);
    mods_set_int(L, "files_free", (lua_Integer)v->f_ffree);
    mods_set_int(L, "name_max", (lua_Integer)v->f_namemax);
    mods_set_flag(L, "read_only", (v->f_flag & ST_RDONLY) != 0);
}

/* io.close() of a file made here. */
static int close_stream(lua_State *L)
{
    luaL_Stream *s = luaL_checkudata(L, 1, LUA_FILEHANDLE);

    return luaL_fileresult(L, fclose(s->f) == 0, NULL);
}

luaL_Stream *mods_stream(lua_State *L)
{
    luaL_Stream *s = lua_newuserdatauv(L, sizeof *s, 0);

    s->closef = NULL;
    luaL_setmetatable(L, LUA_FILEHANDLE);
    return s;
}

int mods_stream_file(luaL_Stream *s, FILE *f)
{
    s->f = f;
    s->closef = f != NULL ? close_stream : NULL;
    return f != NULL;
}

void mods_stream_close(luaL_Stream *s)
{
    if (s->closef != NULL) {
        s->closef = NULL;
        fclose(s->f);
    }
}

int mods_read(const char *path, char *text, size_t size)
{
    size_t n = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    text[0] = '\0';
    if (fd < 0) {
        return -1;
    }
    while (n < size - 1 && (got = read(fd, text + n, size - 1 - n)) != 0) {
        if (got > 0) {
            n += (size_t)got;
        } else if (errno != EINTR) {
            break;
        }
    }
    text[n] = '\0';
    close(fd);
    return got < 0 ? -1 : (int)n;
}
