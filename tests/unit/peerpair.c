#include "peerpair.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "peer/peer_impl.h"
#include "proto/errors.h"
#include "unit.h"

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Moves what one end has to say to the other.  Bytes moved. */
static size_t carry(struct peerpair_end *from)
{
    struct peerpair *pair = from->pair;
    const uint8_t *bytes;
    size_t n, moved = 0;
    if (pair->frozen || peer_congested(from->other->peer)) {
        return 0;
    }
    peer_output(from->peer, &bytes, &n);
    while (n > 0) {
        size_t part = pair->cut > 0 && pair->cut < n ? pair->cut : n;
        part = part < 65536 ? part : 65536;
        uint8_t *copy = malloc(part);
        memcpy(copy, bytes, part);
        peer_input(from->other->peer, copy, part);
        free(copy);
        peer_sent(from->peer, part);
        moved += part;
        if (moved >= 65536) {
            break;
        }
        peer_output(from->peer, &bytes, &n);
    }
    pair->moved += moved;
    return moved;
}

static int wait_for(void *arg, uint64_t deadline_us)
{
    struct peerpair_end *self = arg, *other = self->other;
    size_t moved = carry(self) + carry(other);
    uint64_t sooner = deadline_us, theirs;
    if (!tasks_running(other->tasks) && other->peer != NULL) {
        tasks_run(other->tasks);
    }
    moved += carry(other);
    if (moved > 0) {
        return 0;
    }
    theirs = tasks_next_deadline(other->tasks);
    sooner = theirs < sooner ? theirs : sooner;
    if (sooner == UINT64_MAX) {
        return -E_LOST; /* it would wait forever */
    }
    uint64_t now = now_us();
    if (sooner > now) {
        uint64_t us = sooner - now;
        struct timespec t = {.tv_sec = (time_t)(us / 1000000),
                             .tv_nsec = (long)(us % 1000000) * 1000};
        nanosleep(&t, NULL);
    }
    return 0;
}

void peerpair_run(struct peerpair *p)
{
    uint64_t before;
    int more;
    do {
        before = p->moved;
        more = tasks_run(p->near.tasks) | tasks_run(p->far.tasks);
        carry(&p->near);
        carry(&p->far);
    } while (more || p->moved != before);
}

/* ---- what the tests' Lua may use ---- */

static struct peerpair *pair_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* lose(): the line is gone. */
static int lose(lua_State *L)
{
    struct peerpair *p = pair_of(L);
    peer_lost(p->near.peer, -E_LOST, "cut by the test");
    peer_lost(p->far.peer, -E_LOST, "cut by the test");
    return 0;
}

/* freeze(true): nothing moves any more. */
static int freeze(lua_State *L)
{
    pair_of(L)->frozen = lua_toboolean(L, 1);
    return 0;
}

/* far(code): runs code in the far state, and returns its result as a string. */
static int far(lua_State *L)
{
    lua_State *F = pair_of(L)->far.L;
    int top = lua_gettop(F);
    if (luaL_dostring(F, luaL_checkstring(L, 1)) != LUA_OK) {
        lua_pushstring(L, lua_tostring(F, -1));
        lua_settop(F, top);
        return lua_error(L);
    }
    lua_pushstring(L, lua_gettop(F) > top ? luaL_tolstring(F, top + 1, NULL) : "");
    lua_settop(F, top);
    return 1;
}

static int set_root(lua_State *F)
{
    peer_set_root(F, lua_touserdata(F, lua_upvalueindex(1)));
    return 0;
}

/* serve(code): what the code returns in the far state becomes its root. */
static int serve(lua_State *L)
{
    struct peerpair *p = pair_of(L);
    lua_State *F = p->far.L;
    lua_pushlightuserdata(F, p->far.peer);
    lua_pushcclosure(F, set_root, 1);
    if (luaL_loadstring(F, luaL_checkstring(L, 1)) != LUA_OK || lua_pcall(F, 0, 1, 0) != LUA_OK ||
        lua_pcall(F, 1, 0, 0) != LUA_OK) {
        return luaL_error(L, "%s", lua_tostring(F, -1));
    }
    return 0;
}

/* settle(): everything under way arrives, at both ends, after a collection at both. */
static int settle(lua_State *L)
{
    struct peerpair *p = pair_of(L);
    lua_gc(L, LUA_GCCOLLECT);
    lua_gc(L, LUA_GCCOLLECT);
    for (int i = 0; i < 3; i++) {
        carry(&p->near);
        tasks_run(p->far.tasks);
        lua_gc(p->far.L, LUA_GCCOLLECT);
        carry(&p->far);
    }
    return 0;
}

static int moved(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pair_of(L)->moved);
    return 1;
}

/* answered(): so many calls of near's were, ever. */
static int answered(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)pair_of(L)->near.peer->calls_answered);
    return 1;
}

static void note_warning(void *arg, const char *text, int more)
{
    struct peerpair *p = arg;
    size_t n = strlen(p->warned);
    snprintf(p->warned + n, sizeof(p->warned) - n, "%s%s", text, more != 0 ? "" : "\n");
}

/* warned(): all warnings so far. */
static int warned(lua_State *L)
{
    lua_pushstring(L, pair_of(L)->warned);
    return 1;
}

/* ---- life ---- */

static int make_peer(lua_State *L)
{
    struct peerpair_end *end = lua_touserdata(L, 1);
    const struct peer_options *o = lua_touserdata(L, 2);
    end->peer = peer_new(L, end->tasks, o);
    return 0;
}

static void start(struct peerpair_end *end, struct peerpair *p, struct peerpair_end *other,
                  const struct peer_options *o)
{
    end->pair = p;
    end->other = other;
    end->L = luaL_newstate();
    luaL_openlibs(end->L);
    struct tasks_host host = {.wait = wait_for, .arg = end};
    end->tasks = tasks_new(end->L, &host, now_us);
    ck_assert(end->tasks != NULL);
    lua_pushcfunction(end->L, make_peer);
    lua_pushlightuserdata(end->L, end);
    lua_pushlightuserdata(end->L, (void *)(uintptr_t)o);
    ck_assert_msg(lua_pcall(end->L, 2, 0, 0) == LUA_OK, "%s", lua_tostring(end->L, -1));
}

struct peerpair *peerpair_new(const struct peer_options *far_options)
{
    static const luaL_Reg functions[] = {
        {"lose", lose},         {"freeze", freeze}, {"far", far},
        {"settle", settle},     {"serve", serve},   {"moved", moved},
        {"answered", answered}, {"warned", warned}, {NULL, NULL}};
    struct peerpair *p = calloc(1, sizeof(*p));
    struct peer_options n = {
        .opener = true, .policy = PEER_PASSED, .teleport = true, .name = "root@there:1"};
    struct peer_options f = {.policy = PEER_OPEN, .teleport = true};
    start(&p->near, p, &p->far, &n);
    lua_setwarnf(p->near.L, note_warning, p);
    start(&p->far, p, &p->near, far_options != NULL ? far_options : &f);
    /* The far state finds the module by require, as a worker's does. */
    luaL_getsubtable(p->far.L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    peer_push_module(p->far.L);
    lua_setfield(p->far.L, -2, "grapnel");
    lua_pop(p->far.L, 1);
    lua_State *L = p->near.L;
    peer_push(L, p->near.peer);
    lua_setglobal(L, "conn");
    peer_push_module(L);
    lua_setglobal(L, "grapnel");
    lua_pushglobaltable(L);
    lua_pushlightuserdata(L, p);
    luaL_setfuncs(L, functions, 1);
    lua_pop(L, 1);
    return p;
}

static void stop(struct peerpair_end *end)
{
    peer_free(end->peer);
    tasks_free(end->tasks);
    lua_close(end->L);
}

void peerpair_free(struct peerpair *p)
{
    stop(&p->near);
    stop(&p->far);
    free(p);
}

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

void peerpair_do(struct peerpair *p, const char *code)
{
    lua_State *L = p->near.L;
    lua_pushcfunction(L, traceback);
    int base = lua_gettop(L);
    int rc = luaL_loadstring(L, code);
    rc = rc != LUA_OK ? rc : lua_pcall(L, 0, LUA_MULTRET, base);
    ck_assert_msg(rc == LUA_OK, "%s", lua_tostring(L, -1));
    lua_remove(L, base);
}

/* Runs the function `name` of the file's table; the error, to be freed, or NULL. */
static char *run_one(const char *path, const char *name, const struct peer_options *o)
{
    struct peerpair *p = peerpair_new(o);
    lua_State *L = p->near.L;
    char *error = NULL;
    lua_pushcfunction(L, traceback);
    if (luaL_dofile(L, path) != LUA_OK || lua_getfield(L, -1, name) != LUA_TFUNCTION ||
        lua_pcall(L, 0, 0, 1) != LUA_OK) {
        const char *text = lua_tostring(L, -1);
        error = malloc(strlen(name) + 3 + (text != NULL ? strlen(text) : 0) + 2);
        sprintf(error, "%s: %s\n", name, text != NULL ? text : "?");
    }
    peerpair_free(p);
    return error;
}

void peerpair_file(const char *path, const struct peer_options *far_options)
{
    struct peerpair *p = peerpair_new(far_options);
    lua_State *L = p->near.L;
    char *all = strdup("");
    size_t tests = 0;
    ck_assert_msg(luaL_dofile(L, path) == LUA_OK, "%s", lua_tostring(L, -1));
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        char *error = run_one(path, lua_tostring(L, -2), far_options);
        lua_pop(L, 1);
        tests++;
        if (error != NULL) {
            char *longer = malloc(strlen(all) + strlen(error) + 1);
            sprintf(longer, "%s%s", all, error);
            free(all);
            free(error);
            all = longer;
        }
    }
    peerpair_free(p);
    ck_assert_uint_gt(tests, 0);
    ck_assert_msg(all[0] == '\0', "%s", all);
    free(all);
}
