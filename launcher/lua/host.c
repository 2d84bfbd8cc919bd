#include "launcher/lua/host.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/cache/cache.h"
#include "launcher/lua/held.h"
#include "launcher/lua/input.h"
#include "launcher/lua/line.h"
#include "launcher/lua/until.h"
#include "peer/tasks.h"

#define CLOSE_MS 5000

struct host {
    struct grapnel *g;
    int borrowed; /* the context is not ours */
    struct tasks *tasks;
    struct line *lines;    /* chained by line_link */
    struct held *helds;    /* chained by held_link */
    struct input *inputs;  /* chained by input_link */
    struct until *untils;  /* chained by until_link */
    lua_Hook hook;         /* of the main thread, when it was tried last */
    lua_Hook interrupting; /* one of there that is to raise an error, or NULL */
    int stirred;           /* guarded by the context's lock */
};

static const char host_key; /* its address is the place in the registry */

static int no_memory(struct grapnel_error *e, const char *target)
{
    struct error inner = {0};

    errors_set(&inner, -E_NOMEM, "server");
    return context_error(e, target, &inner);
}

struct grapnel *host_context(struct host *h)
{
    return h->g;
}

struct tasks *host_tasks(struct host *h)
{
    return h->tasks;
}

/* ---- waiting ---- */

void host_stir(struct host *h)
{
    h->stirred = 1;
}

/* A program's handler of signals may do no more than to set a hook, as that of lua5.4 does for
 * Ctrl-C: the hook runs with the next instruction, so the wait must end for it. */
static int is_hooked(const struct host *h)
{
    return lua_gethook(tasks_state(h->tasks)) != h->hook;
}

static int is_stirred(void *arg)
{
    const struct host *h = arg;

    return h->stirred || is_hooked(h);
}

static int nothing(lua_State *L)
{
    (void)L;
    return 0;
}

/* Tries a hook that was set meanwhile.  One that raises an error is set again, for the wait may be
 * over now: then it is the program's, else `is_interrupted` ends the wait. */
static void try_hook(struct host *h)
{
    lua_State *L = tasks_state(h->tasks);
    lua_Hook hook = lua_gethook(L);
    int mask = lua_gethookmask(L), count = lua_gethookcount(L);

    if (!is_hooked(h) || !lua_checkstack(L, 2))
        return;
    h->hook = hook;
    if (!hook)
        return;
    lua_pushcfunction(L, nothing);
    if (lua_pcall(L, 0, 0, 0) == LUA_OK)
        return;
    lua_pop(L, 1);
    lua_sethook(L, hook, mask, count);
    h->interrupting = hook;
    h->hook = NULL;
}

/* True when such a hook has not run yet; it will not any more. */
static int is_interrupted(struct host *h)
{
    lua_State *L = tasks_state(h->tasks);
    int is = h->interrupting && lua_gethook(L) == h->interrupting;

    if (is)
        lua_sethook(L, NULL, 0, 0);
    h->interrupting = NULL;
    return is;
}

void host_look(struct host *h)
{
    for (struct line *at = h->lines; at; at = *line_link(at))
        line_serve(at);
    for (struct line *at = h->lines, *next; at; at = next) {
        next = *line_link(at);
        line_reap(at);
    }
    held_serve(h->helds, tasks_state(h->tasks));
}

/* tasks_host.wait */
static int wait(void *arg, uint64_t deadline_us)
{
    struct host *h = arg;
    int code;

    if (context_forked(h->g, NULL)) {
        for (struct line *at = h->lines; at; at = *line_link(at))
            line_forsake(at);
        return -E_ARGUMENT;
    }
    try_hook(h);
    if (is_interrupted(h))
        return -E_INTERRUPTED;
    for (struct line *at = h->lines; at; at = *line_link(at))
        line_flush(at);
    until_look(h->untils);
    if (tasks_woken(h->tasks))
        deadline_us = 0;
    context_lock(h->g);
    host_note_uses(h);
    if (deadline_us <= context_now())
        input_look(h->inputs);
    code = context_wait(h->g, is_stirred, h, deadline_us);
    h->stirred = 0;
    input_serve(h->inputs);
    context_unlock(h->g);
    host_look(h);
    until_look(h->untils);
    try_hook(h);
    return code == -E_TIMEOUT ? 0 : code;
}

void host_add_line(struct host *h, struct line *line)
{
    *line_link(line) = h->lines;
    h->lines = line;
}

void host_remove_line(struct host *h, struct line *line)
{
    for (struct line **at = &h->lines; *at; at = line_link(*at)) {
        if (*at == line) {
            *at = *line_link(line);
            return;
        }
    }
}

void host_add_held(struct host *h, struct held *held)
{
    *held_link(held) = h->helds;
    h->helds = held;
}

void host_remove_held(struct host *h, struct held *held)
{
    for (struct held **at = &h->helds; *at; at = held_link(*at)) {
        if (*at == held) {
            *at = *held_link(held);
            return;
        }
    }
}

void host_note_uses(struct host *h)
{
    held_note_uses(h->helds);
}

void host_add_input(struct host *h, struct input *in)
{
    *input_link(in) = h->inputs;
    h->inputs = in;
}

void host_remove_input(struct host *h, struct input *in)
{
    for (struct input **at = &h->inputs; *at; at = input_link(*at)) {
        if (*at == in) {
            *at = *input_link(in);
            return;
        }
    }
}

void host_add_until(struct host *h, struct until *u)
{
    *until_link(u) = h->untils;
    h->untils = u;
}

void host_remove_until(struct host *h, struct until *u)
{
    for (struct until **at = &h->untils; *at; at = until_link(*at)) {
        if (*at == u) {
            *at = *until_link(u);
            return;
        }
    }
}

int host_alive(const struct host *h)
{
    for (struct line *at = h->lines; at; at = *line_link(at)) {
        if (!line_over(at))
            return 1;
    }
    return 0;
}

/* ---- servers ---- */

static void on_rest(void *arg, struct cached *s, const struct error *e)
{
    (void)s;
    (void)e;
    *(int *)arg = 1;
}

static int is_set(void *arg)
{
    return *(int *)arg;
}

/* The last use of one that is passing: not before the agent has left. */
static void see_off(struct host *h, struct cached *s)
{
    struct cache_waiter waiter;
    int gone = 0;

    cache_close(s);
    if (cache_await_rest(s, &waiter, on_rest, &gone) > 0)
        (void)context_wait(h->g, is_set, &gone, UINT64_MAX); /* the cache has a limit for it */
    cache_leave(&waiter);
}

static void leave_cached(struct host *h, struct cached *s)
{
    context_lock(h->g);
    if (cache_is_passing(s) && cache_users(s) == 1 && !cache_instances(s))
        see_off(h, s);
    cache_done(s);
    context_unlock(h->g);
}

void host_leave_server(struct host *h, const struct host_use *use)
{
    if (use->cached)
        leave_cached(h, use->cached);
    /* One that has not answered has nothing to tell at its end. */
    if (use->own && grapnel_wait_ready(use->own, 0, NULL) == 0)
        grapnel_close(use->own, CLOSE_MS, NULL);
    grapnel_server_free(use->own);
}

struct grapnel_server *host_server(struct host *h, const struct host_use *use)
{
    struct grapnel_server *s = use->own;

    if (!use->cached)
        return s;
    if (context_enter(h->g, NULL) < 0)
        return NULL;
    s = cache_server(use->cached);
    context_unlock_quiet(h->g);
    return s;
}

/* ---- making and freeing ---- */

/* __gc: the state is being closed. */
static int collect(lua_State *L)
{
    struct host *h = *(struct host **)lua_touserdata(L, 1);

    if (!h || context_forked(h->g, NULL))
        return 0;
    while (h->helds)
        held_end(h->helds);
    for (struct line *at = h->lines; at; at = *line_link(at))
        line_leave(at);
    while (h->lines)
        line_end(h->lines);
    grapnel_close_ssh_connections(h->g, NULL);
    tasks_free(h->tasks);
    if (!h->borrowed)
        grapnel_free(h->g);
    free(h);
    *(struct host **)lua_touserdata(L, 1) = NULL;
    return 0;
}

int host_lives(lua_State *L)
{
    struct host **box;

    lua_rawgetp(L, LUA_REGISTRYINDEX, &host_key);
    box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return box && *box;
}

static int fail(lua_State *L, const struct grapnel_error *e)
{
    char text[1600];

    grapnel_error_format(e, text, sizeof text);
    return luaL_error(L, "%s", text);
}

/* The agents of the build tree in which this module lies, if it does; else "", the usual places: so
 * also in the command, which is no module and lies beside its agents. */
static void find_agents(char *folder, size_t size)
{
    Dl_info here;
    const char *slash = NULL;

    folder[0] = '\0';
    if (!getenv("GRAPNEL_AGENTS") && dladdr(&host_key, &here) && here.dli_fname)
        slash = strrchr(here.dli_fname, '/');
    if (slash && strcmp(slash, "/grapnel.so") != 0)
        return;
    if (slash)
        snprintf(folder, size, "%.*s/../agents", (int)(slash - here.dli_fname), here.dli_fname);
    if (slash && access(folder, R_OK) != 0)
        folder[0] = '\0';
}

static struct grapnel *make_context(struct grapnel_error *e)
{
    char folder[PATH_MAX];
    struct grapnel_options o = {0};

    find_agents(folder, sizeof folder);
    if (*folder)
        o.agents = folder;
    return grapnel_new(&o, e);
}

/* Fills *h; g may be NULL: a new one.  0, or negative with *e filled. */
static int set_up(lua_State *L, struct host *h, struct grapnel *g, struct grapnel_error *e)
{
    struct tasks_host waiting = {.wait = wait, .arg = h};

    h->g = g ? g : make_context(e);
    h->borrowed = g != NULL;
    if (!h->g)
        return -1;
    h->tasks = tasks_new(L, &waiting, context_now);
    return h->tasks ? 0 : no_memory(e, "");
}

struct host *host_on(lua_State *L, struct grapnel *g)
{
    struct grapnel_error e;
    struct host **box, *h;

    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &host_key) == LUA_TUSERDATA) {
        h = *(struct host **)lua_touserdata(L, -1);
        lua_pop(L, 1);
        if (!h)
            luaL_error(L, "the Lua state is being closed");
        return h;
    }
    lua_pop(L, 1);
    box = lua_newuserdatauv(L, sizeof(struct host *), 0);
    *box = NULL;
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    *box = h = calloc(1, sizeof *h);
    if (!h || set_up(L, h, g, &e) < 0) {
        if (!h)
            no_memory(&e, "");
        fail(L, &e);
    }
    lua_rawsetp(L, LUA_REGISTRYINDEX, &host_key);
    return h;
}

struct host *host_of(lua_State *L)
{
    return host_on(L, NULL);
}
