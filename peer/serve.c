/* Calls of the other end's: each is a task (peer_impl.h). */
#include "peer/serve.h"

#include <stdlib.h>
#include <string.h>

#include "lua_helpers.h"

static const uint8_t no_results[] = {0x80};

/* ---- records ---- */

/* Ids of one end are all even or all odd. */
static struct serving **list_of(struct peer *p, uint32_t id)
{
    return &p->servings[id / 2 % PEER_SERVING_LISTS];
}

static struct serving *make(struct peer *p, uint32_t id)
{
    struct serving **list = list_of(p, id);
    struct serving *s = p->serving_spare;
    if (s != NULL) {
        p->serving_spare = s->next;
    } else {
        s = malloc(sizeof(*s));
        if (s == NULL) {
            return NULL;
        }
    }
    s->p = p;
    s->id = id;
    s->task = NULL;
    s->depth = 0;
    s->copy = s->answered = s->silent = s->late = s->cancelled = s->root = s->guarded = false;
    s->after = NULL;
    s->m.bytes = NULL;
    s->prev = NULL;
    s->next = *list;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    *list = s;
    p->servings_n++;
    return s;
}

static void give_back(struct serving *s)
{
    struct peer *p = s->p;
    message_done(p, &s->m, false);
    p->silent -= s->silent;
    p->servings_n--;
    *(s->prev != NULL ? &s->prev->next : list_of(p, s->id)) = s->next;
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    s->next = p->serving_spare;
    p->serving_spare = s;
}

void serve_free(struct peer *p)
{
    for (size_t i = 0; i < PEER_SERVING_LISTS; i++) {
        while (p->servings[i] != NULL) {
            give_back(p->servings[i]);
        }
    }
    while (p->serving_spare != NULL) {
        struct serving *s = p->serving_spare;
        p->serving_spare = s->next;
        free(s);
    }
}

/* ---- answers ---- */

int serve_fail(struct serving *s, int code, const char *detail)
{
    if (!s->answered) {
        s->answered = true;
        link_fail(s->p->link, s->id, code, detail);
    }
    return 0;
}

int serve_answer(lua_State *L, struct serving *s, int base)
{
    struct peer *p = s->p;
    struct codec_out c;
    if (s->answered) {
        return 0;
    }
    if (s->late) {
        s->answered = true;
        link_answer_raw(p->link, s->id, no_results, sizeof(no_results));
        return 0;
    }
    int top = lua_gettop(L);
    codec_begin(&c, p, L, CODEC_CALL_MAX);
    c.copy = s->copy;
    c.service = s->root;
    luaL_checkstack(L, 10, "results");
    int rc = codec_put_array(&c, (size_t)(top - base));
    for (int i = base + 1; rc == 0 && i <= top; i++) {
        rc = codec_put(&c, i);
    }
    if (rc == 0) {
        s->answered = true;
        rc = link_answer_raw(p->link, s->id, wire_data(c.to), wire_length(c.to));
        s->answered = rc == 0;
    }
    if (rc != 0) {
        codec_give_up(&c, rc);
        serve_fail(s, rc, c.error.detail);
    }
    return 0;
}

void serve_no_reply(struct serving *s)
{
    s->silent = s->p->silent < PEER_SILENT_MAX;
    s->late = !s->silent;
    s->p->silent += s->silent;
    if (s->silent) {
        s->answered = true;
        link_answer_raw(s->p->link, s->id, no_results, sizeof(no_results));
    }
}

/* What a service's code throws is told to its client when it is plain: no functions or userdata of
 * the service's own, and no tables that have a metatable, unless that says that they are copied. */
static bool plain_error(lua_State *L, const struct peer *p, int idx)
{
    const struct proxy *x = proxy_at(L, p->world, idx);
    if (x != NULL) {
        return x->p == p;
    }
    if (lua_istable(L, idx) && lua_getmetatable(L, idx)) {
        lua_pushliteral(L, "__copy");
        lua_rawget(L, -2);
        bool copied = lua_toboolean(L, -1);
        lua_pop(L, 2);
        return copied;
    }
    return lua_type(L, idx) <= LUA_TTABLE && lua_type(L, idx) != LUA_TLIGHTUSERDATA;
}

/* Runs protected in the peer's own thread: light userdata (serving), traceback, error value. */
static int tell_failure(lua_State *L)
{
    struct serving *s = lua_touserdata(L, 1);
    struct codec_out c;
    if (s->guarded || s->p->o.policy == PEER_SERVICE) {
        /* A service's insides are none of its client's business. */
        lua_pushnil(L);
        lua_replace(L, 2);
        if (!plain_error(L, s->p, 3)) {
            lua_pushstring(L, errors_text(-E_REMOTE));
            lua_replace(L, 3);
        }
    }
    codec_begin(&c, s->p, L, CODEC_FEW_MAX);
    c.guarded = c.guarded || s->guarded;
    int rc = codec_put_map(&c, 2);
    rc = rc != 0 ? rc : codec_put_text(&c, "error");
    /* Plain data in a table is worth more as a copy: it outlives the far end. */
    c.copy = c.lenient = lua_istable(L, 3) && !lua_getmetatable(L, 3);
    lua_settop(L, 3);
    rc = rc != 0 ? rc : codec_put(&c, 3);
    rc = rc != 0 ? rc : codec_put_text(&c, "traceback");
    rc = rc != 0 ? rc : codec_put(&c, 2);
    if (rc == 0) {
        rc = link_answer_raw(s->p->link, s->id, wire_data(c.to), wire_length(c.to));
    }
    if (rc != 0) {
        codec_give_up(&c, rc);
        serve_fail(s, -E_REMOTE, "the error value could not be sent");
    }
    s->answered = true;
    return 0;
}

static void failed(struct serving *s, lua_State *L, int status)
{
    lua_State *own = s->p->L;
    if (status == LUA_ERRMEM || !lua_checkstack(own, 8) || !lua_checkstack(L, 2)) {
        serve_fail(s, s->p->o.policy == PEER_PASSED ? -E_NOMEM : -E_MEMORY, "in the called code");
        return;
    }
    int top = lua_gettop(own);
    lua_pushcfunction(own, tell_failure);
    lua_pushlightuserdata(own, s);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_xmove(L, own, 2);
    if (lua_pcall(own, 3, 0, 0) != LUA_OK) {
        serve_fail(s, -E_REMOTE, "the error value could not be sent");
    }
    lua_settop(own, top);
}

/* ---- running ----
 *
 * A runner is a task that takes one call after another from the queue.  Before it runs code that
 * may wait, it sees to it that another one stands by to take the rest; as long as nothing waits,
 * the first one does all of them, and one coroutine stays warm in the caches. */

/* The service is not ready; or the other end does not read its answers: it gets no more of them
 * until it does. */
static bool must_wait(const struct peer *p)
{
    return p->error.code == 0 && (p->held || link_backlog(p->link) > LINK_CONTROL_MAX);
}

static tasks_done done;

/* Without memory for a task nobody would take what is in the queue. */
static void refuse_queue(struct peer *p)
{
    while (p->queue != NULL) {
        struct serving *s = p->queue;
        p->queue = s->after;
        serve_fail(s, -E_NOMEM, "");
        give_back(s);
    }
}

static void stand_by(struct peer *p)
{
    lua_State *L;
    if (p->standby != NULL || p->queue == NULL || must_wait(p)) {
        return;
    }
    struct task *k = tasks_prepare(p->tasks, &L);
    if (k == NULL) {
        refuse_queue(p);
        return;
    }
    /* The closure keeps the peer's memory while the coroutine lives. */
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->runner_ref);
    tasks_set_user(k, NULL);
    tasks_set_owner(k, p->number);
    tasks_start(k, 0, done, p);
    p->standby = k;
}

/* A runner has ended: its last call failed, or there was none left. */
static void done(void *arg, struct task *k, lua_State *L, int status, int n)
{
    struct serving *s = tasks_user(k);
    struct peer *p = arg;
    (void)n;
    if (p->standby == k) {
        p->standby = NULL; /* there was no memory to begin with, as there would not be again */
        refuse_queue(p);
    }
    if (s == NULL) {
        return;
    }
    if (!s->answered && peer_alive(s->p)) {
        if (status == LUA_OK) {
            serve_fail(s, -E_REMOTE, "no answer");
        } else if (tasks_cancelled(k)) {
            serve_fail(s, -E_CANCELLED, "");
        } else {
            failed(s, L, status);
        }
    }
    give_back(s);
}

static struct serving *dequeue(struct peer *p)
{
    struct serving *s;
    while ((s = p->queue) != NULL && !must_wait(p)) {
        p->queue = s->after;
        if (s->cancelled) {
            serve_fail(s, -E_CANCELLED, "");
        } else if (peer_alive(p)) {
            return s;
        }
        give_back(s);
    }
    return NULL;
}

static int serve(lua_State *L, struct serving *s)
{
    struct codec_in in;
    const char *name;
    size_t length, n;
    lua_settop(L, 0);
    codec_open(&in, s->p, L, s->m.bytes, s->m.n);
    if (!codec_array(&in, &n) || n != 2 || !codec_text(&in, &name, &length) ||
        !codec_array(&in, &n)) {
        return serve_fail(s, -E_PROTOCOL, "CALL without a name and arguments");
    }
    serve_operation *op = serve_find(name, length);
    if (op == NULL) {
        return serve_fail(s, -E_NO_SERVICE, "no such operation");
    }
    return op(L, s, &in, n);
}

static int run_on(lua_State *L, struct peer *p, struct task *k)
{
    struct serving *s;
    while (!tasks_cancelled(k) && (s = dequeue(p)) != NULL) {
        s->task = k;
        tasks_set_user(k, s);
        stand_by(p);
        serve(L, s);
        tasks_set_user(k, NULL);
        give_back(s);
    }
    stand_by(p);
    return 0;
}

int serve_go_on(lua_State *L, struct serving *s)
{
    struct peer *p = s->p;
    struct task *k = s->task;
    tasks_set_user(k, NULL);
    give_back(s);
    return run_on(L, p, k);
}

int serve_runner(lua_State *L)
{
    struct peer *p = *(struct peer **)lua_touserdata(L, lua_upvalueindex(1));
    p->standby = NULL;
    return run_on(L, p, tasks_current(p->tasks));
}

void serve_resume(struct peer *p)
{
    stand_by(p);
}

/* ---- arrival ---- */

void serve_call(struct peer *p, uint32_t id, const uint8_t *body, size_t n)
{
    struct serving *s = make(p, id);
    int rc = s != NULL ? message_take(p, &s->m, body, n) : -E_NOMEM;
    if (rc == 0) {
        *(p->queue == NULL ? &p->queue : &p->queue_last->after) = s;
        p->queue_last = s;
        stand_by(p);
        return;
    }
    if (s != NULL) {
        give_back(s);
    }
    if (rc == -E_STALE || rc == -E_NOMEM) {
        link_fail(p->link, id, rc, rc == -E_STALE ? "an object that was named" : "");
    } else {
        link_end(p->link, rc, "CALL with a malformed value");
    }
}

void serve_cancel(struct peer *p, uint32_t id)
{
    struct serving *s = *list_of(p, id);
    while (s != NULL && s->id != id) {
        s = s->next;
    }
    if (s != NULL) {
        s->cancelled = true;
        if (s->task != NULL) {
            tasks_cancel(s->task);
        }
    }
}

void serve_end(struct peer *p)
{
    for (size_t i = 0; i < PEER_SERVING_LISTS; i++) {
        for (struct serving *s = p->servings[i]; s != NULL; s = s->next) {
            s->answered = true;
            s->cancelled = true;
            if (s->task != NULL) {
                tasks_cancel(s->task);
            }
        }
    }
}

int peer_depth(const struct peer *p)
{
    struct task *k = tasks_current(p->tasks);
    const struct serving *s = k != NULL ? tasks_user(k) : NULL;
    return s != NULL ? s->depth + 1 : 0;
}

bool serve_guards(struct peer *p)
{
    if (p->o.policy == PEER_SERVICE || p->guarded_ref == LUA_NOREF) {
        return p->o.policy == PEER_SERVICE;
    }
    struct task *k = tasks_current(p->tasks);
    const struct serving *s = k != NULL ? tasks_user(k) : NULL;
    return s != NULL && s->p == p && s->guarded;
}

/* ---- helpers.lua ---- */

void serve_push_helper(lua_State *L, struct world *w, enum serve_helper which)
{
    if (w->helpers_ref == LUA_NOREF) {
        peer_push_code(L, NULL, lua_helpers, lua_helpers_size);
        lua_call(L, 0, 1);
        w->helpers_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->helpers_ref);
    lua_rawgeti(L, -1, which);
    lua_remove(L, -2);
}
