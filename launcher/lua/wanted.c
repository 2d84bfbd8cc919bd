#include "launcher/lua/wanted.h"

#include <lauxlib.h>

#define META "grapnel.wanted"

struct wanted {
    struct host *host;
    struct cached *server; /* NULL: given back */

    /* guarded by the context's lock */
    struct cache_waiter waiter;
    int waits;
    struct error error;
};

static void on_told(void *arg, struct cached *s, const struct error *e)
{
    struct wanted *w = arg;

    (void)s;
    w->waits = 0;
    w->error = *e;
    host_stir(w->host);
}

/* What it holds is given back; whoever is the last to hold one that is passing ends it. */
static int collect(lua_State *L)
{
    struct wanted *w = lua_touserdata(L, 1);
    struct cached *s = w->server;
    struct grapnel *g;

    w->server = NULL;
    if (!s || !host_lives(L) || context_forked(host_context(w->host), NULL))
        return 0;
    g = host_context(w->host);
    context_lock(g);
    cache_leave(&w->waiter);
    cache_done(s);
    context_unlock(g);
    return 0;
}

/* __close */
static int leave(lua_State *L)
{
    wanted_leave(wanted_at(L, 1));
    return 0;
}

static struct wanted *push(lua_State *L, struct host *h)
{
    struct wanted *w = lua_newuserdatauv(L, sizeof *w, 0);

    *w = (struct wanted){.host = h};
    if (luaL_newmetatable(L, META)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
        lua_pushcfunction(L, leave);
        lua_setfield(L, -2, "__close");
    }
    lua_setmetatable(L, -2);
    return w;
}

/* s is held for it, or NULL. */
static struct wanted *attend(lua_State *L, struct wanted *w, struct cached *s)
{
    int waits;

    if (!s) {
        lua_pop(L, 1);
        return NULL;
    }
    w->server = s;
    waits = cache_await(s, &w->waiter, on_told, w);
    w->waits = waits > 0;
    if (waits < 0)
        errors_set(&w->error, waits, "%s", cache_name(s));
    return w;
}

struct wanted *wanted_push(lua_State *L, struct host *h, const char *target,
                           const struct grapnel_connect_options *o, int passing, struct error *e)
{
    struct grapnel *g = host_context(h);
    struct wanted *w = push(L, h);
    struct context_sigpipe held;
    struct cached *s = NULL;
    struct cache *c;

    if (context_refuse_forked(g, e) < 0) {
        lua_pop(L, 1);
        return NULL;
    }
    context_lock(g);
    context_hold_sigpipe(&held);
    host_note_uses(h);
    c = cache_of(g);
    if (c)
        s = cache_want(c, target, o, e);
    else
        errors_set(e, -E_NOMEM, "cache");
    if (s && !passing)
        cache_set_passing(s, 0);
    else if (s && cache_users(s) == 1 && cache_generation(s) == 0 && !cache_instances(s))
        cache_set_passing(s, 1);
    w = attend(L, w, s);
    context_release_sigpipe(&held);
    context_unlock(g);
    return w;
}

struct wanted *wanted_push_again(lua_State *L, struct host *h, struct cached *s, struct error *e)
{
    struct grapnel *g = host_context(h);
    struct wanted *w = push(L, h);
    struct context_sigpipe held;

    context_lock(g);
    context_hold_sigpipe(&held);
    cache_hold(s);
    if (cache_renew(s, e) < 0) {
        cache_done(s);
        s = NULL;
    }
    w = attend(L, w, s);
    context_release_sigpipe(&held);
    context_unlock(g);
    return w;
}

struct wanted *wanted_at(lua_State *L, int index)
{
    return luaL_checkudata(L, index, META);
}

struct cached *wanted_server(struct wanted *w)
{
    return w->server;
}

int wanted_settled(void *arg)
{
    struct wanted *w = arg;
    int settled;

    context_lock(host_context(w->host));
    settled = !w->waits;
    context_unlock_quiet(host_context(w->host));
    return settled;
}

int wanted_takes(struct wanted *w)
{
    struct grapnel *g = host_context(w->host);
    int takes;

    context_lock(g);
    takes = w->waits ? cache_state(w->server) == GRAPNEL_CONNECTING : !w->error.code;
    context_unlock_quiet(g);
    return takes;
}

int wanted_outcome(struct wanted *w, struct error *e)
{
    struct grapnel *g = host_context(w->host);
    int code;

    context_lock(g);
    code = w->error.code;
    if (code)
        *e = w->error;
    context_unlock_quiet(g);
    return code;
}

void wanted_leave(struct wanted *w)
{
    struct host_use use = {.cached = w->server};
    struct grapnel *g = host_context(w->host);

    if (!w->server)
        return;
    context_lock(g);
    cache_leave(&w->waiter);
    context_unlock(g);
    w->server = NULL;
    host_leave_server(w->host, &use);
}
