#include "agent/worker/dev_pack.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT_MAX 65536

/* The widest of a format's items, to which C pads a struct. */
struct layout {
    char widest[4];
    size_t width;
    int named;
};

/* C's names, and what string.pack calls them. */
static const struct {
    const char *name, *code;
    size_t size;
} types[] = {
    {"u8", "I1", 1},
    {"u16", "I2", 2},
    {"u32", "I4", 4},
    {"u64", "I8", 8},
    {"i8", "i1", 1},
    {"i16", "i2", 2},
    {"i32", "i4", 4},
    {"i64", "i8", 8},
    {"f32", "f", sizeof(float)},
    {"f64", "d", sizeof(double)},
    {"short", "h", sizeof(short)},
    {"ushort", "H", sizeof(short)},
    {"int", "i", sizeof(int)},
    {"uint", "I", sizeof(int)},
    {"long", "l", sizeof(long)},
    {"ulong", "L", sizeof(long)},
    {"size_t", "T", sizeof(size_t)},
    {"ptr", "T", sizeof(void *)},
    {"float", "f", sizeof(float)},
    {"double", "d", sizeof(double)},
};

/* Adds the item [at, at + n) if it is one of C's: a type, maybe with a number in brackets. */
static int add_named(luaL_Buffer *b, struct layout *l, const char *at, size_t n)
{
    const char *bracket = memchr(at, '[', n);
    size_t name = bracket != NULL ? (size_t)(bracket - at) : n;
    unsigned long count = bracket != NULL ? strtoul(bracket + 1, NULL, 10) : 1;

    if (bracket != NULL && (at[n - 1] != ']' || count > REPEAT_MAX)) {
        return 0;
    }
    if (name == 4 && strncmp(at, "char", name) == 0) {
        lua_pushfstring(b->L, "c%d", (int)count);
        luaL_addvalue(b);
        return 1;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strncmp(types[i].name, at, name) != 0 || types[i].name[name] != '\0') {
            continue;
        }
        for (unsigned long k = 0; k < count; k++) {
            luaL_addstring(b, types[i].code);
        }
        if (types[i].size > l->width) {
            l->width = types[i].size;
            strcpy(l->widest, types[i].code);
        }
        l->named = 1;
        return 1;
    }
    return 0;
}

/* Pushes the format at `arg` as string.pack wants it. */
static void push_format(lua_State *L, int arg)
{
    static const char packed[] = "packed";
    const char *text = luaL_checkstring(L, arg);
    struct layout l = {.width = 0};
    int pack = 0;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    luaL_addchar(&b, '!'); /* C's alignment; it only counts for items that ask for it */
    for (const char *at = text + strspn(text, " ,;"); *at != '\0'; at += strspn(at, " ,;")) {
        size_t n = strcspn(at, " ,;");
        if (n == sizeof packed - 1 && strncmp(at, packed, n) == 0) {
            luaL_addstring(&b, "!1");
            pack = 1;
        } else if (!add_named(&b, &l, at, n)) {
            luaL_addlstring(&b, at, n);
        }
        at += n;
    }
    if (l.width > 0 && !pack) {
        luaL_addchar(&b, 'X');
        luaL_addstring(&b, l.widest);
    }
    luaL_pushresult(&b);
    /* A format of string.pack's own means what it means there: no alignment unless it says so. */
    if (!l.named) {
        lua_pushstring(L, lua_tostring(L, -1) + 1);
        lua_remove(L, -2);
    }
    lua_replace(L, arg);
}

/* Calls the function of the string library with the format in its own terms. */
static int call_string(lua_State *L, const char *name)
{
    push_format(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "string");
    lua_getfield(L, -1, name);
    lua_replace(L, -3);
    lua_pop(L, 1);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/*** dev.pack(format, …) -> string
 * As string.pack, and with C's types by name, each word of the format one item, aligned and padded
 * as in a C struct: u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 char short ushort int uint long ulong
 * size_t ptr float double, of which several with a number in brackets: "u32[4]"; "char[16]" is one
 * string. "packed" as the first word: no padding. "<", ">", "=" give the byte order of what
 * follows.
 */
static int dev_pack(lua_State *L)
{
    return call_string(L, "pack");
}

/*** dev.unpack(format, string [, position]) -> value, …, position
 * The values in the bytes, and where the next ones begin.
 */
static int dev_unpack(lua_State *L)
{
    return call_string(L, "unpack");
}

/*** dev.sizeof(format) -> integer
 * The bytes that pack makes.
 */
static int dev_sizeof(lua_State *L)
{
    lua_settop(L, 1);
    return call_string(L, "packsize");
}

lua_Integer dev_pack_size(lua_State *L, int arg)
{
    lua_Integer size;

    if (lua_type(L, arg) != LUA_TSTRING) {
        return luaL_checkinteger(L, arg);
    }
    lua_pushcfunction(L, dev_sizeof);
    lua_pushvalue(L, arg);
    lua_call(L, 1, 1);
    size = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return size;
}

void dev_pack_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"pack", dev_pack}, {"unpack", dev_unpack}, {"sizeof", dev_sizeof}, {NULL, NULL}};

    luaL_setfuncs(L, functions, 0);
}
