/* Iteration, the side that answers: [[key, value, …], state of the next page or nil]. */
#include "peer/heads.h"
#include "peer/pairs.h"
#include "peer/serve.h"

#define PAGE_HEAD 3 /* bytes of an array's head with a count of 16 bits, filled in afterwards */

struct page {
    struct codec_out c;
    size_t head; /* offset of it */
    size_t values;
    size_t good, good_issued; /* as of the last whole pair */
};

static int page_begin(struct page *g, lua_State *L, struct serving *s)
{
    static const uint8_t head[PAGE_HEAD] = {(HEAD_ARRAY << 5) | 25, 0, 0};
    codec_begin(&g->c, s->p, L, CODEC_CALL_MAX);
    g->values = 0;
    int rc = codec_put_array(&g->c, 2);
    g->head = wire_length(g->c.to);
    return rc != 0 ? rc : wire_put(g->c.to, head, sizeof(head));
}

/* Puts the pair on top of the stack (left there).  1: it is in, and there is room for more; 0: it
 * is in, and the page is full; -E_TOO_LARGE after others: not in, the page is full; or negative. */
static int page_pair(struct page *g)
{
    struct peer *p = g->c.p;
    size_t good = p->out.end, issued = p->issued_n;
    int rc = codec_put(&g->c, -2);
    rc = rc != 0 ? rc : codec_put(&g->c, -1);
    if (rc != 0) {
        p->out.end = good;
        while (p->issued_n > issued) {
            refs_release(p->refs, p->issued[--p->issued_n], 1);
        }
        return rc;
    }
    g->values += 2;
    return wire_length(g->c.to) < PAIRS_BYTES;
}

/* Puts the state on top of the stack, and answers. */
static int page_end(struct page *g, struct serving *s, int rc)
{
    struct wire_buf *b = g->c.to;
    if (rc == -E_TOO_LARGE && g->values > 0) {
        rc = 0;
    }
    rc = rc < 0 ? rc : codec_put(&g->c, -1);
    if (rc != 0) {
        codec_give_up(&g->c, rc);
        return serve_fail(s, rc, g->c.error.detail);
    }
    uint8_t *count = b->data + b->start + g->head + 1;
    count[0] = (uint8_t)(g->values >> 8);
    count[1] = (uint8_t)g->values;
    rc = s->answered ? 0 : link_answer_raw(s->p->link, s->id, wire_data(b), wire_length(b));
    if (rc != 0) {
        codec_give_up(&g->c, rc);
        return serve_fail(s, rc, "");
    }
    s->answered = true;
    return 0;
}

/* Index 3 is the key of the last pair that is in. */
static int fill_pairs(lua_State *L, struct page *g, size_t most)
{
    int rc = 1;
    lua_pushvalue(L, 3);
    while (rc > 0 && lua_next(L, 1)) {
        rc = page_pair(g);
        lua_pop(L, 1);
        if (rc >= 0) {
            lua_pushvalue(L, -1);
            lua_replace(L, 3);
        }
        rc = rc > 0 && g->values / 2 >= most ? 0 : rc;
    }
    if (rc > 0) {
        lua_pushnil(L);
        lua_replace(L, 3);
    }
    return rc;
}

static int fill_sequence(lua_State *L, struct page *g, size_t most)
{
    lua_Integer i = lua_tointeger(L, 3);
    int rc = 1;
    while (rc > 0) {
        lua_pushinteger(L, i + 1);
        if (lua_rawgeti(L, 1, i + 1) == LUA_TNIL) {
            lua_pushnil(L);
            lua_replace(L, 3);
            return rc;
        }
        rc = page_pair(g);
        lua_pop(L, 2);
        i += rc >= 0;
        rc = rc > 0 && g->values / 2 >= most ? 0 : rc;
    }
    lua_pushinteger(L, i);
    lua_replace(L, 3);
    return rc;
}

int pairs_answer_plain(lua_State *L, struct serving *s, bool sequence, size_t most)
{
    struct page g;
    luaL_checkstack(L, 10, "pairs");
    int rc = page_begin(&g, L, s);
    if (rc == 0) {
        rc = sequence ? fill_sequence(L, &g, most) : fill_pairs(L, &g, most);
    }
    lua_pushvalue(L, 3);
    return page_end(&g, s, rc);
}

/* ---- states ----
 *
 * What an iteration has come to (helpers.lua) holds things that were not passed: what __pairs gave.
 * So the other end gets a userdata in its place, of which nothing can be asked. */

#define STATE "grapnel.page"

/* Pushes the userdata of the state at idx. */
static void push_box(lua_State *L, int idx)
{
    if (lua_getfield(L, idx, "box") != LUA_TNIL) {
        return;
    }
    lua_pop(L, 1);
    lua_newuserdatauv(L, 0, 1);
    if (luaL_newmetatable(L, STATE)) {
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
    lua_pushvalue(L, idx);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_setfield(L, idx, "box");
}

bool pairs_unbox(lua_State *L, int idx)
{
    if (lua_isnil(L, idx)) {
        return true;
    }
    if (luaL_testudata(L, idx, STATE) == NULL) {
        return false;
    }
    lua_getiuservalue(L, idx, 1);
    lua_replace(L, idx);
    return true;
}

int pairs_answer_state(lua_State *L, struct serving *s)
{
    struct page g;
    int state = lua_gettop(L);
    luaL_checktype(L, state, LUA_TTABLE);
    luaL_checkstack(L, 10, "pairs");
    lua_getfield(L, state, "n");
    lua_getfield(L, state, "at");
    lua_getfield(L, state, "list");
    lua_Integer n = lua_tointeger(L, state + 1), at = lua_tointeger(L, state + 2);
    luaL_checktype(L, state + 3, LUA_TTABLE);
    int rc = page_begin(&g, L, s);
    rc = rc == 0 ? 1 : rc;
    while (rc > 0 && at < n) {
        lua_rawgeti(L, state + 3, at);
        lua_rawgeti(L, state + 3, at + 1);
        rc = page_pair(&g);
        lua_pop(L, 2);
        at += rc >= 0 ? 2 : 0;
    }
    lua_pushinteger(L, at);
    lua_setfield(L, state, "at");
    lua_getfield(L, state, "done");
    if (lua_toboolean(L, -1) && at >= n) {
        lua_pushnil(L);
    } else {
        push_box(L, state);
    }
    return page_end(&g, s, rc);
}
