/*** module dev
 * Devices and files from close by: read, write, ioctl, memory mapping, C structs as bytes.
 *
 * `timeout`, where it stands, is in seconds; without it a call waits for ever, while other calls on
 * the instance run. A failure of the system gives nil, message, errno. What is told of a stream
 * holds for a device where it has no such method of its own.
 */
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/worker/dev_pack.h"
#include "agent/worker/dev_region.h"
#include "agent/worker/fdio.h"
#include "agent/worker/mods.h"

#define DEVICE   "device"
#define READ_MAX ((lua_Integer)16 << 20)
/* A driver writes as much as it likes where the request does not tell the size. */
#define IOCTL_ROOM ((size_t)16 << 10)

static struct fdio *check_device(lua_State *L)
{
    struct fdio *f = luaL_checkudata(L, 1, DEVICE);

    luaL_argcheck(L, f->fd >= 0, 1, "the device is closed");
    return f;
}

static int failed(lua_State *L)
{
    return mods_failed(L, NULL);
}

static lua_Integer check_count(lua_State *L, int arg)
{
    lua_Integer n = luaL_checkinteger(L, arg);

    luaL_argcheck(L, n >= 0 && n <= READ_MAX, arg, "out of range (0 to 16 MiB)");
    return n;
}

/* Stack: device, count, offset or nil, deadline. */
static int read_on(lua_State *L, int status, lua_KContext ctx)
{
    struct fdio *f = fdio_self(L);
    size_t count = (size_t)lua_tointeger(L, 2);
    luaL_Buffer b;
    char *to;
    ssize_t n;

    if (fdio_waited(L, f, status) != 0) {
        return 3;
    }
    to = luaL_buffinitsize(L, &b, count);
    do {
        n = lua_isnil(L, 3) ? read(f->fd, to, count)
                            : pread(f->fd, to, count, (off_t)lua_tointeger(L, 3));
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        luaL_pushresultsize(&b, 0);
        lua_settop(L, 4);
        return fdio_wait(L, f, EV_READ, 4, read_on, ctx);
    }
    if (n < 0) {
        return failed(L);
    }
    luaL_pushresultsize(&b, (size_t)n);
    if (n == 0 && count > 0) {
        lua_pushnil(L);
    }
    return 1;
}

/*** device:read(n [, timeout]) -> string | nil [, message, errno]
 * What one read of at most n bytes gives. nil alone: the end of file.
 */
static int device_read(lua_State *L)
{
    lua_Number timeout = luaL_optnumber(L, 3, check_device(L)->timeout);

    check_count(L, 2);
    lua_settop(L, 2);
    lua_pushnil(L);
    fdio_deadline(L, timeout);
    return read_on(L, 0, 0);
}

/*** device:pread(n, offset) -> string | nil [, message, errno]
 * As read, from this offset, leaving the position alone.
 */
static int device_pread(lua_State *L)
{
    check_device(L);
    check_count(L, 2);
    luaL_checkinteger(L, 3);
    lua_settop(L, 3);
    fdio_deadline(L, -1);
    return read_on(L, 0, 0);
}

/* Stack: device, bytes, offset or nil, deadline. */
static int write_on(lua_State *L, int status, lua_KContext ctx)
{
    struct fdio *f = fdio_self(L);
    size_t count;
    const char *bytes = luaL_checklstring(L, 2, &count);
    ssize_t n;

    if (fdio_waited(L, f, status) != 0) {
        return 3;
    }
    do {
        n = lua_isnil(L, 3) ? write(f->fd, bytes, count)
                            : pwrite(f->fd, bytes, count, (off_t)lua_tointeger(L, 3));
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        return fdio_wait(L, f, EV_WRITE, 4, write_on, ctx);
    }
    if (n < 0) {
        return failed(L);
    }
    lua_pushinteger(L, n);
    return 1;
}

/*** device:write(string [, timeout]) -> integer | nil, message, errno
 * One write; the number of bytes that were taken.
 */
static int device_write(lua_State *L)
{
    lua_Number timeout = luaL_optnumber(L, 3, check_device(L)->timeout);

    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushnil(L);
    fdio_deadline(L, timeout);
    return write_on(L, 0, 0);
}

/*** device:pwrite(string, offset) -> integer | nil, message, errno
 * As write, to this offset, leaving the position alone.
 */
static int device_pwrite(lua_State *L)
{
    check_device(L);
    luaL_checkstring(L, 2);
    luaL_checkinteger(L, 3);
    lua_settop(L, 3);
    fdio_deadline(L, -1);
    return write_on(L, 0, 0);
}

/*** device:seek([whence [, offset]]) -> integer | nil, message, errno
 * As file:seek of Lua: whence "set", "cur" (default) or "end"; the new position.
 */
static int device_seek(lua_State *L)
{
    static const char *const names[] = {"set", "cur", "end", NULL};
    static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    int whence = whences[luaL_checkoption(L, 2, "cur", names)];
    off_t at = lseek(check_device(L)->fd, (off_t)luaL_optinteger(L, 3, 0), whence);

    if (at < 0) {
        return failed(L);
    }
    lua_pushinteger(L, at);
    return 1;
}

/* The size that a request made by _IOR and its like bears. */
static size_t request_size(lua_Integer request)
{
    return (size_t)(request >> 16) & (_IOC_NONE == 0 ? 0x3fff : 0x1fff);
}

/* C libraries disagree about the type of a request. */
static int request_ioctl(int fd, lua_Integer request, void *argument)
{
    return (int)syscall(SYS_ioctl, fd, (unsigned long)request, argument);
}

/*** device:ioctl(request [, argument]) -> integer [, string] | nil, message, errno
 * argument: an integer (default 0), passed as it is; or a string, passed as a buffer with these
 * bytes, which comes back as the second result: as long as the string, or as the size in the
 * request if that is more. A driver that blocks here holds up the instance.
 */
static int device_ioctl(lua_State *L)
{
    struct fdio *f = check_device(L);
    lua_Integer request = luaL_checkinteger(L, 2);
    size_t n, size;
    const char *bytes;
    char *buffer;
    int result;

    if (lua_type(L, 3) != LUA_TSTRING) {
        result = request_ioctl(f->fd, request, (void *)(intptr_t)luaL_optinteger(L, 3, 0));
        if (result < 0) {
            return failed(L);
        }
        lua_pushinteger(L, result);
        return 1;
    }
    bytes = lua_tolstring(L, 3, &n);
    size = n > request_size(request) ? n : request_size(request);
    buffer = lua_newuserdatauv(L, size > IOCTL_ROOM ? size : IOCTL_ROOM, 0);
    memset(buffer, 0, size);
    memcpy(buffer, bytes, n);
    result = request_ioctl(f->fd, request, buffer);
    if (result < 0) {
        return failed(L);
    }
    lua_pushinteger(L, result);
    lua_pushlstring(L, buffer, size);
    return 2;
}

/*** device:mmap(offset, length [, mode [, kind]]) -> region | nil, message, errno
 * Maps so many bytes from any offset. mode: "r" (default) or "rw"; kind: "shared" (default) or
 * "private". What lies behind the end of a file is refused.
 */
static int device_mmap(lua_State *L)
{
    return dev_region_map(L, check_device(L)->fd);
}

static const struct {
    char letter;
    short bit;
} polled[] = {{'r', POLLIN}, {'w', POLLOUT}, {'p', POLLPRI}, {'e', POLLERR}, {'h', POLLHUP}};

/* Stack: device, events, deadline. */
static int poll_on(lua_State *L, int status, lua_KContext ctx)
{
    struct fdio *f = fdio_self(L);
    struct pollfd p = {.fd = f->fd};
    const char *events = lua_tostring(L, 2);
    char text[sizeof polled / sizeof *polled];
    size_t n = 0;

    if (fdio_waited(L, f, status) != 0) {
        return 3;
    }
    for (size_t i = 0; i < sizeof text; i++) {
        p.events |= strchr(events, polled[i].letter) != NULL ? polled[i].bit : (short)0;
    }
    if (poll(&p, 1, 0) < 0 && errno != EINTR) {
        return failed(L);
    }
    for (size_t i = 0; i < sizeof text; i++) {
        if ((p.revents & polled[i].bit) != 0) {
            text[n++] = polled[i].letter;
        }
    }
    if (n == 0) {
        return fdio_wait(L, f,
                         (p.events & (POLLIN | POLLPRI) ? EV_READ : 0) |
                             (p.events & POLLOUT ? EV_WRITE : 0),
                         3, poll_on, ctx);
    }
    lua_pushlstring(L, text, n);
    return 1;
}

/*** device:poll([events [, timeout]]) -> string | nil, message, errno
 * Waits until the device can be read ("r", default), written ("w") or has urgent data ("p"; only
 * besides one of the others); the result's letters tell what came, also "e" error and "h" hangup.
 */
static int device_poll(lua_State *L)
{
    const char *events = luaL_optstring(L, 2, "r");
    lua_Number timeout = luaL_optnumber(L, 3, check_device(L)->timeout);

    luaL_argcheck(L, events[strspn(events, "rwp")] == '\0' && strpbrk(events, "rw") != NULL, 2,
                  "letters of 'rwp' expected");
    lua_settop(L, 1);
    lua_pushstring(L, events);
    fdio_deadline(L, timeout);
    return poll_on(L, 0, 0);
}

static int check_flags(lua_State *L, int arg)
{
    static const struct {
        const char *name;
        int flag;
    } words[] = {
        {"r", O_RDONLY},          {"w", O_WRONLY},
        {"rw", O_RDWR},           {"create", O_CREAT},
        {"excl", O_EXCL},         {"truncate", O_TRUNC},
        {"append", O_APPEND},     {"sync", O_SYNC},
        {"direct", O_DIRECT},     {"directory", O_DIRECTORY},
        {"nofollow", O_NOFOLLOW},
    };
    const char *text = luaL_optstring(L, arg, "r");
    int flags = 0;

    for (const char *at = text; *at != '\0'; at += strspn(at, ", ")) {
        size_t n = strcspn(at, ", ");
        size_t i = 0;
        while (i < sizeof words / sizeof *words &&
               (strncmp(words[i].name, at, n) != 0 || words[i].name[n] != '\0')) {
            i++;
        }
        if (i == sizeof words / sizeof *words) {
            luaL_argerror(L, arg, "unknown flag");
        } else {
            flags |= words[i].flag;
        }
        at += n;
    }
    return flags;
}

/*** dev.open(path [, flags [, mode]]) -> device | nil, message, errno
 * flags: "r" (default), "w" or "rw", and after a comma, as many as wanted: create, excl, truncate,
 * append, sync, direct, directory, nofollow. mode: permissions of a file that is created (0x1b6,
 * which is rw for all, less the umask).
 *
 * A device is open until close, until it is collected, or until a variable declared <close> goes
 * out of scope.
 */
static int dev_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"read", device_read},     {"write", device_write}, {"pread", device_pread},
        {"pwrite", device_pwrite}, {"seek", device_seek},   {"ioctl", device_ioctl},
        {"mmap", device_mmap},     {"poll", device_poll},   {NULL, NULL},
    };
    static const luaL_Reg meta[] = {{NULL, NULL}};
    const char *path = mods_path(L, 1);
    int flags = check_flags(L, 2) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    mode_t mode = (mode_t)luaL_optinteger(L, 3, 0666);
    struct fdio *f = fdio_new(L, sizeof *f, -1, DEVICE, methods, meta);

    do {
        f->fd = open(path, flags, mode);
    } while (f->fd < 0 && errno == EINTR);
    return f->fd < 0 ? mods_failed(L, path) : 1;
}

/* The builders of requests; upvalue: direction. */
static int dev_request(lua_State *L)
{
    lua_Integer direction = lua_tointeger(L, lua_upvalueindex(1));
    lua_Integer type = lua_type(L, 1) == LUA_TSTRING ? (unsigned char)*lua_tostring(L, 1)
                                                     : luaL_checkinteger(L, 1);
    lua_Integer number = luaL_checkinteger(L, 2);
    lua_Integer size = direction == _IOC_NONE ? 0 : dev_pack_size(L, 3);

    luaL_argcheck(L, type >= 0 && type <= 255, 1, "out of range");
    luaL_argcheck(L, number >= 0 && number <= 255, 2, "out of range");
    luaL_argcheck(L, size >= 0 && size <= (_IOC_NONE == 0 ? 0x3fff : 0x1fff), 3, "out of range");
    lua_pushinteger(L, (lua_Integer)(uint32_t)_IOC(direction, type, number, size));
    return 1;
}

/*** dev._IO(type, number) -> integer
 * The number of an ioctl request, as the macro of C. type: a letter or an integer.
 */
/*** dev._IOR(type, number, size) -> integer
 * The same for one whose argument is written by the driver. size: bytes, or a format of dev.pack.
 */
/*** dev._IOW(type, number, size) -> integer
 * The same for one whose argument is read by the driver.
 */
/*** dev._IOWR(type, number, size) -> integer
 * The same for both.
 */
static void add_request(lua_State *L, const char *name, lua_Integer direction)
{
    lua_pushinteger(L, direction);
    lua_pushcclosure(L, dev_request, 1);
    lua_setfield(L, -2, name);
}

int mod_dev(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, dev_open);
    lua_setfield(L, -2, "open");
    dev_pack_open(L);
    add_request(L, "_IO", _IOC_NONE);
    add_request(L, "_IOR", _IOC_READ);
    add_request(L, "_IOW", _IOC_WRITE);
    add_request(L, "_IOWR", (lua_Integer)_IOC_READ | _IOC_WRITE);
    return 1;
}
