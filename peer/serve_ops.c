/* The operations that the other end may ask for, each by the policy of this end. */
#include <string.h>

#include "peer/pairs.h"
#include "peer/serve.h"

#define FLAG_COPY     1
#define FLAG_NO_REPLY 2

/* ---- arguments ---- */

/* Pushes n arguments, of which the last may be the depth, and sees to it that none is gone.  False:
 * it was answered that it failed. */
static bool arguments(lua_State *L, struct serving *s, struct codec_in *in, size_t n, size_t wanted)
{
    int64_t depth = 0;
    if (n < wanted || n > wanted + 1) {
        serve_fail(s, -E_PROTOCOL, "wrong number of arguments");
        return false;
    }
    for (size_t i = 0; i < wanted; i++) {
        codec_get(in);
    }
    if (n > wanted && (!codec_int(in, &depth) || depth < 0)) {
        serve_fail(s, -E_PROTOCOL, "the depth of a call is no number");
        return false;
    }
    s->depth = depth < s->p->o.depth_max ? (int)depth : s->p->o.depth_max + 1;
    if (in->stale > 0) {
        serve_fail(s, -E_STALE, "an object that was named");
        return false;
    }
    message_done(s->p, &s->m, true);
    if (s->depth > s->p->o.depth_max) {
        serve_fail(s, -E_DEPTH, "");
        return false;
    }
    (void)L;
    return true;
}

static int denied(struct serving *s, const char *what)
{
    return serve_fail(s, -E_DENIED, what);
}

static bool is_object(lua_State *L, int idx)
{
    int type = lua_type(L, idx);
    return type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA ||
           type == LUA_TTHREAD;
}

/* Only the owner may ask of plain values, too: a string's methods, for one, are nobody else's. */
static bool of_object(lua_State *L, struct serving *s)
{
    if (s->p->o.policy == PEER_OPEN || is_object(L, 1)) {
        return true;
    }
    denied(s, "something of a plain value");
    return false;
}

/* ---- running ---- */

static int answer_all(lua_State *L, int status, lua_KContext context)
{
    struct serving *s = (struct serving *)context;
    (void)status;
    serve_answer(L, s, 0);
    return serve_go_on(L, s);
}

/* Calls the function below n arguments, all that is on the stack, and answers with its results. */
static int run(lua_State *L, struct serving *s, int n, int results)
{
    lua_callk(L, n, results, (lua_KContext)s, answer_all);
    return serve_answer(L, s, 0);
}

static int run_helper(lua_State *L, struct serving *s, enum serve_helper which, int n, int results)
{
    serve_push_helper(L, s->p->world, which);
    lua_insert(L, 1);
    return run(L, s, n, results);
}

/* True when the object at idx is a service's; then so is what comes of it. */
static bool service(lua_State *L, struct serving *s, int idx)
{
    s->guarded = s->guarded || serve_guarded(L, s->p, idx);
    return s->guarded;
}

static bool plain(lua_State *L, int idx)
{
    if (!lua_istable(L, idx)) {
        return false;
    }
    if (lua_getmetatable(L, idx)) {
        lua_pop(L, 1);
        return false;
    }
    return true;
}

/* ---- call ---- */

/* A function called by name alone that is where one looks first: a builtin, or in the namespace
 * itself.  Pushes it, or nothing. */
static bool push_named(lua_State *L, struct peer *p, const char *name, size_t n)
{
    peer_push_builtins(L, p);
    lua_pushlstring(L, name, n);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 1) == LUA_TNIL && lua_rawgeti(L, 1, 1) == LUA_TTABLE) {
        lua_pushvalue(L, 2);
        lua_rawget(L, -2);
    }
    bool found = lua_type(L, -1) == LUA_TFUNCTION;
    if (found) {
        lua_replace(L, 1);
    }
    lua_settop(L, found);
    return found;
}

/* A module's function, if the module is loaded.  Pushes it, or nothing. */
static bool push_loaded(lua_State *L, const struct world *w, const char *path, size_t n,
                        const char *dot)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->loaded_ref);
    lua_pushlstring(L, path, (size_t)(dot - path));
    if (lua_rawget(L, -2) == LUA_TTABLE) {
        lua_pushlstring(L, dot + 1, n - (size_t)(dot - path) - 1);
        if (lua_rawget(L, -2) == LUA_TFUNCTION) {
            lua_replace(L, 1);
            lua_settop(L, 1);
            return true;
        }
    }
    lua_settop(L, 0);
    return false;
}

/* Pushes the function of that path as the only value on the stack, or nil. */
static void push_path(lua_State *L, struct serving *s, const char *path, size_t n)
{
    const char *dot = memrchr(path, '.', n);
    lua_settop(L, 0);
    /* The quick ways; the helper finds the rest. */
    if (dot == NULL ? !push_named(L, s->p, path, n) : !push_loaded(L, s->p->world, path, n, dot)) {
        serve_push_helper(L, s->p->world, HELPER_FIND);
        lua_pushlstring(L, path, n);
        peer_push_builtins(L, s->p);
        lua_call(L, 2, 1);
    }
}

static bool push_callee(lua_State *L, struct serving *s, struct codec_in *in)
{
    const char *path;
    char text[200];
    size_t n;
    if (!codec_text(in, &path, &n)) {
        codec_get(in);
        if (service(L, s, 1) && !lua_isfunction(L, 1)) {
            denied(s, "only functions are called");
            return false;
        }
        return true;
    }
    if (s->p->o.policy != PEER_OPEN) {
        if (n == 4 && memcmp(path, "ping", n) == 0) { /* who lives may say so */
            lua_settop(L, 0);
            serve_answer(L, s, 0);
        } else {
            denied(s, "a function by its name");
        }
        return false;
    }
    push_path(L, s, path, n);
    if (lua_isnil(L, 1)) {
        n = n < sizeof(text) - 1 ? n : sizeof(text) - 1;
        memcpy(text, path, n);
        text[n] = '\0';
        serve_fail(s, -E_NO_FUNCTION, text);
        return false;
    }
    return true;
}

static int op_call(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    int64_t flags;
    if (n < 2 || !codec_int(in, &flags) || flags < 0) {
        return serve_fail(s, -E_PROTOCOL, "call without flags");
    }
    s->copy = (flags & FLAG_COPY) != 0;
    s->depth = flags >> 8 <= s->p->o.depth_max ? (int)(flags >> 8) : s->p->o.depth_max + 1;
    if (s->depth > s->p->o.depth_max) {
        return serve_fail(s, -E_DEPTH, "");
    }
    if ((flags & FLAG_NO_REPLY) != 0) {
        serve_no_reply(s);
    }
    if (!push_callee(L, s, in)) {
        return 0;
    }
    if (n > 2 && (n > 1u << 20 || !lua_checkstack(L, (int)n + 10))) {
        return serve_fail(s, -E_TOO_LARGE, "too many arguments");
    }
    for (size_t i = 2; i < n; i++) {
        codec_get(in);
    }
    if (in->stale > 0) {
        return serve_fail(s, -E_STALE, "an object that was named");
    }
    message_done(s->p, &s->m, true);
    return run(L, s, (int)n - 2, LUA_MULTRET);
}

/* ---- what is asked of objects ---- */

static int op_index(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 2) || !of_object(L, s)) {
        return 0;
    }
    if (service(L, s, 1)) {
        if (!serve_exposed(L)) {
            return denied(s, lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "");
        }
        return serve_answer(L, s, lua_gettop(L) - 1);
    }
    if (plain(L, 1)) {
        lua_rawget(L, 1);
        return serve_answer(L, s, 1);
    }
    return run_helper(L, s, HELPER_INDEX, 2, 1);
}

static int op_newindex(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 3) || !of_object(L, s)) {
        return 0;
    }
    return service(L, s, 1) ? denied(s, "setting a field")
                            : run_helper(L, s, HELPER_NEWINDEX, 3, 0);
}

static int op_len(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 1) || !of_object(L, s)) {
        return 0;
    }
    return service(L, s, 1) ? denied(s, "a length") : run_helper(L, s, HELPER_LEN, 1, 1);
}

static int op_tostring(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 1) || !of_object(L, s)) {
        return 0;
    }
    if (service(L, s, 1)) {
        lua_pushstring(L, luaL_typename(L, 1));
        return serve_answer(L, s, 1);
    }
    return run_helper(L, s, HELPER_TOSTRING, 1, 1);
}

static int op_close(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 1) || !of_object(L, s)) {
        return 0;
    }
    if (service(L, s, 1) && luaL_testudata(L, 1, LUA_FILEHANDLE) == NULL) {
        return denied(s, "closing");
    }
    if (luaL_getmetafield(L, 1, "__close") != LUA_TNIL) {
        lua_insert(L, 1);
        return run(L, s, 1, 0);
    }
    return run_helper(L, s, HELPER_CLOSE, 1, 0);
}

static int op_op(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 3)) {
        return 0;
    }
    if (s->p->o.policy != PEER_OPEN && !is_object(L, 2) && !is_object(L, 3)) {
        return denied(s, "an operator on plain values");
    }
    if (service(L, s, 2) || service(L, s, 3)) {
        return denied(s, "an operator");
    }
    serve_push_helper(L, s->p->world, HELPER_OPERATORS);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) != LUA_TFUNCTION) {
        return serve_fail(s, -E_PROTOCOL, "no such operator");
    }
    lua_replace(L, 1);
    lua_settop(L, 3);
    return run(L, s, 2, 1);
}

static int op_obtain(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 1) || !of_object(L, s)) {
        return 0;
    }
    if (service(L, s, 1)) {
        return denied(s, "a copy");
    }
    s->copy = true;
    return serve_answer(L, s, 0);
}

static int op_root(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 0)) {
        return 0;
    }
    if (s->p->root_ref == LUA_NOREF) {
        if (s->p->o.policy == PEER_PASSED) {
            return denied(s, "nothing is served here");
        }
        lua_pushnil(L);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->p->root_ref);
        s->root = s->guarded = true;
    }
    return serve_answer(L, s, 0);
}

static int op_service(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 1)) {
        return 0;
    }
    if (s->p->root_ref == LUA_NOREF && s->p->o.policy == PEER_PASSED) {
        return denied(s, "nothing is served here");
    }
    if (lua_type(L, 1) != LUA_TSTRING) {
        return serve_fail(s, -E_PROTOCOL, "a service's name");
    }
    if (s->p->root_ref == LUA_NOREF || !serve_named(L, s->p)) {
        return serve_fail(s, -E_NO_SERVICE, lua_tostring(L, 1));
    }
    s->root = s->guarded = true;
    return serve_answer(L, s, 1);
}

/* ---- pages of pairs ---- */

static int answer_page(lua_State *L, int status, lua_KContext context)
{
    struct serving *s = (struct serving *)context;
    (void)status;
    pairs_answer_state(L, s);
    return serve_go_on(L, s);
}

static int op_next(lua_State *L, struct serving *s, struct codec_in *in, size_t n)
{
    if (!arguments(L, s, in, n, 4) || !of_object(L, s)) {
        return 0;
    }
    if (service(L, s, 1)) {
        return denied(s, "iteration");
    }
    lua_Integer most = lua_isinteger(L, 4) ? lua_tointeger(L, 4) : 0;
    if (lua_type(L, 2) != LUA_TSTRING || most < 1) {
        return serve_fail(s, -E_PROTOCOL, "next");
    }
    most = most < PAIRS_MOST ? most : PAIRS_MOST;
    if (plain(L, 1)) {
        bool sequence = lua_tostring(L, 2)[0] == 'i';
        return pairs_answer_plain(L, s, sequence, (size_t)most);
    }
    if (!pairs_unbox(L, 3)) {
        return serve_fail(s, -E_PROTOCOL, "next");
    }
    lua_pushinteger(L, most);
    lua_replace(L, 4);
    serve_push_helper(L, s->p->world, HELPER_PAGE);
    lua_insert(L, 1);
    lua_callk(L, 4, 1, (lua_KContext)s, answer_page);
    return pairs_answer_state(L, s);
}

/* ---- names ---- */

serve_operation *serve_find(const char *name, size_t n)
{
    static const struct {
        const char *name;
        serve_operation *op;
    } table[] = {{"call", op_call},   {"index", op_index},       {"newindex", op_newindex},
                 {"next", op_next},   {"len", op_len},           {"op", op_op},
                 {"close", op_close}, {"tostring", op_tostring}, {"obtain", op_obtain},
                 {"root", op_root},   {"service", op_service}};
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        if (name[0] == table[i].name[0] && strlen(table[i].name) == n &&
            memcmp(table[i].name, name, n) == 0) {
            return table[i].op;
        }
    }
    return NULL;
}
