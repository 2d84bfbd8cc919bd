#include "agent/worker/proc_start.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/worker/fdio.h"
#include "agent/worker/mods.h"
#include "proto/signals.h"

extern char **environ;

/* ---- words, environment ---------------------------------------------------------------------- */

/* Pushes memory for n texts and the NULL behind them. */
static char **push_texts(lua_State *L, size_t n)
{
    return lua_newuserdatauv(L, (n + 1) * sizeof(char *), 0);
}

/* A text of Lua's, which has to stay where it is. */
static char *text_at(lua_State *L, int index, const char *what)
{
    size_t n;
    const char *text = lua_tolstring(L, index, &n);

    if (text == NULL || strlen(text) != n) {
        luaL_error(L, "%s: a string without zero bytes expected", what);
    }
    return (char *)(uintptr_t)text;
}

/* The words at index 1, NULL behind the last; pushes what holds them. */
static char **read_words(lua_State *L)
{
    size_t n;
    char **words;

    if (lua_type(L, 1) == LUA_TSTRING) {
        words = push_texts(L, 3);
        words[0] = (char *)(uintptr_t) "/bin/sh";
        words[1] = (char *)(uintptr_t) "-c";
        words[2] = text_at(L, 1, "command");
        words[3] = NULL;
        return words;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    n = (size_t)luaL_len(L, 1);
    luaL_argcheck(L, n > 0 && n < 1u << 20, 1, "no words");
    /* Numbers become texts in a table of their own. */
    lua_createtable(L, (int)n, 0);
    words = push_texts(L, n);
    for (size_t i = 0; i < n; i++) {
        lua_geti(L, 1, (lua_Integer)i + 1);
        words[i] = text_at(L, -1, "command");
        lua_rawseti(L, -3, (lua_Integer)i + 1);
    }
    words[n] = NULL;
    return words;
}

static int same_name(const char *entry, const char *name)
{
    size_t n = strlen(name);

    return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

/* Puts name=value in the place of that name, or takes it away. Returns the new number. */
static size_t set_text(char **env, size_t n, const char *name, char *text)
{
    size_t i = 0;

    while (i < n && !same_name(env[i], name)) {
        i++;
    }
    if (text != NULL) {
        env[i] = text;
        return i < n ? n : n + 1;
    }
    if (i < n) {
        env[i] = env[--n];
    }
    return n;
}

/* The instance's environment, with option `env` over it; pushes what holds it. */
static char **read_env(lua_State *L)
{
    int changes;
    size_t n = 0, more = 0;
    char **env;

    if (lua_isnil(L, 2) || lua_getfield(L, 2, "env") == LUA_TNIL) {
        return environ;
    }
    changes = lua_gettop(L);
    luaL_argcheck(L, lua_istable(L, changes), 2, "option 'env': table expected");
    for (lua_pushnil(L); lua_next(L, changes) != 0; lua_pop(L, 1)) {
        more++;
    }
    while (environ != NULL && environ[n] != NULL) {
        n++;
    }
    lua_newtable(L);
    env = push_texts(L, n + more);
    n = 0;
    while (environ != NULL && environ[n] != NULL && !mods_option_flag(L, 2, "clear", 0)) {
        env[n] = environ[n];
        n++;
    }
    for (lua_pushnil(L); lua_next(L, changes) != 0; lua_pop(L, 1)) {
        const char *name;
        luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, 2, "option 'env': names expected");
        name = text_at(L, -2, "env");
        if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) {
            n = set_text(env, n, name, NULL);
            continue;
        }
        lua_pushfstring(L, "%s=%s", name, text_at(L, -1, "env"));
        n = set_text(env, n, name, text_at(L, -1, "env"));
        lua_rawseti(L, changes + 1, luaL_len(L, changes + 1) + 1);
    }
    env[n] = NULL;
    return env;
}

/* ---- standard input and output --------------------------------------------------------------- */

/* What an option makes of one of the three. The number is that of PROC_GIVEN. */
static enum proc_stdio read_stdio(lua_State *L, const char *name, enum proc_stdio fallback, int *fd)
{
    static const char *const names[] = {"pipe", "null", "inherit"};
    luaL_Stream *file;
    struct fdio *f;

    if (lua_isnil(L, 2) || lua_getfield(L, 2, name) == LUA_TNIL) {
        return fallback;
    }
    for (int i = 0; lua_type(L, -1) == LUA_TSTRING && i < 3; i++) {
        if (strcmp(lua_tostring(L, -1), names[i]) == 0) {
            return (enum proc_stdio)i;
        }
    }
    if (lua_istable(L, -1)) { /* a file of waiting.lua's */
        lua_getfield(L, -1, "stream");
        lua_replace(L, -2);
    }
    file = luaL_testudata(L, -1, LUA_FILEHANDLE);
    f = fdio_test(L, -1);
    if (file != NULL && file->closef != NULL) {
        (void)fflush(file->f);
        *fd = fileno(file->f);
    } else if (f != NULL && f->fd >= 0) {
        *fd = f->fd;
    } else {
        luaL_argerror(
            L, 2,
            lua_pushfstring(L, "option '%s': 'pipe', 'null', 'inherit' or an open file", name));
    }
    return PROC_GIVEN;
}

static int open_null(int at)
{
    return open("/dev/null", (at == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
}

/* Fills theirs[at], and fds[at] where it is a pipe. 0, or -1 with errno. */
static int open_stdio(struct proc_start *s, int at, int *theirs)
{
    int ends[2];

    switch (s->stdio[at]) {
    case PROC_NULL:
        theirs[at] = open_null(at);
        return theirs[at] < 0 ? -1 : 0;
    case PROC_INHERIT:
        theirs[at] = at;
        return 0;
    case PROC_GIVEN:
        return 0;
    default:
        if (pipe2(ends, O_CLOEXEC) != 0) {
            return -1;
        }
        theirs[at] = ends[at == 0 ? 0 : 1];
        s->fds[at] = ends[at == 0 ? 1 : 0];
        return fcntl(s->fds[at], F_SETFL, O_NONBLOCK);
    }
}

static void close_theirs(const struct proc_start *s, const int *theirs)
{
    for (int i = 0; i < 3; i++) {
        if (theirs[i] >= 0 && (s->stdio[i] == PROC_PIPE || s->stdio[i] == PROC_NULL)) {
            close(theirs[i]);
        }
    }
}

static void close_ours(struct proc_start *s)
{
    for (int i = 0; i < 3; i++) {
        if (s->fds[i] >= 0) {
            close(s->fds[i]);
            s->fds[i] = -1;
        }
    }
}

/* ---- the start ------------------------------------------------------------------------------- */

static int number_of(int code)
{
    switch (code) {
    case -E_NO_COMMAND:
    case -E_CWD:
        return ENOENT;
    case -E_NOT_EXECUTABLE:
        return EACCES;
    case -E_DESCRIPTORS:
        return EMFILE;
    case -E_NOMEM:
        return ENOMEM;
    default:
        return EAGAIN;
    }
}

static void push_failure(lua_State *L, const struct error *e)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", errors_text(e->code), e->detail);
    lua_pushinteger(L, number_of(e->code));
}

static struct child *start(lua_State *L, struct proc_start *s, struct spawn_program *p, int *theirs,
                           int merge)
{
    struct child *c = NULL;
    struct error e = {.code = 0};
    int failed = 0;

    for (int i = 0; i < 3 && !failed; i++) {
        if (i == 2 && merge) {
            theirs[2] = theirs[1];
            s->stdio[2] = PROC_GIVEN;
        } else {
            failed = open_stdio(s, i, theirs) != 0;
        }
    }
    if (failed) {
        errors_set_system(&e, errno == EMFILE ? -E_DESCRIPTORS : -E_SYSTEM, errno, "%s",
                          p->argv[0]);
    } else {
        p->in = theirs[0];
        p->out = theirs[1];
        p->err = theirs[2];
        c = child_start(L, p, s->woken, s->arg, &e);
    }
    close_theirs(s, theirs);
    if (c == NULL) {
        close_ours(s);
        push_failure(L, &e);
    }
    return c;
}

struct child *proc_start(lua_State *L, struct proc_start *s)
{
    static const char *const names[] = {"stdin", "stdout", "stderr"};
    struct spawn_program p = {.image = -1};
    int theirs[3] = {-1, -1, -1};
    int merge;

    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
    }
    luaL_checkstack(L, 20, NULL);
    p.argv = read_words(L);
    p.envp = read_env(L);
    merge = mods_option_flag(L, 2, "merge", 0);
    for (int i = 0; i < 3; i++) {
        s->fds[i] = -1;
        s->stdio[i] = read_stdio(L, names[i], s->stdio[i], &theirs[i]);
    }
    if (!lua_isnil(L, 2) && lua_getfield(L, 2, "cwd") != LUA_TNIL) {
        p.cwd = text_at(L, -1, "cwd");
    }
    p.umask = umask(0);
    umask(p.umask);
    return start(L, s, &p, theirs, merge);
}

void proc_start_result(lua_State *L, int status)
{
    int number = WTERMSIG(status);

    mods_table(L, 0, 4);
    if (WIFEXITED(status)) {
        mods_set_int(L, "status", WEXITSTATUS(status));
        mods_set_int(L, "code", WEXITSTATUS(status));
        return;
    }
    if (signals_name(number) != NULL) {
        mods_set_text(L, "signal", signals_name(number));
    } else {
        mods_set_int(L, "signal", number);
    }
    mods_set_int(L, "code", 128 + number);
}

int proc_start_signal(lua_State *L, int arg, const char *fallback)
{
    const char *name;
    int number;

    if (lua_type(L, arg) == LUA_TNUMBER) {
        lua_Integer n = luaL_checkinteger(L, arg);
        luaL_argcheck(L, n >= 0 && n < 128, arg, "no such signal");
        return (int)n;
    }
    name = luaL_optstring(L, arg, fallback);
    number = signals_number(strncmp(name, "SIG", 3) == 0 ? name + 3 : name);
    luaL_argcheck(L, number > 0, arg, "no such signal");
    return number;
}
