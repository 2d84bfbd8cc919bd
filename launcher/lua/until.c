#include "launcher/lua/until.h"

#include <lauxlib.h>

#include "launcher/lua/host.h"
#include "peer/tasks.h"
#include "proto/errors.h"

#define META "grapnel.until"

struct until {
    struct until *next; /* of the host, while it is waited for */
    struct host *host;
    struct tasks_wait wait;
    int (*reached)(void *arg);
    void *arg;
};

struct until **until_link(struct until *u)
{
    return &u->next;
}

void until_look(struct until *first)
{
    for (struct until *u = first; u; u = u->next) {
        if (u->reached(u->arg))
            tasks_wake(&u->wait);
    }
}

static void leave(struct until *u)
{
    if (u->host)
        host_remove_until(u->host, u);
    u->host = NULL;
}

static int collect(lua_State *L)
{
    leave(lua_touserdata(L, 1));
    return 0;
}

int until_suspend(lua_State *L, int (*reached)(void *arg), void *arg, uint64_t deadline_us,
                  lua_KFunction k, lua_KContext context)
{
    struct host *h = host_of(L);
    struct until *u = lua_newuserdatauv(L, sizeof *u, 0);

    *u = (struct until){.reached = reached, .arg = arg};
    if (luaL_newmetatable(L, META)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    u->host = h;
    host_add_until(h, u);
    return tasks_suspend(L, &u->wait, deadline_us, k, context);
}

int until_result(lua_State *L)
{
    struct until *u = lua_touserdata(L, -1);
    int result = u->wait.result;

    leave(u);
    lua_pop(L, 1);
    return result;
}

int until_raise(lua_State *L, int result)
{
    if (result == -E_CANCELLED)
        return tasks_cancelled_error(L);
    return luaL_error(L, "%s", errors_text(result));
}
