/* remote_exec: code of the owner's that runs beside a channel, and ends it. */
#include <stdlib.h>
#include <string.h>

#include "peer/channel_impl.h"

#define SAID_MAX 60000 /* bytes of a failure that goes into CLOSE */
#define UNSENT   "the error value could not be sent"

struct channel_exec {
    struct channel_exec *next, *prev;
    struct channel *c;
    struct task *task;
    struct message args;
};

static void forget(struct peer *p, struct channel_exec *x)
{
    *(x->prev != NULL ? &x->prev->next : &p->execs) = x->next;
    if (x->next != NULL) {
        x->next->prev = x->prev;
    }
    message_done(p, &x->args, false);
    channel_let(x->c);
    free(x);
}

void channel_exec_end(struct peer *p)
{
    for (struct channel_exec *x = p->execs; x != NULL; x = x->next) {
        tasks_cancel(x->task);
    }
}

void channel_exec_free(struct peer *p)
{
    while (p->execs != NULL) {
        forget(p, p->execs);
    }
}

void channel_fail(lua_State *L, struct channel *c, int error)
{
    struct codec_out o;
    struct value *v = NULL;
    codec_begin(&o, c->p, L, SAID_MAX);
    o.copy = o.lenient = lua_istable(L, error);
    int rc = codec_put_map(&o, 2);
    rc = rc != 0 ? rc : codec_put_text(&o, "error");
    rc = rc != 0 ? rc : codec_put(&o, error);
    rc = rc != 0 ? rc : codec_put_text(&o, "traceback");
    rc = rc != 0 ? rc : codec_put(&o, error + 1);
    rc = rc != 0 ? rc : values_decode_refs(wire_data(o.to), wire_length(o.to), &v);
    if (rc != 0) {
        codec_give_up(&o, rc);
        stream_close(c->s, -E_REMOTE, NULL, UNSENT);
    } else {
        stream_close(c->s, 0, v, NULL);
    }
}

/* Runs protected: light userdata (exec), error value, traceback. */
static int tell_failure(lua_State *L)
{
    struct channel_exec *x = lua_touserdata(L, 1);
    channel_fail(L, x->c, 2);
    return 0;
}

static void failed(struct channel_exec *x, struct task *k, lua_State *L, int status)
{
    struct peer *p = x->c->p;
    lua_State *own = p->L;
    if (tasks_cancelled(k)) {
        stream_close(x->c->s, -E_CANCELLED, NULL, "");
        return;
    }
    if (status == LUA_ERRMEM || !lua_checkstack(own, 8) || !lua_checkstack(L, 2)) {
        stream_close(x->c->s, -E_MEMORY, NULL, "in the remote code");
        return;
    }
    int top = lua_gettop(own);
    lua_pushcfunction(own, tell_failure);
    lua_pushlightuserdata(own, x);
    lua_pushvalue(L, -1);
    lua_pushvalue(L, -3);
    lua_xmove(L, own, 2);
    if (lua_pcall(own, 3, 0, 0) != LUA_OK) {
        stream_close(x->c->s, -E_REMOTE, NULL, UNSENT);
    }
    lua_settop(own, top);
}

static void done(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct channel_exec *x = arg;
    struct peer *p = x->c->p;
    (void)n;
    if (x->c->s != NULL && peer_alive(p)) {
        channel_flush(x->c);
        x->c->shut = x->c->eof = true;
        if (status == LUA_OK) {
            stream_close(x->c->s, 0, NULL, NULL);
        } else {
            failed(x, k, L, status);
        }
    }
    forget(p, x);
}

static int finished(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

/* In a task: (exec). */
int channel_exec_run(lua_State *L)
{
    struct channel_exec *x = lua_touserdata(L, 1);
    struct peer *p = x->c->p;
    struct codec_in in;
    size_t n = 0;
    lua_settop(L, 0);
    peer_push_builtins(L, p);
    lua_getfield(L, 1, "remote_exec");
    lua_replace(L, 1);
    if (!channel_push(p, L, x->c->id)) {
        return 0;
    }
    codec_open(&in, p, L, x->args.bytes, x->args.n);
    if (!codec_array(&in, &n) || n < 1) {
        return luaL_error(L, "%s", "remote_exec without a source");
    }
    luaL_checkstack(L, (int)n + 4, "remote_exec");
    for (size_t i = 0; i < n; i++) {
        codec_get(&in);
    }
    message_done(p, &x->args, true);
    if (in.stale > 0) {
        return luaL_error(L, "%s", errors_text(-E_STALE));
    }
    lua_callk(L, (int)n + 1, 0, 0, finished);
    return 0;
}

static int keep_args(struct peer *p, struct message *m, const struct value *args)
{
    struct wire_buf body = {0};
    int rc = values_encode(args, &body);
    rc = rc != 0 ? rc : message_take(p, m, wire_data(&body), wire_length(&body));
    wire_free(&body);
    return rc;
}

int channel_exec(struct channel *c, const struct value *args, struct error *e)
{
    struct peer *p = c->p;
    lua_State *L;
    struct channel_exec *x = calloc(1, sizeof(*x));
    struct task *k = x != NULL ? tasks_prepare(p->tasks, &L) : NULL;
    int rc = k != NULL ? keep_args(p, &x->args, args) : -E_NOMEM;
    if (rc != 0) {
        if (k != NULL) {
            tasks_drop(k);
        }
        free(x);
        return errors_set(e, rc, "%s", "remote_exec");
    }
    x->c = c;
    c->holders++;
    x->task = k;
    x->next = p->execs;
    if (x->next != NULL) {
        x->next->prev = x;
    }
    p->execs = x;
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->exec_ref);
    lua_pushlightuserdata(L, x);
    tasks_set_user(k, NULL);
    tasks_set_owner(k, p->number);
    tasks_start(k, 1, done, x);
    return 0;
}
