/* Channels, the Lua side. */
#include "peer/channel.h"

#include <string.h>

#include "peer/api.h"
#include "peer/channel_impl.h"
#include "peer/strict.h"

#define CHANNEL "grapnel.channel"

/* ---- objects ---- */

struct channel *channel_self(lua_State *L)
{
    struct channel **c = luaL_checkudata(L, 1, CHANNEL);
    if (*c == NULL) {
        luaL_argerror(L, 1, "this channel is none any more");
    }
    return *c;
}

int channel_id(lua_State *L, struct peer *p, int idx, uint32_t *stream)
{
    if (!lua_getmetatable(L, idx)) {
        return 0;
    }
    bool is = lua_topointer(L, -1) == p->world->channel_meta;
    lua_pop(L, 1);
    if (!is) {
        return 0;
    }
    const struct channel *c = *(struct channel **)lua_touserdata(L, idx);
    if (c == NULL) {
        return -1;
    }
    *stream = c->id;
    return c->p == p && c->s != NULL ? 1 : -1;
}

/* The object on top is that of c. */
static void remember(lua_State *L, const struct channel *c)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->channels_ref);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, c->id);
    lua_pop(L, 1);
}

/* Pushes an object that has no channel yet: this may raise, and what raises must not lose one. */
static struct channel **push_empty(lua_State *L, const struct world *w)
{
    struct channel **at = lua_newuserdatauv(L, sizeof(struct channel *), 1);
    *at = NULL;
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->channel_ref);
    lua_setmetatable(L, -2);
    return at;
}

/* Gives the object on top its channel.  adopt: it takes the list's hold over. */
static void claim(struct channel **at, struct channel *c, bool adopt)
{
    *at = c;
    c->holders += !adopt;
    channel_claim(c);
    peer_hold(c->p);
}

bool channel_push(struct peer *p, lua_State *L, uint32_t stream)
{
    luaL_checkstack(L, 4, "a channel");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->channels_ref);
    if (lua_rawgeti(L, -1, stream) == LUA_TUSERDATA) {
        lua_remove(L, -2);
        return true;
    }
    lua_pop(L, 2);
    struct channel *c = p->channels;
    while (c != NULL && c->id != stream) {
        c = c->next;
    }
    if (c == NULL) {
        lua_pushnil(L);
        return false;
    }
    claim(push_empty(L, p->world), c, c->s == NULL);
    remember(L, c);
    channel_credit(c);
    return true;
}

/* ---- opening ---- */

/* The arguments in the table at idx, as table.pack makes it, as OPEN wants them. */
static struct value *encode_args(lua_State *L, struct peer *p, int idx)
{
    struct codec_out c;
    struct value *v = NULL;
    lua_getfield(L, idx, "n");
    lua_Integer n = lua_tointeger(L, -1);
    lua_pop(L, 1);
    codec_begin(&c, p, L, CODEC_FEW_MAX);
    int rc = codec_put_array(&c, (size_t)n);
    for (lua_Integer i = 1; rc == 0 && i <= n; i++) {
        lua_rawgeti(L, idx, i);
        rc = codec_put(&c, -1);
        lua_pop(L, 1);
    }
    if (rc == 0) {
        rc = values_decode_refs(wire_data(c.to), wire_length(c.to), &v);
    }
    if (rc != 0) {
        codec_raise(&c, rc);
    }
    return v;
}

int channel_open(lua_State *L)
{
    struct peer *p = *(struct peer **)luaL_checkudata(L, 1, "grapnel.core");
    const char *service = luaL_checkstring(L, 2);
    struct error e = {0};
    if (!peer_alive(p)) {
        return peer_raise(L, p, p->error.code, p->error.detail);
    }
    struct channel **at = push_empty(L, p->world);
    struct channel *c = channel_make(p);
    if (c == NULL) {
        return peer_raise(L, p, -E_NOMEM, "");
    }
    claim(at, c, false);
    struct value *args = lua_istable(L, 3) ? encode_args(L, p, 3) : NULL;
    struct stream *s = stream_open(p->link, service, args, &channel_handler, c, &e);
    if (s == NULL) {
        c->shut = c->eof = true;
        return peer_raise(L, p, e.code, e.detail);
    }
    channel_attach(c, s);
    remember(L, c);
    return 1;
}

int channel_offer(struct peer *p, struct stream *s, const char *service, const struct value *args,
                  struct error *e)
{
    bool exec = strcmp(service, "remote_exec") == 0;
    if (!exec && strcmp(service, "channel") != 0) {
        return errors_set(e, -E_NO_SERVICE, "\"%.100s\"", service);
    }
    if (exec && p->o.policy != PEER_OPEN) {
        return errors_set(e, -E_DENIED, "%s", "remote_exec");
    }
    struct channel *c = channel_make(p);
    if (c == NULL) {
        return errors_set(e, -E_NOMEM, "%s", "a channel");
    }
    channel_attach(c, s);
    int rc = exec ? channel_exec(c, args, e) : 0;
    if (rc != 0) {
        channel_let(c);
        return rc;
    }
    stream_accept(s, &channel_handler, c);
    return 0;
}

/* ---- looking ---- */

static bool is_closed(const struct channel *c)
{
    return c->s == NULL || (c->shut && c->eof);
}

static int show(lua_State *L)
{
    const struct channel *c = channel_self(L);
    lua_pushfstring(L, CHANNEL ": %d of %s (%s)", (int)c->id, c->p->name,
                    is_closed(c) ? "closed" : "open");
    return 1;
}

static int get(lua_State *L)
{
    const struct channel *c = channel_self(L);
    const char *name = luaL_checkstring(L, 2);
    if (strcmp(name, "closed") == 0) {
        lua_pushboolean(L, is_closed(c));
        return 1;
    }
    luaL_getmetafield(L, 1, "methods");
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int collect(lua_State *L)
{
    struct channel **at = lua_touserdata(L, 1), *c = *at;
    if (c != NULL) {
        struct peer *p = c->p;
        *at = NULL;
        channel_shut(c);
        channel_let(c);
        peer_let(p);
    }
    return 0;
}

void channel_init(lua_State *L, struct world *w)
{
    static const luaL_Reg meta[] = {{"__index", get},           {"__call", channel_step},
                                    {"__tostring", show},       {"__gc", collect},
                                    {"__close", channel_close}, {NULL, NULL}};
    luaL_newmetatable(L, CHANNEL);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, channel_methods);
    lua_setfield(L, -2, "methods");
    w->channel_meta = lua_topointer(L, -1);
    w->channel_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, channel_collect_wait);
    lua_setfield(L, -2, "__gc");
    w->channel_wait_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
