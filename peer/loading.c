#include "peer/loading.h"

#include <lauxlib.h>
#include <string.h>

#include "peer/peer_impl.h"
#include "peer/serve.h"

#define PIECE 5 /* the stack's place of the text that the reader gave last */

/* Code of ours may; code that runs for another end may when that is our owner. */
static bool takes_bytecode(lua_State *L, const struct world *w)
{
    const struct tasks *t = tasks_of(L); /* none while the state is being closed */
    struct task *k = t != NULL ? tasks_current(t) : NULL;
    const struct serving *s = k != NULL ? tasks_user(k) : NULL;
    return !w->text_only && (s == NULL || (s->p->o.policy == PEER_OPEN && s->p->o.teleport));
}

/* lua_Reader: the function at index 1. */
static const char *read_piece(lua_State *L, void *arg, size_t *n)
{
    (void)arg;
    luaL_checkstack(L, 2, "too many nested functions");
    lua_pushvalue(L, 1);
    lua_call(L, 0, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        *n = 0;
        return NULL;
    }
    if (!lua_isstring(L, -1)) {
        luaL_error(L, "reader function must return a string");
    }
    lua_replace(L, PIECE);
    return lua_tolstring(L, PIECE, n);
}

/* load(chunk [, name [, mode [, env]]]), as in the manual. */
static int load(lua_State *L)
{
    const struct world *w = lua_touserdata(L, lua_upvalueindex(1));
    const char *mode = luaL_optstring(L, 3, "bt");
    int with_env = !lua_isnone(L, 4), rc;
    size_t n;
    const char *text = lua_tolstring(L, 1, &n);
    mode = takes_bytecode(L, w) ? mode : "t";
    if (text != NULL) {
        rc = luaL_loadbufferx(L, text, n, luaL_optstring(L, 2, text), mode);
    } else {
        const char *name = luaL_optstring(L, 2, "=(load)");
        luaL_checktype(L, 1, LUA_TFUNCTION);
        lua_settop(L, PIECE);
        rc = lua_load(L, read_piece, NULL, name, mode);
    }
    if (rc != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (with_env) {
        lua_pushvalue(L, 4);
        if (lua_setupvalue(L, -2, 1) == NULL) {
            lua_pop(L, 1);
        }
    }
    return 1;
}

void loading_init(lua_State *L, struct world *w)
{
    lua_pushlightuserdata(L, w);
    lua_pushcclosure(L, load, 1);
    lua_setglobal(L, "load");
}
