/*** module sys
 * The host: its system, its hardware, its users, its disks. Sizes are in bytes, times in seconds.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/worker/mods.h"

#ifndef GRAPNEL_VERSION
#define GRAPNEL_VERSION "0"
#endif

#define GROUPS_MAX 65536

/*** sys.uname() -> table
 * `sysname`, `nodename`, `release`, `version`, `machine`, as uname(2) has them.
 */
static int sys_uname(lua_State *L)
{
    struct utsname u;

    if (uname(&u) != 0) {
        return mods_failed(L, NULL);
    }
    mods_table(L, 0, 5);
    mods_set_text(L, "sysname", u.sysname);
    mods_set_text(L, "nodename", u.nodename);
    mods_set_text(L, "release", u.release);
    mods_set_text(L, "version", u.version);
    mods_set_text(L, "machine", u.machine);
    return 1;
}

/*** sys.platform() -> text
 * System and architecture in one word, in lower case: "linux-x86_64".
 */
static int sys_platform(lua_State *L)
{
    struct utsname u;
    char text[sizeof u.sysname + sizeof u.machine + 1];

    if (uname(&u) != 0) {
        return mods_failed(L, NULL);
    }
    snprintf(text, sizeof text, "%s-%s", u.sysname, u.machine);
    for (char *at = text; *at != '\0'; at++) {
        *at = *at >= 'A' && *at <= 'Z' ? (char)(*at + ('a' - 'A')) : *at;
    }
    lua_pushstring(L, text);
    return 1;
}

/* Sets the field of one line NAME=value or NAME="value". */
static void release_line(lua_State *L, char *line)
{
    char *value = strchr(line, '=');
    char *to;
    char quote;

    if (value == NULL || line[0] == '#') {
        return;
    }
    *value++ = '\0';
    quote = *value == '"' || *value == '\'' ? *value++ : '\0';
    to = value;
    for (const char *at = value; *at != '\0' && *at != quote; at++) {
        if (*at == '\\' && quote != '\'' && at[1] != '\0') {
            at++;
        }
        *to++ = *at;
    }
    *to = '\0';
    mods_set_text(L, line, value);
}

/*** sys.release() -> table | nil, message, errno
 * The distribution, from os-release: `ID`, `VERSION_ID`, `PRETTY_NAME` and what else stands there.
 */
static int sys_release(lua_State *L)
{
    char text[8192];
    char *rest = text;

    if (mods_read("/etc/os-release", text, sizeof text) < 0 &&
        mods_read("/usr/lib/os-release", text, sizeof text) < 0) {
        return mods_failed(L, "/etc/os-release");
    }
    mods_table(L, 0, 8);
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        release_line(L, line);
    }
    return 1;
}

/*** sys.versions() -> table
 * What runs this code: `worker`, `lua`, `libc` ("musl", or glibc's name and version).
 */
static int sys_versions(lua_State *L)
{
    char libc[64] = "musl";

#ifdef _CS_GNU_LIBC_VERSION
    confstr(_CS_GNU_LIBC_VERSION, libc, sizeof libc);
#endif
    mods_table(L, 0, 3);
    mods_set_text(L, "worker", GRAPNEL_VERSION);
    mods_set_text(L, "lua", LUA_RELEASE);
    mods_set_text(L, "libc", libc);
    return 1;
}

/*** sys.byte_order() -> text
 * "little" or "big".
 */
static int sys_byte_order(lua_State *L)
{
    const union {
        int number;
        char bytes[sizeof(int)];
    } probe = {.number = 1};

    lua_pushstring(L, probe.bytes[0] == 1 ? "little" : "big");
    return 1;
}

/*** sys.word_bits() -> integer
 * Width of a pointer of the worker.
 */
static int sys_word_bits(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)sizeof(void *) * CHAR_BIT);
    return 1;
}

/*** sys.page_size() -> integer
 * Size of a page of memory.
 */
static int sys_page_size(lua_State *L)
{
    lua_pushinteger(L, sysconf(_SC_PAGESIZE));
    return 1;
}

/*** sys.hostname() -> text
 * The host's own name.
 */
static int sys_hostname(lua_State *L)
{
    char name[256];

    if (gethostname(name, sizeof name) != 0) {
        return mods_failed(L, NULL);
    }
    name[sizeof name - 1] = '\0';
    lua_pushstring(L, name);
    return 1;
}

static void push_user(lua_State *L, const struct passwd *p)
{
    mods_table(L, 0, 6);
    mods_set_text(L, "name", p->pw_name);
    mods_set_int(L, "uid", p->pw_uid);
    mods_set_int(L, "gid", p->pw_gid);
    mods_set_text(L, "gecos", p->pw_gecos);
    mods_set_text(L, "home", p->pw_dir);
    mods_set_text(L, "shell", p->pw_shell);
}

static void push_group(lua_State *L, const struct group *g)
{
    int n = 0;

    mods_table(L, 0, 3);
    mods_set_text(L, "name", g->gr_name);
    mods_set_int(L, "gid", g->gr_gid);
    mods_table(L, 0, 0);
    for (char **member = g->gr_mem; member != NULL && *member != NULL; member++) {
        lua_pushstring(L, *member);
        lua_rawseti(L, -2, ++n);
    }
    lua_setfield(L, -2, "members");
}

/* What a lookup that found nothing returns: the databases do not agree on how they say so. */
static int no_account(lua_State *L, const char *kind, int error)
{
    if (error != 0 && error != ENOENT && error != ESRCH) {
        errno = error;
        return mods_failed(L, NULL);
    }
    luaL_tolstring(L, 1, NULL);
    lua_pushnil(L);
    lua_pushfstring(L, "no such %s: %s", kind, lua_tostring(L, -2));
    lua_pushinteger(L, ENOENT);
    return 3;
}

/*** sys.user([name | uid]) -> table | nil, message, errno
 * An account: `name`, `uid`, `gid`, `gecos`, `home`, `shell`. Without an argument the worker's own.
 */
static int sys_user(lua_State *L)
{
    const struct passwd *p;

    errno = 0;
    if (lua_type(L, 1) == LUA_TSTRING) {
        p = getpwnam(lua_tostring(L, 1));
    } else {
        p = getpwuid((uid_t)luaL_optinteger(L, 1, (lua_Integer)geteuid()));
    }
    if (p == NULL) {
        return no_account(L, "user", errno);
    }
    push_user(L, p);
    return 1;
}

/*** sys.group([name | gid]) -> table | nil, message, errno
 * A group: `name`, `gid`, `members` (names). Without an argument the worker's own.
 */
static int sys_group(lua_State *L)
{
    const struct group *g;

    errno = 0;
    if (lua_type(L, 1) == LUA_TSTRING) {
        g = getgrnam(lua_tostring(L, 1));
    } else {
        g = getgrgid((gid_t)luaL_optinteger(L, 1, (lua_Integer)getegid()));
    }
    if (g == NULL) {
        return no_account(L, "group", errno);
    }
    push_group(L, g);
    return 1;
}

/*** sys.users() -> list
 * All accounts that the system lists, as `sys.user` has them.
 */
static int sys_users(lua_State *L)
{
    const struct passwd *p;
    int n = 0;

    mods_table(L, 16, 0);
    setpwent();
    while ((p = getpwent()) != NULL) {
        push_user(L, p);
        lua_rawseti(L, -2, ++n);
    }
    endpwent();
    return 1;
}

/*** sys.groups() -> list
 * All groups that the system lists, as `sys.group` has them.
 */
static int sys_groups(lua_State *L)
{
    const struct group *g;
    int n = 0;

    mods_table(L, 16, 0);
    setgrent();
    while ((g = getgrent()) != NULL) {
        push_group(L, g);
        lua_rawseti(L, -2, ++n);
    }
    endgrent();
    return 1;
}

/*** sys.whoami() -> table
 * Whose rights the worker has: `user`, `home`, `shell` (where they are known), `uid`, `gid`,
 * `real_uid`, `real_gid`, `groups` (numbers).
 */
static int sys_whoami(lua_State *L)
{
    const struct passwd *p = getpwuid(geteuid());
    int n = getgroups(0, NULL);
    gid_t *groups;

    n = n < 0 || n > GROUPS_MAX ? 0 : n;
    groups = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *groups, 0);
    n = getgroups(n, groups);
    mods_table(L, 0, 8);
    mods_set_text(L, "user", p != NULL ? p->pw_name : getenv("LOGNAME"));
    mods_set_text(L, "home", p != NULL ? p->pw_dir : getenv("HOME"));
    mods_set_text(L, "shell", p != NULL ? p->pw_shell : getenv("SHELL"));
    mods_set_int(L, "uid", geteuid());
    mods_set_int(L, "gid", getegid());
    mods_set_int(L, "real_uid", getuid());
    mods_set_int(L, "real_gid", getgid());
    mods_table(L, n > 0 ? n : 0, 0);
    for (int i = 0; i < n; i++) {
        lua_pushinteger(L, groups[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "groups");
    return 1;
}

/* The value of the first line "name  : value" of a text, or NULL; the text is cut behind it. */
static char *cpu_value(char *text, const char *name)
{
    size_t n = strlen(name);

    for (char *at = text; at != NULL && *at != '\0'; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, name, n) == 0 && strchr("\t :", at[n]) != NULL && at[n] != '\0') {
            at += n + strspn(at + n, "\t :");
            at[strcspn(at, "\n")] = '\0';
            return at;
        }
    }
    return NULL;
}

static void set_cpu(lua_State *L, const char *field, const char *text, const char *name)
{
    char copy[8192];
    char *value;

    snprintf(copy, sizeof copy, "%s", text);
    value = cpu_value(copy, name);
    if (value != NULL) {
        mods_set_text(L, field, value);
    }
}

/*** sys.cpu() -> table
 * `online` and `configured` processors; `model`, `vendor`, `features` (names) where the system
 * tells them.
 */
static int sys_cpu(lua_State *L)
{
    char text[8192];
    char *rest;
    int n = 0;

    mods_read("/proc/cpuinfo", text, sizeof text);
    mods_table(L, 0, 5);
    mods_set_int(L, "online", sysconf(_SC_NPROCESSORS_ONLN));
    mods_set_int(L, "configured", sysconf(_SC_NPROCESSORS_CONF));
    set_cpu(L, "model", text, "Model");
    set_cpu(L, "model", text, "model name");
    set_cpu(L, "vendor", text, "vendor_id");
    rest = cpu_value(text, strstr(text, "\nFeatures") != NULL ? "Features" : "flags");
    mods_table(L, 0, 0);
    for (char *word; (word = strsep(&rest, " ")) != NULL;) {
        if (word[0] != '\0') {
            lua_pushstring(L, word);
            lua_rawseti(L, -2, ++n);
        }
    }
    lua_setfield(L, -2, "features");
    return 1;
}

/*** sys.load() -> number, number, number
 * Load averages of 1, 5 and 15 minutes.
 */
static int sys_load(lua_State *L)
{
    double load[3];

    if (getloadavg(load, 3) != 3) {
        errno = ENOSYS;
        return mods_failed(L, NULL);
    }
    for (int i = 0; i < 3; i++) {
        lua_pushnumber(L, load[i]);
    }
    return 3;
}

/*** sys.memory() -> table | nil, message, errno
 * `total`, `free`, `available`, `buffers`, `cached`, `shared`, `swap_total`, `swap_free`, in bytes.
 */
static int sys_memory(lua_State *L)
{
    static const char *const fields[][2] = {
        {"total", "MemTotal"},     {"free", "MemFree"},         {"available", "MemAvailable"},
        {"buffers", "Buffers"},    {"cached", "Cached"},        {"shared", "Shmem"},
        {"swap_free", "SwapFree"}, {"swap_total", "SwapTotal"},
    };
    char text[8192];

    if (mods_read("/proc/meminfo", text, sizeof text) < 0) {
        return mods_failed(L, "/proc/meminfo");
    }
    mods_table(L, 0, 8);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        char copy[sizeof text];
        const char *value;
        memcpy(copy, text, sizeof copy);
        value = cpu_value(copy, fields[i][1]);
        if (value != NULL) {
            mods_set_int(L, fields[i][0], strtoll(value, NULL, 10) * 1024);
        }
    }
    return 1;
}

/* Pushes one word of the table of mounts, where some characters stand as \ooo. */
static void push_mount_word(lua_State *L, char *word)
{
    char *to = word;

    for (const char *at = word; *at != '\0'; at++) {
        if (at[0] == '\\' && strspn(at + 1, "01234567") >= 3) {
            *to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
            at += 3;
        } else {
            *to++ = *at;
        }
    }
    lua_pushlstring(L, word, (size_t)(to - word));
}

/* Pushes the mount of one line; 0, with nothing pushed, if it is none. */
static int push_mount(lua_State *L, char *line)
{
    static const char *const fields[] = {"source", "target", "type", "options"};
    char *rest = line;

    mods_table(L, 0, 12);
    for (size_t i = 0; i < 4; i++) {
        char *word = strsep(&rest, " \n");
        if (word == NULL) {
            lua_pop(L, 1);
            return 0;
        }
        push_mount_word(L, word);
        lua_setfield(L, -2, fields[i]);
    }
    return 1;
}

/* Adds the sizes to the mount on top of the stack; whether it has any. */
static int add_sizes(lua_State *L)
{
    struct statvfs v;
    int has;

    lua_getfield(L, -1, "target");
    has = statvfs(lua_tostring(L, -1), &v) == 0 && v.f_blocks > 0;
    lua_pop(L, 1);
    if (has) {
        mods_set_space(L, &v);
    }
    return has;
}

/* The list of all mounts, or of those that have a size. */
static int mounts(lua_State *L, int sized)
{
    luaL_Stream *s = mods_stream(L);
    char line[8192];
    int n = 0;

    if (!mods_stream_file(s, fopen("/proc/self/mounts", "re"))) {
        return mods_failed(L, "/proc/self/mounts");
    }
    mods_table(L, 16, 0);
    while (fgets(line, sizeof line, s->f) != NULL) {
        int whole = strchr(line, '\n') != NULL;
        if (push_mount(L, line)) {
            if (!sized || add_sizes(L)) {
                lua_rawseti(L, -2, ++n);
            } else {
                lua_pop(L, 1);
            }
        }
        while (!whole && fgets(line, sizeof line, s->f) != NULL) {
            whole = strchr(line, '\n') != NULL;
        }
    }
    mods_stream_close(s);
    return 1;
}

/*** sys.mounts() -> list | nil, message, errno
 * What is mounted where: `source`, `target`, `type`, `options`.
 */
static int sys_mounts(lua_State *L)
{
    return mounts(L, 0);
}

/*** sys.disks() -> list | nil, message, errno
 * The mounts that have a size, with the fields of `fs.df` beside those of `sys.mounts`.
 */
static int sys_disks(lua_State *L)
{
    return mounts(L, 1);
}

/*** sys.uptime() -> number
 * Seconds since the system was started, those asleep included.
 */
static int sys_uptime(lua_State *L)
{
    struct timespec t = {0};

    clock_gettime(CLOCK_BOOTTIME, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
    return 1;
}

/*** sys.boot_time() -> number
 * When the system was started, in seconds of the wall clock.
 */
static int sys_boot_time(lua_State *L)
{
    struct timespec wall = {0}, up = {0};

    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_BOOTTIME, &up);
    lua_pushnumber(L, (lua_Number)(wall.tv_sec - up.tv_sec) +
                          (lua_Number)(wall.tv_nsec - up.tv_nsec) / 1e9);
    return 1;
}

static const luaL_Reg functions[] = {
    {"uname", sys_uname},
    {"platform", sys_platform},
    {"release", sys_release},
    {"versions", sys_versions},
    {"byte_order", sys_byte_order},
    {"word_bits", sys_word_bits},
    {"page_size", sys_page_size},
    {"hostname", sys_hostname},
    {"user", sys_user},
    {"group", sys_group},
    {"users", sys_users},
    {"groups", sys_groups},
    {"whoami", sys_whoami},
    {"cpu", sys_cpu},
    {"load", sys_load},
    {"memory", sys_memory},
    {"mounts", sys_mounts},
    {"disks", sys_disks},
    {"uptime", sys_uptime},
    {"boot_time", sys_boot_time},
    {NULL, NULL},
};

int mod_sys(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
