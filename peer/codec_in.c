/* The decoder.  What it reads has passed strict_check, so that nothing is checked again but what
 * that cannot see: equal keys, and objects that have gone since. */
#include <math.h>
#include <string.h>

#include "peer/channel.h"
#include "peer/codec.h"
#include "peer/heads.h"
#include "peer/peer_impl.h"

void codec_open(struct codec_in *c, struct peer *p, lua_State *L, const uint8_t *bytes, size_t n)
{
    *c = (struct codec_in){.p = p, .L = L, .at = bytes, .end = bytes + n};
}

static bool peek(const struct codec_in *c, struct head *h, const uint8_t **behind)
{
    *behind = c->at;
    return heads_read(behind, c->end, h);
}

/* The next head; behind the end, which strict_check rules out, nil. */
static struct head take(struct codec_in *c)
{
    struct head h;
    if (!heads_read(&c->at, c->end, &h)) {
        h = (struct head){.major = HEAD_SIMPLE, .info = HEADS_NIL};
    }
    return h;
}

bool codec_array(struct codec_in *c, size_t *n)
{
    struct head h;
    const uint8_t *behind;
    if (!peek(c, &h, &behind) || h.major != HEAD_ARRAY) {
        return false;
    }
    c->at = behind;
    *n = (size_t)h.v;
    return true;
}

bool codec_text(struct codec_in *c, const char **text, size_t *n)
{
    struct head h;
    const uint8_t *behind;
    if (!peek(c, &h, &behind) || h.major != HEAD_TEXT) {
        return false;
    }
    *text = (const char *)behind;
    *n = (size_t)h.v;
    c->at = behind + h.v;
    return true;
}

bool codec_int(struct codec_in *c, int64_t *v)
{
    struct head h;
    const uint8_t *behind;
    if (!peek(c, &h, &behind) || (h.major != HEAD_UINT && h.major != HEAD_NEGINT)) {
        return false;
    }
    *v = h.major == HEAD_UINT ? (int64_t)h.v : ~(int64_t)h.v;
    c->at = behind;
    return true;
}

bool codec_is_map(const struct codec_in *c)
{
    struct head h;
    const uint8_t *behind;
    return peek(c, &h, &behind) && h.major == HEAD_MAP;
}

static double half(uint64_t bits)
{
    int exponent = (int)(bits >> 10 & 0x1f);
    double fraction = (double)(bits & 0x3ff);
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent != 31 ? ldexp(fraction + 1024, exponent - 25)
               : fraction == 0  ? HUGE_VAL
                                : (double)NAN;
    return (bits & 0x8000) != 0 ? -v : v;
}

static void push_simple(struct codec_in *c, const struct head *h)
{
    float single;
    double real;
    uint32_t low;
    switch (h->info) {
    case HEADS_FALSE:
    case HEADS_TRUE:
        lua_pushboolean(c->L, h->info == HEADS_TRUE);
        break;
    case HEADS_HALF:
        lua_pushnumber(c->L, half(h->v));
        break;
    case HEADS_SINGLE:
        low = (uint32_t)h->v;
        memcpy(&single, &low, sizeof(single));
        lua_pushnumber(c->L, (double)single);
        break;
    case HEADS_DOUBLE:
        memcpy(&real, &h->v, sizeof(real));
        lua_pushnumber(c->L, real);
        break;
    default:
        lua_pushnil(c->L);
    }
}

static void push_ref(struct codec_in *c)
{
    const char *kind = "";
    size_t n = 0;
    struct head h = take(c);
    if (h.major == HEAD_UINT) {
        c->stale += !proxy_push_home(c->p, c->L, (int64_t)h.v);
        return;
    }
    size_t slots = (size_t)h.v;
    h = take(c);
    codec_text(c, &kind, &n);
    if (slots == 3) {
        struct head text = take(c);
        c->at += text.v; /* the name is for those who have no proxies */
    }
    if (n == 7 && memcmp(kind, "channel", n) == 0) {
        c->stale += !channel_push(c->p, c->L, h.v <= UINT32_MAX ? (uint32_t)h.v : 0);
    } else {
        proxy_push(c->p, c->L, (int64_t)h.v, kind, n);
    }
}

static void push_map(struct codec_in *c, size_t n)
{
    lua_State *L = c->L;
    lua_createtable(L, 0, (int)(n < 1u << 20 ? n : 1u << 20));
    for (size_t i = 0; i < n; i++) {
        codec_get(c);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) != LUA_TNIL) {
            luaL_error(L, "%s", "malformed value: equal keys in a map");
        }
        lua_pop(L, 1);
        codec_get(c);
        lua_rawset(L, -3);
    }
}

static void push_array(struct codec_in *c, size_t n)
{
    lua_createtable(c->L, (int)(n < 1u << 20 ? n : 1u << 20), 0);
    for (size_t i = 1; i <= n; i++) {
        codec_get(c);
        lua_rawseti(c->L, -2, (lua_Integer)i);
    }
}

void codec_get(struct codec_in *c)
{
    struct head h = take(c);
    switch ((enum heads_major)h.major) {
    case HEAD_UINT:
        lua_pushinteger(c->L, (lua_Integer)h.v);
        break;
    case HEAD_NEGINT:
        lua_pushinteger(c->L, ~(lua_Integer)h.v);
        break;
    case HEAD_BYTES:
    case HEAD_TEXT:
        lua_pushlstring(c->L, (const char *)c->at, (size_t)h.v);
        c->at += h.v;
        break;
    case HEAD_ARRAY:
        luaL_checkstack(c->L, 6, "a value");
        push_array(c, (size_t)h.v);
        break;
    case HEAD_MAP:
        luaL_checkstack(c->L, 6, "a value");
        push_map(c, (size_t)h.v);
        break;
    case HEAD_TAG:
        push_ref(c);
        break;
    case HEAD_SIMPLE:
        push_simple(c, &h);
        break;
    }
}
