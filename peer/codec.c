/* The encoder.  The decoder is codec_in.c. */
#include "peer/codec.h"

#include <stdlib.h>
#include <string.h>

#include "peer/channel.h"
#include "peer/heads.h"
#include "peer/peer_impl.h"
#include "peer/serve.h"
#include "peer/strict.h"

void codec_begin(struct codec_out *c, struct peer *p, lua_State *L, size_t limit)
{
    /* The finalizer of something that is collected while a message is being made would write into
     * the same buffer. */
    if (lua_gc(L, LUA_GCCOUNT) < 0) {
        luaL_error(L, "%s", "a finalizer cannot ask the other end for anything");
    }
    c->p = p;
    c->L = L;
    c->to = &p->out;
    c->copy = false;
    c->lenient = false;
    c->service = false;
    c->guarded = serve_guards(p);
    c->error.code = 0;
    c->error.detail[0] = '\0';
    c->depth = 0;
    p->out.start = p->out.end = 0;
    wire_trim(&p->out, CODEC_KEEP);
    p->out.limit = limit;
    p->issued_n = 0;
}

/* ---- bytes ---- */

static int too_large(struct codec_out *c, int rc)
{
    if (rc != -E_LIMIT) {
        return errors_set(&c->error, rc, "%s", "");
    }
    return errors_set(&c->error, -E_TOO_LARGE,
                      c->to != &c->p->out ? "more than %zu bytes in one item"
                                          : "more than %zu bytes in one call: send it "
                                            "through a channel",
                      c->to->limit);
}

/* Room for n bytes; the end of the buffer is where they go. */
static inline int room(struct codec_out *c, size_t n, uint8_t **at)
{
    struct wire_buf *b = c->to;
    if (b->size - b->end >= n && (b->limit == 0 || b->end - b->start + n <= b->limit)) {
        *at = b->data + b->end;
        return 0;
    }
    int rc = wire_reserve(b, n, at);
    return rc == 0 ? 0 : too_large(c, rc);
}

static inline int put_head(struct codec_out *c, enum heads_major major, uint64_t v)
{
    uint8_t *at;
    int rc = room(c, HEADS_MOST, &at);
    if (rc == 0) {
        wire_commit(c->to, heads_write(at, major, v));
    }
    return rc;
}

static inline int put_byte(struct codec_out *c, uint8_t v)
{
    uint8_t *at;
    int rc = room(c, 1, &at);
    if (rc == 0) {
        *at = v;
        wire_commit(c->to, 1);
    }
    return rc;
}

static int put_string(struct codec_out *c, enum heads_major major, const void *bytes, size_t n)
{
    uint8_t *at;
    int rc = room(c, HEADS_MOST + n, &at);
    if (rc == 0) {
        size_t head = heads_write(at, major, n);
        memcpy(at + head, bytes, n);
        wire_commit(c->to, head + n);
    }
    return rc;
}

static int put_float(struct codec_out *c, double v)
{
    uint64_t bits;
    uint8_t *at;
    int rc = room(c, HEADS_MOST, &at);
    if (rc != 0) {
        return rc;
    }
    memcpy(&bits, &v, sizeof(bits));
    at[0] = 0xe0 | HEADS_DOUBLE;
    wire_store_u32(at + 1, (uint32_t)(bits >> 32));
    wire_store_u32(at + 5, (uint32_t)bits);
    wire_commit(c->to, 9);
    return 0;
}

int codec_put_int(struct codec_out *c, int64_t v)
{
    return v < 0 ? put_head(c, HEAD_NEGINT, (uint64_t)~v) : put_head(c, HEAD_UINT, (uint64_t)v);
}

int codec_put_array(struct codec_out *c, size_t n)
{
    return put_head(c, HEAD_ARRAY, n);
}

int codec_put_map(struct codec_out *c, size_t n)
{
    return put_head(c, HEAD_MAP, n);
}

int codec_put_text(struct codec_out *c, const char *text)
{
    return put_string(c, HEAD_TEXT, text, strlen(text));
}

int codec_put_home(struct codec_out *c, int64_t id)
{
    int rc = put_head(c, HEAD_TAG, HEADS_TAG_REF);
    return rc != 0 ? rc : codec_put_int(c, id);
}

/* ---- references ---- */

static bool note_issued(struct peer *p, int64_t id)
{
    if (p->issued_n == p->issued_size) {
        size_t size = p->issued_size == 0 ? 16 : p->issued_size * 2;
        int64_t *wider = realloc(p->issued, size * sizeof(*wider));
        if (wider == NULL) {
            return false;
        }
        p->issued = wider;
        p->issued_size = size;
    }
    p->issued[p->issued_n++] = id;
    return true;
}

static int put_described(struct codec_out *c, int64_t id, const char *kind)
{
    int rc = put_head(c, HEAD_TAG, HEADS_TAG_REF);
    if (rc == 0) {
        rc = put_head(c, HEAD_ARRAY, 2);
    }
    if (rc == 0) {
        rc = codec_put_int(c, id);
    }
    return rc != 0 ? rc : codec_put_text(c, kind);
}

/* Hands the object at idx out. */
static int put_object(struct codec_out *c, int idx, const char *kind)
{
    if (c->guarded) {
        serve_guard(c->L, c->p, idx);
    }
    int64_t id = proxy_issue(c->p, c->L, idx);
    if (id < 0) {
        return errors_set(&c->error, (int)id, "%s", "references");
    }
    if (!note_issued(c->p, id)) {
        refs_release(c->p->refs, id, 1);
        return errors_set(&c->error, -E_NOMEM, "%s", "");
    }
    return put_described(c, id, kind);
}

static const char *kind_of_userdata(lua_State *L, int idx)
{
    if (luaL_testudata(L, idx, LUA_FILEHANDLE) != NULL) {
        return "file";
    }
    return "userdata";
}

static const char *kind_of_function(struct codec_out *c, int idx)
{
    idx = lua_absindex(c->L, idx);
    lua_rawgeti(c->L, LUA_REGISTRYINDEX, c->p->world->procedures_ref);
    lua_pushvalue(c->L, idx);
    bool procedure = lua_rawget(c->L, -2) != LUA_TNIL;
    lua_pop(c->L, 2);
    return procedure ? "procedure" : "function";
}

static int put_userdata(struct codec_out *c, int idx)
{
    struct proxy *x = proxy_at(c->L, c->p->world, idx);
    if (x != NULL) {
        return x->p == c->p ? codec_put_home(c, x->id) : put_object(c, idx, proxy_kinds[x->kind]);
    }
    uint32_t stream;
    int found = channel_id(c->L, c->p, idx, &stream);
    if (found > 0) {
        return put_described(c, stream, "channel");
    }
    if (found < 0) {
        return errors_set(&c->error, -E_ARGUMENT, "%s",
                          "a channel can be sent only on its own connection, while it is open");
    }
    return put_object(c, idx, kind_of_userdata(c->L, idx));
}

/* ---- tables ---- */

/* Pairs of the table at idx; *array: its keys are exactly 1..n. */
static size_t count_pairs(lua_State *L, int idx, bool *array)
{
    size_t n = (size_t)lua_rawlen(L, idx), pairs = 0;
    bool all = true;
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        lua_pop(L, 1);
        pairs++;
        lua_Integer k = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        all = all && k >= 1 && (size_t)k <= n;
    }
    *array = all && pairs == n;
    return pairs;
}

static bool scalar(int type)
{
    return type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN;
}

static int put_pairs(struct codec_out *c, int idx)
{
    int rc = 0;
    lua_pushnil(c->L);
    while (rc == 0 && lua_next(c->L, idx)) {
        if (!scalar(lua_type(c->L, -2))) {
            rc = errors_set(&c->error, -E_ARGUMENT, "a %s as a key cannot be copied",
                            luaL_typename(c->L, -2));
        } else {
            rc = codec_put(c, -2);
        }
        if (rc == 0) {
            rc = codec_put(c, -1);
        }
        lua_pop(c->L, rc == 0 ? 1 : 2);
    }
    return rc;
}

static int put_items(struct codec_out *c, int idx, size_t n)
{
    int rc = 0;
    for (size_t i = 1; rc == 0 && i <= n; i++) {
        lua_rawgeti(c->L, idx, (lua_Integer)i);
        rc = codec_put(c, -1);
        lua_pop(c->L, 1);
    }
    return rc;
}

static int put_copy(struct codec_out *c, int idx)
{
    lua_State *L = c->L;
    const void *address = lua_topointer(L, idx);
    for (unsigned i = 0; i < c->depth; i++) {
        if (c->path[i] == address) {
            return c->lenient ? put_object(c, idx, "table")
                              : errors_set(&c->error, -E_CYCLE, "%s", "a table");
        }
    }
    if (c->depth == CODEC_DEPTH_MAX) {
        return errors_set(&c->error, -E_TOO_LARGE, "tables nested deeper than %d", CODEC_DEPTH_MAX);
    }
    if (!lua_checkstack(L, 8)) {
        return errors_set(&c->error, -E_NOMEM, "%s", "");
    }
    bool array, copy = c->copy;
    idx = lua_absindex(L, idx);
    size_t n = count_pairs(L, idx, &array);
    c->path[c->depth++] = address;
    c->copy = true;
    int rc = put_head(c, array ? HEAD_ARRAY : HEAD_MAP, n);
    if (rc == 0) {
        rc = array ? put_items(c, idx, n) : put_pairs(c, idx);
    }
    c->copy = copy;
    c->depth--;
    return rc;
}

/* True when the table's metatable says so. */
static bool marked(struct codec_out *c, int idx)
{
    if (!lua_getmetatable(c->L, idx)) {
        return false;
    }
    bool yes = lua_topointer(c->L, -1) == c->p->world->copy_meta;
    if (!yes) {
        lua_pushliteral(c->L, "__copy");
        lua_rawget(c->L, -2);
        yes = lua_toboolean(c->L, -1) != 0;
        lua_pop(c->L, 1);
    }
    lua_pop(c->L, 1);
    return yes;
}

/* A service's tables go by copy, unless there is something to be reached through them or they have
 * a secret. */
static bool by_copy(struct codec_out *c, int idx)
{
    if (!c->guarded) {
        return c->copy || marked(c, idx);
    }
    if (c->service && c->depth == 0) {
        return false;
    }
    if (lua_getmetatable(c->L, idx)) {
        lua_pop(c->L, 1);
        return marked(c, idx);
    }
    return !serve_exposes(c->L, idx);
}

/* ---- values ---- */

static int put_number(struct codec_out *c, int idx)
{
    if (lua_isinteger(c->L, idx)) {
        return codec_put_int(c, lua_tointeger(c->L, idx));
    }
    return put_float(c, lua_tonumber(c->L, idx));
}

int codec_put(struct codec_out *c, int idx)
{
    lua_State *L = c->L;
    size_t n;
    switch (lua_type(L, idx)) {
    case LUA_TNIL:
    case LUA_TNONE:
        return put_byte(c, 0xe0 | HEADS_NIL);
    case LUA_TBOOLEAN:
        return put_byte(c, lua_toboolean(L, idx) ? 0xe0 | HEADS_TRUE : 0xe0 | HEADS_FALSE);
    case LUA_TNUMBER:
        return put_number(c, idx);
    case LUA_TSTRING: {
        const char *s = lua_tolstring(L, idx, &n);
        return put_string(c, strict_is_text(s, n) ? HEAD_TEXT : HEAD_BYTES, s, n);
    }
    case LUA_TTABLE:
        return by_copy(c, idx) ? put_copy(c, idx) : put_object(c, idx, "table");
    case LUA_TFUNCTION:
        return put_object(c, idx, kind_of_function(c, idx));
    case LUA_TUSERDATA:
        return put_userdata(c, idx);
    case LUA_TTHREAD:
        return put_object(c, idx, "thread");
    default:
        return errors_set(&c->error, -E_ARGUMENT, "a %s cannot be sent", luaL_typename(L, idx));
    }
}

int codec_give_up(struct codec_out *c, int code)
{
    struct peer *p = c->p;
    while (p->issued_n > 0) {
        refs_release(p->refs, p->issued[--p->issued_n], 1);
    }
    return code;
}

int codec_raise(struct codec_out *c, int code)
{
    codec_give_up(c, code);
    return peer_raise(c->L, c->p, code, c->error.detail);
}
