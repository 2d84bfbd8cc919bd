#include "launcher/cli/repl.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cli/far.h"
#include "launcher/cli/luarun.h"
#include "launcher/cli/say.h"
#include "launcher/lua/module.h"

struct repl {
    struct far far;
    lua_State *L;
    int connected;
};

/* (repl) → true if nothing failed; with what it was cut off */
static int talk(lua_State *L)
{
    struct repl *r = lua_touserdata(L, 1);
    struct grapnel_instance_options instance;
    struct grapnel_server *server = r->far.server;

    lua_getglobal(L, "require");
    lua_pushliteral(L, "grapnel");
    lua_call(L, 1, 0);
    far_options(&instance, r->far.o);
    r->far.server = NULL; /* the connection's from now on */
    module_connect(L, server, &instance);
    if (grapnel_wait_ready(server, -1, &r->far.error) < 0)
        return luaL_error(L, "not connected");
    r->connected = 1;
    lua_getfield(L, -1, "interact");
    lua_call(L, 0, 2);
    return 2;
}

/* The exit status for what was returned. */
static int judge(const struct repl *r, int terminal)
{
    const char *cut = lua_tostring(r->L, -1);
    int status = cut ? far_ended(cut) : -1;

    if (cut)
        return status >= 0 ? status : SAY_FAILED;
    return lua_toboolean(r->L, -2) || terminal ? 0 : FAR_FAILED;
}

static int work(struct repl *r, const struct options *o)
{
    int terminal = isatty(STDIN_FILENO);

    /* A person's signals act as usual: the line is cut then, and the host cleans up by itself. */
    if (far_begin(&r->far, o, 1, !terminal) < 0)
        return far_fail(&r->far);
    r->L = luarun_new(r->far.g);
    if (!r->L) {
        say_fail(&r->far.error, "NOMEM", "out of memory");
        return far_fail(&r->far);
    }
    lua_pushcfunction(r->L, talk);
    lua_pushlightuserdata(r->L, r);
    if (luarun_call(r->L, 1, 2) == LUA_OK)
        return judge(r, terminal);
    if (r->connected && o->instance)
        return far_lost(&r->far, lua_tostring(r->L, -1));
    if (r->connected || r->far.error.code == 0)
        say_fail(&r->far.error, "REMOTE", "repl: %s", lua_tostring(r->L, -1));
    return far_fail(&r->far);
}

int repl_verb(const struct options *o)
{
    struct repl *r = calloc(1, sizeof *r);
    int status;

    if (!r) {
        say_note("out of memory");
        return SAY_FAILED;
    }
    status = work(r, o);
    if (r->L && !leave_number(&r->far.leave))
        lua_close(r->L);
    far_end(&r->far);
    free(r);
    return status;
}
