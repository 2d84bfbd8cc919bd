/* What users type to name a host. */
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshconfig.h"

#define SCHEME "ssh://"

static int copy_part(const char *s, size_t n, char *out, const char *what, struct error *e)
{
    if (n >= SSHCONFIG_HOST_MAX)
        return errors_set(e, -E_ARGUMENT, "the %s is too long", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return errors_set(e, -E_ARGUMENT, "control characters in the %s", what);
    memcpy(out, s, n);
    out[n] = '\0';
    return 0;
}

static int read_port(const char *s, size_t n, unsigned *port, struct error *e)
{
    unsigned long v =
        n > 0 && n <= 5 && strspn(s, "0123456789") >= n ? strtoul(s, NULL, 10) : 65536;
    if (n == 0)
        return errors_set(e, -E_ARGUMENT, "no port behind the colon");
    if (v == 0 || v > 65535)
        return errors_set(e, -E_ARGUMENT, "\"%.*s\" is no port: 1 to 65535", (int)(n < 40 ? n : 40),
                          s);
    *port = (unsigned)v;
    return 0;
}

/* host[:port], [v6][:port], or an IPv6 address as it is. */
static int split_host(const char *s, size_t n, char *host, unsigned *port, struct error *e)
{
    const char *all = s, *end, *rest;
    if (n > 0 && *s == '[') {
        end = memchr(s, ']', n);
        if (end == NULL)
            return errors_set(e, -E_ARGUMENT, "a ] is missing behind the address");
        rest = end + 1;
        s++;
        if (rest < all + n && *rest != ':')
            return errors_set(e, -E_ARGUMENT, "only a port may stand behind the ]");
    } else if (memchr(s, '[', n) != NULL || memchr(s, ']', n) != NULL) {
        return errors_set(e, -E_ARGUMENT, "brackets stand around an address only");
    } else {
        rest = end = memchr(s, ':', n);
        if (end == NULL || memchr(end + 1, ':', n - (size_t)(end + 1 - s)) != NULL)
            rest = end = s + n;
        if (end == s + n && memchr(s, ':', n) != NULL &&
            strspn(s, "0123456789abcdefABCDEF:.") < strcspn(s, "%/"))
            return errors_set(e, -E_ARGUMENT, "several colons, and it is no IPv6 address");
    }
    if (end == s)
        return errors_set(e, -E_ARGUMENT, "the host's name is missing");
    if (*s == '-')
        return errors_set(e, -E_ARGUMENT, "the host's name begins with -");
    int rc = copy_part(s, (size_t)(end - s), host, "host's name", e);
    return rc == 0 && rest < all + n ? read_port(rest + 1, n - (size_t)(rest + 1 - all), port, e)
                                     : rc;
}

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = memchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c, 16);
    return at == NULL ? -1 : (int)(at - digits);
}

/* The user's name in a URI: parameters behind ; are dropped, %40 and the like decoded. */
static int uri_user(const char *s, size_t n, char *user, struct error *e)
{
    char plain[SSHCONFIG_HOST_MAX];
    size_t used = 0;
    for (size_t i = 0; i < n && s[i] != ';' && used < sizeof plain; i++) {
        int c = (unsigned char)s[i];
        if (c == '%') {
            int high = i + 2 < n ? hex(s[i + 1]) : -1, low = high < 0 ? -1 : hex(s[i + 2]);
            c = high * 16 + low;
            if (high < 0 || low < 0 || c == 0)
                return errors_set(e, -E_ARGUMENT, "a %% without two digits in the user's name");
            i += 2;
        }
        plain[used++] = (char)c;
    }
    if (used == 0)
        return errors_set(e, -E_ARGUMENT, "the user's name is missing before the @");
    return copy_part(plain, used, user, "user's name", e);
}

/* As ssh: neither a path nor anything but a plain name, and an empty port is none. */
static int split_uri(const char *s, char *user, char *host, unsigned *port, struct error *e)
{
    const char *at = strchr(s, '@');
    int rc = at == NULL ? 0 : uri_user(s, (size_t)(at - s), user, e);
    if (rc != 0)
        return rc;
    s = at == NULL ? s : at + 1;
    size_t n = strcspn(s, "/");
    if (s[n] != '\0' && s[n + 1] != '\0')
        return errors_set(e, -E_ARGUMENT, "a path has no meaning behind the host");
    if (n > 0 && s[n - 1] == ':' && s[n] == '\0')
        n--;
    rc = split_host(s, n, host, port, e);
    if (rc == 0 && *s != '[' &&
        (host[0] == '.' || strstr(host, "..") != NULL ||
         strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
             strlen(host)))
        rc = errors_set(e, -E_ARGUMENT, "\"%.100s\" is no host name", host);
    return rc;
}

int sshconfig_split(const char *target, char *user, char *host, unsigned *port, struct error *e)
{
    const char *at = strrchr(target, '@'), *scheme = strstr(target, "://");
    int rc = 0;
    user[0] = host[0] = '\0';
    *port = 0;
    if (strncmp(target, SCHEME, strlen(SCHEME)) == 0)
        return split_uri(target + strlen(SCHEME), user, host, port, e);
    if (scheme != NULL && strspn(target, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+.-"
                                         "0123456789") == (size_t)(scheme - target))
        return errors_set(e, -E_ARGUMENT,
                          "\"%.*s\" cannot name a host: use [USER@]HOST[:PORT] or " SCHEME "...",
                          scheme - target < 40 ? (int)(scheme - target) + 3 : 40, target);
    if (at == target)
        return errors_set(e, -E_ARGUMENT, "the user's name is missing before the @");
    if (at != NULL) {
        rc = copy_part(target, (size_t)(at - target), user, "user's name", e);
        target = at + 1;
    }
    return rc == 0 ? split_host(target, strlen(target), host, port, e) : rc;
}
