#include "launcher/ssh/ssh2_algorithms.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/safetext.h"

/* The things that are negotiated; each has a row in `kinds`. */
enum { KEX, HOSTKEY, CIPHER, MAC, KINDS };

struct kind {
    const char *what;
    int method[2]; /* libssh2's, for both directions */
    enum ssh2_greeting_list list[2];
    /* Ours, in order of preference.  Curve25519 costs least.  ChaCha20 is libssh2's fastest cipher:
     * it calls OpenSSL's AES for sixteen bytes at a time. */
    const char *ours;
    /* What the OpenSSH client has beyond libssh2, by default. */
    const char *openssh;
};

static const struct kind kinds[KINDS] = {
    {"key exchange",
     {LIBSSH2_METHOD_KEX, LIBSSH2_METHOD_KEX},
     {SSH2_GREETING_KEX, SSH2_GREETING_KEX},
     "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"
     "ecdh-sha2-nistp521,diffie-hellman-group14-sha256,diffie-hellman-group16-sha512,"
     "diffie-hellman-group18-sha512,diffie-hellman-group-exchange-sha256",
     "sntrup761x25519-sha512@openssh.com,sntrup761x25519-sha512,mlkem768x25519-sha256"},
    {"host key",
     {LIBSSH2_METHOD_HOSTKEY, LIBSSH2_METHOD_HOSTKEY},
     {SSH2_GREETING_HOSTKEY, SSH2_GREETING_HOSTKEY},
     "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,"
     "rsa-sha2-256",
     "sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,"
     "ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com,"
     "ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,"
     "rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com"},
    {"cipher",
     {LIBSSH2_METHOD_CRYPT_CS, LIBSSH2_METHOD_CRYPT_SC},
     {SSH2_GREETING_CIPHER_OUT, SSH2_GREETING_CIPHER_IN},
     "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,"
     "aes192-ctr,aes256-ctr",
     ""},
    {"MAC",
     {LIBSSH2_METHOD_MAC_CS, LIBSSH2_METHOD_MAC_SC},
     {SSH2_GREETING_MAC_OUT, SSH2_GREETING_MAC_IN},
     "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512,"
     "hmac-sha1-etm@openssh.com,hmac-sha1",
     "umac-64-etm@openssh.com,umac-128-etm@openssh.com,umac-64@openssh.com,umac-128@openssh.com"},
};

struct ssh2_algorithms {
    char *list[KINDS]; /* what we offered */
};

static const char *setting(const struct sshconfig *config, int kind)
{
    switch (kind) {
    case KEX:
        return config->kex_algorithms;
    case HOSTKEY:
        return config->hostkey_algorithms;
    case CIPHER:
        return config->ciphers;
    default:
        return config->macs;
    }
}

void ssh2_algorithms_free(struct ssh2_algorithms *a)
{
    if (!a)
        return;
    for (int i = 0; i < KINDS; i++)
        free(a->list[i]);
    free(a);
}

static int has(const char *list, const char *name, size_t n)
{
    while (list && *list) {
        size_t length = strcspn(list, ",");

        if (length == n && memcmp(list, name, n) == 0)
            return 1;
        list += length + (list[length] == ',');
    }
    return 0;
}

/* The names of `a` and then of `b`, each once, without those that `only` lacks (NULL: all). */
static char *merge(const char *a, const char *b, const char *only)
{
    char *out = calloc(1, strlen(a) + strlen(b) + 2);
    const char *lists[2] = {a, b};
    size_t length = 0;

    if (!out)
        return NULL;
    for (int i = 0; i < 2; i++) {
        for (const char *at = lists[i]; *at;) {
            size_t n = strcspn(at, ",");

            if (n && !has(out, at, n) && (!only || has(only, at, n))) {
                if (length)
                    out[length++] = ',';
                memcpy(out + length, at, n);
                length += n;
                out[length] = '\0';
            }
            at += n + (at[n] == ',');
        }
    }
    return out;
}

/* What this build of libssh2 has, without certificates, which it does not check. */
static char *supported(struct ssh2_session *s, int method)
{
    const char **names = NULL;
    int count = libssh2_session_supported_algs(ssh2_session_raw(s), method, &names);
    size_t size = 1;
    char *out;

    for (int i = 0; i < count; i++)
        size += strlen(names[i]) + 1;
    out = calloc(1, size);
    for (int i = 0; out && i < count; i++) {
        if (strstr(names[i], "-cert-"))
            continue;
        if (*out)
            strcat(out, ",");
        strcat(out, names[i]);
    }
    if (names)
        libssh2_free(ssh2_session_raw(s), names);
    return out;
}

/* Applies a setting: "+x" and "^x" may name what is not among ours by default but is there. */
static int choose(const char *set, const char *ours, const char *have, char **out)
{
    char *some = NULL;
    int code;

    if (!set || *set == '-')
        return sshconfig_algorithms(set, ours, out);
    if (*set != '+' && *set != '^')
        return sshconfig_algorithms(set, have, out);
    code = sshconfig_algorithms(set + 1, have, &some);
    if (code == -E_UNSUPPORTED)
        return sshconfig_algorithms(NULL, ours, out);
    if (code < 0)
        return code;
    *out = *set == '+' ? merge(ours, some, NULL) : merge(some, ours, NULL);
    free(some);
    return *out ? 0 : -E_NOMEM;
}

static int apply_kind(struct ssh2_session *s, struct ssh2_algorithms *a, int kind,
                      const struct sshconfig *config, const char *known, struct error *e)
{
    const struct kind *k = &kinds[kind];
    const char *set = setting(config, kind);
    char *have = supported(s, k->method[0]), *ours = NULL, *list = NULL;
    int code = -E_NOMEM;

    if (!have)
        goto out;
    ours = merge(k->ours, "", have);
    if (!ours)
        goto out;
    code = choose(set, ours, have, &list);
    if (code == -E_UNSUPPORTED) {
        char safe[512];

        safetext_copy(safe, sizeof safe, set ? set : "", set ? strlen(set) : 0, 0);
        code = errors_set(e, -E_AUTH_NEEDS_OPENSSH,
                          "libssh2 has none of the %s algorithms that are configured: %s", k->what,
                          safe);
        goto out;
    }
    /* A list that was written out in full keeps its order, as with ssh. */
    if (code == 0 && known && *known && (!set || strchr("+-^", *set))) {
        char *all = merge(known, list, list);

        free(list);
        list = all;
        code = all ? 0 : -E_NOMEM;
    }
    for (int i = 0; code == 0 && i < 2; i++) {
        if (libssh2_session_method_pref(ssh2_session_raw(s), k->method[i], list) != 0)
            code = errors_set(e, -E_SYSTEM, "libssh2 refused the %s list %s", k->what, list);
    }
    a->list[kind] = list;
    list = NULL;
out:
    if (code == -E_NOMEM)
        errors_set(e, code, "%s", "");
    free(list);
    free(ours);
    free(have);
    return code;
}

int ssh2_algorithms_apply(struct ssh2_session *s, const struct sshconfig *config,
                          struct knownhosts *known_hosts, struct ssh2_algorithms **out,
                          struct error *e)
{
    struct ssh2_algorithms *a = calloc(1, sizeof *a);
    char known[512] = "";
    int code = 0;

    if (!a)
        return errors_set(e, -E_NOMEM, "%s", "");
    /* A list that is cut to fit still puts known algorithms first. */
    if (known_hosts)
        knownhosts_algorithms(known_hosts, config->lookup_name, config->lookup_port, known,
                              sizeof known);
    for (int i = 0; i < KINDS && code == 0; i++)
        code = apply_kind(s, a, i, config, i == HOSTKEY ? known : NULL, e);
    if (code < 0)
        ssh2_algorithms_free(a);
    else
        *out = a;
    return code;
}

int ssh2_algorithms_common(const char *a, const char *b)
{
    while (*a) {
        size_t n = strcspn(a, ",");

        if (has(b, a, n))
            return 1;
        a += n + (a[n] == ',');
    }
    return 0;
}

/* True if the OpenSSH client, under the same configuration, has something that the server takes. */
static int openssh_could(const struct kind *k, const char *set, const char *server)
{
    char *all = merge(k->openssh, k->ours, NULL), *list = NULL;
    int could = 0;

    if (all && sshconfig_algorithms(set, all, &list) == 0)
        could = ssh2_algorithms_common(list, server);
    free(list);
    free(all);
    return could;
}

int ssh2_algorithms_explain(const struct ssh2_algorithms *a, const struct ssh2_greeting *g,
                            const struct sshconfig *config, struct error *e)
{
    for (int i = 0; i < KINDS; i++) {
        for (int direction = 0; direction < 2; direction++) {
            const char *server = ssh2_greeting_names(g, kinds[i].list[direction]);
            char safe[400];
            int code;

            if (!server || ssh2_algorithms_common(a->list[i], server))
                continue;
            /* An AEAD cipher has its MAC built in: the MAC lists do not matter then. */
            if (i == MAC && ssh2_greeting_names(g, SSH2_GREETING_CIPHER_OUT) &&
                ssh2_algorithms_common("chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,"
                                       "aes256-gcm@openssh.com",
                                       ssh2_greeting_names(g, SSH2_GREETING_CIPHER_OUT)))
                continue;
            safetext_copy(safe, sizeof safe, server, strlen(server), 0);
            code = openssh_could(&kinds[i], setting(config, i), server) ? -E_AUTH_NEEDS_OPENSSH
                                                                        : -E_KEX;
            return errors_set(e, code, "no common %s algorithm; the server has %s; we have %s",
                              kinds[i].what, safe, a->list[i]);
        }
    }
    return 0;
}

void ssh2_algorithms_chosen(struct ssh2_session *s, char *out, size_t size)
{
    const char *names[3];

    names[0] = libssh2_session_methods(ssh2_session_raw(s), LIBSSH2_METHOD_KEX);
    names[1] = libssh2_session_methods(ssh2_session_raw(s), LIBSSH2_METHOD_HOSTKEY);
    names[2] = libssh2_session_methods(ssh2_session_raw(s), LIBSSH2_METHOD_CRYPT_CS);
    snprintf(out, size, "%s, %s, %s", names[0] ? names[0] : "?", names[1] ? names[1] : "?",
             names[2] ? names[2] : "?");
}
