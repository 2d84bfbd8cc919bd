/*** module time
 * Clocks, sleep, times as text. Times are seconds since 1970 (UTC), durations are seconds.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/worker/mods.h"
#include "agent/worker/waitfd.h"

#define TICKER   "grapnel.ticker"
#define TEXT_MAX 1024

static lua_Integer clock_ns(clockid_t id)
{
    struct timespec t = {0};

    clock_gettime(id, &t);
    return (lua_Integer)t.tv_sec * 1000000000 + t.tv_nsec;
}

/*** time.now() -> number
 * The wall clock.
 */
static int time_now(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_ns(CLOCK_REALTIME) / 1e9);
    return 1;
}

/*** time.now_ns() -> integer
 * The wall clock in nanoseconds, which `time.now` is too coarse for.
 */
static int time_now_ns(lua_State *L)
{
    lua_pushinteger(L, clock_ns(CLOCK_REALTIME));
    return 1;
}

/*** time.monotonic() -> number
 * A clock that nobody sets and that never goes back; where it began means nothing.
 */
static int time_monotonic(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_ns(CLOCK_MONOTONIC) / 1e9);
    return 1;
}

/*** time.monotonic_ns() -> integer
 * The same in nanoseconds.
 */
static int time_monotonic_ns(lua_State *L)
{
    lua_pushinteger(L, clock_ns(CLOCK_MONOTONIC));
    return 1;
}

/*** time.cpu() -> number
 * Processor time that the worker has used.
 */
static int time_cpu(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
    return 1;
}

/*** time.sleep(seconds)
 * Waits; other calls run meanwhile.
 */
static int time_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);

    luaL_argcheck(L, seconds >= 0, 1, "not negative");
    return waitfd_sleep(L, fmin(seconds, 1e9), NULL, 0);
}

/* The next tick at a multiple of the interval since the beginning. */
struct ticker {
    lua_Integer next, interval; /* ns, monotonic */
};

/*** time.ticker(seconds) -> ticker
 * Something that ticks at that interval from now on, however long the work between takes.
 */
static int time_ticker(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    struct ticker *t;

    luaL_argcheck(L, seconds >= 1e-6 && seconds <= 1e9, 1, "0.000001 to 1000000000 expected");
    t = lua_newuserdatauv(L, sizeof *t, 0);
    t->interval = (lua_Integer)(seconds * 1e9);
    t->next = clock_ns(CLOCK_MONOTONIC) + t->interval;
    luaL_setmetatable(L, TICKER);
    return 1;
}

static int ticker_done(lua_State *L, int status, lua_KContext ctx)
{
    struct ticker *t = luaL_checkudata(L, 1, TICKER);
    lua_Integer late = clock_ns(CLOCK_MONOTONIC) - t->next;
    lua_Integer ticks = late < 0 ? 1 : late / t->interval + 1;

    (void)status;
    (void)ctx;
    t->next += ticks * t->interval;
    lua_pushinteger(L, ticks);
    return 1;
}

/*** ticker:wait() -> integer
 * Waits for the next tick; returns how many there were since the last one waited for: more than
 * 1 if some were missed.
 */
static int ticker_wait(lua_State *L)
{
    struct ticker *t = luaL_checkudata(L, 1, TICKER);
    lua_Integer left = t->next - clock_ns(CLOCK_MONOTONIC);

    if (left <= 0) {
        return ticker_done(L, LUA_OK, 0);
    }
    return waitfd_sleep(L, (lua_Number)left / 1e9, ticker_done, 0);
}

/* Splits a time into whole seconds and nanoseconds. */
static time_t split(lua_State *L, int arg, long *ns)
{
    lua_Number t, whole;

    *ns = 0;
    if (lua_isinteger(L, arg)) {
        return (time_t)lua_tointeger(L, arg);
    }
    if (lua_isnoneornil(L, arg)) {
        lua_Integer now = clock_ns(CLOCK_REALTIME);
        *ns = (long)(now % 1000000000);
        return (time_t)(now / 1000000000);
    }
    t = luaL_checknumber(L, arg);
    luaL_argcheck(L, t > -1e15 && t < 1e15, arg, "out of range");
    whole = floor(t);
    /* To the microsecond, which is what a number holds: 0.7 is not to become 0.69999. */
    *ns = lround((t - whole) * 1e6) * 1000;
    if (*ns == 1000000000) {
        *ns = 0;
        whole += 1;
    }
    return (time_t)whole;
}

static int bad_time(lua_State *L)
{
    lua_pushnil(L);
    lua_pushliteral(L, "a time out of range");
    lua_pushinteger(L, EOVERFLOW);
    return 3;
}

/* Adds the fraction to b, `digits` of it. */
static void add_fraction(luaL_Buffer *b, long ns, int digits)
{
    char text[16];

    snprintf(text, sizeof text, ".%09ld", ns);
    luaL_addlstring(b, text, (size_t)digits + 1);
}

static void add_offset(luaL_Buffer *b, long offset)
{
    char text[32];
    long minutes = labs(offset) / 60;

    snprintf(text, sizeof text, "%c%02ld:%02ld", offset < 0 ? '-' : '+', minutes / 60,
             minutes % 60);
    luaL_addstring(b, text);
}

/*** time.format([seconds [, options]]) -> text
 * A time (now) in the manner of RFC 3339, "2024-02-29T12:00:00Z". Options: `localtime` (true: the
 * host's time zone, with its offset), `digits` (0 to 9 of the fraction; 0), `ns` (the nanoseconds
 * of an integer time), `format` (as strftime has them: then just that).
 */
static int time_format(lua_State *L)
{
    int here = mods_option_flag(L, 2, "localtime", 0);
    lua_Integer digits = mods_option_int(L, 2, "digits", 0);
    const char *format = "%Y-%m-%dT%H:%M:%S";
    char text[TEXT_MAX];
    long ns;
    time_t t = split(L, 1, &ns);
    struct tm tm;
    size_t n;
    luaL_Buffer b;

    ns = (long)mods_option_int(L, 2, "ns", ns);
    luaL_argcheck(L, ns >= 0 && ns <= 999999999, 2, "option 'ns': 0 to 999999999 expected");
    luaL_argcheck(L, digits >= 0 && digits <= 9, 2, "option 'digits': 0 to 9 expected");
    if (!lua_isnoneornil(L, 2) && lua_getfield(L, 2, "format") != LUA_TNIL) {
        format = luaL_checkstring(L, -1);
    }
    if ((here ? localtime_r(&t, &tm) : gmtime_r(&t, &tm)) == NULL) {
        return bad_time(L);
    }
    if (lua_gettop(L) > 2 && !lua_isnil(L, -1)) {
        n = format[0] == '\0' ? 0 : strftime(text, sizeof text, format, &tm);
        luaL_argcheck(L, n > 0 || format[0] == '\0', 2, "option 'format': wrong or too long");
        lua_pushlstring(L, text, n);
        return 1;
    }
    luaL_buffinit(L, &b);
    luaL_addlstring(&b, text, strftime(text, sizeof text, format, &tm));
    if (digits > 0) {
        add_fraction(&b, ns, (int)digits);
    }
    if (here) {
        add_offset(&b, tm.tm_gmtoff);
    } else {
        luaL_addchar(&b, 'Z');
    }
    luaL_pushresult(&b);
    return 1;
}

/* Takes `n` digits from *at into *value; whether they stood there. */
static int take_digits(const char **at, int n, int *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, (*at)++) {
        if (**at < '0' || **at > '9') {
            return 0;
        }
        *value = *value * 10 + (**at - '0');
    }
    return 1;
}

static int take(const char **at, const char *any)
{
    if (**at == '\0' || strchr(any, **at) == NULL) {
        return 0;
    }
    (*at)++;
    return 1;
}

/* The offset in seconds; *known stays 0 where there is none. */
static int take_offset(const char **at, long *seconds, int *known)
{
    int hours, minutes = 0;
    int sign = **at == '-' ? -1 : 1;

    *seconds = 0;
    *known = **at != '\0';
    if (**at == '\0' || take(at, "Zz")) {
        return 1;
    }
    if (!take(at, "+-") || !take_digits(at, 2, &hours)) {
        return 0;
    }
    if (**at != '\0' && (take(at, ":"), !take_digits(at, 2, &minutes))) {
        return 0;
    }
    *seconds = sign * (hours * 3600L + minutes * 60L);
    return hours < 24 && minutes < 60;
}

static int take_clock(const char **at, struct tm *tm, long *ns)
{
    long unit = 100000000;

    if (!take_digits(at, 2, &tm->tm_hour) || !take(at, ":") || !take_digits(at, 2, &tm->tm_min)) {
        return 0;
    }
    if (take(at, ":") && !take_digits(at, 2, &tm->tm_sec)) {
        return 0;
    }
    if (take(at, ".,")) {
        if (**at < '0' || **at > '9') {
            return 0;
        }
        for (; **at >= '0' && **at <= '9'; (*at)++, unit /= 10) {
            *ns += (**at - '0') * unit;
        }
    }
    return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

static int parse(const char *at, struct tm *tm, long *ns, long *seconds, int *zone)
{
    int day;

    if (!take_digits(&at, 4, &tm->tm_year) || !take(&at, "-") ||
        !take_digits(&at, 2, &tm->tm_mon) || !take(&at, "-") ||
        !take_digits(&at, 2, &tm->tm_mday)) {
        return 0;
    }
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    if (take(&at, "Tt ")) {
        if (!take_clock(&at, tm, ns) || !take_offset(&at, seconds, zone)) {
            return 0;
        }
    }
    /* A day that the month has not would be taken for one of the next. */
    day = tm->tm_mday;
    struct tm probe = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = day};
    return *at == '\0' && tm->tm_mon >= 0 && tm->tm_mon < 12 && day > 0 &&
           (timegm(&probe), probe.tm_mday == day);
}

/*** time.parse(text) -> number, integer | nil, message
 * The time that a text in the manner of RFC 3339 or ISO 8601 names ("2024-02-29T12:00:00.5+01:00",
 * "2024-02-29 12:00", "2024-02-29"), as seconds (an integer if there is no fraction), and its
 * nanoseconds. Without an offset it is the host's local time.
 */
static int time_parse(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    struct tm tm = {0};
    long ns = 0, seconds = 0;
    int zone = 0;
    lua_Integer t;

    if (!parse(text, &tm, &ns, &seconds, &zone)) {
        lua_pushnil(L);
        lua_pushliteral(L, "not a time as in RFC 3339");
        return 2;
    }
    tm.tm_isdst = -1;
    t = zone ? (lua_Integer)timegm(&tm) - seconds : (lua_Integer)mktime(&tm);
    if (ns == 0) {
        lua_pushinteger(L, t);
    } else {
        lua_pushnumber(L, (lua_Number)t + (lua_Number)ns / 1e9);
    }
    lua_pushinteger(L, ns);
    return 2;
}

/*** time.zone([seconds]) -> table
 * The host's time zone at that time (now): `name`, `offset` (seconds east of UTC), `summer`.
 */
static int time_zone(lua_State *L)
{
    long ns;
    time_t t = split(L, 1, &ns);
    struct tm tm;

    if (localtime_r(&t, &tm) == NULL) {
        return bad_time(L);
    }
    mods_table(L, 0, 3);
    mods_set_text(L, "name", tm.tm_zone);
    mods_set_int(L, "offset", tm.tm_gmtoff);
    mods_set_flag(L, "summer", tm.tm_isdst > 0);
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", time_now},
    {"now_ns", time_now_ns},
    {"monotonic", time_monotonic},
    {"monotonic_ns", time_monotonic_ns},
    {"cpu", time_cpu},
    {"sleep", time_sleep},
    {"ticker", time_ticker},
    {"format", time_format},
    {"parse", time_parse},
    {"zone", time_zone},
    {NULL, NULL},
};

static const luaL_Reg methods[] = {{"wait", ticker_wait}, {NULL, NULL}};

int mod_time(lua_State *L)
{
    tzset();
    mods_class(L, TICKER, methods);
    luaL_newlib(L, functions);
    return 1;
}
