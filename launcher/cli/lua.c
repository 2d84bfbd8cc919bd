#include "launcher/cli/lua.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/luarun.h"
#include "launcher/cli/options.h"
#include "launcher/cli/say.h"
#include "launcher/lua/interact.h"
#include "lua_local.h"

/* The table `arg`: the file at 0, its arguments from 1 on, the command before. */
static void set_arg(lua_State *L, const struct options *o)
{
    lua_createtable(L, (int)o->word_count, 3);
    lua_pushstring(L, "grapnel");
    lua_rawseti(L, -2, o->word_count ? -2 : -1);
    lua_pushstring(L, "lua");
    lua_rawseti(L, -2, o->word_count ? -1 : 0);
    for (size_t i = 0; i < o->word_count; i++) {
        lua_pushstring(L, o->words[i]);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    lua_setglobal(L, "arg");
}

/* A dialogue with this very state. */
static int talk(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "grapnel");
    lua_call(L, 1, 1);
    if (luaL_loadbufferx(L, lua_local, lua_local_size, "=grapnel", "t") != LUA_OK)
        return lua_error(L);
    interact_push_dialogue(L);
    lua_call(L, 1, 0);
    return 0;
}

/* The file as a chunk on the stack; 0, or negative with a message there. */
static int load(lua_State *L, const char *path)
{
    const char *name = strcmp(path, "-") != 0 ? path : "stdin";
    size_t n;
    char *text = luarun_read(path, &n);
    int status;

    if (!text) {
        lua_pushfstring(L, "%s cannot be read: %s", name, strerror(errno));
        return -1;
    }
    lua_pushfstring(L, *path == '-' && !path[1] ? "=%s" : "@%s", name);
    status = luaL_loadbufferx(L, text, n, lua_tostring(L, -1), NULL);
    free(text);
    lua_remove(L, -2);
    return status == LUA_OK ? 0 : -1;
}

static int work(lua_State *L, const struct options *o)
{
    int arguments = 0;

    set_arg(L, o);
    if (o->word_count == 0 && isatty(STDIN_FILENO)) {
        lua_pushcfunction(L, talk);
    } else if (load(L, o->word_count ? o->words[0] : "-") < 0) {
        return -1;
    } else {
        luaL_checkstack(L, (int)o->word_count + 8, "arguments");
        for (size_t i = 1; i < o->word_count; i++, arguments++)
            lua_pushstring(L, o->words[i]);
    }
    return luarun_call(L, arguments, 0) == LUA_OK ? 0 : -1;
}

int lua_verb(const struct options *o)
{
    lua_State *L = luarun_new(NULL);
    int failed;

    if (!L) {
        say_note("out of memory");
        return SAY_FAILED;
    }
    /* Programs in Lua, and what they start, end when nobody reads them. */
    signal(SIGPIPE, SIG_DFL);
    failed = work(L, o) < 0;
    if (failed) {
        fflush(stdout);
        fprintf(stderr, "grapnel lua: %s\n", lua_tostring(L, -1));
    }
    lua_close(L);
    return failed;
}
