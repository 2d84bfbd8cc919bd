/* Calls of ours: sent, waited for, and what came of them (peer_impl.h). */
#include "peer/peer_impl.h"

#include <stdlib.h>
#include <string.h>

#include "peer/api.h"

#define CALLS_SLAB 64

struct calls_slab {
    struct calls_slab *next;
    struct calls_call calls[CALLS_SLAB];
};

/* ---- records ---- */

static struct calls_call *make(lua_State *L, struct peer *p)
{
    if (p->calls_spare == NULL) {
        struct calls_slab *s = calloc(1, sizeof(*s));
        if (s == NULL) {
            peer_raise(L, p, -E_NOMEM, "");
            return NULL;
        }
        s->next = p->calls_slabs;
        p->calls_slabs = s;
        for (size_t i = 0; i < CALLS_SLAB; i++) {
            s->calls[i].p = p;
            s->calls[i].next_spare = p->calls_spare;
            p->calls_spare = &s->calls[i];
        }
    }
    struct calls_call *c = p->calls_spare;
    p->calls_spare = c->next_spare;
    c->wait = (struct tasks_wait){0};
    c->state = CALLS_PENDING;
    c->abandoned = false;
    c->told = NULL;
    c->code = 0;
    c->text = NULL;
    c->m.bytes = NULL;
    return c;
}

/* decoded: of its message, if there is one. */
static void give_back(struct calls_call *c, bool decoded)
{
    message_done(c->p, &c->m, decoded);
    free(c->text);
    c->text = NULL;
    c->state = CALLS_IDLE;
    c->next_spare = c->p->calls_spare;
    c->p->calls_spare = c;
}

void calls_drop(struct calls_call *c, bool cancel)
{
    if (c->state == CALLS_PENDING) {
        c->abandoned = true;
        c->told = NULL;
        if (cancel && peer_alive(c->p)) {
            link_cancel(c->p->link, c->id);
        }
    } else if (c->state == CALLS_ANSWERED) {
        give_back(c, false);
    }
}

void calls_free(struct peer *p)
{
    while (p->calls_slabs != NULL) {
        struct calls_slab *s = p->calls_slabs;
        p->calls_slabs = s->next;
        for (size_t i = 0; i < CALLS_SLAB; i++) {
            message_done(p, &s->calls[i].m, true);
            free(s->calls[i].text);
        }
        free(s);
    }
    p->calls_spare = NULL;
}

/* ---- sending ---- */

void calls_begin(struct codec_out *c, struct peer *p, lua_State *L, const char *name, size_t n)
{
    if (!peer_alive(p)) {
        peer_raise(L, p, p->error.code, p->error.detail);
    }
    int depth = peer_depth(p);
    codec_begin(c, p, L, CODEC_CALL_MAX);
    c->depth_told = depth;
    int rc = codec_put_array(c, 2);
    rc = rc != 0 ? rc : codec_put_text(c, name);
    /* `call` has the depth among its flags; the others get it as a further argument. */
    c->tell_depth = depth > 0 && strcmp(name, "call") != 0;
    rc = rc != 0 ? rc : codec_put_array(c, n + c->tell_depth);
    if (rc != 0) {
        codec_raise(c, rc);
    }
}

static void keep_answer(struct calls_call *c, int code, const uint8_t *body, size_t n,
                        const char *text)
{
    if (code == 0) {
        code = message_take(c->p, &c->m, body, n);
        text = code == -E_STALE ? "in an answer" : "";
    }
    c->code = code;
    c->text = code != 0 ? strdup(text != NULL ? text : "") : NULL;
}

static void answered(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct calls_call *c = arg;
    struct peer *p = c->p;
    p->calls_pending--;
    p->calls_answered++;
    keep_answer(c, code, body, n, text);
    c->state = CALLS_ANSWERED;
    int breach = code == 0 && (c->code == -E_MALFORMED || c->code == -E_TOO_LARGE) ? c->code : 0;
    if (c->abandoned) {
        give_back(c, false);
    } else {
        if (c->told != NULL) {
            c->told(c);
        } else {
            tasks_wake(&c->wait);
        }
    }
    if (breach != 0) {
        link_end(p->link, breach, "RETURN with a malformed value");
    }
}

static void unheard(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    struct peer *p = arg;
    (void)code, (void)body, (void)n, (void)text;
    p->calls_pending--;
    p->calls_answered++;
}

static int send(struct codec_out *c, struct calls_call *call)
{
    struct peer *p = c->p;
    int rc = c->tell_depth ? codec_put_int(c, c->depth_told) : 0;
    if (rc != 0) {
        return rc;
    }
    rc = link_call_raw(p->link, wire_data(c->to), wire_length(c->to),
                       call != NULL ? answered : unheard, call != NULL ? (void *)call : p,
                       call != NULL ? &call->id : NULL);
    p->calls_pending += rc == 0;
    if (rc == -E_LIMIT) {
        return errors_set(&c->error, rc, "%zu calls wait for their answers%s", p->calls_pending,
                          p->calls_pending < PEER_CALLS_MAX ? ", with too many bytes" : "");
    }
    return rc == 0 ? 0 : errors_set(&c->error, rc, "%s", "");
}

struct calls_call *calls_send(struct codec_out *c)
{
    struct calls_call *call = make(c->L, c->p);
    int rc = send(c, call);
    if (rc != 0) {
        call->state = CALLS_ANSWERED;
        give_back(call, false);
        codec_raise(c, rc);
    }
    return call;
}

void calls_send_only(struct codec_out *c)
{
    int rc = send(c, NULL);
    if (rc != 0) {
        codec_raise(c, rc);
    }
}

/* The flags and the callee at index 1. */
static int put_callee(struct codec_out *c, unsigned flags)
{
    int rc = codec_put_int(c, (int64_t)flags | (int64_t)c->depth_told << 8);
    return rc != 0 ? rc : codec_put(c, 1);
}

/* Who wants copies gives copies; and so it is for the far end's own procedures. */
static bool takes_copies(lua_State *L, struct peer *p, unsigned flags)
{
    const struct proxy *x = proxy_at(L, p->world, 1);
    return x != NULL ? proxy_is_procedure(x) : (flags & CALLS_COPY) != 0;
}

struct calls_call *calls_send_call(lua_State *L, struct peer *p, unsigned flags)
{
    struct codec_out c;
    int top = lua_gettop(L);
    if (peer_alive(p) && peer_depth(p) > p->o.depth_max) {
        peer_raise(L, p, -E_DEPTH, "");
    }
    calls_begin(&c, p, L, "call", (size_t)top + 1);
    int rc = put_callee(&c, flags & ~(unsigned)CALLS_DELIVER);
    c.copy = (flags & CALLS_DELIVER) != 0;
    if (!c.copy && takes_copies(L, p, flags)) {
        c.copy = c.lenient = true;
    }
    for (int i = 2; rc == 0 && i <= top; i++) {
        rc = codec_put(&c, i);
    }
    if (rc != 0) {
        codec_raise(&c, rc);
    }
    if ((flags & CALLS_NO_REPLY) != 0) {
        calls_send_only(&c);
        return NULL;
    }
    return calls_send(&c);
}

/* ---- answers ---- */

/* Pushes the tracebacks of error values that cannot carry them: a weak map; and of a number, a
 * boolean or nil the last one that came, by the names `value` and `traceback`. */
static void push_tracebacks(lua_State *L)
{
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, "grapnel.tracebacks")) {
        return;
    }
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}

int calls_traceback(lua_State *L)
{
    static const char heading[] = CALLS_TRACEBACK;
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    if (lua_type(L, 1) == LUA_TSTRING) {
        size_t n;
        const char *text = lua_tolstring(L, 1, &n);
        const char *at = memmem(text, n, heading, sizeof(heading) - 1);
        lua_pushstring(L, at != NULL ? at + sizeof(heading) - 1 : NULL);
        return 1;
    }
    push_tracebacks(L);
    if (lua_type(L, 1) < LUA_TTABLE) {
        lua_getfield(L, 2, "value");
        lua_getfield(L, 2, lua_rawequal(L, 1, 3) ? "traceback" : "none");
        return 1;
    }
    lua_pushvalue(L, 1);
    lua_rawget(L, -2);
    return 1;
}

/* Error value and traceback are on top, and stay. */
static void keep_traceback(lua_State *L)
{
    push_tracebacks(L);
    lua_pushvalue(L, -3);
    if (lua_type(L, -1) < LUA_TTABLE) {
        lua_setfield(L, -2, "value");
        lua_pushvalue(L, -2);
        lua_setfield(L, -2, "traceback");
    } else {
        lua_pushvalue(L, -3);
        lua_rawset(L, -3);
    }
    lua_pop(L, 1);
}

void calls_push_failure(lua_State *L)
{
    lua_getfield(L, -1, "error");
    lua_getfield(L, -2, "traceback");
    lua_remove(L, -3);
    if (lua_istable(L, -2)) {
        if (lua_getfield(L, -2, "message") == LUA_TSTRING) {
            lua_pushvalue(L, -3);
            api_make_error(L);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) {
        if (lua_type(L, -2) != LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING) {
            keep_traceback(L);
        }
        lua_pop(L, 1);
        return;
    }
    lua_pushliteral(L, CALLS_TRACEBACK);
    lua_insert(L, -2);
    lua_concat(L, 3);
}

/* Pushes n results. */
static void push_results(lua_State *L, struct codec_in *in, size_t n)
{
    luaL_checkstack(L, (int)(n < 1u << 20 ? n : 1u << 20) + 8, "too many results");
    for (size_t i = 0; i < n; i++) {
        codec_get(in);
    }
}

size_t calls_take_small(struct calls_call *c, uint8_t *at, size_t size)
{
    struct codec_in in;
    size_t results, n = c->m.n;
    if (c->code != 0 || c->m.refs || n > size) {
        return 0;
    }
    codec_open(&in, c->p, NULL, c->m.bytes, n);
    if (!codec_array(&in, &results)) {
        return 0;
    }
    memcpy(at, c->m.bytes, n);
    give_back(c, true);
    return n;
}

int calls_push_small(lua_State *L, const uint8_t *bytes, size_t n)
{
    struct codec_in in;
    size_t results = 0;
    codec_open(&in, NULL, L, bytes, n);
    codec_array(&in, &results);
    push_results(L, &in, results);
    return (int)results;
}

int calls_results(lua_State *L, struct calls_call *c)
{
    struct codec_in in;
    size_t n;
    if (c->code != 0) {
        peer_push_error(L, c->p, c->code, c->text);
        return -1;
    }
    if (peer_unusable(c->p)) {
        peer_push_error(L, c->p, c->p->error.code, c->p->error.detail);
        return -1;
    }
    codec_open(&in, c->p, L, c->m.bytes, c->m.n);
    bool failed = !codec_array(&in, &n);
    if (failed) {
        n = 1;
    }
    push_results(L, &in, n);
    message_done(c->p, &c->m, true);
    if (!failed) {
        return (int)n;
    }
    if (!lua_istable(L, -1)) {
        luaL_error(L, "%s", "malformed answer");
    }
    calls_push_failure(L);
    return -1;
}

static int waited(lua_State *L, int status, lua_KContext context)
{
    struct calls_call *c = (struct calls_call *)context;
    (void)status;
    int result = c->wait.result;
    if (result != 0) {
        struct peer *p = c->p;
        calls_drop(c, true);
        return result == -E_CANCELLED ? tasks_cancelled_error(L) : peer_raise(L, p, result, "");
    }
    int n = calls_results(L, c);
    give_back(c, true);
    return n < 0 ? lua_error(L) : n;
}

int calls_wait(lua_State *L, struct calls_call *c)
{
    return tasks_suspend(L, &c->wait, UINT64_MAX, waited, (lua_KContext)c);
}
