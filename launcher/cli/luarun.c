#include "launcher/cli/luarun.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "launcher/lua/module.h"

#define PIECE (64 * 1024)

static int set_up(lua_State *L)
{
    struct grapnel *g = lua_touserdata(L, 1);

    luaL_openlibs(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_grapnel);
    lua_setfield(L, -2, "grapnel");
    if (g)
        module_use(L, g);
    return 0;
}

lua_State *luarun_new(struct grapnel *g)
{
    lua_State *L = luaL_newstate();

    if (!L)
        return NULL;
    lua_pushcfunction(L, set_up);
    lua_pushlightuserdata(L, g);
    if (lua_pcall(L, 1, 0, 0) == LUA_OK)
        return L;
    lua_close(L);
    return NULL;
}

/* The message handler, as that of the lua command. */
static int with_traceback(lua_State *L)
{
    const char *text = lua_tostring(L, 1);

    if (!text && luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
        return 1;
    if (!text)
        text = lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
    luaL_traceback(L, L, text, 1);
    return 1;
}

int luarun_call(lua_State *L, int arguments, int results)
{
    int base = lua_gettop(L) - arguments, status;

    lua_pushcfunction(L, with_traceback);
    lua_insert(L, base);
    status = lua_pcall(L, arguments, results, base);
    lua_remove(L, base);
    return status;
}

static char *read_all(FILE *f, size_t *n)
{
    size_t room = 0, got;
    char *text = NULL;

    *n = 0;
    do {
        char *more = realloc(text, room + PIECE + 1);
        if (!more) {
            free(text);
            errno = ENOMEM;
            return NULL;
        }
        text = more;
        room += PIECE;
        got = fread(text + *n, 1, room - *n, f);
        *n += got;
    } while (got > 0 && *n == room);
    text[*n] = '\0';
    if (!ferror(f))
        return text;
    free(text);
    return NULL;
}

char *luarun_read(const char *path, size_t *n)
{
    FILE *f = strcmp(path, "-") != 0 ? fopen(path, "re") : stdin;
    char *text = f ? read_all(f, n) : NULL;
    int number = errno;

    if (f && f != stdin)
        fclose(f);
    if (text && text[0] == '#') {
        size_t line = strcspn(text, "\n");
        memmove(text, text + line, *n - line + 1);
        *n -= line;
    }
    errno = number;
    return text;
}
