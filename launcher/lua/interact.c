#include "launcher/lua/interact.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/lua/host.h"
#include "launcher/lua/lineedit.h"
#include "launcher/lua/luajson.h"
#include "lua_interact.h"
#include "peer/peer.h"
#include "proto/errors.h"

#define META "grapnel.console"

/* What Ctrl-C is for. */
struct target {
    volatile sig_atomic_t watched;
    int fd;
    struct tasks *tasks;
};

struct console {
    struct lineedit *edit; /* NULL: closed */
    int ends[2];           /* a pipe that gets a newline for each Ctrl-C; the first is Lua's */
    struct sigaction before;
    struct target outer; /* that of the dialogue in which this one was begun */
};

static const char chunk_key; /* in the registry: what interact.lua returns, {dialogue, of, words} */

/* A signal handler has nothing but what is static. */
static struct target dialogue;

/* While a line is read nothing but the interruption itself is wanted. */
static void on_interrupt(int number)
{
    int before = errno;

    (void)number;
    if (dialogue.watched) {
        (void)!write(dialogue.fd, "\n", 1);
        tasks_preempt(dialogue.tasks);
    }
    errno = before;
}

static struct console *self(lua_State *L)
{
    struct console *c = luaL_checkudata(L, 1, META);

    luaL_argcheck(L, c->edit, 1, "the console is closed");
    return c;
}

/* ---- the history ---- */

/* Makes the folders of a path for their owner alone. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

/* The history's file, to be freed; NULL: there is no place for one. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *path = NULL;
    int n = -1;

    if (state && *state == '/')
        n = asprintf(&path, "%s/grapnel/history", state);
    else if (home && *home == '/')
        n = asprintf(&path, "%s/.local/state/grapnel/history", home);
    if (n < 0)
        return NULL;
    make_folders(path);
    return path;
}

/* ---- consoles ---- */

/* close(): also at the end of a scope, and when it is collected. */
static int l_close(lua_State *L)
{
    struct console *c = luaL_checkudata(L, 1, META);

    if (!c->edit)
        return 0;
    sigaction(SIGINT, &c->before, NULL);
    dialogue.watched = 0;
    dialogue = c->outer;
    lineedit_free(c->edit);
    c->edit = NULL;
    close(c->ends[1]);
    return 0;
}

/* read(prompt) → line; nil: the end; false: dropped by Ctrl-C */
static int l_read(lua_State *L)
{
    struct console *c = self(L);
    char *line;
    int code = lineedit_read(c->edit, luaL_checkstring(L, 2), &line);

    if (code > 0) {
        lua_pushstring(L, line);
        free(line);
        return 1;
    }
    fputc('\n', stdout); /* the prompt's line is over */
    fflush(stdout);
    if (code == -E_CANCELLED)
        lua_pushboolean(L, 0);
    else if (code == 0)
        lua_pushnil(L);
    else
        return luaL_error(L, "the terminal cannot be read: %s", errors_text(code));
    return 1;
}

/* remember(text): for the history */
static int l_remember(lua_State *L)
{
    struct console *c = self(L);

    lineedit_add(c->edit, luaL_checkstring(L, 2));
    return 0;
}

/* watch(on): whether Ctrl-C is told by signals() */
static int l_watch(lua_State *L)
{
    (void)self(L);
    dialogue.watched = lua_toboolean(L, 2);
    return 0;
}

static int close_file(lua_State *L)
{
    luaL_Stream *file = luaL_checkudata(L, 1, LUA_FILEHANDLE);

    return luaL_fileresult(L, fclose(file->f) == 0, NULL);
}

/* signals(): a file with a line for each Ctrl-C */
static int l_signals(lua_State *L)
{
    struct console *c = self(L);
    luaL_Stream *file = lua_newuserdatauv(L, sizeof *file, 0);

    file->closef = NULL;
    luaL_setmetatable(L, LUA_FILEHANDLE);
    file->f = c->ends[0] >= 0 ? fdopen(c->ends[0], "r") : NULL;
    if (!file->f)
        return luaL_error(L, "no file for signals");
    c->ends[0] = -1;
    file->closef = close_file;
    return 1;
}

static void push_meta(lua_State *L)
{
    static const luaL_Reg methods[] = {{"close", l_close},       {"read", l_read},
                                       {"remember", l_remember}, {"watch", l_watch},
                                       {"signals", l_signals},   {NULL, NULL}};

    if (!luaL_newmetatable(L, META))
        return;
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__close");
}

/* open_console() → console; nil where standard input is no terminal */
static int open_console(lua_State *L)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* without SA_RESTART: reading ends */
    struct tasks *tasks = host_tasks(host_of(L));
    struct console *c;
    char *history;

    if (!isatty(STDIN_FILENO))
        return 0;
    c = lua_newuserdatauv(L, sizeof *c, 0);
    c->edit = NULL;
    push_meta(L);
    lua_setmetatable(L, -2);
    if (pipe2(c->ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return luaL_error(L, "no pipe: %s", strerror(errno));
    history = history_path();
    c->edit = lineedit_new(stdin, stdout, history);
    free(history);
    if (!c->edit) {
        close(c->ends[0]);
        close(c->ends[1]);
        return luaL_error(L, "out of memory");
    }
    c->outer = dialogue;
    dialogue.watched = 0;
    dialogue = (struct target){.fd = c->ends[1], .tasks = tasks};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &c->before);
    return 1;
}

/* ---- interact.lua ---- */

static void push_part(lua_State *L, int part)
{
    luaL_checkstack(L, 6, "a dialogue");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &chunk_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 3, 0);
        if (luaL_loadbufferx(L, lua_interact, lua_interact_size, "=grapnel", "t") != LUA_OK)
            lua_error(L);
        peer_push_module(L);
        lua_pushcfunction(L, open_console);
        luajson_push(L);
        lua_call(L, 3, 3);
        for (int i = 3; i > 0; i--)
            lua_rawseti(L, -1 - i, i);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &chunk_key);
    }
    lua_rawgeti(L, -1, part);
    lua_remove(L, -2);
}

void interact_push_dialogue(lua_State *L)
{
    push_part(L, 1);
}

void interact_push_words(lua_State *L)
{
    push_part(L, 3);
}

void interact_set_method(lua_State *L)
{
    push_part(L, 2);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
    lua_setfield(L, -2, "interact");
}
