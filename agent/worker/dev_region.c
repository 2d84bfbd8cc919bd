#include "agent/worker/dev_region.h"

#include <errno.h>
#include <lauxlib.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/worker/mods.h"
#include "agent/worker/object.h"

#define REGION "grapnel.region"

struct region {
    unsigned char *at; /* NULL: closed */
    size_t length;
    size_t skip; /* from the page's begin to `at` */
    int writable;
};

struct type {
    size_t size; /* bytes */
    char kind;   /* 'u', 'i' or 'f' */
    char swap;
};

/* An access to a mapping may raise SIGBUS: the file has become shorter, the device does not answer.
 * A handler has no argument of its own, hence this variable: where to go on, NULL outside accesses.
 */
static _Thread_local sigjmp_buf *volatile on_bus;

static void caught(int number)
{
    if (on_bus != NULL) {
        siglongjmp(*on_bus, 1);
    }
    (void)signal(number, SIG_DFL); /* not ours: the access is made again, and is fatal */
}

static void catch_bus(void)
{
    struct sigaction action = {.sa_handler = caught, .sa_flags = SA_NODEFER};

    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, NULL);
}

/* One access of the type's width where the place is aligned: registers want that. */
static void copy_once(volatile void *to, const volatile void *from, size_t n)
{
    uintptr_t both = (uintptr_t)to | (uintptr_t)from;

    if (n == 4 && both % 4 == 0) {
        *(volatile uint32_t *)to = *(const volatile uint32_t *)from;
    } else if (n == 2 && both % 2 == 0) {
        *(volatile uint16_t *)to = *(const volatile uint16_t *)from;
    } else if (n == 8 && both % 8 == 0) {
        *(volatile uint64_t *)to = *(const volatile uint64_t *)from;
    } else {
        for (size_t i = 0; i < n; i++) {
            ((volatile unsigned char *)to)[i] = ((const volatile unsigned char *)from)[i];
        }
    }
}

static void guarded_copy(lua_State *L, void *to, const void *from, size_t n)
{
    sigjmp_buf here;

    if (sigsetjmp(here, 0) != 0) {
        on_bus = NULL;
        luaL_error(L, "the memory behind the region is not there (the file was cut?)");
    }
    on_bus = &here;
    if (n > 8) {
        memcpy(to, from, n);
    } else {
        copy_once(to, from, n);
    }
    /* The copy is done before the guard falls. */
    __asm__ volatile("" ::: "memory");
    on_bus = NULL;
}

static struct region *check_region(lua_State *L)
{
    struct region *r = luaL_checkudata(L, 1, REGION);

    luaL_argcheck(L, r->at != NULL, 1, "the region is closed");
    return r;
}

static struct region *check_writable(lua_State *L)
{
    struct region *r = check_region(L);

    luaL_argcheck(L, r->writable, 1, "the region is mapped for reading only");
    return r;
}

/* The place of n bytes at the offset of argument `arg`. */
static unsigned char *place(lua_State *L, const struct region *r, int arg, size_t n)
{
    lua_Integer offset = luaL_checkinteger(L, arg);

    if (offset < 0 || (lua_Unsigned)offset > r->length || n > r->length - (size_t)offset) {
        luaL_error(L, "out of bounds: %I bytes at offset %I of a region of %I bytes",
                   (LUAI_UACINT)n, (LUAI_UACINT)offset, (LUAI_UACINT)r->length);
    }
    return r->at + offset;
}

/* "u32", "i16be", "f64le" … */
static struct type check_type(lua_State *L, int arg)
{
    static const char *const names[] = {"u8",  "u16", "u32", "u64", "i8",
                                        "i16", "i32", "i64", "f32", "f64"};
    static const unsigned char sizes[] = {1, 2, 4, 8, 1, 2, 4, 8, 4, 8};
    const char *text = luaL_checkstring(L, arg);
    const uint16_t one = 1;
    int little = *(const unsigned char *)&one;

    for (size_t i = 0; i < sizeof sizes; i++) {
        size_t n = strlen(names[i]);
        struct type t = {.size = sizes[i], .kind = names[i][0]};
        if (strncmp(text, names[i], n) != 0) {
            continue;
        }
        if (text[n] == '\0' || strcmp(text + n, little ? "le" : "be") == 0) {
            return t;
        }
        if (strcmp(text + n, little ? "be" : "le") == 0) {
            t.swap = 1;
            return t;
        }
    }
    luaL_argerror(L, arg, lua_pushfstring(L, "no such type: '%s'", text));
    return (struct type){0};
}

static void swap(unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        unsigned char b = bytes[i];
        bytes[i] = bytes[n - 1 - i];
        bytes[n - 1 - i] = b;
    }
}

/* The bytes of a number of type t, in this machine's order and at the type's own width. */
union number {
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    float f32;
    double f64;
    unsigned char bytes[8];
};

static uint64_t widen(const union number *v, size_t size)
{
    return size == 1 ? v->u8 : size == 2 ? v->u16 : size == 4 ? v->u32 : v->u64;
}

static void push_number(lua_State *L, const union number *v, const struct type *t)
{
    uint64_t u = widen(v, t->size);
    unsigned bits = (unsigned)(8 * t->size);

    if (t->kind == 'f') {
        lua_pushnumber(L, t->size == 4 ? (lua_Number)v->f32 : v->f64);
        return;
    }
    if (t->kind == 'i' && bits < 64 && (u >> (bits - 1)) != 0) {
        u |= ~(uint64_t)0 << bits;
    }
    lua_pushinteger(L, (lua_Integer)u);
}

static void check_number(lua_State *L, int arg, union number *v, const struct type *t)
{
    unsigned bits = (unsigned)(8 * t->size);
    lua_Integer i;
    lua_Integer half;

    if (t->kind == 'f') {
        lua_Number n = luaL_checknumber(L, arg);
        if (t->size == 4) {
            v->f32 = (float)n;
        } else {
            v->f64 = n;
        }
        return;
    }
    i = luaL_checkinteger(L, arg);
    if (bits < 64) {
        half = (lua_Integer)1 << (bits - 1);
        luaL_argcheck(L, t->kind == 'u' ? i >= 0 && i < 2 * half : i >= -half && i < half, arg,
                      "does not fit into the type");
    }
    switch (t->size) {
    case 1:
        v->u8 = (uint8_t)i;
        break;
    case 2:
        v->u16 = (uint16_t)i;
        break;
    case 4:
        v->u32 = (uint32_t)i;
        break;
    default:
        v->u64 = (uint64_t)i;
    }
}

/*** region:get(offset, type) -> number
 * The number at this offset. type: "u8" "u16" "u32" "u64" "i8" "i16" "i32" "i64" "f32" "f64", in
 * the host's byte order, or with "le" or "be" after it: "u32be". An aligned number is read in one
 * access of just its width, as device registers want it. Out of bounds: an error.
 */
static int region_get(lua_State *L)
{
    struct region *r = check_region(L);
    struct type t = check_type(L, 3);
    union number v = {.u64 = 0};

    guarded_copy(L, &v, place(L, r, 2, t.size), t.size);
    if (t.swap) {
        swap(v.bytes, t.size);
    }
    push_number(L, &v, &t);
    return 1;
}

/*** region:set(offset, type, number)
 * Writes the number at this offset, types as of get. A number that does not fit is an error.
 */
static int region_set(lua_State *L)
{
    struct region *r = check_writable(L);
    struct type t = check_type(L, 3);
    union number v = {.u64 = 0};

    check_number(L, 4, &v, &t);
    if (t.swap) {
        swap(v.bytes, t.size);
    }
    guarded_copy(L, place(L, r, 2, t.size), &v, t.size);
    return 0;
}

/*** region:read(offset [, n]) -> string
 * n bytes from the offset on (default: all the rest).
 */
static int region_read(lua_State *L)
{
    struct region *r = check_region(L);
    lua_Integer n = lua_isnoneornil(L, 3) ? (lua_Integer)(r->at + r->length - place(L, r, 2, 0))
                                          : luaL_checkinteger(L, 3);
    luaL_Buffer b;
    const unsigned char *from;

    luaL_argcheck(L, n >= 0, 3, "not negative expected");
    from = place(L, r, 2, (size_t)n);
    guarded_copy(L, luaL_buffinitsize(L, &b, (size_t)n), from, (size_t)n);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/*** region:write(offset, string)
 * Writes the bytes at the offset.
 */
static int region_write(lua_State *L)
{
    struct region *r = check_writable(L);
    size_t n;
    const char *bytes = luaL_checklstring(L, 3, &n);

    guarded_copy(L, place(L, r, 2, n), bytes, n);
    return 0;
}

/*** region:sync() -> true | nil, message, errno
 * Writes a shared mapping's changes to its file.
 */
static int region_sync(lua_State *L)
{
    struct region *r = check_region(L);

    return mods_done(L, msync(r->at - r->skip, r->length + r->skip, MS_SYNC) == 0, NULL);
}

/*** region:close()
 * Ends the mapping. #region is its length in bytes.
 */
static int region_close(lua_State *L)
{
    struct region *r = luaL_checkudata(L, 1, REGION);

    if (r->at != NULL) {
        munmap(r->at - r->skip, r->length + r->skip);
        r->at = NULL;
    }
    return 0;
}

static int region_length(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)check_region(L)->length);
    return 1;
}

static int region_tostring(lua_State *L)
{
    const struct region *r = luaL_checkudata(L, 1, REGION);

    if (r->at == NULL) {
        lua_pushliteral(L, "region (closed)");
    } else {
        lua_pushfstring(L, "region (%I bytes)", (LUAI_UACINT)r->length);
    }
    return 1;
}

static void push_region(lua_State *L, struct region **r)
{
    static const luaL_Reg methods[] = {
        {"get", region_get},   {"set", region_set},
        {"read", region_read}, {"write", region_write},
        {"sync", region_sync}, {"close", region_close},
        {NULL, NULL},
    };
    static const luaL_Reg meta[] = {
        {"__gc", region_close},
        {"__close", region_close},
        {"__tostring", region_tostring},
        {"__len", region_length},
        {NULL, NULL},
    };

    *r = lua_newuserdatauv(L, sizeof **r, 0);
    memset(*r, 0, sizeof **r);
    object_class(L, REGION, methods, meta);
}

int dev_region_map(lua_State *L, int fd)
{
    static const char *const modes[] = {"r", "rw", NULL};
    static const char *const kinds[] = {"shared", "private", NULL};
    lua_Integer offset = luaL_checkinteger(L, 2);
    lua_Integer length = luaL_checkinteger(L, 3);
    int writable = luaL_checkoption(L, 4, "r", modes);
    int kind = luaL_checkoption(L, 5, "shared", kinds) == 0 ? MAP_SHARED : MAP_PRIVATE;
    lua_Integer skip = offset % sysconf(_SC_PAGESIZE);
    struct region *r;
    struct stat st;
    void *at;

    luaL_argcheck(L, offset >= 0, 2, "out of range");
    luaL_argcheck(L, length > 0 && length <= PTRDIFF_MAX - skip && length <= INT64_MAX - offset, 3,
                  "out of range");
    if (fstat(fd, &st) != 0) {
        return mods_failed(L, NULL);
    }
    /* What lies behind the end of a file could be mapped, and an access to it would be fatal. */
    if (S_ISREG(st.st_mode) && offset + length > st.st_size) {
        errno = EOVERFLOW;
        return mods_failed(L, "the file is shorter than that");
    }
    push_region(L, &r);
    at = mmap(NULL, (size_t)(length + skip), PROT_READ | (writable ? PROT_WRITE : 0), kind, fd,
              (off_t)(offset - skip));
    if (at == MAP_FAILED) {
        return mods_failed(L, NULL);
    }
    catch_bus();
    r->at = (unsigned char *)at + skip;
    r->length = (size_t)length;
    r->skip = (size_t)skip;
    r->writable = writable;
    return 1;
}
