#include "peer/api.h"

#include "lua_conn.h"
#include "lua_far.h"
#include "lua_module.h"
#include "peer/channel.h"
#include "peer/future.h"
#include "peer/pairs.h"

/* Hosts get no more of a connection than what a service may want of its clients. */
#ifndef GRAPNEL_AGENT
#include "lua_classic.h"
#endif

/* ---- connections: the core that conn.lua dresses ---- */

#define CORE "grapnel.core"

static struct peer *core(lua_State *L)
{
    struct peer **at = luaL_checkudata(L, 1, CORE);
    return *at;
}

static int core_gc(lua_State *L)
{
    struct peer **at = lua_touserdata(L, 1);
    if (*at != NULL) {
        peer_let(*at);
        *at = NULL;
    }
    return 0;
}

/* core:call(callee, …): callee is a path or a proxy; results by reference. */
static int core_call(lua_State *L)
{
    struct peer *p = core(L);
    lua_remove(L, 1);
    return calls_wait(L, calls_send_call(L, p, 0));
}

/* The same, results by copy. */
static int core_call_copy(lua_State *L)
{
    struct peer *p = core(L);
    lua_remove(L, 1);
    return calls_wait(L, calls_send_call(L, p, CALLS_COPY));
}

/* The same, arguments by copy. */
static int core_deliver(lua_State *L)
{
    struct peer *p = core(L);
    lua_remove(L, 1);
    return calls_wait(L, calls_send_call(L, p, CALLS_DELIVER));
}

static int core_sends_code(lua_State *L)
{
    lua_pushboolean(L, core(L)->o.teleport);
    return 1;
}

static int core_teleport(lua_State *L)
{
    const struct peer *p = core(L);
    lua_pushboolean(L, p->o.teleport && p->o.policy == PEER_OPEN);
    return 1;
}

/* core:refuse_bytecode(): from here on nothing in this state loads any. */
static int core_refuse_bytecode(lua_State *L)
{
    struct peer *p = core(L);
    p->o.teleport = false;
    p->world->text_only = true;
    return 0;
}

static int core_root(lua_State *L)
{
    struct codec_out c;
    calls_begin(&c, core(L), L, "root", 0);
    return calls_wait(L, calls_send(&c));
}

/* core:service(name) */
static int core_service(lua_State *L)
{
    struct codec_out c;
    calls_begin(&c, core(L), L, "service", 1);
    int rc = codec_put(&c, 2);
    return rc != 0 ? codec_raise(&c, rc) : calls_wait(L, calls_send(&c));
}

static int core_close(lua_State *L)
{
    struct peer *p = core(L);
    if (!peer_unusable(p)) {
        peer_close(p);
    }
    return 0;
}

static int core_closed(lua_State *L)
{
    lua_pushboolean(L, !peer_alive(core(L)));
    return 1;
}

static int core_name(lua_State *L)
{
    lua_pushstring(L, core(L)->name);
    return 1;
}

static int core_serve(lua_State *L)
{
    struct peer *p = core(L);
    lua_settop(L, 2);
    if (!peer_unusable(p)) {
        peer_set_root(L, p);
    }
    return 0;
}

/* core:become_service(service): from here on the other end gets what the service exposes, and
 * nothing else. */
static int core_become_service(lua_State *L)
{
    struct peer *p = core(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    if (!peer_unusable(p)) {
        p->o.policy = PEER_SERVICE;
        peer_set_root(L, p);
    }
    return 0;
}

void api_push_core(lua_State *L, struct peer *p)
{
    static const luaL_Reg methods[] = {{"call", core_call},
                                       {"call_copy", core_call_copy},
                                       {"root", core_root},
                                       {"service", core_service},
                                       {"close", core_close},
                                       {"closed", core_closed},
                                       {"name", core_name},
                                       {"serve", core_serve},
                                       {"become_service", core_become_service},
                                       {"deliver", core_deliver},
                                       {"teleport", core_teleport},
                                       {"sends_code", core_sends_code},
                                       {"open", channel_open},
                                       {"refuse_bytecode", core_refuse_bytecode},
                                       {NULL, NULL}};
    struct peer **at = lua_newuserdatauv(L, sizeof(*at), 0);
    *at = NULL;
    if (luaL_newmetatable(L, CORE)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, core_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    *at = p;
    peer_hold(p);
}

/* ---- the module ---- */

static int is_proxy(lua_State *L)
{
    lua_pushboolean(L, proxy_at(L, peer_world(L), 1) != NULL);
    return 1;
}

/* The kind of the far object; of others, type(x). */
static int type_of(lua_State *L)
{
    const struct proxy *x = proxy_at(L, peer_world(L), 1);
    luaL_checkany(L, 1);
    if (x == NULL) {
        lua_pushstring(L, luaL_typename(L, 1));
    } else {
        lua_pushstring(L, proxy_is_procedure(x) ? "function" : proxy_kinds[x->kind]);
    }
    return 1;
}

/* Marks a table: it goes by copy. */
static int copy(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, peer_world(L)->copy_ref);
    lua_setmetatable(L, 1);
    return 1;
}

/* A deep copy of a far object. */
static int obtain(lua_State *L)
{
    const struct proxy *x = proxy_at(L, peer_world(L), 1);
    struct codec_out c;
    if (x == NULL) {
        lua_settop(L, 1);
        return 1;
    }
    calls_begin(&c, x->p, L, "obtain", 1);
    int rc = codec_put_home(&c, x->id);
    return rc != 0 ? codec_raise(&c, rc) : calls_wait(L, calls_send(&c));
}

static int now(lua_State *L)
{
    lua_pushnumber(L, (double)api_now(L) / 1e6);
    return 1;
}

/* ---- error objects ---- */

static int error_text(lua_State *L)
{
    lua_getfield(L, 1, "message");
    return 1;
}

static int error_concat(lua_State *L)
{
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

void api_make_error(lua_State *L)
{
    static const luaL_Reg meta[] = {
        {"__tostring", error_text}, {"__concat", error_concat}, {NULL, NULL}};
    if (luaL_newmetatable(L, "grapnel.error")) {
        luaL_setfuncs(L, meta, 0);
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "__copy");
    }
    lua_setmetatable(L, -2);
}

void api_push_error(lua_State *L, const char *kind)
{
    lua_createtable(L, 0, 2);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, kind);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    api_make_error(L);
}

int api_raise(lua_State *L, const char *kind, const char *text)
{
    lua_pushstring(L, text);
    api_push_error(L, kind);
    return lua_error(L);
}

void api_check_callable(lua_State *L, int idx)
{
    if (!lua_isfunction(L, idx) && luaL_getmetafield(L, idx, "__call") == LUA_TNIL) {
        luaL_argerror(L, idx, "function expected");
    }
}

uint64_t api_now(lua_State *L)
{
    const struct tasks *t = tasks_of(L);
    return t != NULL ? tasks_now(t) : 0;
}

uint64_t api_deadline(lua_State *L, int idx)
{
    double seconds = luaL_checknumber(L, idx);
    uint64_t at = api_now(L);
    return seconds > 0 ? at + (uint64_t)((seconds < 1e9 ? seconds : 1e9) * 1e6) : at;
}

void api_init(lua_State *L, struct world *w)
{
    static const luaL_Reg functions[] = {{"isproxy", is_proxy},
                                         {"type", type_of},
                                         {"copy", copy},
                                         {"obtain", obtain},
                                         {"now", now},
                                         {"sleep", tasks_sleep},
                                         {"buffiter", pairs_buffiter},
                                         {"traceback", calls_traceback},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    peer_push_version(L);
    lua_setfield(L, -2, "version");
    future_init(L, w);
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->channel_ref);
    lua_getfield(L, -1, "methods");
    lua_setfield(L, -3, "channel_methods");
    lua_pop(L, 1);
    peer_push_code(L, NULL, lua_module, lua_module_size);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 0);
    w->module_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void peer_push_module(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, peer_world(L)->module_ref);
}

/* Pushes the table of what all links of a family have in common. */
static void push_common(lua_State *L, struct peer *p)
{
    if (p->family_ref == LUA_NOREF) {
        lua_newtable(L);
        p->family_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->family_ref);
}

static void push_classic(lua_State *L, struct world *w)
{
#ifdef GRAPNEL_AGENT
    (void)w;
    lua_pushnil(L);
#else
    peer_push_code(L, &w->classic_ref, lua_classic, lua_classic_size);
#endif
}

/* Pushes what one of our Lua files makes of the core; its code is kept at *compiled. */
static void push_new(lua_State *L, struct peer *p, int *compiled, const char *code, size_t n)
{
    luaL_checkstack(L, 8, "a connection");
    peer_push_code(L, compiled, code, n);
    api_push_core(L, p);
    peer_push_module(L);
    push_common(L, p->family != NULL ? p->family : p);
    push_classic(L, p->world);
    lua_call(L, 4, 1);
}

/* The same, kept at *place, or from there. */
static void push_made(lua_State *L, struct peer *p, int *place, int *compiled, const char *code,
                      size_t n)
{
    if (*place != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, *place);
        return;
    }
    push_new(L, p, compiled, code, n);
    if (*place == LUA_NOREF) {
        lua_pushvalue(L, -1);
        *place = luaL_ref(L, LUA_REGISTRYINDEX);
        p->own++;
    } else { /* another task, which ran meanwhile, was faster */
        lua_rawgeti(L, LUA_REGISTRYINDEX, *place);
        lua_replace(L, -2);
    }
}

void peer_push(lua_State *L, struct peer *p)
{
    push_made(L, p, &p->conn_ref, &p->world->conn_code_ref, lua_conn, lua_conn_size);
}

void peer_push_new(lua_State *L, struct peer *p)
{
    push_new(L, p, &p->world->conn_code_ref, lua_conn, lua_conn_size);
}

void peer_push_builtins(lua_State *L, struct peer *p)
{
    push_made(L, p, &p->builtins_ref, &p->world->far_ref, lua_far, lua_far_size);
}

/* ---- services are told ---- */

static int api_told(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

/* In a task: (what).  Upvalue 1: the core. */
int api_service(lua_State *L)
{
    struct peer *p = *(struct peer **)lua_touserdata(L, lua_upvalueindex(1));
    if (peer_unusable(p)) {
        return 0;
    }
    lua_settop(L, 1);
    peer_push_builtins(L, p);
    lua_getfield(L, 2, lua_toboolean(L, 1) ? "connected" : "disconnected");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->services_ref);
    peer_push(L, p);
    lua_callk(L, 2, 0, 0, api_told);
    return 0;
}

/* False: there is no memory. */
static bool tell_service(struct peer *p, bool connected, tasks_done *done)
{
    lua_State *L;
    struct task *k = tasks_prepare(p->tasks, &L);
    if (k != NULL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->service_ref);
        lua_pushboolean(L, connected);
        tasks_set_user(k, NULL);
        tasks_start(k, 1, done, p);
    }
    return k != NULL;
}

void api_ended(struct peer *p)
{
    if (peer_serves(p)) {
        (void)tell_service(p, false, NULL);
    }
}

/* Who was not let in is not served. */
static void let_in(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct peer *p = arg;
    (void)k, (void)n;
    if (peer_unusable(p)) {
        return;
    }
    p->held = false;
    if (status != LUA_OK) {
        bool text = lua_type(L, -1) == LUA_TSTRING;
        peer_lost(p, -E_REMOTE, text ? lua_tostring(L, -1) : "on_connect");
    }
    serve_resume(p);
}

void api_served(struct peer *p)
{
    if (peer_serves(p)) {
        p->held = tell_service(p, true, let_in);
        if (!p->held) {
            peer_lost(p, -E_MEMORY, "on_connect");
        }
    }
}
