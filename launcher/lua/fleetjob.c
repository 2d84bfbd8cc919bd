#include "launcher/lua/fleetjob.h"

#include <lauxlib.h>
#include <math.h>

#include "launcher/fleet/fleet.h"
#include "launcher/lua/host.h"
#include "launcher/lua/luavalue.h"
#include "launcher/lua/until.h"

#define META "grapnel.fleet.job"

struct lua_job {
    struct host *host;
    struct grapnel_fleet *f;
    struct grapnel_fleet_job *job; /* NULL: all was told, or it was given up */
};

/* ---- results ---- */

static void set_text(lua_State *L, const char *name, const char *text, size_t n)
{
    if (!text)
        return;
    lua_pushlstring(L, text, n);
    lua_setfield(L, -2, name);
}

static void set_string(lua_State *L, const char *name, const char *text)
{
    if (!text)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void set_flag(lua_State *L, const char *name, int is)
{
    lua_pushboolean(L, is);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, lua_Integer n)
{
    lua_pushinteger(L, n);
    lua_setfield(L, -2, name);
}

void fleetjob_push_error(lua_State *L, const struct grapnel_error *e)
{
    char text[1600];

    lua_createtable(L, 0, 5);
    set_string(L, "name", e->name);
    set_string(L, "phase", e->phase);
    set_string(L, "text", e->text);
    set_string(L, "detail", e->detail);
    grapnel_error_format(e, text, sizeof text);
    set_string(L, "message", text);
}

static void push_phases(lua_State *L, const struct grapnel_fleet_result *r)
{
    lua_createtable(L, 0, GRAPNEL_FLEET_PHASES);
    for (int i = 0; i < GRAPNEL_FLEET_PHASES; i++) {
        if (r->phase_us[i] < 0)
            continue;
        lua_pushnumber(L, (lua_Number)r->phase_us[i] / 1e6);
        lua_setfield(L, -2, grapnel_fleet_phase_name(i));
    }
}

void fleetjob_push_result(lua_State *L, const struct grapnel_fleet *f,
                          const struct grapnel_fleet_result *r)
{
    lua_createtable(L, 0, 12);
    set_string(L, "host", grapnel_fleet_name(f, r->host));
    set_integer(L, "index", (lua_Integer)r->host + 1);
    set_flag(L, "ok", !r->failed);
    set_integer(L, "attempts", r->attempts);
    set_flag(L, "begun", r->begun);
    set_flag(L, "confirmed", r->confirmed);
    set_text(L, "out", r->out, r->out_length);
    set_text(L, "err", r->err, r->err_length);
    if (r->alias)
        set_string(L, "same", grapnel_fleet_name(f, r->same));
    if (r->status && r->status->exited)
        set_integer(L, "status", r->status->exit_status);
    if (r->status) {
        set_string(L, "signal", r->status->signal);
        set_string(L, "reason", r->status->reason);
    }
    if (r->value) {
        luavalue_push(L, r->value);
        lua_setfield(L, -2, "value");
    }
    if (r->results) {
        luavalue_push(L, r->results);
        lua_setfield(L, -2, "results");
    }
    if (r->error) {
        fleetjob_push_error(L, r->error);
        lua_setfield(L, -2, "error");
    }
    push_phases(L, r);
    lua_setfield(L, -2, "phases");
}

/* ---- waiting ---- */

static struct lua_job *self(lua_State *L)
{
    struct lua_job *j = luaL_checkudata(L, 1, META);

    return host_lives(L) ? j : NULL;
}

static void drop(struct lua_job *j)
{
    if (!j->job)
        return;
    context_lock(host_context(j->host));
    fleet_watch(j->job, NULL, NULL);
    context_unlock_quiet(host_context(j->host));
    grapnel_fleet_job_free(j->job);
    j->job = NULL;
}

/* fleet_watch */
static void on_told(void *arg)
{
    host_stir(arg);
}

static int has_news(void *arg)
{
    struct lua_job *j = arg;
    int has;

    if (!j->job)
        return 1;
    context_lock(host_context(j->host));
    has = fleet_has_news(j->job);
    context_unlock_quiet(host_context(j->host));
    return has;
}

/* Pushes what there is now: 1 and a result, or nil at the end; 0: nothing yet. */
static int take(lua_State *L, struct lua_job *j)
{
    struct grapnel_fleet_result r;
    struct grapnel_error e;

    if (!has_news(j))
        return 0;
    if (j->job && grapnel_fleet_wait_any(j->job, 0, &r, &e) == 0) {
        fleetjob_push_result(L, j->f, &r);
    } else {
        drop(j); /* the fleet is free for the next one */
        lua_pushnil(L);
    }
    return 1;
}

static int told(lua_State *L, int status, lua_KContext context)
{
    int result = until_result(L);

    (void)status;
    (void)context;
    if (result < 0 && result != -E_TIMEOUT)
        return until_raise(L, result);
    if (take(L, luaL_checkudata(L, 1, META)))
        return 1;
    lua_pushnil(L);
    lua_pushliteral(L, "timeout");
    return 2;
}

static int next_until(lua_State *L, uint64_t deadline)
{
    struct lua_job *j = self(L);

    lua_settop(L, 1);
    if (!j) {
        lua_pushnil(L);
        return 1;
    }
    if (take(L, j))
        return 1;
    return until_suspend(L, has_news, j, deadline, told, 0);
}

/* job(): the next result, for loops; nil behind the last one. */
static int next_result(lua_State *L)
{
    return next_until(L, UINT64_MAX);
}

/* job:wait_any([seconds]) → result; nil behind the last one; nil, "timeout" */
static int wait_any(lua_State *L)
{
    lua_Number seconds = luaL_optnumber(L, 2, HUGE_VAL);
    uint64_t deadline = UINT64_MAX;

    luaL_argcheck(L, !isnan(seconds), 2, "not a time");
    if (seconds < 1e9)
        deadline = context_now() + (seconds > 0 ? (uint64_t)(seconds * 1e6) : 0);
    return next_until(L, deadline);
}

/* job:cancel() */
static int cancel(lua_State *L)
{
    struct lua_job *j = self(L);

    if (j && j->job)
        grapnel_fleet_cancel(j->job);
    return 0;
}

void fleetjob_push_counts(lua_State *L, struct grapnel_fleet_job *job)
{
    struct grapnel_fleet_counts c;

    grapnel_fleet_counts(job, &c);
    lua_createtable(L, 0, 7);
    set_integer(L, "hosts", (lua_Integer)c.hosts);
    set_integer(L, "queued", (lua_Integer)c.queued);
    set_integer(L, "connecting", (lua_Integer)c.connecting);
    set_integer(L, "running", (lua_Integer)c.running);
    set_integer(L, "done", (lua_Integer)c.done);
    set_integer(L, "failed", (lua_Integer)c.failed);
    set_integer(L, "skipped", (lua_Integer)c.skipped);
}

/* job:counts() → table; nil when all was told */
static int counts(lua_State *L)
{
    struct lua_job *j = self(L);

    if (!j || !j->job)
        return 0;
    fleetjob_push_counts(L, j->job);
    return 1;
}

/* ---- making and freeing ---- */

static int collect(lua_State *L)
{
    struct lua_job *j = self(L);

    if (j)
        drop(j);
    return 0;
}

int fleetjob_push(lua_State *L, struct grapnel_fleet *f, struct grapnel_fleet_job *job)
{
    struct host *h = host_of(L);
    struct lua_job *j = lua_newuserdatauv(L, sizeof *j, 1);

    *j = (struct lua_job){.host = h, .f = f, .job = job};
    luaL_setmetatable(L, META);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    context_lock(host_context(h));
    fleet_watch(job, on_told, h);
    context_unlock_quiet(host_context(h));
    /* As the generic `for` has it, whose end, also by break or an error, is the job's. */
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushvalue(L, -3);
    return 4;
}

void fleetjob_add(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"wait_any", wait_any}, {"cancel", cancel}, {"counts", counts}, {NULL, NULL}};
    static const luaL_Reg meta[] = {
        {"__gc", collect}, {"__close", collect}, {"__call", next_result}, {NULL, NULL}};

    if (luaL_newmetatable(L, META)) {
        luaL_setfuncs(L, meta, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}
