/* Values of ssh_config keywords. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "launcher/ssh/sshconfig_impl.h"

struct word {
    const char *text;
    long number;
};

static const struct word flags[] = {{"yes", 1}, {"true", 1}, {"no", 0}, {"false", 0}, {NULL, 0}};
static const struct word pubkeys[] = {{"yes", 1},        {"true", 1},    {"no", 0}, {"false", 0},
                                      {"host-bound", 1}, {"unbound", 1}, {NULL, 0}};
static const struct word compressions[] = {{"yes", 1}, {"no", 0}, {NULL, 0}};
static const struct word canonicals[] = {{"yes", 1},   {"true", 1},   {"no", 0},
                                         {"false", 0}, {"always", 1}, {NULL, 0}};
static const struct word stricts[] = {{"yes", SSHCONFIG_STRICT_YES},
                                      {"true", SSHCONFIG_STRICT_YES},
                                      {"no", SSHCONFIG_STRICT_OFF},
                                      {"false", SSHCONFIG_STRICT_OFF},
                                      {"off", SSHCONFIG_STRICT_OFF},
                                      {"ask", SSHCONFIG_STRICT_ASK},
                                      {"accept-new", SSHCONFIG_STRICT_ACCEPT_NEW},
                                      {NULL, 0}};
static const struct word families[] = {{"any", SSHCONFIG_FAMILY_ANY},
                                       {"inet", SSHCONFIG_FAMILY_INET},
                                       {"inet6", SSHCONFIG_FAMILY_INET6},
                                       {NULL, 0}};
static const struct word levels[] = {{"silent", SSHCONFIG_LOG_QUIET},
                                     {"quiet", SSHCONFIG_LOG_QUIET},
                                     {"fatal", SSHCONFIG_LOG_FATAL},
                                     {"error", SSHCONFIG_LOG_ERROR},
                                     {"info", SSHCONFIG_LOG_INFO},
                                     {"verbose", SSHCONFIG_LOG_VERBOSE},
                                     {"debug", SSHCONFIG_LOG_DEBUG1},
                                     {"debug1", SSHCONFIG_LOG_DEBUG1},
                                     {"debug2", SSHCONFIG_LOG_DEBUG2},
                                     {"debug3", SSHCONFIG_LOG_DEBUG3},
                                     {NULL, 0}};

static const struct word *words_of(enum sshconfig_kind kind)
{
    switch (kind) {
    case KIND_FLAG:
        return flags;
    case KIND_PUBKEY:
        return pubkeys;
    case KIND_COMPRESSION:
        return compressions;
    case KIND_CANONICALIZE:
        return canonicals;
    case KIND_STRICT:
        return stricts;
    case KIND_FAMILY:
        return families;
    case KIND_LOGLEVEL:
        return levels;
    default:
        return NULL;
    }
}

static int number(const char *s, long most, long *out)
{
    char *end;
    s += strspn(s, " \t");
    if (*s == '\0' || strspn(s, "0123456789") != strlen(s) || strlen(s) > 12)
        return -E_CONFIG;
    *out = strtol(s, &end, 10);
    return *out <= most ? 0 : -E_CONFIG;
}

static long unit(char c)
{
    switch (c) {
    case '\0':
    case 's':
    case 'S':
        return 1;
    case 'm':
    case 'M':
        return 60;
    case 'h':
    case 'H':
        return 60 * 60;
    case 'd':
    case 'D':
        return 24 * 60 * 60;
    case 'w':
    case 'W':
        return 7 * 24 * 60 * 60;
    default:
        return 0;
    }
}

int sshconfig_value_time(const char *s, long *seconds)
{
    long long total = 0;
    if (*s == '\0')
        return -E_CONFIG;
    while (*s != '\0') {
        size_t digits = strspn(s, "0123456789");
        if (digits == 0 || digits > 10)
            return -E_CONFIG;
        long long n = strtoll(s, NULL, 10);
        s += digits;
        long u = unit(*s);
        total += n * u;
        if (u == 0 || total > INT_MAX)
            return -E_CONFIG;
        if (*s != '\0')
            s++;
    }
    *seconds = (long)total;
    return 0;
}

static int check_files(const struct sshconfig_directive *d, const char **why)
{
    for (size_t i = 0; i < d->argc; i++) {
        if (d->argv[i][0] == '\0') {
            *why = "empty argument";
            return -E_CONFIG;
        }
        if (d->key == KEY_SETENV && strchr(d->argv[i], '=') == NULL) {
            *why = "SetEnv without =";
            return -E_CONFIG;
        }
        if (d->key != KEY_SETENV && d->argc > 1 && strcasecmp(d->argv[i], "none") == 0) {
            *why = "\"none\" among others";
            return -E_CONFIG;
        }
        if (d->key == KEY_SENDENV && strchr(d->argv[i], '=') != NULL) {
            *why = "= in SendEnv";
            return -E_CONFIG;
        }
    }
    return 0;
}

/* "[user@]host[:port]" or URIs of that, separated by commas; an IPv6 address needs brackets. */
static int check_jumps(const char *jumps, const char **why)
{
    char hop[2 * SSHCONFIG_HOST_MAX], user[SSHCONFIG_HOST_MAX], host[SSHCONFIG_HOST_MAX];
    unsigned port;
    *why = "not a list of hosts";
    if (strcasecmp(jumps, "none") == 0)
        return 0;
    for (;;) {
        size_t n = strcspn(jumps, ",");
        if (n >= sizeof hop)
            return -E_CONFIG;
        memcpy(hop, jumps, n);
        hop[n] = '\0';
        if (sshconfig_split(hop, user, host, &port, NULL) != 0 ||
            (strchr(hop, '[') == NULL && strchr(host, ':') != NULL))
            return -E_CONFIG;
        if (jumps[n] == '\0')
            return 0;
        jumps += n + 1;
    }
}

static int check_number(struct sshconfig_directive *d, enum sshconfig_kind kind, const char **why)
{
    const char *s = d->argv[0];
    int rc;
    if (kind == KIND_TIME && strcmp(s, "none") == 0) {
        d->number = -1;
        return 0;
    }
    if (kind == KIND_TIME)
        rc = sshconfig_value_time(s, &d->number);
    else
        rc = number(s, kind == KIND_PORT ? 65535 : INT_MAX, &d->number);
    if (kind == KIND_PORT && d->number == 0)
        rc = -E_CONFIG;
    *why = kind == KIND_TIME ? "bad time" : "bad number";
    return rc;
}

int sshconfig_value(struct sshconfig_directive *d, enum sshconfig_kind kind, const char **why)
{
    const struct word *word = words_of(kind);
    *why = "missing argument";
    switch (kind) {
    case KIND_HOST:
    case KIND_MATCH:
    case KIND_INCLUDE:
        return 0;
    case KIND_COMMAND:
        return d->key == KEY_PROXYJUMP ? check_jumps(d->argv[0], why) : 0;
    case KIND_FILES:
    case KIND_WORDS:
        return check_files(d, why);
    default:
        break;
    }
    if (d->argv[0][0] == '\0')
        return -E_CONFIG;
    if (d->argc > 1) {
        *why = "extra arguments at the end of the line";
        return -E_CONFIG;
    }
    if (kind == KIND_STRING || kind == KIND_APPEND)
        return 0;
    if (word == NULL)
        return check_number(d, kind, why);
    for (; word->text != NULL; word++) {
        if (strcasecmp(word->text, d->argv[0]) == 0) {
            d->number = word->number;
            return 0;
        }
    }
    *why = "unsupported value";
    return -E_CONFIG;
}
