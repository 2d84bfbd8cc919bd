/*** module hash
 * Digests (BLAKE2b, SHA-256), texts for bytes (hexadecimal, Base64), random bytes.
 *
 * Options of a digest, each of which may be absent: `length` (bytes, BLAKE2b only: 16 to 64; 32),
 * `key` (bytes; BLAKE2b: at most 64; SHA-256: makes an HMAC), `raw` (true: the digest as bytes
 * instead of hexadecimal text).
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"

#define HASHER     "grapnel.hasher"
#define LENGTH     32 /* default, bytes */
#define PIECE      ((size_t)64 << 10)
#define TURN       ((size_t)4 << 20) /* bytes of a file between two pauses for other tasks */
#define RANDOM_MAX (1 << 20)

enum kind { BLAKE2B, SHA256, HMAC, FINISHED };

static const char *const names[] = {"blake2b", "sha256", NULL};

struct hasher {
    enum kind kind;
    int raw;
    size_t length;
    int fd; /* of hash.file; -1: none */
    union {
        crypto_hash_sha256_state sha256;
        crypto_auth_hmacsha256_state hmac;
        unsigned char blake[sizeof(crypto_generichash_state) + 64];
    } u;
};

/* Lua's memory is not aligned as this state wants to be. */
static crypto_generichash_state *blake(struct hasher *h)
{
    return (crypto_generichash_state *)(((uintptr_t)h->u.blake + 63) & ~(uintptr_t)63);
}

static void feed(struct hasher *h, const void *bytes, size_t n)
{
    if (h->kind == BLAKE2B) {
        crypto_generichash_update(blake(h), bytes, n);
    } else if (h->kind == SHA256) {
        crypto_hash_sha256_update(&h->u.sha256, bytes, n);
    } else {
        crypto_auth_hmacsha256_update(&h->u.hmac, bytes, n);
    }
}

static void push_hex(lua_State *L, const void *bytes, size_t n)
{
    luaL_Buffer b;
    char *at = luaL_buffinitsize(L, &b, 2 * n + 1);

    sodium_bin2hex(at, 2 * n + 1, bytes, n);
    luaL_pushresultsize(&b, 2 * n);
}

/* Pushes the digest. */
static int finish(lua_State *L, struct hasher *h)
{
    unsigned char digest[crypto_generichash_BYTES_MAX];

    if (h->kind == BLAKE2B) {
        crypto_generichash_final(blake(h), digest, h->length);
    } else if (h->kind == SHA256) {
        crypto_hash_sha256_final(&h->u.sha256, digest);
    } else {
        crypto_auth_hmacsha256_final(&h->u.hmac, digest);
    }
    h->kind = FINISHED;
    if (h->raw) {
        lua_pushlstring(L, (const char *)digest, h->length);
    } else {
        push_hex(L, digest, h->length);
    }
    return 1;
}

/* Pushes a hasher of the kind, with the options at `arg`. */
static struct hasher *start(lua_State *L, enum kind kind, int arg)
{
    lua_Integer length = mods_option_int(L, arg, "length", LENGTH);
    const char *key = NULL;
    size_t key_length = 0;
    int raw = mods_option_flag(L, arg, "raw", 0);
    struct hasher *h;

    luaL_argcheck(L,
                  kind == BLAKE2B ? length >= crypto_generichash_BYTES_MIN &&
                                        length <= crypto_generichash_BYTES_MAX
                                  : length == LENGTH,
                  arg, "option 'length': 16 to 64 for blake2b, 32 for sha256");
    if (!lua_isnoneornil(L, arg) && lua_getfield(L, arg, "key") != LUA_TNIL) {
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, arg, "option 'key': string expected");
        key = lua_tolstring(L, -1, &key_length); /* stays on the stack */
    }
    luaL_argcheck(L, kind != BLAKE2B || key_length <= crypto_generichash_KEYBYTES_MAX, arg,
                  "option 'key': at most 64 bytes");
    h = lua_newuserdatauv(L, sizeof *h, 0);
    h->kind = FINISHED;
    h->fd = -1;
    h->raw = raw;
    h->length = (size_t)length;
    luaL_setmetatable(L, HASHER);
    if (kind == BLAKE2B) {
        crypto_generichash_init(blake(h), (const unsigned char *)key, key_length, h->length);
    } else if (key == NULL) {
        crypto_hash_sha256_init(&h->u.sha256);
    } else {
        kind = HMAC;
        crypto_auth_hmacsha256_init(&h->u.hmac, (const unsigned char *)key, key_length);
    }
    h->kind = kind;
    return h;
}

static int digest(lua_State *L, enum kind kind)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);
    struct hasher *h = start(L, kind, 2);

    feed(h, bytes, n);
    return finish(L, h);
}

/*** hash.blake2b(bytes [, options]) -> digest
 * The BLAKE2b of a string, 32 bytes long unless `length` says otherwise.
 */
static int hash_blake2b(lua_State *L)
{
    return digest(L, BLAKE2B);
}

/*** hash.sha256(bytes [, options]) -> digest
 * The SHA-256 of a string, or the HMAC-SHA-256 with `key`.
 */
static int hash_sha256(lua_State *L)
{
    return digest(L, SHA256);
}

/*** hash.new(name [, options]) -> hasher
 * A digest in pieces; name is "blake2b" or "sha256".
 */
static int hash_new(lua_State *L)
{
    start(L, (enum kind)luaL_checkoption(L, 1, NULL, names), 2);
    return 1;
}

static struct hasher *check(lua_State *L)
{
    struct hasher *h = luaL_checkudata(L, 1, HASHER);

    if (h->kind == FINISHED) {
        luaL_error(L, "this digest is finished");
    }
    return h;
}

/*** hasher:update(bytes, …) -> hasher
 * Adds the strings.
 */
static int hasher_update(lua_State *L)
{
    struct hasher *h = check(L);
    int top = lua_gettop(L);

    for (int i = 2; i <= top; i++) {
        size_t n;
        const char *bytes = luaL_checklstring(L, i, &n);
        feed(h, bytes, n);
    }
    lua_settop(L, 1);
    return 1;
}

/*** hasher:final() -> digest
 * The digest of all that was added; the hasher is of no further use.
 */
static int hasher_final(lua_State *L)
{
    return finish(L, check(L));
}

static void drop_file(struct hasher *h)
{
    if (h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
    }
}

static int hasher_gc(lua_State *L)
{
    drop_file(luaL_checkudata(L, 1, HASHER));
    return 0;
}

/* Up to TURN bytes, then others run. The stack: name, path, options, …, the hasher at ctx. */
static int file_continue(lua_State *L, int status, lua_KContext ctx)
{
    struct hasher *h = lua_touserdata(L, (int)ctx);
    unsigned char piece[PIECE];

    (void)status;
    for (size_t done = 0; done < TURN;) {
        ssize_t n = read(h->fd, piece, sizeof piece);
        if (n > 0) {
            feed(h, piece, (size_t)n);
            done += (size_t)n;
        } else if (n == 0) {
            drop_file(h);
            return finish(L, h);
        } else if (errno != EINTR) {
            int result = mods_failed(L, lua_tostring(L, 2));
            drop_file(h);
            return result;
        }
    }
    return waitfd_sleep(L, 0, file_continue, ctx);
}

/*** hash.file(name, path [, options]) -> digest | nil, message, errno
 * The digest of a file's contents. Other calls run meanwhile.
 */
static int hash_file(lua_State *L)
{
    enum kind kind = (enum kind)luaL_checkoption(L, 1, NULL, names);
    const char *path = mods_path(L, 2);
    struct hasher *h = start(L, kind, 3);

    h->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (h->fd < 0) {
        return mods_failed(L, path);
    }
    return file_continue(L, LUA_OK, lua_gettop(L));
}

/*** hash.hex(bytes) -> text
 * Two hexadecimal digits for each byte.
 */
static int hash_hex(lua_State *L)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);

    push_hex(L, bytes, n);
    return 1;
}

/* Pushes what was decoded into b, or nil and a message. */
static int decoded(lua_State *L, luaL_Buffer *b, int failed, size_t n, const char *message)
{
    luaL_pushresultsize(b, failed ? 0 : n);
    if (failed) {
        lua_pushnil(L);
        lua_pushstring(L, message);
        return 2;
    }
    return 1;
}

/*** hash.unhex(text) -> bytes | nil, message
 * The way back from `hash.hex`; digits of either case, nothing between them.
 */
static int hash_unhex(lua_State *L)
{
    size_t n, got = 0;
    const char *text = luaL_checklstring(L, 1, &n);
    luaL_Buffer b;
    char *at = luaL_buffinitsize(L, &b, n / 2 + 1);
    int bad = sodium_hex2bin((unsigned char *)at, n / 2, text, n, NULL, &got, NULL) != 0 ||
              got != n / 2 || n % 2 != 0;

    return decoded(L, &b, bad, got, "not hexadecimal");
}

static int variant(lua_State *L, int arg)
{
    return lua_toboolean(L, arg) ? sodium_base64_VARIANT_URLSAFE_NO_PADDING
                                 : sodium_base64_VARIANT_ORIGINAL;
}

/*** hash.base64(bytes [, urlsafe]) -> text
 * Base64 (RFC 4648) with padding, or with `urlsafe` its other alphabet without.
 */
static int hash_base64(lua_State *L)
{
    size_t n;
    const char *bytes = luaL_checklstring(L, 1, &n);
    int kind = variant(L, 2); /* before the buffer, which takes a place on the stack */
    size_t room = sodium_base64_encoded_len(n, kind);
    luaL_Buffer b;
    char *at = luaL_buffinitsize(L, &b, room);

    sodium_bin2base64(at, room, (const unsigned char *)bytes, n, kind);
    luaL_pushresultsize(&b, strlen(at));
    return 1;
}

/*** hash.unbase64(text [, urlsafe]) -> bytes | nil, message
 * The way back from `hash.base64`; white space is passed over.
 */
static int hash_unbase64(lua_State *L)
{
    size_t n, got = 0;
    const char *text = luaL_checklstring(L, 1, &n);
    int kind = variant(L, 2);
    luaL_Buffer b;
    char *at = luaL_buffinitsize(L, &b, n / 4 * 3 + 3);
    int bad = sodium_base642bin((unsigned char *)at, n / 4 * 3 + 3, text, n, " \t\r\n", &got, NULL,
                                kind) != 0;

    return decoded(L, &b, bad, got, "not Base64");
}

/*** hash.equal(a, b) -> boolean
 * Whether two strings are equal, in a time that depends on their lengths only.
 */
static int hash_equal(lua_State *L)
{
    size_t n, m;
    const char *a = luaL_checklstring(L, 1, &n);
    const char *b = luaL_checklstring(L, 2, &m);

    lua_pushboolean(L, n == m && sodium_memcmp(a, b, n) == 0);
    return 1;
}

/*** hash.random(n) -> bytes
 * n random bytes (at most 1 MiB), good enough for keys.
 */
static int hash_random(lua_State *L)
{
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_Buffer b;

    luaL_argcheck(L, n >= 0 && n <= RANDOM_MAX, 1, "0 to 1048576 expected");
    randombytes_buf(luaL_buffinitsize(L, &b, (size_t)n), (size_t)n);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

static const luaL_Reg functions[] = {
    {"blake2b", hash_blake2b},
    {"sha256", hash_sha256},
    {"new", hash_new},
    {"file", hash_file},
    {"hex", hash_hex},
    {"unhex", hash_unhex},
    {"base64", hash_base64},
    {"equal", hash_equal},
    {"random", hash_random},
    {"unbase64", hash_unbase64},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {
    {"update", hasher_update}, {"final", hasher_final}, {"__gc", hasher_gc}, {NULL, NULL}};

int mod_hash(lua_State *L)
{
    mods_class(L, HASHER, methods);
    luaL_newlib(L, functions);
    return 1;
}
