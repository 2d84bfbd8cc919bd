/* One end in Lua against any bodies: as calls, as answers, as items of a channel, as arguments of
 * OPEN.  The first byte says which, and under which policy.  What passes the check must decode;
 * nothing may be left but an error. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "peer/peer.h"
#include "proto/errors.h"
#include "proto/link.h"
#include "proto/stream.h"
#include "tests/fuzz/seeds.h"

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
    return seeds_install(*argc, *argv, seeds_values);
}

struct rig {
    lua_State *L;
    struct tasks *tasks;
    struct peer *peer;
    struct link *link;
    uint32_t called;
};

static uint64_t now_us(void)
{
    return 1000000;
}

static int wait_for(void *arg, uint64_t deadline_us)
{
    (void)arg, (void)deadline_us;
    return -E_LOST;
}

static void on_call(void *arg, struct link *l, uint32_t id, const uint8_t *body, size_t n)
{
    struct rig *r = arg;
    (void)l, (void)body, (void)n;
    r->called = id;
}

static int on_release(void *arg, struct link *l, int64_t id, int64_t count)
{
    (void)arg, (void)l, (void)id, (void)count;
    return 0;
}

/* Objects 1 to 5 are a table, a function, a file, and so on, already handed out. */
static const char setup[] =
    "local conn = ...\n"
    "grapnel_test = {conn = conn}\n"
    "local t = {1, 2, {3}, x = 'y', exposed_f = function(...) return ... end, exposed_n = 7,\n"
    "  exposed_t = {1, {2}}}\n"
    "local m = setmetatable({exposed_x = 1}, {__index = t, __len = function() return 1 end})\n"
    "pending = require('grapnel').async(function()\n"
    "  pcall(conn.call, 'x', t, t.exposed_f, io.stdout, m, coroutine.create(print)) end)()\n"
    "return t";

static int start(lua_State *L)
{
    struct rig *r = lua_touserdata(L, 1);
    struct peer_options *o = lua_touserdata(L, 2);
    r->peer = peer_new(L, r->tasks, o);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    peer_push_module(L);
    lua_setfield(L, -2, "grapnel");
    luaL_loadstring(L, setup);
    peer_push(L, r->peer);
    lua_call(L, 1, 1);
    peer_set_root(L, r->peer);
    return 0;
}

static void pump(struct rig *r)
{
    const uint8_t *bytes;
    size_t n, moved;
    do {
        moved = 0;
        if (link_output(r->link, &bytes, &n, now_us()) == 0 && n > 0) {
            peer_input(r->peer, bytes, n);
            link_sent(r->link, n, now_us());
            moved += n;
        }
        for (int i = 0; i < 100 && tasks_run(r->tasks); i++) {
        }
        if (peer_output(r->peer, &bytes, &n) == 0 && n > 0) {
            link_input(r->link, bytes, n, now_us());
            peer_sent(r->peer, n);
            moved += n;
        }
    } while (moved > 0);
}

static void rig_start(struct rig *r, enum peer_policy policy)
{
    static const struct link_handler handler = {.call_raw = on_call, .release = on_release};
    struct link_options lo = {.opener = 1, .features = LINK_FEATURE_REFS, .calls_max = 65536};
    struct peer_options o = {.policy = policy};
    struct tasks_host host = {.wait = wait_for};
    memset(r, 0, sizeof(*r));
    r->L = luaL_newstate();
    luaL_openlibs(r->L);
    r->tasks = tasks_new(r->L, &host, now_us);
    r->link = link_new(&lo, &handler, r, now_us());
    lua_pushcfunction(r->L, start);
    lua_pushlightuserdata(r->L, r);
    lua_pushlightuserdata(r->L, &o);
    if (lua_pcall(r->L, 2, 0, 0) != LUA_OK) {
        abort();
    }
    pump(r);
}

static void rig_stop(struct rig *r)
{
    link_free(r->link);
    peer_free(r->peer);
    tasks_free(r->tasks);
    lua_close(r->L);
}

static void on_answered(void *arg, int code, const uint8_t *body, size_t n, const char *text)
{
    (void)arg, (void)code, (void)body, (void)n, (void)text;
}

/* An open channel, its item, and a call that names the channel. */
static void send_item(struct rig *r, const uint8_t *body, size_t n)
{
    static const struct stream_handler nothing = {0};
    struct error e;
    uint8_t head[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    struct stream *s = stream_open(r->link, "channel", NULL, &nothing, NULL, &e);
    if (s == NULL) {
        return;
    }
    uint8_t call[] = "\x82\x64"
                     "call\x83\x00\xd8\x27\x02\xd8\x27\x82\x00\x67"
                     "channel";
    call[14] = (uint8_t)(stream_id(s) & 0x17);
    stream_write(s, head, sizeof(head));
    stream_write(s, body, n);
    pump(r);
    link_call_raw(r->link, call, sizeof(call) - 1, on_answered, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig r;
    if (size < 2) {
        return 0;
    }
    rig_start(&r, (data[0] & 8) != 0 ? PEER_SERVICE : PEER_PASSED);
    const uint8_t *body = data + 1;
    size_t n = size - 1;
    switch (data[0] & 3) {
    case 0:
        link_call_raw(r.link, body, n, on_answered, NULL, NULL);
        break;
    case 1:
        if (r.called != 0) {
            link_answer_raw(r.link, r.called, body, n);
        }
        break;
    case 2:
        send_item(&r, body, n);
        break;
    default: {
        /* Operations with arguments of the fuzzer's. */
        static const char *const names[] = {"call",     "index", "newindex", "next", "len",
                                            "tostring", "op",    "close",    "root", "obtain"};
        const char *name = names[body[0] % (sizeof(names) / sizeof(*names))];
        struct wire_buf b = {0};
        wire_put_u8(&b, 0x82);
        wire_put_u8(&b, (uint8_t)(0x60 + strlen(name)));
        wire_put(&b, name, strlen(name));
        wire_put(&b, body + 1, n - 1);
        link_call_raw(r.link, wire_data(&b), wire_length(&b), on_answered, NULL, NULL);
        wire_free(&b);
    }
    }
    pump(&r);
    rig_stop(&r);
    return 0;
}
