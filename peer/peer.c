#include "peer/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer/api.h"
#include "peer/channel.h"
#include "peer/loading.h"
#include "peer/pairs.h"
#include "peer/serve.h"
#include "peer/within.h"

/* ---- the world of a Lua state ---- */

static const char world_key; /* its address is the key in the registry */

void peer_push_code(lua_State *L, int *place, const char *code, size_t n)
{
    if (place != NULL && *place != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, *place);
        return;
    }
    if (luaL_loadbufferx(L, code, n, "=grapnel", "t") != LUA_OK) {
        lua_error(L);
    }
    if (place != NULL && *place == LUA_NOREF) {
        lua_pushvalue(L, -1);
        *place = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

struct world *peer_world(lua_State *L)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &world_key) == LUA_TUSERDATA) {
        struct world *there = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return there;
    }
    lua_pop(L, 1);
    struct world *w = lua_newuserdatauv(L, sizeof(*w), 0);
    memset(w, 0, sizeof(*w));
    w->tasks = tasks_of(L);
    luaL_newmetatable(L, "grapnel.copy");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "__copy");
    w->copy_meta = lua_topointer(L, -1);
    w->copy_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, PEER_PROCEDURES);
    w->procedures_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    proxy_init(L, w);
    pairs_init(L, w);
    channel_init(L, w);
    loading_init(L, w);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    w->loaded_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    w->helpers_ref = w->conn_code_ref = w->classic_ref = w->far_ref = LUA_NOREF;
    api_init(L, w);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &world_key);
    return w;
}

/* ---- what the link says ---- */

static void on_wake(void *arg, struct link *l)
{
    struct peer *p = arg;
    (void)l;
    if (p->o.wake != NULL) {
        p->o.wake(p->o.arg);
    }
}

static void on_call(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    (void)l;
    serve_call(arg, id, body, n);
}

static void on_cancel(void *arg, struct link *l, uint32_t id)
{
    (void)l;
    serve_cancel(arg, id);
}

static int on_open(void *arg, struct stream *s, const char *service, const struct value *args,
                   struct error *e)
{
    if (strcmp(service, "link") == 0) {
        return within_offer(arg, s, e);
    }
    return channel_offer(arg, s, service, args, e);
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    struct peer *p = arg;
    (void)l;
    return refs_release(p->refs, id, count);
}

static void on_goodbye(void *arg, struct link *l, int code, const char *text)
{
    (void)arg;
    if (code == 0) {
        link_end(l, -E_CLOSED, text[0] != '\0' ? text : "by the other end");
    }
}

/* Nothing of ours is held by the other end any more: its anchor goes.  Takes no memory. */
static void on_gone(void *arg, void *object, int64_t id)
{
    struct peer *p = arg;
    (void)id;
    lua_rawgeti(p->L, LUA_REGISTRYINDEX, p->anchors_ref);
    lua_pushnil(p->L);
    lua_rawsetp(p->L, -2, object);
    lua_pop(p->L, 1);
}

/* ---- life ---- */

static int weak_table(lua_State *L)
{
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static bool make_link(struct peer *p)
{
    static const struct link_handler handler = {.wake = on_wake,
                                                .open = on_open,
                                                .call_raw = on_call,
                                                .cancel = on_cancel,
                                                .release = on_release,
                                                .goodbye = on_goodbye};
    struct link_options o = {.opener = p->o.opener,
                             .features = LINK_FEATURE_REFS,
                             .calls_max = PEER_CALLS_MAX,
                             .body_max = CODEC_CALL_MAX};
    p->refs = refs_new(0, on_gone, p);
    p->link = p->refs != NULL ? link_new(&o, &handler, p, tasks_now(p->tasks)) : NULL;
    return p->link != NULL;
}

struct peer *peer_new(lua_State *L, struct tasks *t, const struct peer_options *o)
{
    struct world *w = peer_world(L);
    luaL_checkstack(L, 10, "a connection");
    lua_State *own = lua_newthread(L);
    int thread = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    int anchors = luaL_ref(L, LUA_REGISTRYINDEX);
    int imports = weak_table(L), channels = weak_table(L);
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        luaL_error(L, "%s", "not enough memory");
        return NULL;
    }
    p->world = w;
    p->number = ++w->peers;
    p->tasks = t;
    p->L = own;
    p->o = *o;
    p->o.depth_max = o->depth_max > 0 ? o->depth_max : PEER_DEPTH_MAX;
    p->o.name = p->name;
    snprintf(p->name, sizeof(p->name), "%s", o->name != NULL ? o->name : "");
    p->thread_ref = thread;
    p->anchors_ref = anchors;
    p->imports_ref = imports;
    p->channels_ref = channels;
    p->conn_ref = p->root_ref = p->services_ref = p->guarded_ref = p->builtins_ref = p->runner_ref =
        p->exec_ref = p->service_ref = p->family_ref = LUA_NOREF;
    p->holders = 1;
    p->loose_max = CHANNEL_LOOSE_MAX;
    if (!make_link(p)) {
        refs_free(p->refs);
        free(p);
        luaL_error(L, "%s", "not enough memory");
        return NULL;
    }
    api_push_core(L, p);
    lua_pushcclosure(L, serve_runner, 1);
    p->runner_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    api_push_core(L, p);
    lua_pushcclosure(L, channel_exec_run, 1);
    p->exec_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    api_push_core(L, p);
    lua_pushcclosure(L, api_service, 1);
    p->service_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    p->own = p->holders;
    return p;
}

void peer_hold(struct peer *p)
{
    p->holders++;
}

void peer_let(struct peer *p)
{
    if (--p->holders > 0) {
        return;
    }
    calls_free(p);
    serve_free(p);
    channel_exec_free(p);
    wire_free(&p->out);
    free(p->issued);
    free(p);
}

/* Notes that the link has ended: what runs for the other end is cancelled. */
static void note_end(struct peer *p)
{
    const struct error *e = link_error(p->link);
    if (p->error.code == 0 && e->code != 0) {
        p->error = *e;
        p->released_n = 0;
        serve_end(p);
        channel_exec_end(p);
        api_ended(p);
    }
}

bool peer_alive(struct peer *p)
{
    if (p->error.code == 0) {
        note_end(p);
    }
    return p->error.code == 0;
}

bool peer_unusable(const struct peer *p)
{
    return p->freed;
}

void peer_lost(struct peer *p, int code, const char *detail)
{
    link_end(p->link, code, detail);
    note_end(p);
}

void peer_close(struct peer *p)
{
    if (peer_alive(p)) {
        proxy_flush(p);
        link_goodbye(p->link, -E_CLOSED, "");
        note_end(p);
        on_wake(p, p->link);
    }
}

bool peer_finished(const struct peer *p)
{
    return link_error(p->link)->code != 0 && !link_has_output(p->link);
}

int peer_error(const struct peer *p, const char **detail)
{
    if (detail != NULL) {
        *detail = link_error(p->link)->detail;
    }
    return link_error(p->link)->code;
}

void peer_free(struct peer *p)
{
    if (p == NULL) {
        return;
    }
    peer_lost(p, -E_CLOSED, "");
    within_free(p);
    channel_free(p);
    refs_free(p->refs);
    p->refs = NULL;
    link_free(p->link);
    p->link = NULL;
    p->freed = true;
    int *places[] = {&p->anchors_ref, &p->imports_ref,  &p->channels_ref, &p->conn_ref,
                     &p->root_ref,    &p->services_ref, &p->guarded_ref,  &p->builtins_ref,
                     &p->thread_ref,  &p->runner_ref,   &p->exec_ref,     &p->service_ref,
                     &p->family_ref};
    lua_State *main = tasks_state(p->tasks);
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        luaL_unref(main, LUA_REGISTRYINDEX, *places[i]);
        *places[i] = LUA_NOREF;
    }
    p->L = NULL;
    peer_let(p);
}

bool peer_in_use(const struct peer *p)
{
    return link_error(p->link)->code == 0 &&
           (p->holders > p->own || p->calls_pending > 0 || p->servings_n > 0);
}

/* ---- bytes ---- */

int peer_input(struct peer *p, const uint8_t *bytes, size_t n)
{
    int rc = link_input(p->link, bytes, n, tasks_now(p->tasks));
    note_end(p);
    return rc;
}

int peer_output(struct peer *p, const uint8_t **bytes, size_t *n)
{
    proxy_flush(p);
    within_flush(p);
    p->sent_at = tasks_now(p->tasks);
    return link_output(p->link, bytes, n, p->sent_at);
}

int peer_has_output(const struct peer *p)
{
    return p->released_n > 0 || link_has_output(p->link);
}

void peer_sent(struct peer *p, size_t n)
{
    link_sent(p->link, n, p->sent_at);
    if (p->queue != NULL) {
        serve_resume(p);
    }
}

int peer_congested(const struct peer *p)
{
    return link_congested(p->link);
}

/* ---- Lua ---- */

void peer_push_error(lua_State *L, struct peer *p, int code, const char *detail)
{
    bool over = !peer_alive(p) && (code == p->error.code || code == -E_CLOSED);
    if (over) {
        code = p->error.code;
        detail = p->error.detail;
    }
    const char *colon = detail != NULL && detail[0] != '\0' ? ": " : "";
    lua_pushfstring(L, "%s%s%s%s", over ? "EOF: " : "", errors_text(code), colon,
                    detail != NULL ? detail : "");
    if (over && p->name[0] != '\0') {
        lua_pushfstring(L, " (%s)", p->name);
        lua_concat(L, 2);
    }
    const char *kind = over                   ? "eof"
                       : code == -E_DENIED    ? "denied"
                       : code == -E_CANCELLED ? "cancelled"
                       : code == -E_TIMEOUT   ? "timeout"
                                              : NULL;
    if (kind != NULL) {
        api_push_error(L, kind);
    }
}

int peer_raise(lua_State *L, struct peer *p, int code, const char *detail)
{
    luaL_checkstack(L, 6, "an error");
    peer_push_error(L, p, code, detail);
    return lua_error(L);
}

void peer_set_root(lua_State *L, struct peer *p)
{
    luaL_unref(L, LUA_REGISTRYINDEX, p->services_ref);
    lua_pushvalue(L, -1);
    p->services_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (serve_is_list(L, -1)) {
        lua_rawgeti(L, -1, 1);
        lua_replace(L, -2);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, p->root_ref);
    serve_guard(L, p, -1);
    p->root_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    api_served(p);
}

bool peer_serves(const struct peer *p)
{
    return p->o.policy == PEER_SERVICE && p->root_ref != LUA_NOREF;
}

void peer_push_version(lua_State *L)
{
    lua_pushstring(L, GRAPNEL_VERSION);
}
