#include "launcher/cli/script.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/far.h"
#include "launcher/cli/fleet/fleet.h"
#include "launcher/cli/luarun.h"
#include "launcher/cli/say.h"
#include "launcher/lua/interact.h"
#include "launcher/lua/luajson.h"
#include "launcher/lua/module.h"
#include "lua_script.h"
#include "lua_script_far.h"

#define LATE "the script was stopped at its time limit"

struct script {
    struct far far;
    const struct options *o;
    const char *name; /* as messages have it */
    char *source;
    size_t length;
    lua_State *L;
    struct grapnel_server *server; /* that of the connection, when L has one */
    int cannot_write;
};

/* ---- what script.lua is given ---- */

static struct script *self(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* write(fd, text) */
static int l_write(lua_State *L)
{
    struct script *s = self(L);
    int fd = luaL_checkinteger(L, 1) == 2 ? STDERR_FILENO : STDOUT_FILENO;
    size_t n;
    const char *text = luaL_checklstring(L, 2, &n);

    if (far_write(&s->far, fd, text, n) < 0) {
        s->cannot_write = 1;
        return luaL_error(L, "the output could not be written");
    }
    return 0;
}

/* json(value) → text, for a terminal.  Upvalue 1: luajson.h's. */
static int l_json(lua_State *L)
{
    char *safe;

    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    safe = say_json_safe(lua_tostring(L, 1));
    if (safe)
        lua_pushstring(L, safe);
    free(safe);
    return 1;
}

static void push_console(lua_State *L, struct script *s)
{
    lua_newtable(L);
    lua_pushlightuserdata(L, s);
    lua_pushcclosure(L, l_write, 1);
    lua_setfield(L, -2, "write");
    luajson_push(L);
    lua_pushcclosure(L, l_json, 1);
    lua_setfield(L, -2, "json");
    interact_push_words(L);
    lua_setfield(L, -2, "words");
}

/* {input =, timeout =, start = {source =, name =, args =}} */
static void push_options(lua_State *L, const struct script *s)
{
    const struct options *o = s->o;

    lua_newtable(L);
    lua_pushboolean(L, !o->no_input && strcmp(o->words[0], "-") != 0);
    lua_setfield(L, -2, "input");
    if (o->timeout) {
        lua_pushnumber(L, (lua_Number)o->timeout / 1e3);
        lua_setfield(L, -2, "timeout");
    }
    lua_newtable(L);
    lua_pushlstring(L, s->source, s->length);
    lua_setfield(L, -2, "source");
    lua_pushstring(L, s->name);
    lua_setfield(L, -2, "name");
    lua_newtable(L);
    for (size_t i = 1; i < o->word_count; i++) {
        lua_pushstring(L, o->words[i]);
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    lua_setfield(L, -2, "args");
    lua_setfield(L, -2, "start");
}

/* (script) → what script.lua returns */
static int run(lua_State *L)
{
    struct script *s = lua_touserdata(L, 1);
    struct grapnel_instance_options instance;
    struct grapnel_server *server = s->far.server;

    if (luaL_loadbufferx(L, lua_script, lua_script_size, "=grapnel", "t") != LUA_OK)
        return lua_error(L);
    far_options(&instance, s->o);
    s->far.server = NULL; /* the connection's from now on */
    module_connect(L, server, &instance);
    s->server = server;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "grapnel");
    lua_call(L, 1, 1);
    push_console(L, s);
    lua_pushlstring(L, lua_script_far, lua_script_far_size);
    push_options(L, s);
    lua_call(L, 5, 2);
    return 2;
}

/* ---- before ---- */

static int read_source(struct script *s)
{
    const char *path = s->o->words[0];

    s->name = strcmp(path, "-") != 0 ? path : "stdin";
    s->source = luarun_read(path, &s->length);
    if (!s->source)
        return say_fail(&s->far.error, "IO", "script: %s cannot be read: %s", s->name,
                        strerror(errno));
    return 0;
}

/* What is no Lua is refused before anything is begun. */
static int check_source(struct script *s)
{
    lua_State *L = luaL_newstate();
    char *name;
    int status = LUA_ERRMEM;

    if (L && asprintf(&name, "@%s", s->name) >= 0) {
        status = luaL_loadbufferx(L, s->source, s->length, name, "t");
        free(name);
    }
    if (status != LUA_OK)
        say_note("script: %s", L && lua_tostring(L, -1) ? lua_tostring(L, -1) : "out of memory");
    if (L)
        lua_close(L);
    return status == LUA_OK ? 0 : -1;
}

/* ---- after ---- */

/* The message, and behind it the traceback, which -q leaves out. */
static void say_failure(struct script *s, const char *message)
{
    static const char mark[] = "\nremote traceback:\n";
    const char *traceback = strstr(message, mark);
    char *text = traceback ? strndup(message, (size_t)(traceback - message)) : NULL;

    far_say(&s->far, NULL, text ? text : message,
            traceback && !s->o->quiet ? traceback + strlen(mark) : NULL);
    free(text);
}

static int late(struct script *s)
{
    struct grapnel_error *e = &s->far.error;

    say_fail(e, "TIMEOUT", "%s", "");
    e->phase = "remote code";
    e->text = LATE;
    e->hint = "raise --timeout";
    e->exit_status = FAR_TIMEOUT;
    return far_fail(&s->far);
}

/* The connection may have failed, and then nothing else is worth telling. */
static int lost(struct script *s, const char *message)
{
    int status = far_ended(message);

    if (grapnel_wait_ready(s->server, 0, &s->far.error) < 0 &&
        strcmp(s->far.error.name, "TIMEOUT") != 0)
        return far_fail(&s->far);
    if (s->o->instance && status < 0)
        return far_lost(&s->far, message);
    if (!strstr(message, "exited with status "))
        say_failure(s, strncmp(message, "EOF: ", 5) != 0 ? message : message + 5);
    return status >= 0 ? status : SAY_FAILED;
}

/* The exit status for what script.lua has returned: how it ended, and a message. */
static int judge(struct script *s)
{
    const char *how = lua_tostring(s->L, -2), *message = lua_tostring(s->L, -1);

    if (s->cannot_write || leave_number(&s->far.leave))
        return far_fail(&s->far);
    if (!strcmp(how, "done"))
        return 0;
    if (!strcmp(how, "late"))
        return late(s);
    if (!strcmp(how, "lost"))
        return lost(s, message ? message : "");
    say_failure(s, message ? message : "an error without a message");
    return FAR_FAILED;
}

/* ---- many hosts ---- */

static struct grapnel_fleet_job *start_many(const struct fleet_kind *kind, const struct options *o,
                                            struct grapnel_fleet *f,
                                            const struct grapnel_fleet_handler *handler, void *arg,
                                            struct grapnel_error *error)
{
    const struct script *s = kind->with;
    struct grapnel_instance_options instance;
    struct grapnel_fleet_script script = {
        .name = s->name,
        .source = s->source,
        .length = s->length,
        .args = o->words + 1,
        .use_in = !o->no_input && strcmp(o->words[0], "-") != 0 && !isatty(STDIN_FILENO),
        .in = STDIN_FILENO,
        .timeout = o->timeout,
    };

    if (far_options_of_many(&instance, o, error) < 0)
        return NULL;
    return grapnel_fleet_script(f, &instance, &script, handler, arg, error);
}

static int run_many(struct script *s)
{
    struct fleet_kind many = {.start = start_many, .late = LATE, .with = s};

    return fleet_verb(s->o, &many);
}

/* ---- beginning ---- */

static int work(struct script *s)
{
    if (read_source(s) < 0) {
        say_error(&s->far.error);
        return SAY_FAILED;
    }
    if (check_source(s) < 0)
        return FAR_FAILED;
    if (s->o->many)
        return run_many(s);
    if (far_begin(&s->far, s->o, 1, 1) < 0)
        return far_fail(&s->far);
    s->L = luarun_new(s->far.g);
    if (!s->L) {
        say_fail(&s->far.error, "NOMEM", "out of memory");
        return far_fail(&s->far);
    }
    lua_pushcfunction(s->L, run);
    lua_pushlightuserdata(s->L, s);
    if (luarun_call(s->L, 1, 2) != LUA_OK) {
        say_fail(&s->far.error, "REMOTE", "script: %s", lua_tostring(s->L, -1));
        return far_fail(&s->far);
    }
    return judge(s);
}

int script_verb(const struct options *o)
{
    struct script *s = calloc(1, sizeof *s);
    int status;

    if (!s) {
        say_note("out of memory");
        return SAY_FAILED;
    }
    s->o = s->far.o = o;
    status = work(s);
    if (s->L && !leave_number(&s->far.leave))
        lua_close(s->L);
    if (!o->many)
        far_end(&s->far);
    free(s->source);
    free(s);
    return status;
}
