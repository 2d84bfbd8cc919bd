/* Questions about a configuration, and about what users type. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/ssh/sshconfig.h"
#include "launcher/ssh/sshconfig_impl.h"
#include "launcher/ssh/sshkey.h"

/* True when `list` names something, and nothing that we could do. */
static int nothing_for_us(const char *list, const char *const *ours)
{
    if (list == NULL || *list == '\0')
        return 0;
    for (; *ours != NULL; ours++) {
        size_t n = strlen(*ours);
        for (const char *p = list; *p != '\0';) {
            size_t length = strcspn(p, ",");
            if (length == n && memcmp(p, *ours, n) == 0)
                return 0;
            p += length + (p[length] == ',');
        }
    }
    return 1;
}

/* True when all members of a host-key algorithm list (not relative to the defaults) are
 * certificates or FIDO keys. */
static int only_foreign_keys(const char *list)
{
    if (list == NULL || *list == '\0' || strchr("+-^", *list) != NULL)
        return 0;
    while (*list != '\0') {
        char name[SSHKEY_NAME_MAX];
        size_t n = strcspn(list, ",");
        (void)snprintf(name, sizeof name, "%.*s", (int)n, list);
        if (!sshkey_is_certificate(name) && !sshkey_is_token(name))
            return 0;
        list += n + (list[n] == ',');
    }
    return 1;
}

int sshconfig_needs_openssh(const struct sshconfig *c, char *why, size_t size)
{
    static const char *const methods[] = {"publickey", "password", "keyboard-interactive", NULL};
    const char *text = NULL;
    if (c->proxy_command != NULL)
        text = "ProxyCommand";
    else if (c->proxy_jump != NULL)
        text = "ProxyJump";
    else if (c->certificate_files.count > 0)
        text = "CertificateFile";
    else if (c->pkcs11_provider != NULL)
        text = "PKCS11Provider";
    else if (c->known_hosts_command != NULL)
        text = "KnownHostsCommand";
    else if (c->revoked_host_keys != NULL)
        text = "RevokedHostKeys";
    else if (nothing_for_us(c->preferred_authentications, methods))
        text = "PreferredAuthentications";
    else if (!c->pubkey_authentication && !c->password_authentication &&
             !c->kbdint_authentication && (c->gssapi_authentication || c->hostbased_authentication))
        text = c->gssapi_authentication ? "GSSAPIAuthentication" : "HostbasedAuthentication";
    else if (only_foreign_keys(c->hostkey_algorithms))
        text = "HostKeyAlgorithms";
    else if (only_foreign_keys(c->pubkey_algorithms) && !c->password_authentication &&
             !c->kbdint_authentication)
        text = "PubkeyAcceptedAlgorithms";
    if (size > 0)
        (void)snprintf(why, size, "%s", text == NULL ? "" : text);
    return text != NULL;
}

/* Appends to `out` those of `have` that `list` names, in the order of `list`, each once. */
static void add_named(char *out, const char *list, const char *have)
{
    while (*list != '\0') {
        size_t n = strcspn(list, ",");
        char pattern[256];
        if (n > 0 && n < sizeof pattern) {
            memcpy(pattern, list, n);
            pattern[n] = '\0';
            for (const char *h = have; *h != '\0';) {
                char name[256];
                size_t length = strcspn(h, ",");
                (void)snprintf(name, sizeof name, "%.*s", (int)length, h);
                if (length < sizeof name && sshconfig_match(name, pattern) &&
                    sshconfig_match_list(name, out, 0) == 0) {
                    if (*out != '\0')
                        strcat(out, ",");
                    strcat(out, name);
                }
                h += length + (h[length] == ',');
            }
        }
        list += n + (list[n] == ',');
    }
}

/* Appends those of `have` that no pattern of `list` names. */
static void add_unnamed(char *out, const char *list, const char *have)
{
    while (*have != '\0') {
        char name[256];
        size_t length = strcspn(have, ",");
        (void)snprintf(name, sizeof name, "%.*s", (int)length, have);
        if (length > 0 && length < sizeof name && sshconfig_match_list(name, list, 0) == 0) {
            if (*out != '\0')
                strcat(out, ",");
            strcat(out, name);
        }
        have += length + (have[length] == ',');
    }
}

int sshconfig_algorithms(const char *setting, const char *have, char **out)
{
    char *result = calloc(1, strlen(have) + 2);
    *out = NULL;
    if (result == NULL)
        return -E_NOMEM;
    if (setting == NULL || *setting == '\0' || *setting == '+') {
        (void)strcpy(result, have); /* all that we have is in our list already */
    } else if (*setting == '-') {
        add_unnamed(result, setting + 1, have);
    } else if (*setting == '^') {
        add_named(result, setting + 1, have);
        char *rest = strdup(result);
        if (rest == NULL) {
            free(result);
            return -E_NOMEM;
        }
        add_unnamed(result, rest, have);
        free(rest);
    } else {
        add_named(result, setting, have);
    }
    if (*result == '\0') {
        free(result);
        return -E_UNSUPPORTED;
    }
    *out = result;
    return 0;
}

static int copy_part(const char *s, size_t n, char *out, const char *what, struct error *e)
{
    if (n >= SSHCONFIG_HOST_MAX)
        return errors_set(e, -E_ARGUMENT, "%s is too long", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return errors_set(e, -E_ARGUMENT, "control characters in the %s", what);
    memcpy(out, s, n);
    out[n] = '\0';
    return 0;
}

static int read_port(const char *s, unsigned *port, struct error *e)
{
    size_t n = strspn(s, "0123456789");
    unsigned long v = n > 0 && n <= 5 && s[n] == '\0' ? strtoul(s, NULL, 10) : 0;
    if (v == 0 || v > 65535)
        return errors_set(e, -E_ARGUMENT, "bad port");
    *port = (unsigned)v;
    return 0;
}

int sshconfig_split(const char *target, char *user, char *host, unsigned *port, struct error *e)
{
    const char *at, *end;
    int rc = 0, is_uri = strncmp(target, "ssh://", 6) == 0;
    char rest[SSHCONFIG_HOST_MAX * 2];
    user[0] = host[0] = '\0';
    *port = 0;
    if (is_uri)
        target += 6;
    at = strrchr(target, '@');
    if (at != NULL) {
        if (at == target)
            return errors_set(e, -E_ARGUMENT, "empty user name");
        rc = copy_part(target, (size_t)(at - target), user, "user name", e);
        target = at + 1;
    }
    size_t n = strlen(target);
    if (is_uri && n > 0 && target[n - 1] == '/')
        n--;
    if (rc == 0 && n >= sizeof rest)
        rc = errors_set(e, -E_ARGUMENT, "host name is too long");
    if (rc != 0)
        return rc;
    memcpy(rest, target, n);
    rest[n] = '\0';
    target = rest;
    if (*target == '[') {
        end = strchr(++target, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return errors_set(e, -E_ARGUMENT, "no ] where it belongs");
        n = (size_t)(end++ - target);
    } else {
        end = strchr(target, ':');
        if (end != NULL && strchr(end + 1, ':') != NULL)
            end = NULL; /* two colons: an IPv6 address */
        if (end == NULL)
            end = target + strlen(target);
        n = (size_t)(end - target);
    }
    if (n == 0 || *target == '-')
        return errors_set(e, -E_ARGUMENT, n == 0 ? "empty host name" : "host begins with -");
    rc = copy_part(target, n, host, "host name", e);
    return rc == 0 && *end == ':' ? read_port(end + 1, port, e) : rc;
}
