#include "launcher/lua/held.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "launcher/lua/line.h"
#include "peer/peer.h"
#include "peer/tasks.h"

#define META "grapnel.held"

struct held {
    struct held *next;
    struct host *host;
    int boxed; /* Lua has it */

    /* guarded by the context's lock */
    struct grapnel_connection *slot; /* NULL: the cache has none for it any more */
    struct line *line;               /* in force, or the last that was; NULL: none yet */
    int anew;                        /* is to be given a line */
    int used;                        /* we are among the slot's users */
    int told, generation;            /* for held_news … */
    struct grapnel_error error;
    int called; /* … for which its function was called */
};

static const char table_key, function_key; /* their addresses are places in the registry */

struct held **held_link(struct held *held)
{
    return &held->next;
}

struct host *held_host(const struct held *held)
{
    return held->host;
}

struct grapnel_connection *held_slot(const struct held *held)
{
    return held->slot;
}

static struct grapnel *context_of(const struct held *held)
{
    return host_context(held->host);
}

/* ---- the cache's side: in any thread, with the context's lock ---- */

static int is_alive(void *end)
{
    const struct held *held = end;

    return held->anew || (held->line && !line_is_lost(held->line));
}

static int renew(void *end, struct error *e)
{
    struct held *held = end;

    (void)e;
    held->anew = 1;
    held->called = 0;
    host_stir(held->host);
    return 0;
}

static void close_line(void *end, int code, const char *text)
{
    struct held *held = end;

    held->anew = 0;
    if (held->line)
        line_cut(held->line, code, text);
}

static int is_over(void *end)
{
    const struct held *held = end;

    return !held->line || line_has_ended(held->line);
}

/* Lua's thread does the rest. */
static void let_go(void *end)
{
    struct held *held = end;

    held->slot = NULL;
    held->anew = held->used = 0;
    if (held->line)
        line_abandon(held->line);
    held->line = NULL;
    host_stir(held->host);
}

static const struct cache_end_class class = {
    .alive = is_alive, .renew = renew, .close = close_line, .over = is_over, .free = let_go};

struct held *held_of(const struct grapnel_connection *c)
{
    return c->class == &class ? c->end : NULL;
}

void held_renewed(void *host, struct grapnel_connection *c, int generation,
                  const struct grapnel_error *error)
{
    static const struct grapnel_error none;
    struct held *held = held_of(c);

    if (!held || held->host != host)
        return;
    held->told = 1;
    held->generation = generation;
    held->error = error ? *error : none;
    held->called = 0;
    host_stir(held->host);
}

/* ---- making ---- */

/* Neither the cache nor Lua has it any more. */
static void settle(struct held *held)
{
    if (held->boxed || held->slot)
        return;
    host_remove_held(held->host, held);
    free(held);
}

static int collect(lua_State *L)
{
    struct held *held = *(struct held **)lua_touserdata(L, 1);
    struct grapnel *g;

    if (!held || !host_lives(L) || context_forked(context_of(held), NULL))
        return 0;
    g = context_of(held);
    held->boxed = 0;
    context_lock(g);
    settle(held);
    context_unlock_quiet(g);
    return 0;
}

static struct held **push_box(lua_State *L)
{
    struct held **box = lua_newuserdatauv(L, sizeof(struct held *), 0);

    *box = NULL;
    if (luaL_newmetatable(L, META)) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return box;
}

struct held *held_push(lua_State *L, struct host *h, struct cached *s, int number, struct error *e)
{
    struct grapnel *g = host_context(h);
    struct held **box = push_box(L), *held = calloc(1, sizeof *held);

    if (!held) {
        errors_set(e, -E_NOMEM, "connection");
        lua_pop(L, 1);
        return NULL;
    }
    held->host = h;
    held->anew = 1;
    held->called = 1;
    context_lock(g);
    host_note_uses(h);
    held->slot = cache_add_instance(s, number, &class, held, e);
    context_unlock(g);
    if (!held->slot) {
        free(held);
        lua_pop(L, 1);
        return NULL;
    }
    host_add_held(h, held);
    held->boxed = 1;
    *box = held;
    return held;
}

struct held *held_at(lua_State *L, int index)
{
    struct held *held = *(struct held **)luaL_checkudata(L, index, META);

    luaL_argcheck(L, held && host_lives(L), index, "the Lua state is being closed");
    return held;
}

/* ---- its use ---- */

void held_note_use(struct held *held)
{
    int used =
        held->slot && held->line && !line_is_lost(held->line) && peer_in_use(line_peer(held->line));

    if (used == held->used)
        return;
    held->used = used;
    if (used)
        cache_hold_instance(held->slot);
    else
        cache_done_instance(held->slot);
}

void held_note_uses(struct held *first)
{
    for (struct held *held = first; held; held = held->next)
        held_note_use(held);
}

/* ---- its line ---- */

struct line *held_line(struct held *held)
{
    struct line *line;

    context_lock(context_of(held));
    line = held->line;
    context_unlock_quiet(context_of(held));
    return line;
}

int held_is_alive(struct held *held)
{
    int alive;

    context_lock(context_of(held));
    alive = held->slot && is_alive(held);
    context_unlock_quiet(context_of(held));
    return alive;
}

static void leave_line(struct line *line)
{
    line_cut(line, -E_CANCELLED, "the instance was opened again");
    line_abandon(line);
}

int held_begin(struct held *held, struct line *line, struct error *e)
{
    context_lock(context_of(held));
    if (held->line)
        leave_line(held->line);
    held->line = NULL;
    held->anew = 0;
    if (held->slot && held->slot->of) {
        held->line = line;
    } else {
        errors_set(e, -E_CLOSED, "the connection was closed");
        leave_line(line);
    }
    context_unlock(context_of(held));
    return e->code;
}

void held_fail(struct held *held)
{
    context_lock(context_of(held));
    held->anew = 0;
    if (held->line)
        leave_line(held->line);
    held->line = NULL;
    context_unlock(context_of(held));
}

/* ---- news ---- */

void held_news(struct held *held, int *made_anew, int *told, int *generation,
               struct grapnel_error *error)
{
    context_lock(context_of(held));
    *made_anew = held->anew;
    *told = held->told;
    *generation = held->generation;
    *error = held->error;
    held->told = 0;
    context_unlock_quiet(context_of(held));
}

void held_set_up(lua_State *L)
{
    lua_rawsetp(L, LUA_REGISTRYINDEX, &function_key);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &table_key);
}

/* Takes no memory of Lua's, but for the task's. */
static int call(struct held *held, lua_State *L)
{
    lua_State *own;
    struct task *k = tasks_prepare(tasks_of(L), &own);

    if (!k)
        return 0;
    lua_rawgetp(own, LUA_REGISTRYINDEX, &function_key);
    lua_rawgetp(own, LUA_REGISTRYINDEX, &table_key);
    lua_rawgetp(own, -1, held);
    lua_replace(own, -2);
    tasks_start(k, 1, NULL, NULL);
    return 1;
}

/* Setting what is there to nil takes no memory. */
static void forget(struct held *held, lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &table_key);
    if (lua_rawgetp(L, -1, held) != LUA_TNIL) {
        lua_pushnil(L);
        lua_rawsetp(L, -3, held);
    }
    lua_pop(L, 2);
}

void held_serve(struct held *first, lua_State *L)
{
    struct held *next;
    int gone, due;

    if (!first || !lua_checkstack(L, 4))
        return;
    for (struct held *held = first; held; held = next) {
        next = held->next;
        context_lock(context_of(held));
        gone = !held->slot;
        due = !gone && !held->called && (held->anew || held->told);
        held->called |= due;
        context_unlock_quiet(context_of(held));
        if (gone)
            forget(held, L);
        else if (due && !call(held, L))
            held->called = 0;
    }
}

/* What is in use until the state is closed has nothing of Lua behind it from here on. */
static int is_never(void *end)
{
    (void)end;
    return 0;
}

static int is_always(void *end)
{
    (void)end;
    return 1;
}

static int renew_nothing(void *end, struct error *e)
{
    (void)end;
    return errors_set(e, -E_CLOSED, "the connection was closed");
}

static void close_nothing(void *end, int code, const char *text)
{
    (void)end;
    (void)code;
    (void)text;
}

static void free_nothing(void *end)
{
    (void)end;
}

void held_end(struct held *held)
{
    static const struct cache_end_class gone = {.alive = is_never,
                                                .renew = renew_nothing,
                                                .close = close_nothing,
                                                .over = is_always,
                                                .free = free_nothing};
    struct grapnel *g = context_of(held);

    context_lock(g);
    if (held->slot)
        cache_close_instance(held->slot);
    held_note_use(held);
    if (held->slot) {
        held->slot->class = &gone;
        held->slot->end = NULL;
        let_go(held);
    }
    context_unlock(g);
    host_remove_held(held->host, held);
    free(held);
}
