/* Questions about a configuration. */
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
