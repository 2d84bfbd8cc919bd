/* Channels: receiving, sending, and their ends, as Lua does it. */
#include <string.h>

#include "peer/api.h"
#include "peer/channel_impl.h"

/* ---- ends ---- */

/* Raises what ended the channel: the other end's failure once, then EOF again and again. */
static int raise_end(lua_State *L, struct channel *c)
{
    struct peer *p = c->p;
    if (c->result.bytes != NULL && !peer_unusable(p)) {
        struct codec_in in;
        struct message m = c->result;
        if (m.bytes == c->result.inside) {
            m.bytes = m.inside;
        }
        c->result.bytes = NULL;
        codec_open(&in, p, L, m.bytes, m.n);
        codec_get(&in);
        message_done(p, &m, true);
        if (lua_istable(L, -1)) {
            calls_push_failure(L);
            return lua_error(L);
        }
    }
    if (c->code != 0) {
        peer_push_error(L, p, c->code, c->text);
        return lua_error(L);
    }
    return api_raise(L, "eof", "EOF: the channel has ended");
}

/* ---- waiting ---- */

static void leave(struct channel_wait *w)
{
    if (w->c == NULL) {
        return;
    }
    struct channel_wait **at = &w->c->waits;
    while (*at != NULL && *at != w) {
        at = &(*at)->next;
    }
    if (*at == w) {
        *at = w->next;
    }
    w->c = NULL;
}

/* Of a wait: it is still in the list if waiting raised an error. */
int channel_collect_wait(lua_State *L)
{
    leave(lua_touserdata(L, 1));
    return 0;
}

/* Waits for anything to happen; then k continues, which calls `awake` first.  A wait is on top of
 * the stack afterwards. */
static int wait_again(lua_State *L, struct channel *c, uint64_t deadline, lua_KFunction k)
{
    struct channel_wait *w = lua_newuserdatauv(L, sizeof(*w), 0);
    *w = (struct channel_wait){.c = c, .deadline = deadline, .next = c->waits};
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->p->world->channel_wait_ref);
    lua_setmetatable(L, -2);
    c->waits = w;
    return tasks_suspend(L, &w->wait, deadline, k, (lua_KContext)w);
}

/* Returns the deadline to go on with, or raises. */
static uint64_t awake(lua_State *L, lua_KContext context, bool *late)
{
    struct channel_wait *w = (struct channel_wait *)context;
    int result = w->wait.result;
    uint64_t deadline = w->deadline;
    leave(w);
    lua_settop(L, 1);
    if (result == -E_CANCELLED) {
        tasks_cancelled_error(L);
    }
    if (result != 0 && result != -E_TIMEOUT) {
        lua_pushstring(L, errors_text(result));
        lua_error(L);
    }
    *late = result == -E_TIMEOUT;
    return deadline;
}

/* ---- receiving ---- */

/* Pushes the next item; false: there is none yet. */
static bool push_item(lua_State *L, struct channel *c)
{
    const uint8_t *bytes;
    size_t n;
    bool refs;
    struct codec_in in;
    if (peer_unusable(c->p) || !channel_take(c, &bytes, &n, &refs)) {
        return false;
    }
    codec_open(&in, c->p, L, bytes, n);
    codec_get(&in);
    if (refs) {
        strict_check(bytes, n, channel_unpin, c->p, NULL);
    }
    channel_credit(c);
    if (in.stale > 0) {
        peer_raise(L, c->p, -E_STALE, "in a channel's item");
    }
    return true;
}

static int received(lua_State *L, int status, lua_KContext context);

static int receive_until(lua_State *L, struct channel *c, uint64_t deadline)
{
    if (push_item(L, c)) {
        return 1;
    }
    if (c->eof) {
        return raise_end(L, c);
    }
    return wait_again(L, c, deadline, received);
}

static int received(lua_State *L, int status, lua_KContext context)
{
    bool late;
    (void)status;
    uint64_t deadline = awake(L, context, &late);
    struct channel *c = channel_self(L);
    if (late && c->scanned == 0 && !c->eof) {
        return api_raise(L, "timeout", "nothing came in time");
    }
    return receive_until(L, c, deadline);
}

/* What goes to a callback is not for anybody else. */
static struct channel *unclaimed(lua_State *L)
{
    struct channel *c = channel_self(L);
    if (c->callback) {
        luaL_error(L, "%s", "this channel's items go to its callback");
    }
    return c;
}

/* channel:receive([seconds]) */
static int receive(lua_State *L)
{
    struct channel *c = unclaimed(L);
    uint64_t deadline = lua_isnoneornil(L, 2) ? UINT64_MAX : api_deadline(L, 2);
    lua_settop(L, 1);
    return receive_until(L, c, deadline);
}

static int stepped(lua_State *L, int status, lua_KContext context);

/* channel(): the next item; nothing at the end in order. */
int channel_step(lua_State *L)
{
    struct channel *c = unclaimed(L);
    lua_settop(L, 1);
    if (push_item(L, c)) {
        if (lua_isnil(L, -1)) {
            return luaL_error(L, "%s", "a nil came, at which a loop would end: use receive");
        }
        return 1;
    }
    if (c->eof) {
        return c->code != 0 || c->result.bytes != NULL ? raise_end(L, c) : 0;
    }
    return wait_again(L, c, UINT64_MAX, stepped);
}

static int stepped(lua_State *L, int status, lua_KContext context)
{
    bool late;
    (void)status;
    awake(L, context, &late);
    return channel_step(L);
}

static int taken(lua_State *L, int status, lua_KContext context);

/* take(channel): true and the next item; nothing at the end in order. */
static int take(lua_State *L)
{
    struct channel *c = channel_self(L);
    lua_settop(L, 1);
    lua_pushboolean(L, true);
    if (!c->dropped && push_item(L, c)) {
        return 2;
    }
    lua_settop(L, 1);
    if (c->eof) {
        return c->code != 0 || c->result.bytes != NULL ? raise_end(L, c) : 0;
    }
    return wait_again(L, c, UINT64_MAX, taken);
}

static int taken(lua_State *L, int status, lua_KContext context)
{
    bool late;
    (void)status;
    awake(L, context, &late);
    return take(L);
}

/* claim(channel, f): from here on only `take` gives items. */
static int claim(lua_State *L)
{
    struct channel *c = channel_self(L);
    api_check_callable(L, 2);
    if (c->callback) {
        return luaL_error(L, "%s", "this channel has a callback already");
    }
    c->callback = true;
    return 0;
}

static int iter(lua_State *L)
{
    unclaimed(L);
    lua_pushcfunction(L, channel_step);
    lua_pushvalue(L, 1);
    return 2;
}

/* ---- sending ---- */

static int sent(lua_State *L, int status, lua_KContext context)
{
    bool late;
    (void)status;
    awake(L, context, &late);
    struct channel *c = channel_self(L);
    if (c->s == NULL) {
        return raise_end(L, c);
    }
    if (wire_length(&c->out) > CHANNEL_QUEUE) {
        return wait_again(L, c, UINT64_MAX, sent);
    }
    return 0;
}

/* What goes out must not be given back before it has gone: RELEASE would overtake it. */
static void keep_alive(lua_State *L, struct channel *c)
{
    if (lua_getiuservalue(L, 1, 1) != LUA_TTABLE || wire_length(&c->out) == 0) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, 1, 1);
    }
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

/* channel:send(value): waits while much waits to be sent. */
static int send(lua_State *L)
{
    struct channel *c = channel_self(L);
    struct codec_out o;
    luaL_checkany(L, 2);
    luaL_argcheck(L, lua_gettop(L) == 2, 3, "one value at a time");
    if (c->s == NULL || peer_unusable(c->p)) {
        return raise_end(L, c);
    }
    if (c->shut) {
        return luaL_error(L, "%s", "the channel is closed for sending");
    }
    int type = lua_type(L, 2);
    if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN) {
        keep_alive(L, c);
    }
    size_t before = wire_length(&c->out);
    codec_begin(&o, c->p, L, 0);
    o.to = &c->out;
    o.copy = true;
    c->out.limit = before + CODEC_ITEM_MAX;
    int rc = wire_put_u32(&c->out, 0);
    rc = rc != 0 ? rc : codec_put(&o, 2);
    size_t n = wire_length(&c->out) - before;
    if (rc != 0) {
        c->out.end = c->out.start + before;
        return codec_raise(&o, rc);
    }
    wire_store_u32(c->out.data + c->out.start + before, (uint32_t)(n - 4));
    stream_ready(c->s);
    if (wire_length(&c->out) > CHANNEL_QUEUE) {
        return wait_again(L, c, UINT64_MAX, sent);
    }
    return 0;
}

static int close_write(lua_State *L)
{
    struct channel *c = channel_self(L);
    if (c->s != NULL && !c->shut) {
        c->shut = true;
        channel_flush(c);
        stream_eof(c->s);
    }
    return 0;
}

void channel_shut(struct channel *c)
{
    if (c->s == NULL || peer_unusable(c->p)) {
        return;
    }
    c->shut = c->eof = true;
    channel_flush(c);
    stream_close(c->s, 0, NULL, NULL);
    for (struct channel_wait *w = c->waits; w != NULL; w = w->next) {
        tasks_wake(&w->wait);
    }
}

/* channel:close([error]) */
int channel_close(lua_State *L)
{
    struct channel *c = channel_self(L);
    c->dropped = c->callback;
    lua_settop(L, 2);
    if (!lua_isnil(L, 2) && c->s != NULL && !peer_unusable(c->p)) {
        lua_pushnil(L); /* no traceback */
        channel_flush(c);
        channel_fail(L, c, 2);
    }
    channel_shut(c);
    return 0;
}

/* ---- the end ---- */

static int not_in_time(lua_State *L)
{
    return api_raise(L, "timeout", "the channel did not end in time");
}

static int ended(lua_State *L, int status, lua_KContext context);

/* Of our own close() only the other end's answer is the end. */
static bool over(const struct channel *c)
{
    return c->s == NULL || c->told;
}

static int end_until(lua_State *L, struct channel *c, uint64_t deadline)
{
    if (!over(c)) {
        c->enders++;
        channel_credit(c);
        return wait_again(L, c, deadline, ended);
    }
    return c->code != 0 || c->result.bytes != NULL ? raise_end(L, c) : 0;
}

static int ended(lua_State *L, int status, lua_KContext context)
{
    bool late;
    (void)status;
    channel_self(L)->enders--;
    uint64_t deadline = awake(L, context, &late);
    struct channel *c = channel_self(L);
    if (late && !over(c)) {
        return not_in_time(L);
    }
    return end_until(L, c, deadline);
}

/* channel:wait_close([seconds]): raises the other end's failure. */
static int wait_close(lua_State *L)
{
    struct channel *c = channel_self(L);
    uint64_t deadline = lua_isnoneornil(L, 2) ? UINT64_MAX : api_deadline(L, 2);
    lua_settop(L, 1);
    return end_until(L, c, deadline);
}

const luaL_Reg channel_methods[] = {{"send", send},
                                    {"receive", receive},
                                    {"iter", iter},
                                    {"take", take},
                                    {"claim", claim},
                                    {"not_in_time", not_in_time},
                                    {"close", channel_close},
                                    {"close_write", close_write},
                                    {"wait_close", wait_close},
                                    {NULL, NULL}};
