/* The part of fs that matches names. The C library could, but brings tables of all characters of
 * the world for it, a tenth of the worker; here a character is a byte. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/worker/fs.h"
#include "agent/worker/mods.h"

/* Whether byte c is in the set that begins behind "["; *end gets what follows it, NULL: the "["
 * stands for itself. */
static int in_set(const char *at, const char *stop, char c, const char **end)
{
    const unsigned char u = (unsigned char)c;
    int negated = at < stop && (*at == '!' || *at == '^');
    int found = 0;
    const char *first = at += negated;

    for (*end = NULL; at < stop && (*at != ']' || at == first); at++) {
        unsigned char low = (unsigned char)*at, high = low;
        if (at + 2 < stop && at[1] == '-' && at[2] != ']') {
            high = (unsigned char)at[2];
            at += 2;
        }
        found |= u >= low && u <= high;
    }
    if (at < stop) {
        *end = at + 1;
    }
    return found != negated;
}

/* Whether a name matches the pattern from `at` to `stop`. */
static int matches(const char *at, const char *stop, const char *name)
{
    const char *star = NULL, *again = NULL;

    while (*name != '\0' || at < stop) {
        const char *end = NULL;
        if (at < stop && *at == '*') {
            star = ++at;
            again = name;
            continue;
        }
        if (at < stop && *name != '\0') {
            int fits = *at == '?' || (*at == '[' && in_set(at + 1, stop, *name, &end));
            if (*at != '?' && end == NULL) {
                at += *at == '\\' && at + 1 < stop;
                fits = *at == *name;
            }
            if (fits) {
                at = end != NULL ? end : at + 1;
                name++;
                continue;
            }
        }
        if (star == NULL || *again == '\0') {
            return 0;
        }
        at = star;
        name = ++again;
    }
    return 1;
}

/* Adds to the list at `to` what the entries of the directory `base` make of one part of the
 * pattern. */
static void expand(lua_State *L, const char *base, const char *at, const char *stop, int to)
{
    struct directory *d = fs_stat_open(L);
    const struct dirent *entry;

    d->dir = opendir(base[0] != '\0' ? base : ".");
    while (d->dir != NULL && (entry = readdir(d->dir)) != NULL) {
        const char *name = entry->d_name;
        if ((name[0] != '.' || *at == '.') && !fs_stat_dots(name) && matches(at, stop, name)) {
            lua_pushfstring(L, "%s%s", base, name);
            lua_rawseti(L, to, (lua_Integer)lua_rawlen(L, to) + 1);
        }
    }
    fs_stat_close(d);
    lua_pop(L, 1);
}

/* Adds `base` with a part of the pattern that matches only itself, if there is such a thing. */
static void append(lua_State *L, const char *base, const char *at, const char *stop, int to)
{
    struct stat st;
    luaL_Buffer b;

    luaL_buffinit(L, &b);
    luaL_addstring(&b, base);
    for (; at < stop; at++) {
        at += *at == '\\' && at + 1 < stop;
        luaL_addchar(&b, *at);
    }
    luaL_pushresult(&b);
    if (lstat(lua_tostring(L, -1), &st) == 0) {
        lua_rawseti(L, to, (lua_Integer)lua_rawlen(L, to) + 1);
    } else {
        lua_pop(L, 1);
    }
}

/*** fs.glob(pattern) -> list
 * The paths that match a pattern of the shell, sorted; an empty list if none does. `*` and `?`
 * stand for bytes, `[a-z]` and `[!a-z]` for one of a set, but none for a `/` or a `.` at the
 * beginning of a name; `\` takes their meaning from them.
 */
static int fs_glob(lua_State *L)
{
    const char *at = mods_path(L, 1);

    lua_settop(L, 1);
    lua_newtable(L); /* at 2, what the parts so far have come to */
    lua_pushliteral(L, "");
    lua_rawseti(L, 2, 1);
    while (*at != '\0') {
        const char *part = at + strspn(at, "/");
        const char *stop = part + strcspn(part, "/");
        size_t n = lua_rawlen(L, 2);
        int magic = memchr(part, '*', (size_t)(stop - part)) != NULL ||
                    memchr(part, '?', (size_t)(stop - part)) != NULL ||
                    memchr(part, '[', (size_t)(stop - part)) != NULL;
        lua_newtable(L);
        for (size_t i = 1; i <= n; i++) {
            lua_rawgeti(L, 2, (lua_Integer)i);
            if (magic && part > at) {
                lua_pushlstring(L, at, (size_t)(part - at));
                lua_concat(L, 2);
            }
            if (magic) {
                expand(L, lua_tostring(L, -1), part, stop, 3);
            } else {
                append(L, lua_tostring(L, -1), at, stop, 3);
            }
            lua_pop(L, 1);
        }
        lua_replace(L, 2);
        at = stop;
    }
    if (lua_rawgeti(L, 2, 1) != LUA_TNIL && lua_rawlen(L, -1) == 0) {
        lua_newtable(L); /* the empty pattern */
        lua_replace(L, 2);
    }
    lua_settop(L, 2);
    mods_mark(L);
    fs_stat_sort(L);
    return 1;
}

const luaL_Reg fs_glob_functions[] = {{"glob", fs_glob}, {NULL, NULL}};
